"""Logins of a whole suite: certificates by name and anew, ManageSieve, other servers, full services, kills."""

import base64
import contextlib
import datetime
import imaplib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certs.authority import ensure_certificates
from tests.support.suite import Suite, free_port, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("logins")]
SIEVE, LIMITED, REMOTE = free_port(), free_port(), free_port()

CONF = """
protocols = imap pop3 sieve
auth_failure_delay = 0
auth_penalty = no
service managesieve-login {{
  inet_listener sieve {{
    port = {sieve}
  }}
}}
service pop3-login {{
  process_limit = 2
}}
local_name mail.named.test {{
  ssl_cert = <{top}/named/server.crt
  ssl_key = <{top}/named/server.key
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {top}/proxied
}}
"""

# The other server, a real Dovecot: it believes what we say of our clients.
REMOTE_CONF = """
protocols = imap
listen = 127.0.0.1
base_dir = {top}/run
state_dir = {top}/state
log_path = {top}/log
default_internal_user = {user}
default_login_user = {login}
ssl = no
disable_plaintext_auth = no
login_trusted_networks = 127.0.0.0/8
imap_id_log = *
first_valid_uid = 1
mail_location = maildir:{top}/mail/%n
passdb {{
  driver = static
  args = password=remote
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={top}/mail/%n
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with open_folder() as folder:
        made = Suite(folder)
        ensure_certificates(made.top / "named", ["mail.named.test"], datetime.datetime.now(datetime.UTC))
        conf = made.top / "dovecot.conf"
        conf.write_text(conf.read_text() + CONF.format(sieve=SIEVE, top=made.top))
        (made.top / "proxied").write_text(
            f"away:{{PLAIN}}local::::::proxy host=127.0.0.1 port={REMOTE} pass=remote\n"
            f"down:{{PLAIN}}local::::::proxy host=127.0.0.1 port={LIMITED} proxy_timeout=1\n")
        made.start()
        try:
            yield made
        finally:
            made.stop()


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 30, (source, 0))
    sock.settimeout(30)
    return sock


def read_until(sock: socket.socket, pattern: bytes) -> bytes:
    octets = b""
    while not re.search(pattern, octets, re.MULTILINE):
        block = sock.recv(65536)
        assert block, octets
        octets += block
    return octets


def ask(sock: socket.socket, line: bytes, pattern: bytes) -> bytes:
    sock.sendall(line + b"\r\n")
    return read_until(sock, pattern)


def certificate(suite: Suite, name: str | None) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connect(suite.ports["imaps"]) as plain, context.wrap_socket(plain, server_hostname=name) as sock:
        return sock.getpeercert(binary_form=True) or b""


def renew(folder: Path, host: str) -> None:
    """A new certificate of the same authority."""
    (folder / "server.crt").unlink()
    ensure_certificates(folder, [host], datetime.datetime.now(datetime.UTC))


def test_certificates_by_name_and_renewed_without_dropping_a_session(suite: Suite) -> None:
    plain, named = certificate(suite, None), certificate(suite, "mail.named.test")
    assert plain and named and plain != named and certificate(suite, "other.test") == plain
    client = imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls(), timeout=30)
    client.login(suite.first, suite.users[suite.first])

    folder = suite.top / "named"
    good = (folder / "server.crt").read_bytes()
    (folder / "server.crt").write_bytes(good.replace(b"M", b"?", 4))
    refused = suite.program("mailsuite", "reload")
    assert refused.returncode == 1 and f"ssl_cert = <{folder}/server.crt" in refused.stderr
    os.kill(suite.pid(), signal.SIGHUP)                              # as who does not ask first
    wait_for(lambda: "the old configuration stays in force" in suite.log(), 30)
    assert re.search(r"reload: certificate .*damaged.*server\.crt", suite.log())
    assert certificate(suite, "mail.named.test") == named           # nothing has changed

    (folder / "server.crt").write_bytes(good)
    renew(folder, "mail.named.test")
    suite.command("reload")
    wait_for(lambda: certificate(suite, "mail.named.test") != named, 30)
    assert certificate(suite, None) == plain
    assert client.noop()[0] == "OK"                                  # through the process that has the old one
    client.logout()


def test_managesieve(suite: Suite) -> None:
    user = suite.first
    with connect(SIEVE) as plain:
        assert b'"STARTTLS"' in read_until(plain, rb"^OK .*\n")
        ask(plain, b"STARTTLS", rb"^OK .*\n")
        with suite.tls().wrap_socket(plain, server_hostname="localhost") as sock:
            assert b'OK "TLS negotiation successful."' in read_until(sock, rb"^OK .*\n")
            response = base64.b64encode(f"\0{user}\0{suite.users[user]}".encode())
            assert b'OK "Logged in."' in ask(sock, b'AUTHENTICATE "PLAIN" "%b"' % response, rb"^OK .*\n")
            assert ask(sock, b'PUTSCRIPT "x" {5+}\r\nkeep;', rb"^(OK|NO) .*\n") == b'OK "PUTSCRIPT completed."\r\n'
            assert b"WARNINGS" in ask(sock, b'SETACTIVE "x"', rb"^(OK|NO) .*\n")
            assert ask(sock, b"LISTSCRIPTS", rb"^OK .*\n").startswith(b'"x" ACTIVE\r\n')
            assert ask(sock, b"LOGOUT", rb"^OK .*\n") == b'OK "Logout completed."\r\n'
    assert (suite.maildir(user) / "sieve/x.sieve").read_bytes() == b"keep;"
    ended = r"managesieve\(\S+\)<\d+><\S+>: Info: Disconnected: Logged out bytes=\d+/\d+"
    wait_for(lambda: re.search(ended, suite.log()))


@contextmanager
def real_dovecot(folder: Path) -> Iterator[Path]:
    root = os.geteuid() == 0
    user, login = ("dovecot", "dovenull") if root else (os.environ.get("USER", "nobody"),) * 2
    uid, gid = (2500, 2500) if root else (os.geteuid(), os.getegid())
    (folder / "mail").mkdir()
    os.chown(folder / "mail", uid, gid)
    conf = folder / "dovecot.conf"
    conf.write_text(REMOTE_CONF.format(top=folder, port=REMOTE, user=user, login=login, uid=uid, gid=gid))
    subprocess.run(["dovecot", "-c", str(conf)], check=True, timeout=30, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield folder / "log"
    finally:
        subprocess.run(["doveadm", "-c", str(conf), "stop"], check=False, timeout=30, capture_output=True)


def proxies(suite: Suite) -> list[str]:
    """What `doveadm proxy list` prints."""
    return suite.program("doveadm", "proxy", "list").stdout.splitlines()


@pytest.mark.skipif(shutil.which("dovecot") is None or os.geteuid() != 0,
                    reason="needs Debian's dovecot-imapd and root (scripts/install-peers)")
def test_a_login_is_passed_on(suite: Suite) -> None:
    with open_folder() as folder, real_dovecot(folder) as log:
        for tls in (False, True):
            with connect(suite.ports["imaps" if tls else "imap"], "127.0.0.7" if tls else "127.0.0.1") as plain:
                sock = suite.tls().wrap_socket(plain, server_hostname="localhost") if tls else plain
                read_until(sock, rb"^\* OK .*\n")
                assert b"Logged in" in ask(sock, b"a LOGIN away local\r\nb CREATE box", rb"^b .*\n")
                text = b"x" * 300_000
                sock.sendall(b"d APPEND box {%d+}\r\n" % len(text) + text + b"\r\n")
                read_until(sock, rb"^d OK .*\n")
                assert ask(sock, b"e LOGOUT", rb"^e OK .*\n")
                sock.close()
        assert len(list((folder / "mail/away/.box").glob("*/*"))) >= 2
        wait_for(lambda: "x-originating-ip=127.0.0.7" in log.read_text())      # by way of its log process
        with connect(suite.ports["imap"]) as sock:
            read_until(sock, rb"^\* OK .*\n")
            assert b"Logged in" in ask(sock, b"a LOGIN away local", rb"^a .*\n")
            wanted = ["away", "imap", "127.0.0.1", "127.0.0.1", str(REMOTE)]
            wait_for(lambda: wanted in [line.split() for line in proxies(suite)])
            for mask, count in (("nobody", 0), ("aw*", 1)):
                said = suite.program("doveadm", "proxy", "kick", mask)
                assert (said.returncode, said.stdout) == (0, f"{count} connections kicked\n")
            with contextlib.suppress(ConnectionError):
                assert sock.recv(100) == b""
            wait_for(lambda: f"proxy(away,127.0.0.1:{REMOTE}): Kicked by admin (" in suite.log())
            wait_for(lambda: not proxies(suite))
        wait_for(lambda: suite.log().count(f"proxy(away,127.0.0.1:{REMOTE}): Disconnected by ") == 2)
    with connect(suite.ports["imap"]) as sock:
        read_until(sock, rb"^\* OK .*\n")
        assert ask(sock, b"a LOGIN down local", rb"^a .*\n") == (
            b"a NO [UNAVAILABLE] Account is temporarily unavailable.\r\n")
        assert b"b OK" in ask(sock, b"b NOOP", rb"^b .*\n")
    failure = (rf"imap-login: Error: proxy\(down,127.0.0.1:{LIMITED}\): connect\(127.0.0.1, {LIMITED}\) failed: "
               r"Connection refused \(after \d+ secs")
    wait_for(lambda: re.search(failure, suite.log()))


def test_a_full_service_drops_who_waited_longest(suite: Suite) -> None:
    sockets = []
    try:
        for _ in range(4):
            sockets.append(connect(suite.ports["pop3"]))
            assert read_until(sockets[-1], rb"\n").startswith(b"+OK")
        for sock in sockets[:2]:
            assert read_until(sock, rb"full") == b"-ERR Connection queue full\r\n"
        for sock in sockets[2:]:
            assert ask(sock, b"NOOP", rb"\n").startswith(b"-ERR")
    finally:
        for sock in sockets:
            sock.close()
    limit = "master: Warning: service(pop3-login): process_limit (2) reached, client connections are being dropped"
    wait_for(lambda: limit in suite.log())
    wait_for(lambda: "pop3-login: Info: Disconnected: Connection queue full (no auth attempts in" in suite.log())


def processes(suite: Suite, name: str) -> list[int]:
    """Those of this suite by the name that ps shows."""
    parent = str(suite.pid())
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "stat").read_text().rpartition(")")[2].split()
            if words[1] == parent and (entry / "comm").read_text().strip() == name[:15]:
                found.append(int(entry.name))
        except (OSError, IndexError):
            continue
    return found


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.skipif(os.geteuid() != 0, reason="looks into processes of other accounts")
def test_descriptors_do_not_leak(suite: Suite) -> None:
    def some_logins() -> None:
        for number in range(6):
            user = suite.first if number % 2 else "nobody"
            with suite.tls().wrap_socket(connect(suite.ports["imaps"]), server_hostname="localhost") as sock:
                read_until(sock, rb"^\* OK .*\n")
                ask(sock, f"a LOGIN {user} {suite.users[suite.first]}".encode(), rb"^a .*\n")
            with connect(suite.ports["imap"]) as sock:
                read_until(sock, rb"^\* OK .*\n")
                sock.sendall(b"a STARTTLS\r\nnonsense")

    watched = [pid for name in ("imap-login", "access", "auth") for pid in processes(suite, name)]
    assert len(watched) >= 3
    some_logins()
    before = {pid: descriptors(pid) for pid in watched}
    for _ in range(3):
        some_logins()
    wait_for(lambda: all(descriptors(pid) <= before[pid] + 1 for pid in watched), 30,
             f"{before} {[descriptors(pid) for pid in watched]}")


@pytest.mark.skipif(os.geteuid() != 0, reason="ends processes of other accounts")
@pytest.mark.parametrize("name", ["auth", "access"])
def test_a_killed_service_costs_a_clear_answer_and_no_session(suite: Suite, name: str) -> None:
    """What is away when it is needed: the client hears so, may try again, and who is in stays in."""
    inside = imaplib.IMAP4("127.0.0.1", suite.ports["imap"], timeout=30)
    inside.login(suite.second, suite.users[suite.second])
    line = f"LOGIN {suite.first} {suite.users[suite.first]}".encode()

    def answer(sock: socket.socket) -> bytes:
        said = ask(sock, b"a " + line, rb"^a .*\n")
        assert re.search(rb"^a (OK|NO \[UNAVAILABLE\]) ", said, re.MULTILINE), said
        return said

    def logged_in() -> bool:
        with connect(suite.ports["imap"]) as sock:
            read_until(sock, rb"^\* OK .*\n")
            return b"a OK" in answer(sock)

    with connect(suite.ports["imap"]) as sock:
        read_until(sock, rb"^\* OK .*\n")
        for pid in processes(suite, name):
            os.kill(pid, signal.SIGKILL)
        answer(sock)
    wait_for(logged_in, 30)
    if name == "auth":
        assert inside.noop()[0] == "OK"
        inside.logout()
