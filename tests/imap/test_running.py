"""IMAP extensions through a whole suite: UNAUTHENTICATE (a connection goes back to a login process, plain and through
TLS), URLs of other users' messages in URLFETCH, CATENATE and BURL, and UTF8=ACCEPT with a client that uses it.
"""

import imaplib
import smtplib
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.support.suite import Suite, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("imap-running")]


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with open_folder() as folder:
        suite = Suite(folder)
        conf = suite.top / "dovecot.conf"
        conf.write_text(conf.read_text() + "disable_plaintext_auth = no\nimap_urlauth_host = *\n")
        suite.postconf(f"smtpd_burl_path={suite.top}/run/imap-urlauth")
        suite.start()
        try:
            yield suite
        finally:
            suite.stop()


class Client:
    """A connection and its lines."""

    def __init__(self, suite: Suite, name: str) -> None:
        sock = socket.create_connection(("127.0.0.1", suite.ports[name]), timeout=20)
        if name == "imaps":
            sock = _wrapped(sock)
        self.sock, self.file = sock, sock.makefile("rb")

    def say(self, line: str) -> None:
        self.sock.sendall(line.encode() + b"\r\n")

    def until(self, tag: str) -> str:
        """The tagged line."""
        while line := self.file.readline().decode():
            if line.startswith(tag):
                return line.rstrip()
        raise AssertionError(f"closed before {tag}")

    def ask(self, line: str) -> str:
        self.say(line)
        return self.until(line.split()[0] + " ")

    def close(self) -> None:
        self.file.close()
        self.sock.close()


def _unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _wrapped(sock: socket.socket) -> socket.socket:
    return _unchecked().wrap_socket(sock)


def sessions(suite: Suite, user: str) -> int:
    return suite.program("doveadm", "who", "-1", user).stdout.count(f"{user} ")


@pytest.mark.parametrize("port", ["imap", "imaps"])
def test_one_connection_for_two_users(suite: Suite, port: str) -> None:
    (first, one), (second, other) = list(suite.users.items())[:2]
    client = Client(suite, port)
    try:
        assert " OK " in client.file.readline().decode()
        assert client.ask(f"a1 LOGIN {first} {one}").startswith("a1 OK [CAPABILITY ")
        assert client.ask("a2 CREATE of-the-first").startswith(("a2 OK", "a2 NO [ALREADYEXISTS]"))
        assert client.ask("a3 ENABLE IMAP4rev2").startswith("a3 OK")
        assert client.ask("a4 SELECT INBOX").startswith("a4 OK")
        assert client.ask("a5 UNAUTHENTICATE").startswith("a5 OK Unauthenticate completed")
        # Nothing of the user is left
        assert client.ask("a6 SELECT INBOX").startswith("a6 BAD Error in IMAP command received by server")
        assert client.ask("a7 UNAUTHENTICATE").startswith("a7 BAD")
        wait_for(lambda: sessions(suite, first) == 0, what="the session's end")
        assert client.ask(f"a8 LOGIN {second} wrong").startswith("a8 NO [AUTHENTICATIONFAILED]")
        assert client.ask(f"a9 LOGIN {second} {other}").startswith("a9 OK [CAPABILITY ")
        client.say('b1 LIST "" of-the-first')
        assert client.file.readline().startswith(b"b1 OK")
        # What was enabled is not any more: names are modified UTF-7, SEARCH answers SEARCH
        assert client.ask("b2 SELECT INBOX").startswith("b2 OK")
        client.say("b3 SEARCH ALL")
        assert client.file.readline().startswith(b"* SEARCH")
        assert client.until("b3 ").startswith("b3 OK")
        # And some times more, with everything that follows already sent: the login process reads nothing that comes
        # after it has given the connection away
        for _ in range(6):
            client.say(f"b4 UNAUTHENTICATE\r\nb5 NOOP\r\nb6 LOGIN {first} {one}\r\nb7 SELECT INBOX")
            assert client.until("b5 ").startswith("b5 OK NOOP completed")
            assert client.until("b6 ").startswith("b6 OK")
            assert client.until("b7 ").startswith("b7 OK")
            assert client.ask("c1 NOOP").startswith("c1 OK")
        assert client.ask("b8 LOGOUT").startswith("b8 OK")
    finally:
        client.close()
    wait_for(lambda: sessions(suite, first) == 0, what="the last session's end")


def test_starttls_after_it(suite: Suite) -> None:
    user, password = next(iter(suite.users.items()))
    client = Client(suite, "imap")
    try:
        client.file.readline()
        assert client.ask(f"a1 LOGIN {user} {password}").startswith("a1 OK")
        assert client.ask("a2 UNAUTHENTICATE").startswith("a2 OK")
        assert client.ask("a3 STARTTLS").startswith("a3 OK")
        client.file.close()
        client.sock = _wrapped(client.sock)
        client.file = client.sock.makefile("rb")
        assert client.ask("a4 STARTTLS").startswith("a4 BAD TLS is already active")
        assert client.ask(f"a5 LOGIN {user} {password}").startswith("a5 OK")
        assert client.ask("a6 UNAUTHENTICATE").startswith("a6 OK")
        assert client.ask("a7 NOOP").startswith("a7 OK")
    finally:
        client.close()




URL = "imap://{user}@mx.test/INBOX/;uid=1{part};urlauth={access}"
MAIL = b"Subject: to be shared\r\n\r\nfrom the first\r\n"


def sealed(client: imaplib.IMAP4, user: str, access: str, part: str = "") -> str:
    """A URL of the first message in a user's INBOX."""
    rump = URL.format(user=user.replace("@", "%40"), access=access.replace("@", "%40"), part=part)
    client.send(b'g1 GENURLAUTH "%b" INTERNAL\r\n' % rump.encode())
    said = [client.readline().decode(), client.readline().decode()]
    assert said[1].startswith("g1 OK"), said
    return said[0].split()[2].strip('"')


def fetched(client: imaplib.IMAP4, url: str) -> bytes:
    """What stands behind the URL, up to the tagged line."""
    client.send(b'f1 URLFETCH "%b"\r\n' % url.encode())
    lines = [client.readline()]
    while not lines[-1].startswith(b"f1 "):
        lines.append(client.readline())
    assert lines[-1].startswith(b"f1 OK"), lines
    return b"".join(lines[:-1]).partition(b" ")[2].partition(b" ")[2].partition(b" ")[2]


def logged_in(suite: Suite, user: str) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", suite.ports["imap"], timeout=20)
    client.login(user, suite.users[user])
    return client


@pytest.fixture(scope="module")
def shared_message(suite: Suite) -> Iterator[imaplib.IMAP4]:
    """The first user's session; there is a message with UID 1."""
    with logged_in(suite, suite.first) as client:
        assert client.append("INBOX", "", "", MAIL)[0] == "OK"
        yield client


@pytest.mark.parametrize(("access", "found"), [
    ("user+{second}", True), ("authuser", True), ("anonymous", True), ("user+{first}", False),
    ("submit+{second}", False), ("user+nobody", False)])
def test_urls_of_another_user(suite: Suite, shared_message: imaplib.IMAP4, access: str, found: bool) -> None:
    access = access.format(first=suite.first, second=suite.second)
    url = sealed(shared_message, suite.first, access)
    with logged_in(suite, suite.second) as client:
        got = fetched(client, url)
        if found:
            assert got == b"{%d}\r\n%b\r\n" % (len(MAIL), MAIL)
        else:
            assert got.startswith(b"NIL\r\n") and b"access allowed for user" in got


def test_urls_that_give_nothing(suite: Suite, shared_message: imaplib.IMAP4) -> None:
    url = sealed(shared_message, suite.first, "authuser")
    with logged_in(suite, suite.second) as client:
        first = suite.first.replace("@", "%40")
        for changed in (url[:-1] + ("0" if url[-1] != "0" else "1"), url.replace("uid=1", "uid=2"),
                        url.replace(first, "nobody"), url.replace("INBOX", "nosuch")):
            assert b"URLAUTH verification failed" in fetched(client, changed), changed
        # and in a message that the second user makes
        client.create("made")
        client.send(f'c1 APPEND made CATENATE (URL "{url}")\r\n'.encode())
        while not (line := client.readline()).startswith(b"c1 "):
            pass
        assert line.startswith(b"c1 OK [APPENDUID"), line


def test_burl(suite: Suite, shared_message: imaplib.IMAP4) -> None:
    """A message of BDAT and BURL, sent by who may; the parts come in order."""
    url = sealed(shared_message, suite.first, f"submit+{suite.second}", "/;section=TEXT")
    with smtplib.SMTP("127.0.0.1", suite.ports["submission"], timeout=20) as client:
        client.starttls(context=_unchecked())
        client.ehlo()
        assert "burl" not in client.esmtp_features
        assert client.docmd("BURL", url + " LAST")[0] == 554
        client.login(suite.second, suite.users[suite.second])
        client.ehlo()
        assert client.esmtp_features["burl"] == "imap"
        assert client.docmd("BURL", url)[0] == 503
        client.docmd("RSET")

        def begin() -> None:
            assert client.mail(suite.second)[0] == 250
            assert client.rcpt(suite.second)[0] == 250

        begin()
        client.send(b"BDAT 25\r\nSubject: made by BURL\r\n\r\n")
        assert client.getreply()[0] == 250
        assert client.docmd("BURL", url) == (250, b"2.5.0 Waiting for additional BURL or BDAT commands")
        client.send(b"BDAT 5 LAST\r\nend\r\n")
        assert client.getreply()[0] == 250
        begin()
        assert client.docmd("BURL", url[:-1] + " LAST") == (554, b"5.6.6 IMAP URL resolution failed")
        assert client.docmd("BURL", "ftp://x LAST")[0] == 503
        begin()
        assert client.docmd("BURL", "ftp://x LAST") == (501, b"5.5.4 Invalid URL: Not an IMAP URL")
        begin()
        assert client.docmd("BURL", url)[0] == 250
        assert client.docmd("BURL", "ftp://x")[0] == 501
        assert client.docmd("BURL", url) == (551, b"5.0.0 Discarded URL after earlier error")
        client.docmd("RSET")
    wait_for(lambda: any(b"made by BURL" in each and each.endswith(b"\n\nfrom the first\nend\n")
                         for each in suite.messages(suite.second)), what="the message")


def test_python_s_client_in_utf8(suite: Suite) -> None:
    """But for its APPEND, which puts "UTF8 (" into the message (Python 3.11)."""
    user, password = next(iter(suite.users.items()))
    with imaplib.IMAP4("127.0.0.1", suite.ports["imap"], timeout=20) as client:
        assert "IMAP4REV2" in client.capabilities
        client.login(user, password)
        assert client.create("Entw&APw-rfe")[0] == "OK"
        message = "From: Jürgen <jürgen@example.test>\r\nSubject: Grüße\r\n\r\nÄ\r\n".encode()
        assert client.append("Entw&APw-rfe", "(\\Seen)", "", message)[0] == "OK"
        assert client.enable("UTF8=ACCEPT")[0] == "OK"
        assert client.select('"Entwürfe"') == ("OK", [b"1"])
        assert client.search(None, "SUBJECT", '"grüße"') == ("OK", [b"1"])
        fetched = client.fetch("1", "(FLAGS BODY.PEEK[])")[1][0]
        assert isinstance(fetched, tuple) and fetched[1] == message
        assert any('"Entwürfe"'.encode() in line for line in client.list()[1] if isinstance(line, bytes))
    assert (suite.top / "vmail").is_dir()
    assert list((suite.top / "vmail").glob("*/*/.Entw&APw-rfe"))
