"""The built-in SMTP engine, without sockets; what it says was recorded from Postfix."""

import logging
import random

import pytest

from mailsuite.base.dialogue import Ask, Close, Send
from mailsuite.postscreen.cache import NEVER, Check
from mailsuite.postscreen.engine import Engine, Screened
from mailsuite.postscreen.progress import Progress
from tests.postscreen.test_parts import config


def engine(*, failed: str = "", **values: str) -> Engine:
    chosen = config(**values)
    tests = Progress(chosen, (9999999999, 9999999999, 0, 0, 0), 1000)
    if failed:
        tests.fail(failed)
    return Engine(chosen, tests, Screened("192.0.2.1", "[192.0.2.1]:4711"), timeout_s=300)


def say(session: Engine, *lines: bytes, forbidden: tuple[bytes, ...] = (b"GET",)) -> list[str]:
    """Last lines of all replies; "<closed>" at the end."""
    out = []
    for line in lines:
        actions = list(session.feed(line))
        while actions:
            action = actions.pop(0)
            if isinstance(action, Send):
                out += action.octets.decode().split("\r\n")[-2:-1]
            elif isinstance(action, Close):
                out.append("<closed>")
            elif isinstance(action, Ask):
                line = session._asked or b""
                actions += session.answered((line.decode("latin1"), line.startswith(forbidden)))
    return out


DEEP = {"postscreen_pipelining_enable": "yes", "postscreen_non_smtp_command_enable": "yes",
        "postscreen_bare_newline_enable": "yes", "postscreen_bare_newline_action": "enforce"}
MAIL = (b"EHLO c.test\r\n", b"MAIL FROM:<a@b.test>\r\n", b"RCPT TO:<c@d.test>\r\n")


def test_a_client_that_failed() -> None:
    session = engine(failed="550 5.5.1 Protocol error")
    assert session.opened()
    assert say(session, *MAIL, b"DATA\r\n") == [
        "250 CHUNKING", "250 2.1.0 Ok", "550 5.5.1 Protocol error", "554 5.5.1 Error: no valid recipients", "<closed>"]
    assert not session.tests.passed_all


def test_a_client_under_test_passes_at_its_recipient(caplog: pytest.LogCaptureFixture) -> None:
    session = engine(**DEEP)
    with caplog.at_level(logging.INFO):
        assert say(session, *MAIL, b"QUIT\r\n") == [
            "250 CHUNKING", "250 2.1.0 Ok", "450 4.3.2 Service currently unavailable", "221 2.0.0 Bye", "<closed>"]
    assert session.tests.passed_all
    assert caplog.messages == [
        "NOQUEUE: reject: RCPT from [192.0.2.1]:4711: 450 4.3.2 Service currently unavailable; from=<a@b.test>, "
        "to=<c@d.test>, proto=ESMTP, helo=<c.test>"]


@pytest.mark.parametrize(("lines", "test", "logged", "last"), [
    ((MAIL[0], MAIL[1] + MAIL[2]), Check.PIPELINING,
     "COMMAND PIPELINING from [192.0.2.1]:4711 after MAIL: RCPT TO:<c@d.test>\\r\\n", "550 5.5.1 Protocol error"),
    ((MAIL[0], b"GET / HTTP/1.0\r\n"), Check.NON_SMTP,
     "NON-SMTP COMMAND from [192.0.2.1]:4711 after EHLO: GET / HTTP/1.0", "<closed>"),
    ((MAIL[0], b"Subject: x\r\n"), Check.NON_SMTP,
     "NON-SMTP COMMAND from [192.0.2.1]:4711 after EHLO: Subject: x", "<closed>"),
    ((b"EHLO c.test\n", *MAIL[1:]), Check.BARE_NEWLINE,
     "BARE NEWLINE from [192.0.2.1]:4711 after EHLO c.test", "550 5.5.1 Protocol error"),
])
def test_tests_of_the_dialogue(lines: tuple[bytes, ...], test: Check, logged: str, last: str,
                               caplog: pytest.LogCaptureFixture) -> None:
    session = engine(**DEEP)
    with caplog.at_level(logging.INFO):
        assert say(session, *lines)[-1] == last
    assert caplog.messages[0] == logged
    assert test not in session.tests.deep and not session.tests.passed_all


def test_switched_off_tests_fail_nobody() -> None:
    session = engine(failed="550 5.5.1 Protocol error")
    assert say(session, b"EHLO x\n", b"GET x\r\n", b"NOOP\r\nNOOP\r\n") == [
        "250 CHUNKING", "502 5.5.2 Error: command not recognized", "250 2.0.0 Ok", "250 2.0.0 Ok"]


@pytest.mark.parametrize(("line", "reply"), [
    (b"EHLO\r\n", "501 Syntax: EHLO hostname"), (b"HELO\r\n", "501 Syntax: HELO hostname"),
    (b"RCPT TO:<x@y>\r\n", "503 5.5.1 Error: need MAIL command"),
    (b"MAIL x\r\n", "501 5.5.4 Syntax: MAIL FROM:<address>"),
    (b"VRFY\r\n", "501 5.5.4 Syntax: VRFY address"), (b"VRFY x\r\n", "450 4.3.2 Service currently unavailable"),
    (b"ETRN x\r\n", "458 Unable to queue messages"), (b"STARTTLS\r\n", "502 5.5.1 Error: command not implemented"),
    (b"AUTH PLAIN\r\n", "502 5.5.2 Error: command not recognized"),
    (b"\r\n", "502 5.5.2 Error: command not recognized"),
    (b"DATA\r\n", "503 5.5.1 Error: need RCPT command"), (b"BDAT 4\r\n", "554 5.5.1 Error: need MAIL command"),
])
def test_replies(line: bytes, reply: str) -> None:
    assert say(engine(), line)[0] == reply


def test_limits(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert say(engine(postscreen_command_count_limit="3"), *[b"NOOP\r\n"] * 4)[-2:] == [
            "421 mx.test Service unavailable - try again later", "<closed>"]
        assert say(engine(), b"x" * 3000)[-1] == "<closed>"
        session = engine()
        say(session, b"NOOP\r\n")
        last = session.timed_out()
        assert last[0] == Send(b"421 4.4.2 mx.test Error: timeout exceeded\r\n") and isinstance(last[1], Close)
    assert caplog.messages == [
        "COMMAND COUNT LIMIT from [192.0.2.1]:4711 after NOOP",
        "COMMAND LENGTH LIMIT from [192.0.2.1]:4711 after CONNECT",
        "COMMAND TIME LIMIT from [192.0.2.1]:4711 after NOOP"]


def test_footer() -> None:
    session = engine(postscreen_reject_footer="\\c, call $client_address")
    assert say(session, b"HELO\r\n", b"NOOP\r\n") == ["501 Syntax: HELO hostname, call 192.0.2.1", "250 2.0.0 Ok"]


def test_who_did_not_wait_gets_no_second_greeting() -> None:
    session = engine()
    session.tests.pregreeted(enforce=True)
    assert session.opened() == []


@pytest.mark.parametrize("seed", range(50))
def test_noise_is_answered(seed: int) -> None:
    noise = random.Random(seed)
    session = engine(**DEEP)
    session.opened()
    for _ in range(20):
        say(session, noise.choice((noise.randbytes(noise.randrange(200)), *MAIL, b"QUIT\r\n", b"\n")))
    assert session.tests.stamps != NEVER
