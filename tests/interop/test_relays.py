"""The real Postfix and Exim as next hop and as client, in the clear and over TLS: every message arrives octet by octet.

Mail of all kinds: 7-bit, 8BITMIME, SMTPUTF8, BDAT, DSN requests, dots and From lines, long headers, no body, 300 KB.
MESSAGES of each way; `make interop` sends 500.
"""

import os
import smtplib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.support.relays import NEED_ROOT, Relay, running_exim, running_postfix
from tests.support.suite import Suite, open_folder, running_suite, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("relays"),
              pytest.mark.skipif(os.geteuid() != 0, reason=NEED_ROOT)]
MESSAGES = int(os.environ.get("MAILSUITE_INTEROP_MESSAGES", "48"))
SENDER = "anna@demo.test"
# RFC 3848 and RFC 6531; Exim has a word of its own.
WITH = {"tls": (b"esmtps", b"utf8smtps", b"utf8esmtps"), "plain": (b"esmtp", b"utf8smtp", b"utf8esmtp")}
SIDES = {"postfix": running_postfix, "exim": running_exim}


@dataclass(frozen=True)
class Mail:
    """One message. options: of MAIL; notify: of RCPT; chunks: BDAT instead of DATA."""

    number: int
    body: bytes
    header: bytes = b""
    options: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()
    chunks: bool = False
    sender: str = SENDER

    @property
    def content(self) -> bytes:
        """CRLF ends."""
        return (b"X-Mark: %d\r\nDate: Sat, 21 Nov 2026 04:00:05 +0000\r\nFrom: <%b>\r\nTo: someone@example.test\r\n"
                b"Message-ID: <%d@demo.test>\r\nSubject: mail %d\r\n%b\r\n%b"
                % (self.number, self.sender.encode(), self.number, self.number, self.header, self.body))


KINDS = (
    lambda n: Mail(n, b"plain\r\n.dot\r\n..two\r\n.\r\n. \r\nFrom the start\r\n>From quoted\r\n\ttab and blanks  \r\n"),
    lambda n: Mail(n, "Grüße, œuvre\r\n".encode() * 20 + bytes(range(0xA0, 0xFF)) + b"\r\n",
                   b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                   b"Content-Transfer-Encoding: 8bit\r\n", ("BODY=8BITMIME",)),
    lambda n: Mail(n, "ünïcode\r\n".encode(), "Subject2: Grüße aus Zürich\r\n".encode(), ("BODY=8BITMIME", "SMTPUTF8"),
                   sender="jürg@demo.test"),
    lambda n: Mail(n, b"a report is wanted\r\n", options=("RET=HDRS", f"ENVID=env-{n}"),
                   notify=("NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;orig-{n}@example.test")),
    lambda n: Mail(n, b"".join(b"%06d %b\r\n" % (line, b"x" * (line % 900)) for line in range(600))),
    lambda n: Mail(n, b"in chunks\r\n.\r\n..\r\n" * 500, chunks=True),
    lambda n: Mail(n, b""),
    lambda n: Mail(n, b"y" * 990 + b"\r\n", b"X-Long: " + b"word " * 180 +
                   b"\r\nX-Folded: one\r\n\ttwo\r\n   three\r\n"),
)


def mails(count: int) -> list[Mail]:
    return [KINDS[number % len(KINDS)](number) for number in range(count)]


def send_all(port: int, recipient: str, some: list[Mail]) -> None:
    """Pipelined, over one connection."""
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as smtp:
        smtp.ehlo("client.test")
        assert {"pipelining", "chunking", "8bitmime", "smtputf8", "dsn"} <= set(smtp.esmtp_features)
        for mail in some:
            commands = [" ".join((f"MAIL FROM:<{mail.sender}>", *mail.options)),
                        " ".join((f"RCPT TO:<{recipient}>", *mail.notify)), *(() if mail.chunks else ("DATA",))]
            smtp.sock.sendall("".join(f"{command}\r\n" for command in commands).encode())
            for command in commands:
                code, said = smtp.getreply()
                assert code == (354 if command == "DATA" else 250), (command, code, said)
            if mail.chunks:
                half = len(mail.content) // 2
                for part, last in ((mail.content[:half], ""), (mail.content[half:], " LAST")):
                    smtp.sock.sendall(f"BDAT {len(part)}{last}\r\n".encode() + part)
                    assert smtp.getreply()[0] == 250
            else:
                stuffed = mail.content.replace(b"\r\n.", b"\r\n..")
                smtp.sock.sendall(stuffed + b".\r\n")
                code, said = smtp.getreply()
                assert code == 250, said


def compare(sent: list[Mail], arrived: list[bytes], words: tuple[bytes, ...]) -> None:
    """words: one of them tells in the topmost hop's Received how it came."""
    found: dict[int, bytes] = {}
    for message in arrived:
        before, mark, rest = message.partition(b"X-Mark: ")
        number = int(rest.split(b"\n", 1)[0])
        assert number not in found, f"{number} came twice"
        found[number] = mark + rest
        received = b"".join(b" ".join(before.split()).partition(b"Received: ")[1:]).lower()
        first = received.split(b"received: ")[1]
        assert any(b"with " + word + b" " in first for word in words), f"{number}: {first!r}"
    for mail in sent:
        assert found[mail.number] == mail.content.replace(b"\r\n", b"\n"), f"message {mail.number} differs"


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Suite, dict[str, Relay]]]:
    """The suite between both relays."""
    with ExitStack() as stack:
        suite = stack.enter_context(running_suite())
        relays = {}
        for name, start in SIDES.items():
            try:
                relays[name] = stack.enter_context(start(stack.enter_context(open_folder(f"{name}-peer.")),
                                                         suite.ports["smtp"]))
            except pytest.skip.Exception:
                continue
        routes = "".join(f"{{ {way}.{name}.test = {way}:[127.0.0.1]:{relay.port} }}, "
                         for name, relay in relays.items() for way in ("tls", "plain"))
        suite.stop()
        with open(suite.top / "master.cf", "a") as file:
            file.write("tls unix - - n - - smtp\n  -o smtp_tls_security_level=encrypt\n"
                       "plain unix - - n - - smtp\n  -o smtp_tls_security_level=none\n")
        with open(suite.top / "vmailbox", "a") as file:
            file.write("box@tls.suite.test suite.test/tls/\nbox@plain.suite.test suite.test/plain/\n"
                       "jürg@demo.test demo.test/anna/\n")
        assert suite.program("postmap", f"hash:{suite.top}/vmailbox").returncode == 0
        suite.postconf(f"transport_maps=inline:{{ {routes} }}", "message_size_limit=20000000",
                       "virtual_mailbox_domains=demo.test tls.suite.test plain.suite.test",
                       "minimal_backoff_time=1s", "queue_run_delay=1s")
        suite.start()
        yield suite, relays


def of(relays: dict[str, Relay], name: str) -> Relay:
    if name not in relays:
        pytest.skip(f"{name} is not there")
    return relays[name]


@pytest.mark.parametrize("way", ["plain", "tls"])
@pytest.mark.parametrize("name", SIDES)
def test_next_hop(world: tuple[Suite, dict[str, Relay]], name: str, way: str) -> None:
    suite, relay = world[0], of(world[1], name)
    before = set(relay.messages())
    sent = mails(MESSAGES)
    send_all(suite.ports["smtp"], f"box@{way}.{name}.test", sent)
    limit = 60 + MESSAGES / 4
    try:
        wait_for(lambda: len(relay.messages()) >= len(before) + len(sent), limit)
    except TimeoutError:
        raise AssertionError(f"{len(relay.messages()) - len(before)} of {len(sent)}\n{relay.log()}\n"
                             f"{suite.log()[-3000:]}") from None
    compare(sent, [message for message in relay.messages() if message not in before],
            WITH[way])
    told(suite, sent, f"box@{way}.{name}.test")


@pytest.mark.parametrize("way", ["plain", "tls"])
@pytest.mark.parametrize("name", SIDES)
def test_client(world: tuple[Suite, dict[str, Relay]], name: str, way: str) -> None:
    suite, relay = world[0], of(world[1], name)
    folder = suite.top / "vmail/suite.test" / way / "new"
    before = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    sent = mails(MESSAGES)
    send_all(relay.port, f"box@{way}.suite.test", sent)

    def arrived() -> list[bytes]:
        return [path.read_bytes() for path in folder.iterdir() if path.name not in before] if folder.is_dir() else []
    try:
        wait_for(lambda: len(arrived()) >= len(sent), 60 + MESSAGES / 4)
    except TimeoutError:
        raise AssertionError(f"{len(arrived())} of {len(sent)}\n{relay.log()}\n{suite.log()[-3000:]}") from None
    compare(sent, arrived(), WITH[way])
    told(suite, sent, f"box@{way}.suite.test")


def told(suite: Suite, sent: list[Mail], recipient: str) -> None:
    """The sender hears of successes that were asked for, with the envelope's id and the original recipient."""
    wanted = [mail.number for mail in sent if mail.notify]

    def reports() -> set[int]:
        texts = [message.lower().replace(b"; ", b";") for message in suite.messages(SENDER)]
        return {number for number in wanted for text in texts
                if b"original-envelope-id: env-%d\n" % number in text and recipient.encode() in text
                and b"original-recipient: rfc822;orig-%d@example.test" % number in text}
    wait_for(lambda: reports() == set(wanted), what=f"reports of {set(wanted) - reports()} are missing")
