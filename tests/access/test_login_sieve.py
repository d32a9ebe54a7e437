"""ManageSieve before login, as dialogues: what Pigeonhole's managesieve-login 0.5.19 said to the same lines."""

from random import Random

import pytest

from mailsuite.access.login_questions import Authenticate, HandedOver, LogIn, Proceed
from mailsuite.access.login_sieve import SieveLogin
from mailsuite.access.login_story import LoginFacts
from mailsuite.base.dialogue import TlsInfo
from mailsuite.sasl.auth_client import Challenge, Failure, Mechanism, Success
from tests.access.test_login_imap import Play

MECHANISMS = (Mechanism("PLAIN", plaintext=True), Mechanism("LOGIN", plaintext=True),
              Mechanism("ANONYMOUS", anonymous=True))
SECURE = LoginFacts("hi", MECHANISMS, secured=True, tls_offered=True, implementation="test", sieve="fileinto",
                    notify="mailto")
OPEN = LoginFacts("hi", MECHANISMS, tls_offered=True, implementation="test")
TRUSTED = LoginFacts("hi", MECHANISMS, secured=True, trusted=True, implementation="test")


def test_the_greeting_tells_the_capabilities() -> None:
    assert Play(SieveLogin(SECURE)).greeting == (
        b'"IMPLEMENTATION" "test"\r\n"SIEVE" "fileinto"\r\n"NOTIFY" "mailto"\r\n"SASL" "PLAIN LOGIN"\r\n"STARTTLS"\r\n'
        b'"VERSION" "1.0"\r\nOK "hi"\r\n')
    assert b'"SASL" ""\r\n"STARTTLS"' in Play(SieveLogin(OPEN)).greeting
    assert Play(SieveLogin(TRUSTED)).greeting.endswith(b'"VERSION" "1.0"\r\n"XCLIENT"\r\nOK "hi"\r\n')


@pytest.mark.parametrize(("line", "want"), [
    (b"NOOP\r\n", b'OK "NOOP Completed"\r\n'),
    (b'NOOP "x\\"y"\r\n', b'OK (TAG "x\\"y") "Done"\r\n'),
    (b"NOOP {3+}\r\nabc\r\n", b'OK (TAG "abc") "Done"\r\n'),
    (b"capability x\r\n", b'NO "Error in MANAGESIEVE command received by server."\r\n'),
    (b"LISTSCRIPTS\r\n", b'NO "Error in MANAGESIEVE command received by server."\r\n'),
    (b"XCLIENT ADDR=1.2.3.4\r\n", b'NO "You are not from trusted IP"\r\n'),
    (b'AUTHENTICATE "FOO"\r\n', b'NO "Unsupported authentication mechanism."\r\n'),
    (b'AUTHENTICATE "ANONYMOUS"\r\n', b'NO "Unsupported authentication mechanism."\r\n'),
    (b"AUTHENTICATE PLAIN\r\n", b'NO "Error in MANAGESIEVE command received by server."\r\n'),
    (b"LOGOUT\r\n", b'OK "Logout completed."\r\n'),
    (b"NOOP {99999999+}\r\n", b'BYE "Literal size too large"\r\n'),
    (b'NOOP "' + b"x" * 9000, b'BYE "Input buffer full, aborting"\r\n'),
    (b'FOO\r\n*\r\n"x"\r\n', b'NO "Error in MANAGESIEVE command received by server."\r\n' * 2
     + b'BYE "Too many invalid MANAGESIEVE commands."\r\n'),
])
def test_lines(line: bytes, want: bytes) -> None:
    assert Play(SieveLogin(SECURE)).say(line) == want


def test_plaintext_waits_for_tls() -> None:
    play = Play(SieveLogin(OPEN))
    assert play.say(b'AUTHENTICATE "PLAIN" "AGEAYg=="\r\n') == b'NO "Plaintext authentication disabled."\r\n'
    assert play.say(b"STARTTLS\r\nNOOP\r\n") == b'OK "Begin TLS negotiation now."\r\n' and play.tls
    play._take(play.session.secured(TlsInfo("TLSv1.3")))        # type: ignore[arg-type]
    out, play.out = play.out, b""
    assert out == (b'"IMPLEMENTATION" "test"\r\n"SIEVE" ""\r\n"SASL" "PLAIN LOGIN"\r\n"VERSION" "1.0"\r\n'
                   b'OK "TLS negotiation successful."\r\n')           # and not a word to the NOOP of before
    assert play.say(b"STARTTLS\r\n") == b'NO "TLS is already active."\r\n'


def test_required_tls() -> None:
    play = Play(SieveLogin(LoginFacts("hi", MECHANISMS, tls_offered=True, tls_required=True, plaintext_ok=True)))
    assert b'"SASL" ""' in play.greeting
    assert play.say(b'AUTHENTICATE "PLAIN" "AGEAYg=="\r\n') == (
        b'NO (ENCRYPT-NEEDED) "Authentication not allowed until SSL/TLS is enabled."\r\n')


@pytest.mark.parametrize("initial", [b' "AGEAYg=="', b" {8+}\r\nAGEAYg=="])
def test_an_initial_response(initial: bytes) -> None:
    play = Play(SieveLogin(SECURE), Success(1, "a"), HandedOver(7))
    assert play.say(b'AUTHENTICATE "PLAIN"' + initial + b"\r\nLISTSCRIPTS\r\n") == b""
    assert play.asked == [Authenticate("PLAIN", b"AGEAYg=="), LogIn(Success(1, "a"), "PLAIN")]
    assert play.session.remaining() == b"LISTSCRIPTS\r\n"


def test_challenges() -> None:
    play = Play(SieveLogin(SECURE), Challenge(3, b"VXNlcm5hbWU6"), Challenge(3, b""), Failure("a"))
    assert play.say(b'AUTHENTICATE "LOGIN"\r\n') == b'"VXNlcm5hbWU6"\r\n'
    assert play.say(b'"YQ=="\r\n') == b'""\r\n'
    assert play.say(b"{4+}\r\nYg==\r\n") == b'NO "Authentication failed."\r\n'
    assert play.asked == [Authenticate("LOGIN", None), Proceed(3, b"YQ=="), Proceed(3, b"Yg==")]


@pytest.mark.parametrize(("response", "want"), [
    (b'"*"\r\n', b'NO "Authentication aborted by client."\r\n'),
    (b'"!!"\r\n', b'NO "Invalid base64 data in continued response"\r\n'),
    (b"YQ==\r\n", b'NO "Invalid base64 data in continued response"\r\n'),
])
def test_responses_that_are_none(response: bytes, want: bytes) -> None:
    play = Play(SieveLogin(SECURE), Challenge(3, b""))
    play.say(b'AUTHENTICATE "PLAIN"\r\n')
    assert play.say(response + b"NOOP\r\n") == want + b'OK "NOOP Completed"\r\n'


def test_a_trusted_proxy_is_believed() -> None:
    session = SieveLogin(TRUSTED)
    assert Play(session).say(b"XCLIENT ADDR=192.0.2.7 PORT=12 SESSION=s TTL=3 FORWARD=YT1i\r\n") == b'OK "Updated"\r\n'
    origin = session.origin
    assert (origin.peer.address, origin.peer.port, origin.session_id, origin.ttl, origin.forward) == (
        "192.0.2.7", 12, "s", 3, ["a=b"])


@pytest.mark.parametrize("seed", range(30))
def test_noise_is_answered(seed: int) -> None:
    SieveLogin(SECURE).feed(Random(seed).randbytes(600) + b"\r\n")
