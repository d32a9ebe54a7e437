"""IMAP before login, as dialogues: what the client says, what it hears, what the server is asked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsuite.access.login import LoginSession
from mailsuite.access.login_imap import _ATOMS, ImapLogin, parse_arguments
from mailsuite.access.login_questions import Authenticate, Cancel, HandedOver, LogIn, Proceed, Refused, Why
from mailsuite.access.login_story import LoginFacts
from mailsuite.base.dialogue import Ask, Close, Send, StartTls, TlsInfo
from mailsuite.sasl.auth_client import Challenge, Failure, Mechanism, Success

MECHANISMS = (Mechanism("PLAIN", plaintext=True), Mechanism("LOGIN", plaintext=True), Mechanism("CRAM-MD5"))
SECURE = LoginFacts("ready.", MECHANISMS, secured=True, tls_offered=True, id_send='("name" "x")')
OPEN = LoginFacts("ready.", MECHANISMS, tls_offered=True)


class Play:
    """Feeds a session; `answers` are given to its questions in turn."""

    def __init__(self, session: LoginSession, *answers: object) -> None:
        self.session, self.answers = session, list(answers)
        self.asked: list[object] = []
        self.out = b""
        self.closed = self.tls = False
        self._take(session.opened())
        self.greeting, self.out = self.out, b""

    def _take(self, actions: list[object]) -> None:  # type: ignore[type-arg]
        for action in actions:
            match action:
                case Send():
                    self.out += action.octets
                case Close():
                    self.closed = True
                case StartTls():
                    self.tls = True
                case Ask():
                    self.asked.append(action.question)
                    answer = None if isinstance(action.question, Cancel) else self.answers.pop(0)
                    self._take(self.session.answered(answer))  # type: ignore[arg-type]

    def say(self, octets: bytes) -> bytes:
        self._take(self.session.feed(octets))  # type: ignore[arg-type]
        out, self.out = self.out, b""
        return out


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from([
    b" ", b"  ", b"a", b"u1@x.test", b"]", b"~", b"\\", b"'", b'"', b"(", b")", b"{", b"{3}", b"\t", b"\x7f",
    b"\xe4", b"}", b"%*",
]), max_size=8).map(b"".join))
def test_the_short_way_to_a_name_and_a_password_is_that_of_the_parser(line: bytes) -> None:
    parsed: list[bytes | None] = []
    if _ATOMS.fullmatch(line) is not None:
        assert parse_arguments(line, parsed) is None
        assert parsed == line.split()


BAD = b"%b BAD Error in IMAP command received by server.\r\n"
TABLE = [
    (b"a NOOP\r\n", b"a OK NOOP completed.\r\n"),
    (b"a noop x \r\n", b"a OK NOOP completed.\r\n"),
    (b"a CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS AUTH=PLAIN "
     b"AUTH=LOGIN AUTH=CRAM-MD5\r\na OK Pre-login capabilities listed, post-login capabilities have more.\r\n"),
    (b"a ID NIL\r\n", b'* ID ("name" "x")\r\na OK ID completed.\r\n'),
    (b'a ID ("a" "b" "c" NIL)\r\n', b'* ID ("name" "x")\r\na OK ID completed.\r\n'),
    (b'a ID ({1+}\r\na "b" {3+}\r\n"\\c NIL)\r\n', b'* ID ("name" "x")\r\na OK ID completed.\r\n'),
    (b"a ID foo\r\n", b"a BAD Invalid ID parameters\r\n"),
    (b'a ID (("a"))\r\n', b"a BAD Invalid ID parameters\r\n"),
    (b"a SELECT INBOX\r\n", BAD % b"a"),
    (b"\r\n", BAD % b"*"),
    (b"a\r\n", BAD % b"a"),
    (b"* NOOP\r\n", BAD % b"*"),
    (b"a+b NOOP\r\n", BAD % b"*"),
    (b"a  NOOP\r\n", BAD % b"a"),
    (b"a LOGIN\r\n", BAD % b"a"),
    (b"a LOGIN alice\r\n", BAD % b"a"),
    (b"a LOGIN alice a b\r\n", BAD % b"a"),
    (b"a LOGIN alice (b)\r\n", BAD % b"a"),
    (b'a LOGIN "alice x\r\n', b"a BAD Missing '\"'\r\n"),
    (b'a LOGIN a b"c\r\n', b"a BAD Invalid characters in atom\r\n"),
    (b'a LOGIN a "b"c"\r\n', b"a BAD Invalid characters in atom\r\n"),
    (b"a LOGIN a \xff\r\n", b"a BAD 8bit data in atom\r\n"),
    (b"a LOGIN ~{3} x\r\n", b"a BAD literal8 not allowed here\r\n"),
    (b"a AUTHENTICATE\r\n", BAD % b"a"),
    (b"a AUTHENTICATE NOSUCH\r\n", b"a NO [ALERT] Unsupported authentication mechanism.\r\n"),
    (b"a ENABLE CONDSTORE\r\n", b"* ENABLED\r\na OK ENABLE ignored in non-authenticated state.\r\n"),
    (b"a LOGOUT\r\n", b"* BYE Logging out\r\na OK Logout completed.\r\n"),
    (b"x\r\ny\r\nz\r\n", BAD % b"x" + BAD % b"y" + b"* BYE Too many invalid IMAP commands.\r\n"),
    (b"a LOGIN {999999}\r\n", b"* BYE Literal size too large\r\n"),
    (b"a" * 9000, b"* BYE Input buffer full, aborting\r\n"),
]


@pytest.mark.parametrize(("said", "heard"), TABLE, ids=[repr(row[0][:24]) for row in TABLE])
def test_commands(said: bytes, heard: bytes) -> None:
    assert Play(ImapLogin(SECURE)).say(said) == heard


@pytest.mark.parametrize("said", [
    b"a LOGIN alice secret\r\n",
    b'a LOGIN "\\alice" "secret"\r\n',
    b"a LOGIN {5+}\r\nalice {6+}\r\nsecret\r\n",
    b"a login  alice   secret \r\n",
])
@pytest.mark.parametrize("cut", [0, 3, 9, 14, 20])
def test_login(said: bytes, cut: int) -> None:
    play = Play(ImapLogin(SECURE), Success(7, "alice"), HandedOver(1))
    assert play.say(said[:cut]) + play.say(said[cut:] + b"b NOOP\r\n") == b""
    assert play.asked == [Authenticate("PLAIN", b"AGFsaWNlAHNlY3JldA=="), LogIn(Success(7, "alice"), "PLAIN")]
    assert play.closed and play.session.remaining() == b"b NOOP\r\n"


def test_synchronizing_literals() -> None:
    play = Play(ImapLogin(SECURE), Failure("alice"))
    assert play.say(b"a LOGIN {5}\r\n") == b"+ OK\r\n"
    assert play.say(b"alice {3}\r\n") == b"+ OK\r\n"
    assert play.say(b"a\0b\r\n") == b"a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"


@pytest.mark.parametrize(("said", "answers", "heard"), [
    pytest.param(b"a LOGIN a b\r\n", [Failure("a", temporary=True)], b"a NO [UNAVAILABLE] Temporary auth",
                 id="temporary"),
    pytest.param(b"a LOGIN a b\r\n", [Success(1, "a", {"nologin": ""})],
                 b"a NO [CONTACTADMIN] Login disabled for this user\r\n", id="nologin"),
    pytest.param(b"a LOGIN a b\r\n", [Success(1, "a", {"nologin": "", "reason": "Later"})],
                 b"a NO [CONTACTADMIN] Later\r\n", id="nologin with reason"),
    pytest.param(b"a LOGIN a b\r\n", [Success(1, "a"), Refused(Why.LIMIT, "Too many")], b"a NO [LIMIT] Too many\r\n",
                 id="limit"),
    pytest.param(b"a LOGIN a b\r\n", [Success(1, "a"), Refused(Why.NOT_FOUND)],
                 b"a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n", id="not in a userdb"),
    pytest.param(b"a LOGIN a b\r\n", [Success(1, "a"), Refused(Why.INITIALIZATION)],
                 b"a OK Logged in, but initialization failed.\r\n* BYE Internal error occurred. "
                 b"Refer to server log for more information.\r\n", id="bad uid"),
    pytest.param(b"a LOGIN a b\r\n", [Success(1, "a"), Refused(Why.FAILED)],
                 b"a NO [UNAVAILABLE] Internal login failure.", id="no access service"),
    pytest.param(b"a AUTHENTICATE PLAIN !!!\r\n", [Failure("", "Invalid base64 data in initial response", False,
                 "invalid_base64")], b"a BAD Invalid base64 data in initial response\r\n", id="bad initial response"),
    pytest.param(b"a AUTHENTICATE plain\r\n*\r\n", [Challenge(1, b"")],
                 b"+ \r\na BAD Authentication aborted by client.\r\n", id="aborted"),
    pytest.param(b"a AUTHENTICATE PLAIN\r\n!!!\r\n", [Challenge(1, b"")],
                 b"+ \r\na NO [ALERT] Invalid base64 in response\r\n", id="bad response"),
    pytest.param(b"a AUTHENTICATE LOGIN\r\n\r\n", [Challenge(1, b"VXNlcm5hbWU6"), Failure("")],
                 b"+ VXNlcm5hbWU6\r\na NO [AUTHENTICATIONFAILED] Authentication failed.\r\n", id="empty response"),
])
def test_what_comes_of_it(said: bytes, answers: list[object], heard: bytes) -> None:
    assert Play(ImapLogin(SECURE), *answers).say(said).startswith(heard)


def test_a_response_goes_to_its_request() -> None:
    play = Play(ImapLogin(SECURE), Challenge(9, b"eA=="), Failure("a"))
    play.say(b"a AUTHENTICATE CRAM-MD5\r\nYWJj\r\n")
    assert play.asked == [Authenticate("CRAM-MD5", None), Proceed(9, b"YWJj")]


def test_plaintext_in_the_clear_is_refused_and_tls_helps() -> None:
    play = Play(ImapLogin(OPEN), Failure("a"))
    assert b"STARTTLS LOGINDISABLED AUTH=CRAM-MD5]" in play.greeting
    heard = play.say(b"a LOGIN alice secret\r\nb AUTHENTICATE PLAIN AGEAYg==\r\nc STARTTLS\r\nd LOGIN x y\r\n")
    assert heard.startswith(b"* BAD [ALERT] Plaintext authentication not allowed")
    assert b"a NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure" in heard
    assert b"b NO [PRIVACYREQUIRED] Plaintext authentication disabled.\r\n" in heard
    assert heard.endswith(b"c OK Begin TLS negotiation now.\r\n") and play.tls and not play.asked
    play.session.secured(TlsInfo("TLSv1.3"))        # what was sent before the handshake is forgotten
    assert play.say(b"e STARTTLS\r\n") == b"e BAD TLS is already active.\r\n"
    assert play.say(b"f LOGIN alice secret\r\n").startswith(b"f NO [AUTHENTICATIONFAILED]")


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_packet_borders_do_not_matter(cut: int) -> None:
    stream = b'a NOOP\r\nb LOGIN "x y" {3+}\r\nabc\r\nc ID ("a" "b")\r\nd CAPABILITY\r\n'
    whole, parts = (Play(ImapLogin(SECURE), Failure("x")) for _ in range(2))
    assert whole.say(stream) == parts.say(stream[:cut]) + parts.say(stream[cut:])


def test_inactivity() -> None:
    session = ImapLogin(SECURE)
    session.opened()
    assert Send(b"* BYE Disconnected for inactivity.\r\n") in session.timed_out()


@pytest.mark.parametrize("seed", range(200))
def test_noise_is_answered(seed: int) -> None:
    from random import Random

    random = Random(seed)
    play = Play(ImapLogin(SECURE), *[Failure("x")] * 50)
    for _ in range(6):
        for said in (random.choice([b"a LOGIN ", b"a ID ", b"a AUTHENTICATE PLAIN ", b"", b'"', b"{3}\r\n"]),
                     random.randbytes(40) + random.choice([b"\r\n", b"\n", b""])):
            heard = play.say(said)
            assert not heard or heard.endswith(b"\r\n")


def test_a_forgotten_tag_is_explained() -> None:
    play = Play(ImapLogin(SECURE))
    for _ in range(4):                  # and is no bad command
        assert play.say(b"LOGIN alice secret\r\n").startswith(b"LOGIN BAD First parameter in line is IMAP's command")
    assert not play.closed
