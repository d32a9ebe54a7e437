"""The real Postfix, Exim and doveadm ask our auth service; our smtpd asks the real Dovecot's; channel binding.

One suite does for all: its smtpd asks a real Dovecot, and its own auth service is asked by the others.
"""

import base64
import hashlib
import hmac
import imaplib
import os
import poplib
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailsuite.cli.site_files import DOMAIN
from mailsuite.tls import binding
from tests.support.exim import exim
from tests.support.suite import Suite, free_port, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("peers"),
              pytest.mark.skipif(os.geteuid() != 0, reason="Postfix and Dovecot are started as root")]

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {top}/spool
data_directory = {top}/data
maillog_file_prefixes = {top}
maillog_file = {top}/mail.log
myhostname = peer.demo.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
alias_maps =
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {socket}
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
"""
MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - error
showq unix n - n - - showq
error unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


DOVECOT_CONF = """\
base_dir = {top}/run
state_dir = {top}/state
log_path = {top}/dovecot.log
protocols =
ssl = no
auth_mechanisms = plain login cram-md5 scram-sha-256
auth_failure_delay = 0
passdb {{
  driver = static
  args = password=from-dovecot
}}
userdb {{
  driver = static
  args = uid=5000 gid=5000 home=/nonexistent
}}
service auth {{
  unix_listener {top}/auth-socket {{
    mode = 0666
  }}
}}
"""
OUR_AUTH = """
auth_mechanisms = plain login cram-md5 scram-sha-256 scram-sha-256-plus apop
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {site}/peers
}}
service auth {{
  unix_listener {site}/auth-exim {{
    mode = 0666
  }}
}}
"""
PEER, SECRET = f"peer@{DOMAIN}", "secret of a peer"


@dataclass
class Site:
    """A suite whose smtpd asks the Dovecot of `dovecot`; its own auth service answers on `auth`."""

    suite: Suite
    dovecot: Path

    @property
    def auth(self) -> Path:
        return self.suite.top / "spool/private/auth"

    @property
    def userdb(self) -> Path:
        return next(path for path in self.suite.top.rglob("auth-userdb") if path.is_socket())


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    if shutil.which("dovecot", path="/usr/sbin") is None:
        pytest.skip("dovecot is not installed")
    with open_folder("dovecot-peer.") as top, open_folder() as folder:
        (top / "dovecot.conf").write_text(DOVECOT_CONF.format(top=top))
        subprocess.run(["/usr/sbin/dovecot", "-c", str(top / "dovecot.conf")], check=True, timeout=30)
        suite = Suite(folder)
        (suite.top / "peers").write_text(f"{PEER}:{{PLAIN}}{SECRET}\n")
        (suite.top / "peers").chmod(0o644)
        with open(suite.top / "dovecot.conf", "a") as file:
            file.write(OUR_AUTH.format(site=suite.top))
        suite.postconf(f"smtpd_sasl_path={top}/auth-socket")
        try:
            wait_for((top / "auth-socket").exists)
            suite.start()
            yield Site(suite, top)
        finally:
            suite.stop()
            subprocess.run(["/usr/bin/doveadm", "-c", str(top / "dovecot.conf"), "stop"], check=False,
                           capture_output=True)


def log_in(smtp: smtplib.SMTP, mechanism: str, user: str, password: str) -> int:
    """The reply's code."""
    smtp.user, smtp.password = user, password
    try:
        return int(smtp.auth(mechanism, getattr(smtp, f"auth_{mechanism.lower().replace('-', '_')}"))[0])
    except smtplib.SMTPAuthenticationError as error:
        return error.smtp_code


def test_our_smtpd_uses_dovecots_auth_service(site: Site) -> None:
    with smtplib.SMTP("localhost", site.suite.ports["submission"], timeout=20) as smtp:
        smtp.starttls(context=site.suite.tls())
        smtp.ehlo()
        assert smtp.esmtp_features["auth"].split() == ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"]
        assert log_in(smtp, "PLAIN", site.suite.first, site.suite.users[site.suite.first]) == 535
        assert log_in(smtp, "CRAM-MD5", f"anybody@{DOMAIN}", "from-dovecot") == 235


@pytest.fixture
def postfix(site: Site) -> Iterator[int]:
    """The port of a real Postfix that asks our service."""
    if shutil.which("postfix", path="/usr/sbin") is None:
        pytest.skip("postfix is not installed")
    port = free_port()
    with open_folder("postfix-peer.") as top:
        for name in ("etc", "spool", "data"):
            (top / name).mkdir()
        shutil.chown(top / "data", "postfix")
        (top / "etc/main.cf").write_text(MAIN_CF.format(top=top, socket=site.auth))
        (top / "etc/master.cf").write_text(MASTER_CF.format(port=port))
        subprocess.run(["/usr/sbin/postfix", "-c", str(top / "etc"), "start"], check=True, timeout=60,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield port
        subprocess.run(["/usr/sbin/postfix", "-c", str(top / "etc"), "abort"], check=False, capture_output=True)


def test_postfix_uses_our_auth_service(site: Site, postfix: int) -> None:
    with smtplib.SMTP("127.0.0.1", postfix, timeout=20) as smtp:
        smtp.ehlo()
        # What is private (-PLUS, APOP) it does not offer: it could not say what its connection is bound by.
        assert smtp.esmtp_features["auth"].split() == ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"]
        assert log_in(smtp, "PLAIN", PEER, "wrong") == 535
    for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
        with smtplib.SMTP("127.0.0.1", postfix, timeout=20) as smtp:
            smtp.ehlo()
            assert log_in(smtp, mechanism, PEER, SECRET) == 235
            assert smtp.mail(PEER)[0] == 250 and smtp.rcpt("who@elsewhere.test")[0] == 250


EXIM_CONF = """\
primary_hostname = mx.exim.test
exim_user = Debian-exim
exim_group = Debian-exim
never_users =
keep_environment =
spool_directory = {top}/spool
log_file_path = {top}/log/%slog
acl_smtp_rcpt = check
host_lookup =
begin acl
check:
  accept authenticated = *
  deny
begin authenticators
"""
EXIM_AUTHENTICATOR = """{name}:
  driver = dovecot
  public_name = {name}
  server_socket = {socket}
  server_set_id = $auth1
"""


def test_exim_uses_our_auth_service(site: Site) -> None:
    """Its SMTP server on standard input and output."""
    program = exim()
    built = subprocess.run([str(program), "-C", "/dev/null", "-bV"], capture_output=True, text=True, check=False)
    if "dovecot" not in built.stdout:
        pytest.skip("this Exim has no authenticator for Dovecot's sockets (exim4-daemon-light)")
    with open_folder("exim-peer.") as top:
        for name in ("spool", "log"):
            (top / name).mkdir()
            shutil.chown(top / name, "Debian-exim", "Debian-exim")
        (top / "exim.conf").write_text(EXIM_CONF.format(top=top) + "".join(
            EXIM_AUTHENTICATOR.format(name=name, socket=site.suite.top / "auth-exim") for name in ("PLAIN", "LOGIN")))

        def secret(password: str) -> str:
            return base64.b64encode(f"\0{PEER}\0{password}".encode()).decode()

        words = [base64.b64encode(word.encode()).decode() for word in (PEER, SECRET)]
        said = ["EHLO client.test", f"AUTH PLAIN {secret('wrong')}", "RCPT TO:<x@y.test>",
                f"AUTH PLAIN {secret(SECRET)}", "MAIL FROM:<a@b.test>", "RCPT TO:<x@y.test>", "QUIT"]
        done = subprocess.run([str(program), "-C", str(top / "exim.conf"), "-bs"], input="\r\n".join([*said, ""]),
                              capture_output=True, text=True, timeout=60, check=False)
        codes = [line[:3] for line in done.stdout.splitlines() if line[3:4] == " "]
        panic = "".join(path.read_text() for path in (top / "log").iterdir())
        assert codes == ["220", "250", "535", "503", "235", "250", "250", "221"], done.stdout + done.stderr + panic
        done = subprocess.run([str(program), "-C", str(top / "exim.conf"), "-bs"], text=True, timeout=60, check=False,
                              input="\r\n".join(["EHLO client.test", "AUTH LOGIN", *words, "QUIT", ""]),
                              capture_output=True)
        assert "235 " in done.stdout, done.stdout + done.stderr


def test_doveadm_asks_our_auth_service(site: Site) -> None:
    """Dovecot's own commands, on our sockets."""
    def doveadm(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["/usr/bin/doveadm", "-c", str(site.dovecot / "dovecot.conf"), *map(str, words)],
                              capture_output=True, text=True, timeout=60, check=False)

    good = doveadm("auth", "test", "-a", site.auth, PEER, SECRET)
    assert good.returncode == 0 and "auth succeeded" in good.stdout, good
    bad = doveadm("auth", "test", "-a", site.auth, PEER, "wrong")
    assert bad.returncode == 77 and "auth failed" in bad.stdout + bad.stderr, bad
    user = doveadm("user", "-a", site.userdb, site.suite.first)
    assert user.returncode == 0 and str(site.suite.maildir(site.suite.first)) in user.stdout, user
    assert doveadm("user", "-a", site.userdb, f"nosuch@{DOMAIN}").returncode == 67
    assert site.suite.program("doveadm", "auth", "test", PEER, SECRET).returncode == 0


def test_apop(site: Site) -> None:
    for password in ("wrong", SECRET):
        pop3 = poplib.POP3("localhost", site.suite.ports["pop3"], timeout=20)
        try:
            assert pop3.apop(PEER, password).startswith(b"+OK") == (password == SECRET)
        except poplib.error_proto:
            assert password == "wrong"
        pop3.close()


# --- channel binding --------------------------------------------------------------------------------------------------


def scram_plus(imap: imaplib.IMAP4, kind: str, data: bytes) -> str:
    """SCRAM-SHA-256-PLUS bound by that data; the server's last word, "OK" or "NO"."""
    header, bare, state = f"p={kind},,".encode(), f"n={PEER},r=abcdef".encode(), []

    def answer(challenge: bytes) -> bytes:
        state.append(challenge)
        if len(state) == 1:
            return header + bare
        if len(state) > 2:
            return b""
        fields = dict(part.split(b"=", 1) for part in challenge.split(b","))
        salted = hashlib.pbkdf2_hmac("sha256", SECRET.encode(), base64.b64decode(fields[b"s"]), int(fields[b"i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        without = b"c=" + base64.b64encode(header + data) + b",r=" + fields[b"r"]
        signature = hmac.digest(hashlib.sha256(key).digest(), b",".join((bare, challenge, without)), "sha256")
        return without + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True)))

    try:
        return imap.authenticate("SCRAM-SHA-256-PLUS", answer)[0]
    except imaplib.IMAP4.error:
        return "NO"


@pytest.mark.parametrize("protocol", ["TLSv1_3", "TLSv1_2"])
def test_logins_are_bound_to_their_connection(site: Site, protocol: str) -> None:
    import ssl

    if not binding.prepare():
        pytest.skip("this Python's TLS connections cannot be bound")
    context = site.suite.tls()
    context.maximum_version = getattr(ssl.TLSVersion, protocol)
    unique = "tls-exporter" if protocol == "TLSv1_3" else "tls-unique"

    def connect() -> tuple[imaplib.IMAP4_SSL, dict[str, bytes]]:
        imap = imaplib.IMAP4_SSL("localhost", site.suite.ports["imaps"], ssl_context=context, timeout=20)
        assert "AUTH=SCRAM-SHA-256-PLUS" in imap.capabilities
        sock = imap.sock
        assert isinstance(sock, ssl.SSLSocket)
        certificate = sock.getpeercert(binary_form=True)
        assert certificate is not None
        return imap, {unique: binding.bindings(sock)[unique], "tls-server-end-point": binding.end_point(certificate)}

    other, _ = connect()
    for kind in (unique, "tls-server-end-point"):
        imap, data = connect()
        assert scram_plus(imap, kind, b"x" * len(data[kind])) == "NO"
        assert scram_plus(imap, kind, data[kind]) == "OK"
        imap.logout()
    _, stolen = connect()
    assert scram_plus(other, unique, stolen[unique]) == "NO"
    other.logout()
    with imaplib.IMAP4("localhost", site.suite.ports["imap"], timeout=20) as plain:
        assert "AUTH=SCRAM-SHA-256" in plain.capabilities
        assert "AUTH=SCRAM-SHA-256-PLUS" not in plain.capabilities
