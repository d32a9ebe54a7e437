"""Dialogues as Dovecot 2.3.19 leads them; borders, noise, limits."""

from dataclasses import replace
from random import Random

import pytest

from mailsuite.base.dialogue import Action, Ask, Body, Close, Peer, Send, StartTls, TlsInfo
from mailsuite.smtp.lmtp_questions import Deliver, Delivered, Forget, LmtpConfig, LookUp, Verdict
from mailsuite.smtp.lmtp_session import LmtpSession

CONFIG = LmtpConfig("mx.test", "Ready.", tls_offered=True)
USERS = {"alice": Verdict.EXISTS, "bob": Verdict.EXISTS, "broken": Verdict.TEMPORARY, "busy": Verdict.BUSY}
LHLO = "250-mx.test|250-8BITMIME|250-CHUNKING|250-ENHANCEDSTATUSCODES|250-PIPELINING|250 STARTTLS"


class Player:
    """Answers questions from a table and collects what was said."""

    def __init__(self, config: LmtpConfig = CONFIG, **outcomes: Delivered) -> None:
        self.session = LmtpSession(config, session_id="S", peer=Peer("192.0.2.9"))
        self.said, self.content, self.messages = "", b"", list[tuple[list[str], bytes]]()
        self.outcomes, self.closed = outcomes, False
        self.take(self.session.opened())

    def take(self, actions: list[Action]) -> None:
        for number, action in enumerate(actions):
            match action:
                case Send(octets):
                    self.said += octets.decode("utf-8", "surrogateescape")
                case Body(octets):
                    self.content += octets
                case Close():
                    self.closed = True
                case StartTls():
                    assert number == len(actions) - 1
                case Ask(question):
                    assert number == len(actions) - 1, "nothing follows a question"
                    self.take(self.session.answered(self.answer(question)))

    def answer(self, question: object) -> object:
        match question:
            case LookUp(recipient):
                return USERS.get(recipient.path.local, Verdict.UNKNOWN)
            case Deliver(transaction):
                self.messages.append(([one.session_id for one in transaction.recipients], self.content))
                self.content = b""
                return [self.outcomes.get(one.path.local, Delivered()) for one in transaction.recipients]
            case Forget():
                self.content = b""
        return None

    def hear(self, octets: bytes) -> list[str]:
        self.said = ""
        self.take(self.session.feed(octets))
        return self.said.splitlines()


def line(player: Player, text: str) -> str:
    return "|".join(player.hear(text.encode() + b"\r\n"))


@pytest.mark.parametrize("dialogue", [
    pytest.param([("EHLO c", "500 5.5.1 Unknown command"), ("MAIL FROM:<x@y>", "250 2.1.0 OK"), ("LHLO c", LHLO),
                  ("RCPT TO:<alice@x>", "503 5.5.0 MAIL needed first"), ("DATA", "503 5.5.0 MAIL needed first")],
                 id="LHLO resets"),
    pytest.param([("LHLO", "501 Missing hostname"), ("LHLO  c", "500 5.5.2 Invalid command syntax"),
                  ("X1", "500 5.5.2 Invalid command syntax"), ("", "500 5.5.1 Unknown command"),
                  ("NOOP a b", "501 5.5.4 Invalid string parameter: Invalid character in string"),
                  ("NOOP", "250 2.0.0 OK"), ("VRFY", "501 5.5.4 Invalid parameters"),
                  ("VRFY a", "252 2.3.3 Try RCPT instead"), ("RSET x", "501 5.5.4 Invalid parameters"),
                  ("XCLIENT ADDR=192.0.2.7", "550 5.7.14 You are not from trusted IP")], id="commands"),
    pytest.param([("MAIL FROM:<x@y> SIZE=1", "555 5.5.4 Unsupported parameters"),
                  ("MAIL FROM:<x@y> BODY", "501 5.5.4 Missing BODY= parameter value"),
                  ("MAIL FROM:<x@y> BODY=x", "555 5.5.4 Unsupported mail BODY type"),
                  ("MAIL FROM:<x@y> body=7bit", "250 2.1.0 OK"), ("MAIL FROM:<>", "503 5.5.0 MAIL already given"),
                  ("RCPT TO:<nobody@x>", "550 5.1.1 <nobody@x> User doesn't exist: nobody@x"),
                  ("RCPT TO:<broken@x>", "451 4.3.0 <broken@x> Temporary internal error"),
                  ("DATA", "503 5.5.0 No valid recipients"),
                  ("RCPT TO:<alice@x> NOTIFY=NEVER", "555 5.5.4 Unsupported parameters"),
                  ("RCPT TO:<alice@x> ORCPT=foo", "501 5.5.4 Invalid addr-type for ORCPT= parameter"),
                  ("RCPT TO:<alice@x>", "250 2.1.5 OK"), ("DATA x", "501 5.5.4 Invalid parameters"),
                  ("DATA", "354 OK"), ("Hello\r\n..\r\n.", "250 2.0.0 <alice@x> S:R3 Saved"),
                  ("MAIL FROM:<>", "250 2.1.0 OK"), ("QUIT", "221 2.0.0 Bye")], id="a transaction"),
    pytest.param([("AUTH PLAIN", "502 5.5.1 Unsupported command"), ("MAIL FROM: <x@y>",
                   "501 5.5.4 Invalid FROM: Unexpected whitespace before path"), ("MAIL FROM:<x@y>", "250 2.1.0 OK"),
                  ("RCPT TO:<busy@x>", "451 4.3.0 <busy@x> Too many concurrent deliveries for user"),
                  ("RCPT TO:<alice@x> ORCPT=utf-8;a@b", "250 2.1.5 OK")], id="refused for now"),
    pytest.param([("BDAT x", "501 5.5.4 Invalid chunk size parameter"),
                  ("BDAT 5 LAST x", "501 5.5.4 Invalid parameters"), ("helloNOOP", "250 2.0.0 OK"),
                  ("BDAT 3", "503 5.5.0 MAIL needed first"),
                  ("abcMAIL FROM:<>", "250 2.1.0 OK"),
                  ("BDAT 3 LAST", "503 5.5.0 Previous data chunk failed, issue RSET first"),
                  ("abcRSET", "250 2.0.0 OK"), ("MAIL FROM:<>", "250 2.1.0 OK"), ("RCPT TO:<bob>", "250 2.1.5 OK"),
                  ("BDAT 3\r\nabcNOOP", "250 2.0.0 Added 3 octets|250 2.0.0 OK"),
                  ("DATA", "503 5.5.0 Bad sequence of commands"), ("BDAT 0 LAST", "250 2.0.0 <bob> S:T2 Saved"),
                  ("BDAT 0 LAST", "503 5.5.0 MAIL needed first")], id="chunks"),
])
def test_dialogue(dialogue: list[tuple[str, str]]) -> None:
    player = Player()
    for sent, said in dialogue:
        assert line(player, sent) == said, sent
    assert player.closed is (dialogue[-1][0] == "QUIT")


def test_one_reply_for_each_recipient() -> None:
    full = Delivered(552, "5.2.2", "Quota exceeded (mailbox for user is full)")
    player = Player(bob=full)
    said = player.hear(b"LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<alice@x>\r\nRCPT TO:<bob@x>\r\nDATA\r\nhi\r\n.\r\nNOOP\r\n")
    assert said[-3:] == ["250 2.0.0 <alice@x> S Saved",
                         "552 5.2.2 <bob@x> Quota exceeded (mailbox for user is full)", "250 2.0.0 OK"]
    assert player.messages == [(["S", "S:R2"], b"hi\n")]


STREAM = (b"LHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nRCPT TO:<no@x>\r\nDATA\r\n.\r\r\nx\n.\ny\r\n..z\r\n.\r\n"
          b"MAIL FROM:<>\r\nRCPT TO:<bob>\r\nBDAT 4\r\na\r\nbRSET\r\nMAIL FROM:<>\r\nRCPT TO:<bob>\r\n"
          b"BDAT 4\r\nq\r\nwBDAT 1 LAST\r\n\rQUIT\r\n")


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_packet_borders_do_not_matter(cut: int) -> None:
    whole, parts = Player(), Player()
    assert parts.hear(STREAM[:cut]) + parts.hear(STREAM[cut:]) == whole.hear(STREAM)
    assert parts.messages == whole.messages == [(["S"], b"\r\nx\ny\n.z\n"), (["S:T3"], b"q\nw\r")]


@pytest.mark.parametrize("seed", range(150))
def test_noise_is_answered(seed: int) -> None:
    random = Random(seed)
    words = [b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<bob>\r\n", b"DATA\r\n", b"\r\n.\r\n", b"BDAT 7\r\n", b"RSET\r\n",
             b"LHLO c\r\n", b"XCLIENT ADDR=1 SESSION=\"\r\n", b"BDAT 999999999999 LAST\r\n", random.randbytes(300)]
    player = Player(replace(CONFIG, trusted=True, recipient_limit=2, size_limit=50))
    for _ in range(40):
        assert all(line[:3].isdigit() for line in player.hear(random.choice(words)))
    player.take(player.session.lost())


def test_long_line_is_refused_and_skipped() -> None:
    player = Player()
    assert player.hear(b"NOOP " + b"a" * 5000) == [] and player.session.backlog <= 4096
    assert player.hear(b"a" * 9000 + b"\r\nNOOP\r\n") == ["500 5.5.2 Line too long", "250 2.0.0 OK"]


def test_too_many_bad_commands_in_a_row() -> None:
    player = Player()
    assert player.hear(b"FOO\r\n" * 10)[-1] == "500 5.5.1 Unknown command"
    assert player.hear(b"NOOP\r\n" + b"FOO\r\n" * 10)[-1] == "500 5.5.1 Unknown command"
    assert player.hear(b"FOO\r\nNOOP\r\n") == ["421 4.7.0 mx.test Too many invalid commands."] and player.closed


def test_limits() -> None:
    player = Player(replace(CONFIG, recipient_limit=1, size_limit=10))
    said = player.hear(b"MAIL FROM:<>\r\nRCPT TO:<bob>\r\nRCPT TO:<alice>\r\nDATA\r\n" + b"x" * 20 + b"\r\n.\r\n")
    assert said[2] == "451 4.5.3 Too many recipients"
    assert said[-1] == "552 5.2.3 <bob> Message size exceeds administrative limit" and player.messages == []


def test_unforeseen_failure_is_temporary() -> None:
    session = LmtpSession(CONFIG, session_id="S")
    session.opened()
    session.feed(b"MAIL FROM:<>\r\nRCPT TO:<bob>\r\n")
    assert session.failed(OSError()) == [Send(b"451 4.3.0 <bob> Temporary internal error\r\n")]


def test_nothing_in_the_clear_survives_tls() -> None:
    player = Player()
    player.hear(b"LHLO c\r\nMAIL FROM:<>\r\nSTARTTLS\r\nRCPT TO:<bob>\r\n")
    assert player.said.endswith("220 2.0.0 Begin TLS negotiation now.\r\n")
    player.take(player.session.secured(TlsInfo("TLSv1.3")))
    assert player.hear(b"DATA\r\n") == ["503 5.5.0 MAIL needed first"]
    assert "250 PIPELINING" in player.hear(b"LHLO c\r\n")
    assert player.hear(b"STARTTLS\r\n") == ["502 5.5.1 TLS is already active."]


def test_xclient_of_a_trusted_proxy() -> None:
    player = Player(replace(CONFIG, trusted=True))
    assert player.hear(b"LHLO c\r\n")[-2:] == ["250-XCLIENT ADDR PORT PROTO HELO LOGIN SESSION TTL TIMEOUT",
                                              "250 XRCPTFORWARD"]
    assert player.hear(b"XCLIENT ADDR=x\r\n") == ["501 5.5.4 Invalid ADDR parameter"]
    assert player.hear(b"XCLIENT ADDR=192.0.2.7 SESSION=abc\r\n") == ["220 mx.test Ready."]
    assert (player.session.client.address, player.session.session_id) == ("192.0.2.7", "abc")
    player.hear(b"MAIL FROM:<>\r\n")
    assert player.hear(b"XCLIENT ADDR=192.0.2.7\r\n") == ["503 5.5.0 XCLIENT not permitted during a mail transaction"]


@pytest.mark.parametrize(("octets", "end", "state"), [
    (b"", "Connection closed", "GREETING"), (b"LHLO c\r\nMAIL FROM:<>\r\n", "Connection closed", "MAIL FROM"),
    (b"MAIL FROM:<>\r\nRCPT TO:<bob>\r\nDATA\r\nx", "Connection closed (unfinished DATA command)", "DATA"),
    (b"QUIT\r\n", "Logged out", "GREETING")])
def test_how_it_ended(octets: bytes, end: str, state: str) -> None:
    player = Player()
    player.hear(octets)
    player.session.lost()
    assert (player.session.end, player.session.state) == (end, state)
