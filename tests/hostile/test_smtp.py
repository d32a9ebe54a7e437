"""What strangers throw at an SMTP server, against a running suite: the safe answer, and others are served meanwhile.

Every test sends its octets raw, then asserts the answer, what arrived, and (in `unharmed`) that the same smtpd
processes live, that none has grown beyond MEMORY, that nothing was logged as unforeseen, and that a friend's mail gets
through.
"""

import random
import re
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailsuite.smtp.client_body import encode_body
from tests.support.suite import Suite, running_suite, wait_for
from tests.system.test_limits import processes

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("hostile")]
MEMORY_KB = 400_000
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    # A stranger is whoever is not 127.0.0.1; the rate limits have tests of their own, and would hide what is tested.
    with running_suite("mynetworks = 127.0.0.1/32", "smtpd_error_sleep_time = 0", "smtpd_hard_error_limit = 1000",
                       "smtpd_client_connection_count_limit = 0", "message_size_limit = 3000000",
                       "greylist_delay = 0", "smtpd_junk_command_limit = 1000") as running:
        yield running


class Line:
    """A raw connection. client: the loopback address it comes from."""

    def __init__(self, suite: Suite, service: str = "smtp", client: str = "127.0.0.2") -> None:
        self.sock: socket.socket = socket.create_connection(("127.0.0.1", suite.ports[service]), LIMIT_S, (client, 0))
        self._rest = b""
        assert self.reply().startswith("220 ")

    def send(self, octets: bytes) -> None:
        self.sock.sendall(octets)

    def reply(self) -> str:
        """One reply, its lines joined by LF; "" when the connection has ended."""
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            while b"\n" not in self._rest:
                try:
                    octets = self.sock.recv(65536)
                except ConnectionError:
                    octets = b""
                if not octets:
                    return "\n".join(lines)
                self._rest += octets
            line, _, self._rest = self._rest.partition(b"\n")
            lines.append(line.rstrip(b"\r").decode())
        return "\n".join(lines)

    def say(self, *commands: bytes) -> list[str]:
        """Each command and its reply."""
        replies = []
        for command in commands:
            self.send(command + b"\r\n")
            replies.append(self.reply())
        return replies

    def begin(self, sender: bytes = b"x@else.test", *recipients: bytes) -> None:
        replies = self.say(b"EHLO h.test", b"MAIL FROM:<" + sender + b">",
                           *(b"RCPT TO:<" + one + b">" for one in recipients))
        assert [reply[:3] for reply in replies] == ["250"] * len(replies)

    def quiet(self) -> bool:
        """Whether nothing more has been said."""
        self.sock.settimeout(0.3)
        try:
            more = self.sock.recv(65536)
        except TimeoutError:
            return not self._rest
        finally:
            self.sock.settimeout(LIMIT_S)
        self._rest += more
        return not self._rest

    def close(self) -> None:
        self.sock.close()


@contextmanager
def line(suite: Suite, service: str = "smtp", client: str = "127.0.0.2") -> Iterator[Line]:
    made = Line(suite, service, client)
    try:
        yield made
    finally:
        made.close()


def rss_kb(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


@pytest.fixture
def friend(suite: Suite) -> bytes:
    return suite.first.encode()


@pytest.fixture(autouse=True)
def unharmed(suite: Suite) -> Iterator[None]:
    """Before and after: the same processes, bounded, and serving."""
    name = f"smtpd:{suite.ports['smtp']}"
    before, log = processes(suite, name), len(suite.log())
    yield
    assert processes(suite, name) == before != []
    assert max(rss_kb(pid) for pid in before) < MEMORY_KB
    assert "Traceback" not in suite.log()[log:]
    count = len(suite.messages(suite.second))
    with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], timeout=LIMIT_S) as smtp:
        smtp.sendmail("friend@else.test", [suite.second], b"Subject: still there\r\n\r\nyes\r\n")
    suite.wait_messages(suite.second, count + 1, LIMIT_S)


# --- the end of data --------------------------------------------------------------------------------------------

ENDS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n\n.\r\n", b"\r\n\x00.\r\n",
        b"\r\n.\x00\r\n", b"\r\n.\r\r\n", b"\x85.\x85"]
SMUGGLED = b"MAIL FROM:<admin@else.test>\r\nRCPT TO:<%b>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"


@pytest.mark.parametrize("end", ENDS, ids=lambda octets: octets.hex("-"))
def test_only_one_end_of_data_ends_a_message(suite: Suite, friend: bytes, end: bytes) -> None:
    """One message, one reply; where an end is taken in spite of its form, what follows is refused as out of step."""
    before = len(suite.messages(suite.first))
    with line(suite) as stranger:
        stranger.begin(b"x@else.test", friend)
        assert stranger.say(b"DATA")[0].startswith("354")
        stranger.send(b"Subject: outer\r\n\r\nfirst" + end + SMUGGLED % friend + b"tail\r\n.\r\n")
        first = stranger.reply()
        stranger.send(b"QUIT\r\n")
        rest = [first]
        while (reply := stranger.reply()):
            rest.append(reply)
    queued = [reply for reply in rest if "queued as" in reply]
    assert len(queued) <= 1
    if queued:
        suite.wait_messages(suite.first, before + 1, LIMIT_S)
    messages = suite.messages(suite.first)[before:]
    assert len(messages) == len(queued)
    assert not any(re.search(rb"^Subject: smuggled", message.partition(b"\n\n")[0], re.M) for message in messages)


@pytest.mark.parametrize("content", [b"a\nb", b"a\rb", b"a\n.\nb", b"a\r.\rb", b"a\r\n..\r\nb", b"\n.\n"])
def test_no_line_end_leaves_that_two_servers_read_two_ways(suite: Suite, friend: bytes, content: bytes) -> None:
    """What we stored has LF only, and a dot alone only where the client stuffed one."""
    before = len(suite.messages(suite.first))
    with line(suite, client="127.0.0.1") as client:
        client.begin(b"x@else.test", friend)
        client.say(b"DATA")
        client.send(b"Subject: s\r\n\r\n" + content + b"\r\n.\r\n")
        reply = client.reply()
    if reply.startswith("250"):
        [message] = suite.wait_messages(suite.first, before + 1, LIMIT_S)[before:]
        assert b"\r" not in message
    else:
        assert reply[:3] in ("550", "521", "554")


def test_what_we_send_on_no_receiver_reads_two_ways() -> None:
    """Outbound: whatever octets a message holds, CR and LF leave as CRLF only, and no dot alone before the end."""
    rng = random.Random(7)
    for _ in range(3000):
        content = bytes(rng.choice(b"\r\n.ab \x00\x85") for _ in range(rng.randrange(40)))
        cut = rng.randrange(len(content) + 1)
        sent = b"".join(encode_body([content[:cut], content[cut:]])) + b".\r\n"
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n", sent), content
        assert sent.find(b"\r\n.\r\n") in (-1, len(sent) - 5), content
        assert not sent.startswith(b".\r\n") or sent == b".\r\n"


# --- commands ---------------------------------------------------------------------------------------------------

def test_what_comes_before_starttls_is_forgotten(suite: Suite, friend: bytes) -> None:
    """RFC 3207 section 4.2; CVE-2011-0411."""
    with line(suite) as stranger:
        assert stranger.say(b"EHLO h.test")[0].startswith("250")
        stranger.send(b"STARTTLS\r\nMAIL FROM:<injected@else.test>\r\nRCPT TO:<" + friend + b">\r\n")
        answer = stranger.reply()
        assert answer[:3] in ("220", "503", "554", "421", "501", "502")
        if answer.startswith("220"):
            stranger.sock = suite.tls().wrap_socket(stranger.sock, server_hostname="mx.demo.test")
            stranger._rest = b""
            assert stranger.say(b"RCPT TO:<" + friend + b">")[0].startswith("503")
            assert stranger.say(b"EHLO h.test")[0].startswith("250")
            assert stranger.say(b"RCPT TO:<" + friend + b">")[0].startswith("503")


def test_octets_in_place_of_a_handshake(suite: Suite) -> None:
    with line(suite) as stranger:
        stranger.say(b"EHLO h.test", b"STARTTLS")
        stranger.send(b"MAIL FROM:<x@else.test>\r\n" * 100)
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            raw = stranger.sock.recv(65536)
            assert not raw.startswith(b"250")
            raise AssertionError


def test_chunks_after_a_refused_one_are_thrown_away(suite: Suite, friend: bytes) -> None:
    with line(suite) as stranger:
        assert stranger.say(b"EHLO h.test")[0].startswith("250")
        stranger.send(b"BDAT 37\r\nMAIL FROM:<injected@else.test>\r\nxxxxxBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
        replies = [stranger.reply() for _ in range(3)]
        assert [reply[:1] for reply in replies] == ["5", "5", "2"]
        stranger.begin(b"x@else.test", friend)
        stranger.send(b"BDAT 4000000\r\n" + b"x" * 4_000_000 + b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
        replies = [stranger.reply() for _ in range(3)]
        assert replies[0].startswith("552")
        assert replies[1][:1] == "5"
        assert replies[2].startswith("250")


@pytest.mark.parametrize("size", [b"-1", b"99999999999999999999", b"0x10", b"", b"1 LAST LAST", b"\xff"])
def test_chunk_sizes_that_are_none(suite: Suite, friend: bytes, size: bytes) -> None:
    with line(suite) as stranger:
        stranger.begin(b"x@else.test", friend)
        stranger.send(b"BDAT " + size + b"\r\n")
        assert stranger.reply()[:1] == "5"


@pytest.mark.parametrize("command", [
    b"MAIL FROM:<a\x00b@else.test>", b"RCPT TO:<\x00>", b"EHLO h\x00.test", b"MAIL\x00FROM:<a@b.test>",
    b"MAIL FROM:<\xff\xfe@else.test>", b"EHLO \xe9\xe9\xe9", b"\x80\x81\x82", b"\x00" * 500,
    b"RCPT TO:<" + b"\\" * 900 + b">",
    b"MAIL FROM:<" + b"@a," * 300 + b":b@c.test>", b"MAIL FROM:" + b"(" * 1500, b"VRFY " + b"\"" * 1500,
    b"MAIL FROM:<" + b"a" * 1800 + b"@else.test>", b"HELP " + b"%s%n%x" * 100, b"XCLIENT ADDR=127.0.0.1 LOGIN=root",
    b"XFORWARD ADDR=127.0.0.1", b"ETRN " + b"#" * 1000, b"STARTTLS now", b"EHLO " + b"[" * 900,
], ids=lambda octets: repr(octets[:24]))
def test_commands_that_are_none(suite: Suite, command: bytes) -> None:
    """A refusal, at most a polite 25x, never a right; smtpd_forbidden_commands ends what is no command at all."""
    with line(suite) as stranger:
        [hello, answer, still] = stranger.say(b"EHLO h.test", command, b"NOOP")
        if answer.startswith("221 2.7.0 Error: I can break rules, too."):
            assert still == ""
        else:
            assert answer[:1] == "5" or (answer[:3] in ("250", "252") and command[:4] in (b"EHLO", b"VRFY", b"MAIL"))
            assert still.startswith("250")
        assert "\x00" not in hello + answer


def test_xclient_and_xforward_of_strangers(suite: Suite) -> None:
    """Who may not speak for others gains nothing by trying: he is still refused as a relay."""
    with line(suite) as stranger:
        replies = stranger.say(b"EHLO h.test", b"XCLIENT NAME=localhost ADDR=127.0.0.1 LOGIN=admin",
                               b"XFORWARD ADDR=127.0.0.1", b"MAIL FROM:<x@else.test>", b"RCPT TO:<y@far.test>")
        assert [reply[:1] for reply in replies[1:3]] == ["5", "5"]
        assert replies[4][:3] in ("454", "554")


def test_a_line_of_a_megabyte(suite: Suite, friend: bytes) -> None:
    with line(suite) as stranger:
        stranger.send(b"EHLO " + b"x" * 1_000_000 + b"\r\nNOOP\r\n")
        answers = [stranger.reply(), stranger.reply()]
        assert all(reply[:1] in ("2", "5") or reply == "" for reply in answers)
    before = len(suite.messages(suite.first))
    with line(suite) as stranger:
        stranger.begin(b"x@else.test", friend)
        stranger.say(b"DATA")
        stranger.send(b"Subject: long\r\n\r\n" + b"y" * 1_000_000 + b"\r\n.\r\n")
        assert stranger.reply().startswith("250")
    suite.wait_messages(suite.first, before + 1, LIMIT_S)


@pytest.mark.parametrize("garbage", [
    [b"AUTH PLAIN", b"*"], [b"AUTH PLAIN", b"!!!!"], [b"AUTH PLAIN " + b"A" * 10_000], [b"AUTH PLAIN", b"A" * 20_000],
    [b"AUTH LOGIN", b"*"], [b"AUTH LOGIN", b"AAAA", b"\xff\xff"], [b"AUTH NOSUCH"], [b"AUTH PLAIN AGFubmE="],
    [b"AUTH PLAIN ="], [b"AUTH SCRAM-SHA-256 biwsbj1hLHI9eA==", b"garbage"], [b"AUTH"], [b"AUTH PLAIN a b c"],
], ids=lambda words: repr(words[0][:24]) + str(len(words)))
def test_auth_that_is_cancelled_or_garbage(suite: Suite, garbage: list[bytes]) -> None:
    with line(suite, "submission") as stranger:
        stranger.say(b"EHLO h.test", b"STARTTLS")
        stranger.sock = suite.tls().wrap_socket(stranger.sock, server_hostname="mx.demo.test")
        stranger.say(b"EHLO h.test")
        replies = stranger.say(*garbage)
        assert replies[-1][:1] in ("4", "5")
        assert stranger.say(b"MAIL FROM:<x@else.test>", b"RCPT TO:<y@far.test>")[1][:1] == "5"
        assert not stranger.say(b"NOOP")[0].startswith("235")


def test_a_hundred_thousand_recipients(suite: Suite, friend: bytes) -> None:
    """smtpd_recipient_limit are taken, the rest is told to come back; the message goes to those who were taken."""
    many = 100_000
    with line(suite) as stranger:
        stranger.begin(b"x@else.test", friend)
        taken = refused = 0
        for start in range(0, many, 2000):
            stranger.send(b"".join(b"RCPT TO:<u%d@demo.test>\r\n" % number for number in range(start, start + 2000)))
            for _ in range(2000):
                reply = stranger.reply()
                taken += reply[:3] == "250"
                refused += reply[:1] in ("4", "5")
                if not reply or reply.startswith("421"):
                    break
            if not reply or reply.startswith("421"):
                break
        assert taken <= 1000
        assert refused > 0


# --- messages ---------------------------------------------------------------------------------------------------

def nested(depth: int) -> bytes:
    """Multiparts in each other."""
    head = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level)
                    for level in range(depth))
    return b"Subject: nested\r\nMIME-Version: 1.0\r\n" + head + b"\r\ninner\r\n"


FLOODS = {
    "10,000 headers": b"Subject: many\r\n" + b"X-H: y\r\n" * 10_000 + b"\r\nx\r\n",
    "10,000 Received headers": b"Received: from a by b; date\r\n" * 10_000 + b"\r\nx\r\n",
    "10,000 To headers": b"To: a@b.test\r\n" * 10_000 + b"\r\nx\r\n",
    "1,000 levels of MIME": nested(1000),
    "a folding bomb": b"Subject: a\r\n" + b" \r\n" * 100_000 + b"X: y\r\n\r\nx\r\n",
    "one header of a megabyte": b"X-Long: " + b"z" * 1_000_000 + b"\r\n\r\nx\r\n",
    "a megabyte of addresses": b"To: " + b",\r\n ".join(b"u%d@x.test" % number for number in range(50_000))
                               + b"\r\n\r\nx\r\n",
    "comments in each other": b"From: a@b.test " + b"(" * 50_000 + b"\r\n\r\nx\r\n",
    "quotes without end": b"From: \"" + b"\\\"" * 50_000 + b"\r\n\r\nx\r\n",
    "encoded words": b"Subject: " + b"=?utf-8?q?=41?= " * 50_000 + b"\r\n\r\nx\r\n",
    "parameters in parts": b"Content-Type: text/plain; "
                           + b"; ".join(b"name*%d*=''x" % number for number in range(20_000)) + b"\r\n\r\nx\r\n",
    "no header": b"\r\nx\r\n", "nothing": b"", "only colons": b":\r\n" * 1000 + b"\r\n",
    "NUL and 8 bit": b"Subject: \x00\xff\r\nX-\xe9: y\r\n\r\n\x00\x00\xff\r\n",
    "groups": b"To: " + b"g:" * 20_000 + b";" * 20_000 + b"\r\n\r\nx\r\n",
    "routes": b"To: <" + b"@a," * 30_000 + b":b@c.test>\r\n\r\nx\r\n",
}


@pytest.mark.parametrize("flood", FLOODS, ids=str)
def test_messages_that_are_floods(suite: Suite, friend: bytes, flood: str) -> None:
    """Taken and delivered, or refused for good; soon, and whoever reads it over IMAP is not harmed either."""
    before = len(suite.messages(suite.first))
    with line(suite) as stranger:
        stranger.begin(b"x@else.test", friend)
        stranger.say(b"DATA")
        stranger.send(FLOODS[flood].replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n" if FLOODS[flood] else b".\r\n")
        reply = stranger.reply()
        assert reply[:3] == "250" or reply[:1] == "5", reply
    if reply.startswith("250"):
        queue_id = reply.rpartition(" ")[2]
        wait_for(lambda: f"{queue_id}: removed" in suite.log(), LIMIT_S)
        log = suite.log()
        assert f"{queue_id}: to=<{suite.first}>" in log
        assert re.search(rf"{queue_id}: to=<{re.escape(suite.first)}>.*status=(sent|bounced)", log)
        assert len(suite.messages(suite.first)) >= before
