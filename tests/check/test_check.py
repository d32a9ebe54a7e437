"""mailsuite check: each fault is found, with file and line and what to write; a clean site says nothing."""

import datetime
import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from mailsuite.check.checks import CHECKS, check_site
from mailsuite.check.finding import Finding, Severity
from mailsuite.check.site import Site
from mailsuite.cli import setup
from mailsuite.cli.mailsuite import cli
from mailsuite.config.maincf import edit_main_cf
from mailsuite.config.settings import Settings

ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="owners count for a suite that runs as root")


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A site of `mailsuite setup`, in a folder that others may pass."""
    folder = Path(tempfile.mkdtemp(prefix="mailsuite-check-"))
    folder.chmod(0o755)
    try:
        assert setup.make_site(str(folder / "site")) == 0
        yield folder / "site"
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def site(made: Path) -> Iterator[Path]:
    """A copy of it, for one test."""
    copy = Path(tempfile.mkdtemp(prefix="copy-", dir=made.parent)) / "site"
    copy.parent.chmod(0o755)
    shutil.copytree(made, copy)
    for name in ("main.cf", "master.cf", "dovecot.conf"):
        (copy / name).write_text((copy / name).read_text().replace(str(made), str(copy)))
    if ROOT:
        for path in made.rglob("*"):
            owner = path.stat()
            os.chown(copy / path.relative_to(made), owner.st_uid, owner.st_gid)
    # Reachable from outside, so that all checks look at it.
    change(copy, inet_interfaces="all", maillog_file=None, maillog_file_prefixes=None)
    yield copy
    shutil.rmtree(copy.parent)


def change(site: Path, **values: str | None) -> None:
    edit_main_cf(str(site / "main.cf"), values)


def replace(site: Path, name: str, old: str, new: str) -> None:
    text = (site / name).read_text()
    assert old in text
    (site / name).write_text(text.replace(old, new))


def findings(site: Path, check: str = "") -> list[Finding]:
    return [one for one in check_site(Site.of(str(site))) if not check or one.check == check]


def line_of(site: Path, name: str) -> int:
    origin = Settings.load(str(site), strict=False).origin(name)
    assert origin is not None
    return origin.line


# --- clean sites ------------------------------------------------------------------------------------------------

def test_a_fresh_site_says_nothing(site: Path) -> None:
    assert [finding.lines() for finding in findings(site)] == []
    done = CliRunner().invoke(cli, ["-c", str(site), "check"])
    assert (done.exit_code, done.output) == (0, "")


@pytest.mark.skipif(not Path("/usr/share/postfix/master.cf.dist").exists() or not Path("/etc/dovecot").exists(),
                    reason="Debian's postfix and dovecot packages are not installed")
def test_debians_fresh_configuration_says_nothing(site: Path) -> None:
    """Debian's postfix and dovecot as installed; the certificate that its ssl-cert package makes is ours here."""
    shutil.copyfile("/usr/share/postfix/master.cf.dist", site / "master.cf")
    shutil.copytree("/etc/dovecot", site, dirs_exist_ok=True)
    for name in ("vmail", "dkim"):
        shutil.rmtree(site / name)
    ssl = site / "conf.d/10-ssl.conf"
    ssl.write_text(ssl.read_text().replace("/etc/dovecot/private/dovecot.pem", f"{site}/certs/server.crt")
                   .replace("/etc/dovecot/private/dovecot.key", f"{site}/certs/server.key"))
    (site / "main.cf").write_text(f"""\
smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
biff = no
append_dot_mydomain = no
readme_directory = no
compatibility_level = 3.6
smtpd_tls_cert_file={site}/certs/server.crt
smtpd_tls_key_file={site}/certs/server.key
smtpd_tls_security_level=may
smtp_tls_CApath=/etc/ssl/certs
smtp_tls_security_level=may
smtp_tls_session_cache_database = btree:${{data_directory}}/smtp_scache
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
myhostname = localhost
alias_maps = hash:{site}/aliases
alias_database = hash:{site}/aliases
mydestination = $myhostname, mx, localhost.localdomain, , localhost
relayhost =
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128
mailbox_size_limit = 0
recipient_delimiter = +
inet_interfaces = all
inet_protocols = all
queue_directory = {site}/spool
data_directory = {site}/data
""")
    assert [finding.lines() for finding in findings(site)] == []
    away = site.parent / "dovecot"              # where Debian has it: main.cf's folder gets a link
    away.mkdir()
    for name in ("dovecot.conf", "conf.d"):
        shutil.move(site / name, away / name)
    (site / "dovecot.conf").symlink_to(away / "dovecot.conf")
    found = Site.of(str(site))
    assert found.errors == [] and found.dovecot is not None and found.dovecot.where("ssl_cert").startswith(str(away))
    assert [finding.lines() for finding in findings(site)] == []


# --- one fault each ---------------------------------------------------------------------------------------------

Fault = Callable[[Path], None]


def _world_writable(site: Path) -> None:
    (site / "main.cf").chmod(0o666)


def _old_table(site: Path) -> None:
    old = (site / "virtual.db").stat().st_mtime - 1000
    os.utime(site / "virtual.db", (old, old))
    os.utime(site / "virtual", (old + 500, old + 500))


def _without(name: str) -> Fault:
    return lambda site: (site / name).unlink()


def _set(**values: str) -> Fault:
    return lambda site: change(site, **{name: text.replace("SITE", str(site)) for name, text in values.items()})


def _write(name: str, text: str) -> Fault:
    return lambda site: None if (site / name).write_text(text.replace("SITE", str(site))) else None


def _plugin(line: str) -> Fault:
    return _dovecot(f"plugin {{\n  {line}\n}}\n")


def _dovecot(text: str) -> Fault:
    def append(site: Path) -> None:
        with (site / "dovecot.conf").open("a") as file:
            file.write(text)
    return append


def _replace(name: str, old: str, new: str) -> Fault:
    return lambda site: replace(site, name, old, new)


def _all(*faults: Fault) -> Fault:
    def apply(site: Path) -> None:
        for fault in faults:
            fault(site)
    return apply


def _other_key(site: Path) -> None:
    other = site.parent / "other"
    assert setup.make_site(str(other)) == 0
    shutil.copyfile(other / "certs/server.key", site / "certs/server.key")


E, W, N = Severity.ERROR, Severity.WARNING, Severity.NOTE


@pytest.mark.parametrize(("fault", "check", "severity", "text", "place", "mend"), [
    pytest.param(_world_writable, "configuration files", E, "group or other writable", "main.cf", "chmod go-w",
                 id="everybody may write main.cf"),
    pytest.param(lambda site: (site / "x").symlink_to("/etc/passwd"), "configuration files", W,
                 "symlink leaves directory", "x", "put the file itself there", id="a link to elsewhere"),
    pytest.param(_old_table, "tables", W, "virtual.db is older than source file", "virtual", "postmap hash:",
                 id="a table older than its text"),
    pytest.param(_without("virtual.db"), "tables", E, "virtual.db does not exist", "virtual_alias_maps",
                 "postmap hash:",
                 id="a table that was not built"),
    pytest.param(_without("aliases.db"), "tables", E, "aliases.db does not exist", "alias_maps", "postalias hash:",
                 id="aliases that were not built"),
    pytest.param(_without("virtual"), "tables", W, "virtual.db is missing", "virtual_alias_maps", "restore",
                 id="a table without its text"),
    pytest.param(_set(header_checks="pcre:/nowhere/checks"), "tables", E, "pcre:/nowhere/checks does not exist",
                 "header_checks", "make /nowhere/checks", id="a table that is not there"),
    pytest.param(_set(transport_maps="unionmap:{texthash:/nowhere/t, static:x}"), "tables", E,
                 "texthash:/nowhere/t does not exist", "transport_maps", "", id="a table inside another"),
    pytest.param(_set(transport_maps="hsah:/etc/x"), "table types", E, "unsupported dictionary type: hsah",
                 "transport_maps", "postconf -m", id="a misspelt table type"),
    pytest.param(_set(mynetworks="127.0.0.0/8, /nowhere/networks"), "list files", E, "/nowhere/networks does not exist",
                 "mynetworks", "make", id="a list's file"),
    pytest.param(_set(smtpd_tls_CAfile="/nowhere/ca.pem"), "named files", E, "/nowhere/ca.pem does not exist",
                 "smtpd_tls_CAfile", "make", id="authorities"),
    pytest.param(_set(mailbox_command="/nowhere/procmail -a"), "programs", E, "/nowhere/procmail does not exist",
                 "mailbox_command", "install", id="mailbox_command"),
    pytest.param(_all(_set(default_transport="gone"),
                      _replace("master.cf", "anvil ",
                      "gone unix - n n - - pipe user=nobody argv=/nowhere/gone\nanvil ")),
                 "programs", E, "/nowhere/gone does not exist", "master.cf", "install", id="a pipe's program"),
    pytest.param(_all(_set(default_transport="gone"),
                      _replace("master.cf", "anvil ", "gone unix - n n - - pipe argv=/bin/cat\nanvil ")),
                 "programs", E, "missing user=", "master.cf", "pipe(8)", id="a pipe without user="),
    pytest.param(_write("aliases", "postmaster: root\nlist: :include:/nowhere/list\n"), "aliases", E,
                 "/nowhere/list does not exist", "aliases:2", "make /nowhere/list", id="an :include: list"),
    pytest.param(_write("aliases", "postmaster: root\n\nbot: \"|/nowhere/bot -x\"\n"), "aliases", E,
                 "/nowhere/bot does not exist", "aliases:3", "install", id="a command of an alias"),
    pytest.param(_write("aliases", "postmaster: root\nno colon here\n"), "aliases", W, "need name:value pair",
                 "aliases:2", "name:", id="a line that is no alias"),
    pytest.param(_write("aliases", "root: anna\n"), "aliases", W, "no alias for postmaster", "aliases",
                 "postmaster: root",
                 id="no postmaster"),
    pytest.param(_set(mydestination="$myhostname, demo.test"), "domains", W,
                 "do not list domain demo.test in BOTH mydestination and virtual_mailbox_domains",
                 "virtual_mailbox_domains", "take demo.test out", id="mydestination and virtual_mailbox_domains"),
    pytest.param(_set(virtual_alias_domains="demo.test"), "domains", W,
                 "do not list domain demo.test in BOTH virtual_alias_domains and virtual_mailbox_domains",
                 "virtual_mailbox_domains", "take demo.test out", id="two virtual classes"),
    pytest.param(_set(relay_domains="inline:{demo.test=x}"), "domains", W,
                 "do not list domain demo.test in BOTH virtual_mailbox_domains and relay_domains", "relay_domains",
                 "take demo.test out", id="a table of domains"),
    pytest.param(_set(virtual_alias_maps="inline:{@demo.test=anna@demo.test}"), "catch-alls", N,
                 "takes the mail of every address", "virtual_alias_maps", "user@demo.test user@demo.test",
                 id="a catch-all above mailboxes"),
    pytest.param(_set(myorigin="other.test"), "own domain", W, "myorigin other.test is in no list", "mydestination",
                 "other.test", id="an origin that is nobody's"),
    pytest.param(_write("certs/server.crt", "damaged"), "certificates", E, "holds no certificate",
                 "smtpd_tls_cert_file",
                 "fit", id="a damaged certificate"),
    pytest.param(_without("certs/server.key"), "certificates", E, "cannot read private key", "smtpd_tls_cert_file", "",
                 id="no key"),
    pytest.param(_other_key, "certificates", E, "does not belong to", "smtpd_tls_cert_file", "fit", id="another's key"),
    pytest.param(lambda site: (site / "certs/server.key").chmod(0o644), "certificates", E,
                 "everybody on this machine can read", "smtpd_tls_cert_file", "chmod o-rwx", id="an open key"),
    pytest.param(_set(myhostname="mail.demo.test"), "certificates", W, "is not for mail.demo.test",
                 "smtpd_tls_cert_file", "mail.demo.test", id="another name"),
    pytest.param(lambda site: next((site / "dkim").rglob("*.key")).chmod(0o644), "signing keys", E,
                 "everybody on this machine can read", "dkim_key_directory", "chmod o-rwx", id="an open DKIM key"),
    pytest.param(_set(smtpd_relay_restrictions="permit_mynetworks, permit",
                 smtpd_recipient_restrictions="reject_unauth_"
                      "pipelining, permit, reject"), "open relay", E, "open relay: 2525/inet",
                 "smtpd_relay_restrictions", "reject_unauth_destination", id="permit"),
    pytest.param(_set(smtpd_recipient_restrictions="check_sender_access inline:{demo.test=OK}, permit_mynetworks, "
                      "reject_unauth_destination", smtpd_relay_restrictions=""), "open relay", E,
                 "check_sender_access inline:{demo.test=OK} in smtpd_recipient_restrictions",
                 "smtpd_recipient_restrictions", "that anybody can write", id="OK for a sender"),
    pytest.param(_set(relay_domains="static:all"), "open relay", E, "open relay", "", "", id="every domain is relayed"),
    pytest.param(_set(mynetworks="0.0.0.0/0"), "open relay", E, "permit_mynetworks in smtpd_relay_restrictions",
                 "smtpd_relay_restrictions", "", id="everybody is ours, by policy"),
    pytest.param(_set(mynetworks="127.0.0.0/8 0.0.0.0/0"), "mynetworks", E, "0.0.0.0/0: everybody may send",
                 "mynetworks", "mynetworks =", id="everybody is ours"),
    pytest.param(_set(mynetworks="127.0.0.0/8 11.0.0.0/8"), "mynetworks", W, "11.0.0.0/8", "mynetworks", "networks",
                 id="too many are ours"),
    pytest.param(_set(virtual_minimum_uid="4000000"), "virtual owners", E, "is below virtual_minimum_uid 4000000",
                 "virtual_uid_maps", "virtual_minimum_uid =", id="a uid that is too small"),
    pytest.param(_set(virtual_uid_maps=""), "virtual owners", E, "virtual_uid_maps is empty", "virtual_uid_maps",
                 "virtual_uid_maps = static:5000", id="no uid"),
    pytest.param(_set(virtual_mailbox_base="/nowhere/vmail"), "virtual owners", E, "/nowhere/vmail does not exist",
                 "virtual_mailbox_base", "mkdir -p", id="no folder of mailboxes"),
    pytest.param(_set(smtpd_sasl_path="private/other"), "sasl socket", E, "has no listener", "smtpd_sasl_path",
                 "unix_listener", id="another auth socket"),
    pytest.param(_set(virtual_transport="lmtp:unix:/nowhere/lmtp"), "lmtp socket", E, "nobody listens on /nowhere/lmtp",
                 "virtual_transport", "unix_listener", id="another LMTP socket"),
    pytest.param(_set(default_transport="gone:[relay.test]"), "transports", E, "master.cf has no service gone",
                 "default_transport", "gone unix", id="a transport without service"),
    pytest.param(_all(_set(transport_maps="texthash:SITE/transport"), _write("transport", "# to\nx.test gone:[y]\n")),
                 "transports", W, "transport gone", "transport:2", "gone unix", id="a table's transport"),
    pytest.param(_plugin("fts = solr"), "full text", Severity.NOTE, "that of solr is not read", "", "",
                 id="another full text"),
    pytest.param(_plugin("fts_languages = en"), "full text", Severity.NOTE, "fts_languages has no effect", "", "",
                 id="languages"),
    pytest.param(_plugin("fts_message_max_size = lots"), "full text", W, "a number is wanted", "", "",
                 id="a size that is none"),
    pytest.param(_dovecot("protocols = imap lmtp\nprotocol lmtp {\n  mail_plugins = quota sieve\n}\n"), "plugins", W,
                 "mail_plugins has sieve: users' scripts are kept, but not run", "", "take sieve out", id="scripts"),
    pytest.param(_dovecot("mail_plugins = quota fts welcome\n"), "plugins", N,
                 "mail_plugins has welcome, which does nothing here: no command", "", "", id="a quiet plugin"),
    pytest.param(_replace("dovecot.conf", "mail_location = maildir:", "mail_location = mdbox:"), "mailbox formats", E,
                 "there is no mailbox format mdbox here", "", "maildir: or mbox:", id="dbox"),
    pytest.param(_dovecot("namespace all {\n  prefix = all.\n  location = virtual:~/virtual\n}\n"),
                 "mailbox formats", W, "location of namespace all: there is no mailbox format virtual", "",
                 "take it out", id="virtual"),
    pytest.param(_set(smtpd_sasl_type="cyrus"), "sasl socket", E, "smtpd_sasl_type cyrus is not available",
                 "smtpd_sasl_type", "smtpd_sasl_type = dovecot", id="Cyrus SASL"),
    pytest.param(_plugin("zlib_save = zstd"), "plugins", W, "new messages are stored as they are", "", "gz, bz2",
                 id="a compression that is not there"),
    pytest.param(_dovecot("mail_plugins = mail_log\nplugin {\n  mail_log_fields = uid x\n}\n"), "plugins", E,
                 "Unknown field in mail_log_fields: 'x'", "", "docs/mail-plugins.md", id="a word of a plugin"),
    pytest.param(_dovecot("mail_plugins = mystery\n"), "plugins", N, "a plugin that is not known", "", "",
                 id="an unknown plugin"),
])
def test_fault(site: Path, fault: Fault, check: str, severity: Severity, text: str, place: str, mend: str) -> None:
    fault(site)
    found = findings(site, check)
    assert found, [one.lines() for one in findings(site)]
    one = found[0]
    assert one.severity is severity and text in one.text and mend in one.mend, one
    if place and place in ("main.cf", "master.cf"):
        assert one.file == str(site / place)
    elif place.partition(":")[0] in ("aliases", "virtual", "x", "transport"):
        name, _, line = place.partition(":")
        assert (one.file, one.line) == (str(site / name), int(line or 0))
    elif place:
        assert (one.file, one.line) == (str(site / "main.cf"), line_of(site, place))
    assert all(other.severity is not Severity.WARNING or "failed" not in other.text for other in findings(site))


def test_every_check_has_a_fault_above() -> None:
    """Those that need root are below."""
    names = {mark.values[1] for mark in test_fault.pytestmark[0].args[1]}     # type: ignore[attr-defined]
    by_root = {"queue folders", "queue files", "data directory", "mail spool", "table rights", "mailbox places",
            "locks"}
    assert {check.name for check in CHECKS} <= names | by_root


@pytest.mark.parametrize(("days", "severity", "text"), [
    pytest.param(2000, E, "expired on", id="expired"),
    pytest.param(-20, W, "expires on", id="soon"),
    pytest.param(-100, None, "", id="later"),
])
def test_certificate_ends(site: Path, days: int, severity: Severity | None, text: str) -> None:
    from cryptography import x509
    ends = x509.load_pem_x509_certificate((site / "certs/server.crt").read_bytes()).not_valid_after_utc
    loaded = Site.of(str(site))
    loaded.now = (ends + datetime.timedelta(days=days)).timestamp()
    found = [one for one in check_site(loaded) if one.check == "certificates"]
    assert [one.severity for one in found] == ([severity] if severity else [])
    assert all(text in one.text for one in found)


def test_not_yet_valid(site: Path) -> None:
    loaded = Site.of(str(site))
    loaded.now = 0
    assert "not valid before" in next(one for one in check_site(loaded) if one.check == "certificates").text


# --- as root ----------------------------------------------------------------------------------------------------

def _queue(site: Path) -> Path:
    owner = pwd.getpwnam("postfix")
    for name in ("deferred", "maildrop", "public", "corrupt"):
        (site / "spool" / name).mkdir(exist_ok=True)
        os.chown(site / "spool" / name, owner.pw_uid, -1)
    return site / "spool"


@as_root
def test_owners_of_the_queue(site: Path) -> None:
    spool = _queue(site)
    os.chown(spool / "deferred", 0, 0)
    (spool / "corrupt/ABC").write_text("x")
    (spool / "maildrop").chmod(0o1777)
    found = {one.postfix or one.text: one for one in findings(site)}
    assert f"not owned by postfix: {spool}/deferred" in found
    assert f"not owned by group postdrop: {spool}/maildrop" in found
    assert "damaged message: corrupt/ABC" in found
    assert f"writable by everybody: {spool}/maildrop" in found


@as_root
def test_folders_that_others_write(site: Path) -> None:
    (site / "spool").chmod(0o777)
    (site / "data/cache").write_text("x")
    (site / "data").chmod(0o770)
    said = {one.postfix for one in findings(site)}
    assert {f"group or other writable: {site}/spool/.", f"group or other writable: {site}/data/.",
            f"not owned by postfix: {site}/data/./cache"} <= said


@as_root
def test_a_table_that_mail_owner_cannot_read(site: Path) -> None:
    (site / "virtual.db").chmod(0o600)
    (one,) = findings(site, "table rights")
    assert "postfix cannot read" in one.text and one.line == line_of(site, "virtual_alias_maps")


@as_root
def test_a_missing_mail_spool(site: Path) -> None:
    change(site, mail_spool_directory="/nowhere/mail")
    (one,) = findings(site, "mail spool")
    assert "/nowhere/mail does not exist" in one.text


@as_root
def test_a_folder_of_mailboxes_of_somebody_else(site: Path) -> None:
    os.chown(site / "vmail", 0, 0)
    os.chown(site / "vmail/demo.test", 0, 0)
    (one,) = findings(site, "virtual owners")
    assert "cannot write in" in one.text and "chown -R" in one.mend


@as_root
def test_an_auth_socket_that_is_closed(site: Path) -> None:
    replace(site, "dovecot.conf", "user = postfix", "user = root")
    replace(site, "dovecot.conf", "group = postfix", "group = root")
    (one,) = findings(site, "sasl socket")
    assert "is closed to postfix" in one.text


@as_root
def test_users_whom_dovecot_refuses(site: Path) -> None:
    text = (site / "dovecot.conf").read_text().splitlines()
    at = next(number for number, line in enumerate(text) if line.startswith("first_valid_uid"))
    text[at] = "first_valid_uid = 100000"
    (site / "dovecot.conf").write_text("\n".join(text) + "\n")
    (one,) = findings(site, "mailbox places")
    assert "see first_valid_uid" in one.text and one.line == at + 1 and one.mend.startswith("first_valid_uid = ")


# --- the two sides ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("location", "text", "mend"), [
    pytest.param("maildir:~/Maildir", "users do not see their mail", "mail_location = maildir:SITE/vmail/%d/%n",
                 id="another folder"),
    pytest.param("mbox:~/mail:INBOX=/var/mail/%u", "mail_location reads mbox",
                 "mail_location = maildir:SITE/vmail/%d/%n",
                 id="another format"),
])
def test_mail_location(site: Path, location: str, text: str, mend: str) -> None:
    lines = (site / "dovecot.conf").read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("mail_location"))
    lines[at] = f"mail_location = {location}"
    (site / "dovecot.conf").write_text("\n".join(lines) + "\n")
    (one,) = findings(site, "mailbox places")
    assert text in one.text and one.mend.startswith(mend.replace("SITE", str(site))), one
    assert (one.file, one.line) == (str(site / "dovecot.conf"), at + 1)


@pytest.mark.parametrize(("ours", "theirs", "severity"), [
    pytest.param("flock", "fcntl", E, id="nothing in common"),
    pytest.param("fcntl, dotlock", "dotlock fcntl", W, id="another order"),
    pytest.param("fcntl", "fcntl dotlock", N, id="one of two"),
    pytest.param("fcntl, dotlock", "fcntl dotlock", None, id="the same"),
])
def test_locks(site: Path, ours: str, theirs: str, severity: Severity | None) -> None:
    text = (site / "vmailbox").read_text().replace("/\n", "\n")
    (site / "mbox").write_text(text)
    change(site, virtual_mailbox_maps=f"texthash:{site}/mbox", virtual_mailbox_lock=ours)
    with (site / "dovecot.conf").open("a") as conf:
        conf.write(f"mbox_write_locks = {theirs}\n")
    found = [one for one in findings(site, "locks") if "virtual_mailbox_lock" in one.text]
    assert [one.severity for one in found] == ([severity] if severity else [])


# --- the command ------------------------------------------------------------------------------------------------

def test_everything_at_once(site: Path) -> None:
    change(site, relayhots="x", header_checks="pcre:/nowhere/a", mynetworks="0.0.0.0/0")
    done = CliRunner().invoke(cli, ["-c", str(site), "check"])
    assert done.exit_code == 1
    for text in (f"mailsuite: fatal: {site}/main.cf, line {line_of(site, 'relayhots')}: relayhots: unknown parameter",
                 f"mailsuite: error: {site}/main.cf, line {line_of(site, 'header_checks')}: header_checks:",
                 "0.0.0.0/0: everybody"):
        assert text in done.output
    done = CliRunner().invoke(cli, ["-c", str(site), "check", "--json"])
    said = json.loads(done.stdout)
    assert {"configuration", "tables", "mynetworks"} <= {one["check"] for one in said}
    assert all(one["severity"] in ("error", "warning", "note") for one in said)


def test_what_a_start_refuses_is_told_too(site: Path) -> None:
    with (site / "master.cf").open("a") as master_cf:
        master_cf.write("127.0.0.1:2500 inet n - n - - smtpd\n127.0.0.1:02500 inet n - n - - smtpd\n")
    done = CliRunner().invoke(cli, ["-c", str(site), "check"])
    assert done.exit_code == 1 and "both listen on 127.0.0.1:2500" in done.output


def test_postfix_check_speaks_as_postfix(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mailsuite.cli.check import check_command
    (site / "main.cf").chmod(0o664)
    assert check_command(str(site), postfix=True) == 0
    assert capsys.readouterr().err == f"postfix/postfix-script: warning: group or other writable: {site}/./main.cf\n"


def test_a_warning_is_no_failure(site: Path) -> None:
    (site / "virtual").unlink()
    assert CliRunner().invoke(cli, ["-c", str(site), "check"]).exit_code == 0


def test_no_configuration_at_all(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["-c", str(tmp_path), "check"])
    assert done.exit_code == 1 and "main.cf: No such file or directory" in done.output


def test_a_check_that_fails_hides_no_other(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mailsuite.check import checks

    def broken(site: Site) -> Iterator[Finding]:
        raise RuntimeError("x")
        yield
    monkeypatch.setattr(checks, "CHECKS", (checks.Check("broken", broken), *CHECKS))
    (site / "virtual").unlink()
    assert [one.check for one in findings(site)] == ["broken", "tables"]


def test_start_tells_faults(site: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """The cheap ones; the log gets what Postfix's start would log."""
    from mailsuite.master.control import _tell_faults
    (site / "main.cf").chmod(0o664)
    (site / "virtual").unlink()
    _tell_faults(str(site))
    said = capsys.readouterr().err
    assert f"mailsuite: warning: {site}/main.cf: group or other writable" in said and "virtual.db is missing" in said
    assert [record.getMessage() for record in caplog.records] == [f"group or other writable: {site}/./main.cf"]
