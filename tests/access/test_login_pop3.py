"""POP3 before login, as dialogues."""

from base64 import b64encode

import pytest

from mailsuite.access.login_pop3 import Pop3Login
from mailsuite.access.login_questions import Authenticate, HandedOver, LogIn, Refused, Why
from mailsuite.access.login_story import LoginFacts
from mailsuite.base.dialogue import TlsInfo
from mailsuite.sasl.auth_client import Challenge, Failure, Mechanism, Success
from tests.access.test_login_imap import Play

MECHANISMS = (Mechanism("PLAIN", plaintext=True), Mechanism("CRAM-MD5"))
SECURE = LoginFacts("ready.", MECHANISMS, secured=True, tls_offered=True)
OPEN = LoginFacts("ready.", MECHANISMS, tls_offered=True)

TABLE = [
    (b"USER alice\r\n", [], b"+OK\r\n"),
    (b"PASS x\r\n", [], b"-ERR No username given.\r\n"),
    (b"USER a\r\nPASS b\r\nPASS b\r\n", [Failure("a")],
     b"+OK\r\n-ERR [AUTH] Authentication failed.\r\n-ERR No username given.\r\n"),
    (b"AUTH\r\n", [], b"+OK\r\nPLAIN\r\nCRAM-MD5\r\n.\r\n"),
    (b"AUTH NOSUCH\r\n", [], b"-ERR [AUTH] Unsupported authentication mechanism.\r\n"),
    (b"AUTH PLAIN\r\n*\r\n", [Challenge(1, b"")], b"+ \r\n-ERR Authentication aborted by client.\r\n"),
    (b"AUTH PLAIN\r\nnot base64!\r\n", [Challenge(1, b"")], b"+ \r\n-ERR [AUTH] Invalid base64 in response\r\n"),
    (b"AUTH PLAIN !!!\r\n", [Failure("", "Invalid base64 data in initial response", False, "invalid_base64")],
     b"-ERR [AUTH] Invalid base64 data in initial response\r\n"),
    (b"CAPA\r\n", [], b"+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\nSTLS\r\nUSER\r\n"
     b"SASL PLAIN CRAM-MD5\r\n.\r\n"),
    (b"APOP a b\r\n", [], b"-ERR APOP not enabled.\r\n"),
    (b"A\r\nB\r\nUSER x\r\nC\r\nD\r\nQUIT\r\n", [],
     b"-ERR Unknown command.\r\n" * 2 + b"+OK\r\n" + b"-ERR Unknown command.\r\n" * 2 + b"+OK Logging out\r\n"),
    (b"A\r\n\r\nC\r\n", [], b"-ERR Unknown command.\r\n" * 3 + b"-ERR Too many invalid bad commands.\r\n"),
    (b"quit now\r\n", [], b"+OK Logging out\r\n"),
    (b"USER a\r\nPASS b\r\n", [Success(1, "a", {"nologin": "", "reason": "Later"})], b"+OK\r\n-ERR [AUTH] Later\r\n"),
    (b"USER a\r\nPASS b\r\n", [Success(1, "a"), Refused(Why.LIMIT, "Too many")], b"+OK\r\n-ERR [IN-USE] Too many\r\n"),
    (b"USER a\r\nPASS b\r\n", [Success(1, "a"), Refused(Why.INITIALIZATION)],
     b"+OK\r\n-ERR [SYS/TEMP] Internal error occurred. Refer to server log for more information.\r\n"),
]


@pytest.mark.parametrize(("said", "answers", "heard"), TABLE, ids=[repr(row[0][:24]) for row in TABLE])
def test_commands(said: bytes, answers: list[object], heard: bytes) -> None:
    assert Play(Pop3Login(SECURE), *answers).say(said) == heard


@pytest.mark.parametrize(("said", "heard"), [
    (b"APOP alice\r\n", b"-ERR Invalid parameters.\r\n"),
    (b"APOP alice 0123\r\n", b"-ERR Invalid parameters.\r\n"),
    (b"APOP alice " + b"x" * 32 + b"\r\n", b"-ERR Invalid characters in MD5 response.\r\n"),
    (b"APOP alice " + b"0a" * 16 + b"\r\n", b"-ERR [AUTH] Authentication failed.\r\n"),
])
def test_apop(said: bytes, heard: bytes) -> None:
    """Allowed without TLS: the password is not said."""
    facts = LoginFacts("ready.", (*MECHANISMS, Mechanism("APOP", private=True)), apop_challenge="<1.2.3@x>")
    play = Play(Pop3Login(facts), Failure("alice"))
    assert play.say(said) == heard
    if b"[AUTH]" in heard:
        initial = b64encode(b"<1.2.3@x>\0alice\0" + b"\x0a" * 16)
        assert play.asked == [Authenticate("APOP", initial)]
    assert play.say(b"AUTH APOP\r\n") == b"-ERR [AUTH] Unsupported authentication mechanism.\r\n"


def test_login_gives_the_rest_away() -> None:
    play = Play(Pop3Login(SECURE), Success(7, "alice"), HandedOver(1))
    assert play.say(b"USER alice\r\nPASS  two words \r\nSTAT\r\n") == b"+OK\r\n"
    assert play.asked == [Authenticate("PLAIN", b"AGFsaWNlACB0d28gd29yZHMg"), LogIn(Success(7, "alice"), "PLAIN")]
    assert play.closed and play.session.remaining() == b"STAT\r\n"


def test_plaintext_in_the_clear() -> None:
    play = Play(Pop3Login(OPEN))
    refused = b"-ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.\r\n"
    assert play.say(b"USER alice\r\nPASS x\r\n") == refused * 2
    assert play.say(b"AUTH PLAIN AGEAYg==\r\n") == b"-ERR [AUTH] Plaintext authentication disabled.\r\n"
    assert b"\r\nSTLS\r\nSASL CRAM-MD5\r\n" in play.say(b"CAPA\r\n")
    assert play.say(b"STLS\r\nUSER x\r\n") == b"+OK Begin TLS negotiation now.\r\n" and play.tls
    play.session.secured(TlsInfo("TLSv1.3"))
    assert play.say(b"STLS\r\n") == b"-ERR TLS is already active.\r\n"
    assert play.say(b"USER alice\r\n") == b"+OK\r\n"


@pytest.mark.parametrize("seed", range(100))
def test_noise_is_answered(seed: int) -> None:
    from random import Random

    random = Random(seed)
    play = Play(Pop3Login(SECURE), *[Failure("x")] * 50)
    for _ in range(6):
        heard = play.say(random.choice([b"USER ", b"PASS ", b"AUTH PLAIN ", b""]) + random.randbytes(40) + b"\r\n")
        assert play.closed or all(line[:1] in b"+-" for line in heard.split(b"\r\n"))
