"""mailsuite setup, demo, accounts: from nothing to a running mail server.

    make_site("./site")       0, or 1 after one clear sentence on standard error
    run_site("./site")        in the foreground, after a table of what to try

A site is one folder: main.cf, master.cf, dovecot.conf, tables, certificates, the queue, the mailboxes, the logs. What
exists is never overwritten. As root the mailboxes belong to the account "vmail", and where the site's folder is
closed to other accounts (a clone in /root) it is put below SHARED_SITES, with a link in the old place.
"""

import datetime
import grp
import hashlib
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from mailsuite.base.errors import ConfigError
from mailsuite.base.files import write_whole
from mailsuite.cli import site_files
from mailsuite.cli.site_files import DOMAIN, HOST, PORTS, SiteOwner

SHARED_SITES = Path("/var/lib/mailsuite")
PASSWORDS = "passwords.txt"
PASSWORD_LETTERS = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"     # nothing a shell or a reader mistakes


def _complain(text: str) -> int:
    for line in text.split("\n"):
        print(f"mailsuite: {line}", file=sys.stderr)
    return 1


def make_missing_accounts(directory: str) -> int:
    """`mailsuite accounts`."""
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings
    from mailsuite.master.accounts import make_accounts

    try:
        settings = Settings.load(directory, strict=False)
        path = os.path.join(directory, "dovecot.conf")
        dovecot = DovecotSettings.load(path) if os.path.exists(path) else None
        made = make_accounts(settings, dovecot)
    except ConfigError as error:
        return _complain(error.public)
    if made:
        print("\n".join(f"made {what}" for what in made))
    return 0


def make_site(site: str, ports: Mapping[str, int] = PORTS) -> int:
    """`mailsuite setup`: make what is missing of a site."""
    try:
        top = _place(Path(site).absolute())
        owner = _owner()
        _make_files(top, owner, ports)
        _make_certificates(top)
        _make_signing_key(top)
        _make_folders(top, owner)
        _build_tables(top)
    except ConfigError as error:
        return _complain(error.public)
    except OSError as error:
        return _complain(f"cannot make the site {site}: {error.filename or ''}: {error.strerror}")
    return 0


def _place(site: Path) -> Path:
    """Where the site really lies; its folder exists afterwards."""
    if os.geteuid() == 0 and not site.exists() and not _open_to_all(site.parent):
        name = hashlib.sha256(str(site).encode()).hexdigest()[:8]
        real = SHARED_SITES / f"site-{name}"
        real.mkdir(parents=True, exist_ok=True)
        site.symlink_to(real)
        print(f"{site.parent} is closed to other accounts: the site lies in {real}")
    site.mkdir(exist_ok=True)
    if not os.access(site, os.W_OK | os.X_OK):
        raise ConfigError(f"the folder {site} is not writable")
    if os.geteuid() == 0:
        site.resolve().chmod(0o755)
    return site.resolve()


def _open_to_all(folder: Path) -> bool:
    return all(stat.S_IMODE(part.stat().st_mode) & 0o001 for part in [folder, *folder.parents])


def _owner() -> SiteOwner:
    """Accounts to write into the configuration; as root those of Postfix and Dovecot, and vmail."""
    if os.geteuid() != 0:
        me = pwd.getpwuid(os.getuid())
        group = grp.getgrgid(me.pw_gid).gr_name
        return SiteOwner(me.pw_uid, me.pw_gid, me.pw_name, group, group, me.pw_name, me.pw_name)
    try:
        vmail = pwd.getpwnam("vmail")
    except KeyError:
        done = subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
                               "--shell", "/usr/sbin/nologin", "vmail"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigError(f"cannot make the account vmail: {done.stderr.strip()}") from None
        vmail = pwd.getpwnam("vmail")
    return SiteOwner(vmail.pw_uid, vmail.pw_gid, "postfix", "postdrop", "postfix", "dovecot", "dovenull")


def _make_files(top: Path, owner: SiteOwner, ports: Mapping[str, int]) -> None:
    """Configuration, tables and users; new users get random passwords."""
    if (top / "users").exists():
        hashes: dict[str, str] = {}
    else:
        from passlib.hash import sha512_crypt
        words = {f"{user}@{DOMAIN}": "".join(secrets.choice(PASSWORD_LETTERS) for _ in range(12)) for user in site_files.USERS}
        hashes = {address: sha512_crypt.using(rounds=5000).hash(word) for address, word in words.items()}
        text = "".join(f"{address} {word}\n" for address, word in words.items())
        write_whole(top / PASSWORDS, text.encode(), mode=0o600)
    for name, (content, mode) in site_files.render(top, owner, hashes, ports).items():
        if not (top / name).exists():
            write_whole(top / name, content.encode(), mode=mode)


def _make_certificates(top: Path) -> None:
    from certs.authority import ensure_certificates

    ensure_certificates(top / "certs", ["localhost", HOST, "127.0.0.1", "::1"], datetime.datetime.now(datetime.UTC))


def _make_signing_key(top: Path) -> None:
    """The key that dkim_domains names."""
    from mailsuite.cli.mail_identity import make_key
    from mailsuite.config.settings import Settings

    if not (top / "dkim" / DOMAIN / "mail.key").exists():
        make_key(Settings.load(str(top), strict=False), DOMAIN, "mail", "rsa")


def _make_folders(top: Path, owner: SiteOwner) -> None:
    for name in ("spool", "data", "log", "run", "vmail", f"vmail/{DOMAIN}"):
        folder = top / name
        folder.mkdir(exist_ok=True)
        if os.geteuid() == 0 and name.startswith("vmail"):
            os.chown(folder, owner.uid, owner.gid)
            folder.chmod(0o700)


def _build_tables(top: Path) -> None:
    """What postmap and postalias do, for tables whose text is newer."""
    for tool, name in (("postalias", "aliases"), ("postmap", "vmailbox"), ("postmap", "virtual")):
        table, built = top / name, top / f"{name}.db"
        if built.exists() and built.stat().st_mtime >= table.stat().st_mtime:
            continue
        done = subprocess.run([_program(tool), "-c", str(top), f"hash:{table}"], capture_output=True, text=True,
                              check=False)
        if done.returncode:
            raise ConfigError(f"{tool} {table}: {done.stderr.strip()}")


def _program(name: str) -> str:
    """Our own command: the one beside the interpreter, else from PATH (where Postfix may have one of that name)."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or name


def run_site(site: str) -> int:
    """`mailsuite demo`: run in the foreground; the table is printed once everything accepts."""
    from mailsuite.master import control

    top = Path(site).resolve()
    if os.geteuid() == 0 and make_missing_accounts(str(top)):
        return 1
    try:
        _make_certificates(top)
    except ConfigError as error:
        return _complain(error.public)
    status = control.run(str(top), ready=lambda: _print_table(top))
    if status == 0:
        print("\nstopped; mail and users are kept")
    return status


def _print_table(top: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    try:
        words = dict(line.split() for line in (top / PASSWORDS).read_text().splitlines())
    except OSError:
        words = {}
    users = list(words) or [f"{user}@{DOMAIN}" for user in site_files.USERS]
    first, word = users[0], words.get(users[0], "PASSWORD")
    console = Console(highlight=False, soft_wrap=True)
    where = Table(title="mailsuite runs; Ctrl-C stops it", title_justify="left")
    for column in ("service", "address", "security"):
        where.add_column(column)
    for name, security in (("smtp", "STARTTLS"), ("submission", "STARTTLS before AUTH"), ("smtps", "TLS"),
                           ("imap", "STARTTLS"), ("imaps", "TLS"), ("pop3", "STARTTLS"), ("pop3s", "TLS")):
        where.add_row(name, f"localhost:{PORTS[name]}", security)
    console.print(where)
    who = Table()
    who.add_column("user")
    who.add_column("password")
    for user in users:
        who.add_row(user, words.get(user, "(as it was set)"))
    console.print(who)
    print(_lines_to_try(top, first, users[-1], word), flush=True)


def _lines_to_try(top: Path, first: str, second: str, word: str) -> str:
    authority = top / "certs" / "ca.crt"
    return f"""\
Try:
  swaks --server localhost:{PORTS['submission']} -tls --auth PLAIN --auth-user {first} --auth-password '{word}' --from {first} --to {second}
  openssl s_client -connect localhost:{PORTS['smtp']} -starttls smtp -CAfile {authority}
  openssl s_client -connect localhost:{PORTS['imaps']} -CAfile {authority}
  openssl s_client -connect localhost:{PORTS['pop3']} -starttls pop3 -CAfile {authority}
  curl --cacert {authority} --user '{first}:{word}' 'imaps://localhost:{PORTS['imaps']}/INBOX?ALL'
  curl --cacert {authority} --user '{first}:{word}' pop3s://localhost:{PORTS['pop3s']}/
Thunderbird (import {authority} as an authority first):
  incoming  IMAP  localhost, port {PORTS['imaps']}, SSL/TLS, normal password, user name {first}
  outgoing  SMTP  localhost, port {PORTS['smtps']}, SSL/TLS, normal password, user name {first}
Logs: {top}/log   Configuration: {top}/main.cf, master.cf, dovecot.conf   Passwords: {top}/{PASSWORDS}"""
