"""The server's dialogue: order of commands, packet borders, limits, TLS."""

import logging
from random import Random

import pytest

from mailsuite.smtp import questions
from mailsuite.smtp.config import SessionConfig
from tests.smtp.dialogue import Play, World

STREAM = (b"EHLO c.test\r\nMAIL FROM:<a@b.test> SIZE=100\r\nRCPT TO:<x@y.test>\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n"
          b"line\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<x@y.test>\r\nBDAT 4\r\nab\r\nBDAT 3 LAST\r\n.\r\nNOOP\r\nQUIT\r\n")


def play(*pieces: bytes, config: SessionConfig | None = None) -> Play:
    game = Play(config)
    for piece in pieces:
        if not game.world.closed:
            game.send(piece)
    return game


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_packet_borders_do_not_matter(cut: int) -> None:
    whole, parts = play(STREAM), play(STREAM[:cut], STREAM[cut:])
    assert whole.out == parts.out
    assert whole.world.messages == parts.world.messages == [b"Subject: x\n\n.dot\nline\n", b"ab\n.\n"]


def test_one_octet_at_a_time() -> None:
    assert play(*(STREAM[at:at + 1] for at in range(len(STREAM)))).out == play(STREAM).out


@pytest.mark.parametrize("seed", range(200))
def test_noise_is_answered(seed: int) -> None:
    chance = Random(seed)
    game = Play(SessionConfig(error_sleep_s=0, hard_errors=1000))
    words = [b"MAIL FROM:<a@b.test>", b"RCPT TO:<x@y.test>", b"DATA", b"BDAT 5", b"BDAT 0 LAST", b"RSET", b"\r\n",
             b".", b"\0\xff", b"AUTH PLAIN", b"EHLO x", b"VRFY x", b"<", b'"', b" "]
    for _ in range(60):
        if not game.world.closed:
            game.send(chance.choice(words) + (b"\r\n" if chance.random() < 0.7 else b""))
    assert all(line[:3].isdigit() for line in bytes(game.out).split(b"\r\n") if line)


@pytest.mark.parametrize(("script", "last"), [
    pytest.param(["RCPT TO:<x@y.test>"], "503 5.5.1 Error: need MAIL command", id="RCPT first"),
    pytest.param(["DATA"], "503 5.5.1 Error: need RCPT command", id="DATA first"),
    pytest.param(["MAIL FROM:<a@b.test>", "MAIL FROM:<a@b.test>"], "503 5.5.1 Error: nested MAIL command"),
    pytest.param(["MAIL FROM:<a@b.test>", "DATA"], "554 5.5.1 Error: no valid recipients"),
    pytest.param(["MAIL FROM:<a@b.test>", "RCPT TO:<no@y.test>", "DATA"], "554 5.5.1 Error: no valid recipients"),
    pytest.param(["MAIL FROM:<a@b.test>", "EHLO x", "RCPT TO:<x@y.test>"], "503 5.5.1 Error: need MAIL command"),
    pytest.param(["MAIL FROM:<a@b.test> FOO=BAR"], "555 5.5.4 Unsupported option: FOO=BAR"),
    pytest.param(["MAIL FROM:<a@b.test> SIZE=99999999"], "552 5.3.4 Message size exceeds fixed limit"),
    pytest.param(["MAIL FROM:<a@b.test> SIZE=99999999", "MAIL FROM:<a@b.test>"],
                 "552 5.3.4 Message size exceeds fixed limit", id="a refused size holds"),
    pytest.param(["MAIL FROM:<a@b.test> SIZE=99999999", "MAIL FROM:<a@b.test> SIZE=9"], "250 2.1.0 Ok"),
    pytest.param(["MAIL FROM:<a@b.test> SIZE=99999999", "RSET", "MAIL FROM:<a@b.test>"], "250 2.1.0 Ok"),
    pytest.param(["MAIL FROM:<a@b.test> SIZE=x"], "501 5.5.4 Bad message size syntax"),
    pytest.param(["STARTTLS"], "502 5.5.1 Error: command not implemented"),
    pytest.param(["AUTH PLAIN"], "503 5.5.1 Error: authentication not enabled"),
    pytest.param(["HELP"], "500 5.5.2 Error: command not recognized"),
    pytest.param([""], "500 5.5.2 Error: bad syntax"),
    pytest.param(["VRFY x@y.test"], "252 2.0.0 x@y.test"),
    pytest.param(["VRFY no@y.test"], "550 5.1.1 no"),
    pytest.param(["Subject: x"], "221 2.7.0 Error: I can break rules, too. Goodbye."),
    pytest.param(["GET / HTTP/1.1"], "221 2.7.0 Error: I can break rules, too. Goodbye."),
    pytest.param(["BDAT abc"], "521 5.5.4 Syntax: BDAT count [LAST]"),
])
def test_replies(script: list[str], last: str) -> None:
    game = Play(world=World(refuse={"no@y.test": "550 5.1.1 no"}))
    assert game.lines(*script)[-1] == last


def test_message_too_big_is_read_and_refused() -> None:
    game = Play(SessionConfig(message_size_limit=20))
    assert game.lines("MAIL FROM:<a@b.test>", "RCPT TO:<x@y.test>", "DATA")[-1].startswith("354")
    assert game.send(b"x" * 100_000 + b"\r\n.\r\n") == b"552 5.3.4 Error: message file too big\r\n"
    assert game.lines("NOOP") == ["250 2.0.0 Ok"]
    assert game.world.messages == []


def test_bdat_after_an_error_is_thrown_away() -> None:
    game = Play()
    assert game.send(b"BDAT 6\r\nQUIT\r\n") == b"503 5.5.1 Error: need RCPT command\r\n"
    assert game.lines("MAIL FROM:<a@b.test>") == ["503 5.5.1 Error: MAIL after BDAT"]
    assert game.send(b"BDAT 2\r\nab") == b"551 5.0.0 Discarded 2 bytes after earlier error\r\n"
    assert game.lines("RSET", "MAIL FROM:<a@b.test>") == ["250 2.0.0 Ok", "250 2.1.0 Ok"]


def test_nothing_said_before_the_handshake_counts() -> None:
    game = Play(SessionConfig(tls=True, tls_required=True))
    game.send(b"EHLO early.test\r\n")
    assert game.lines("MAIL FROM:<a@b.test>") == ["530 5.7.0 Must issue a STARTTLS command first"]
    assert game.send(b"STARTTLS\r\nMAIL FROM:<injected@b.test>\r\n") == b"220 2.0.0 Ready to start TLS\r\n"
    assert game.world.handshakes == 1
    assert game.session.facts.helo is None and game.session.facts.sender is None
    assert game.lines("RCPT TO:<x@y.test>") == ["503 5.5.1 Error: need MAIL command"]
    assert game.lines("STARTTLS") == ["554 5.5.1 Error: TLS already active"]
    assert b"STARTTLS" not in game.send(b"EHLO x\r\n")


def test_auth() -> None:
    game = Play(SessionConfig(sasl=True, ask_options=True, broken_auth=True), World(mechanisms=("PLAIN", "LOGIN")))
    keywords = game.send(b"EHLO x\r\n")
    assert b"250-AUTH PLAIN LOGIN\r\n250-AUTH=PLAIN LOGIN\r\n" in keywords
    assert game.lines("AUTH NOSUCH", "AUTH PLAIN !!!", "AUTH PLAIN", "*", "AUTH PLAIN", "YQ==") == [
        "535 5.7.8 Error: authentication failed: Invalid authentication mechanism",
        "535 5.7.8 Error: authentication failed: Invalid base64 data in initial response",
        "334 ", "501 5.7.0 Authentication aborted", "334 ",
        "535 5.7.8 Error: authentication failed: (reason unavailable)"]
    assert game.lines("AUTH PLAIN YQ==", "AUTH PLAIN YQ==") == [
        "235 2.7.0 Authentication successful", "503 5.5.1 Error: already authenticated"]
    assert game.session.facts.sasl_username == "alice"


def test_auth_only_under_tls() -> None:
    game = Play(SessionConfig(tls=True, sasl=True, tls_auth_only=True, ask_options=True), World(mechanisms=("PLAIN",)))
    assert b"AUTH" not in game.send(b"EHLO x\r\n")
    assert game.lines("AUTH PLAIN YQ==") == ["503 5.5.1 Error: authentication not enabled"]
    game.send(b"STARTTLS\r\n")
    assert b"AUTH PLAIN" in game.send(b"EHLO x\r\n")


def test_error_limits() -> None:
    game = Play(SessionConfig(soft_errors=2, hard_errors=4))
    for _ in range(3):
        game.send(b"FOO\r\n")
    delays = [question for question in game.world.asked if isinstance(question, questions.Delay)]
    assert len(delays) == 1
    out = game.send(b"FOO\r\n")
    assert out.endswith(b"421 4.7.0 localhost Error: too many errors\r\n") and game.world.closed


def test_recipient_limit() -> None:
    game = Play(SessionConfig(recipient_limit=1))
    assert game.lines("MAIL FROM:<a@b.test>", "RCPT TO:<x@y.test>", "RCPT TO:<z@y.test>")[-1] == \
        "452 4.5.3 Error: too many recipients"


def test_long_line_is_cut() -> None:
    game = Play(SessionConfig(line_limit=512))
    assert game.send(b"NOOP " + b"x" * 100_000) == b""
    assert game.session.backlog <= 512
    assert game.send(b"\r\nNOOP\r\n") == b"250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n"


def test_an_abandoned_transaction_gives_its_file_back() -> None:
    game = Play()
    game.lines("MAIL FROM:<a@b.test>", "RCPT TO:<x@y.test>", "RSET")
    assert isinstance(game.world.asked[-1], questions.Abandon)


def test_unforeseen_failure_is_temporary() -> None:
    game = Play()
    game.lines("MAIL FROM:<a@b.test>")
    assert [type(action).__name__ for action in game.session.feed(b"RCPT TO:<x@y.test>\r\n")] == ["Ask"]
    actions = game.session.failed(RuntimeError("x"))
    assert actions[0].octets.startswith(b"451 4.3.0")       # type: ignore[union-attr]  # a Send


def test_log_of_a_session(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mailsuite.smtpd"):
        game = Play()
        game.lines("EHLO x", "FOO", "MAIL FROM:<a@b.test>", "QUIT")
        Play().session.lost()
    assert [record.getMessage() for record in caplog.records] == [
        "connect from c.test[192.0.2.9]",
        "disconnect from c.test[192.0.2.9] ehlo=1 mail=1 quit=1 unknown=0/1 commands=3/4",
        "connect from c.test[192.0.2.9]",
        "lost connection after CONNECT from c.test[192.0.2.9]",
        "disconnect from c.test[192.0.2.9] commands=0/0"]


def test_log_of_what_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mailsuite.smtpd"):
        game = Play(SessionConfig(line_limit=512))
        game.lines("MAIL FROM:<a@b.test> SIZE=99999999", "RSET", "MAIL FROM:<a@b.test>",
                   "RCPT TO:<x@y.test> NOTIFY=success,Foo", "NOOP " + "0123456789 " * 60, "BDAT 5 foo")
    assert [record.getMessage() for record in caplog.records][1:-1] == [
        "NOQUEUE: reject: MAIL from c.test[192.0.2.9]: 552 5.3.4 Message size exceeds fixed limit; "
        "from=<a@b.test> proto=SMTP",
        'unknown DSN NOTIFY command value "Foo" in "success,Foo"',
        "c.test[192.0.2.9]: request longer than 512: NOOP 0123456789 0123456789 012...",
        "NOQUEUE: malformed BDAT command syntax from c.test[192.0.2.9]: BDAT 5 foo"]


def test_bdat_that_is_not_offered_ends_the_session() -> None:
    game = Play(SessionConfig(discard_keywords=frozenset({"chunking"})))
    assert game.lines("BDAT 5") == ["521 5.5.1 Error: command not implemented"] and game.world.closed


def test_requiretls_is_known_under_tls_only() -> None:
    game = Play(SessionConfig(tls=True, require_tls=True))
    assert b"REQUIRETLS" not in game.send(b"EHLO x\r\n")
    assert game.lines("MAIL FROM:<a@b.test> REQUIRETLS") == ["555 5.5.4 Unsupported option: REQUIRETLS"]
    game.send(b"STARTTLS\r\n")
    assert b"REQUIRETLS" in game.send(b"EHLO x\r\n")
    assert game.lines("MAIL FROM:<a@b.test> REQUIRETLS=1", "MAIL FROM:<a@b.test> REQUIRETLS") == [
        "555 5.5.4 Unsupported option: REQUIRETLS=1", "250 2.1.0 Ok"]
    assert game.session.facts.require_tls
    game.lines("RSET")
    assert not game.session.facts.require_tls


def test_requiretls_switched_off() -> None:
    for config in (SessionConfig(tls=True), SessionConfig(tls=True, require_tls=True,
                                                          discard_keywords=frozenset({"requiretls"}))):
        game = Play(config)
        game.lines("EHLO x", "STARTTLS")
        assert b"REQUIRETLS" not in game.send(b"EHLO x\r\n")
        assert game.lines("MAIL FROM:<a@b.test> REQUIRETLS") == ["555 5.5.4 Unsupported option: REQUIRETLS"]
