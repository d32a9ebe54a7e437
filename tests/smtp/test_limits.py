"""Limits of a session: out-of-step clients, bare LF, filtered commands, footers, stress, deadlines."""

import asyncio
import logging
import socket
from pathlib import Path
from typing import cast

import pytest

from mailsuite.base.dialogue import Pace, Peer
from mailsuite.config.settings import Settings
from mailsuite.net.driver import Connection
from mailsuite.net.passing import pass_socket, take_socket
from mailsuite.net.patience import Patience
from mailsuite.queue.folders import make_folders
from mailsuite.smtp import questions
from mailsuite.smtp.config import SessionConfig
from mailsuite.smtp.server_options import make_config, make_rates
from mailsuite.smtp.session import ServerSession
from tests.smtp.dialogue import Play, World
from tests.smtp.test_policy import facts, make, reply
from tests.smtp.test_server import settings, with_server

MAIL = ("EHLO c.test", "MAIL FROM:<a@b.test>", "RCPT TO:<x@y.test>")
BARE = "550 5.5.2 localhost Error: bare <LF> received"


def config(**values: str) -> SessionConfig:
    chosen = Settings.of({"myhostname": "mx.test", "mydestination": "y.test", **values})
    return make_config(chosen, make(), make_rates(chosen))


@pytest.mark.parametrize(("octets", "where"), [
    (b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\n", "HELO"),
    (b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n", "EHLO"),
    (b"NOOP\r\nNOOP\r\n", "NOOP"),
    (b"VRFY x\r\nNOOP\r\n", "VRFY"),
])
def test_who_does_not_wait_is_put_out(octets: bytes, where: str, caplog: pytest.LogCaptureFixture) -> None:
    play = Play(SessionConfig(forbid_pipelining=True))
    with caplog.at_level(logging.INFO):
        assert play.send(octets) == b"554 5.5.0 Error: SMTP protocol synchronization\r\n"
    assert play.world.closed
    assert f"improper command pipelining after {where} from c.test[192.0.2.9]: " in caplog.messages[0]
    assert f"{where.lower()}=0/1" in caplog.messages[-1]


def test_allowed_pipelining_is_allowed() -> None:
    play = Play(SessionConfig(forbid_pipelining=True))
    play.send(b"EHLO c.test\r\n")
    assert play.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<x@y.test>\r\nDATA\r\n").count(b"\r\n") == 3
    assert not play.world.closed
    late = Play(SessionConfig(forbid_pipelining=True))
    late.send(b"EHLO c.test\r\n")
    assert late.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<x@y.test>\r\nDATA\r\nSubject: x\r\n").endswith(
        b"554 5.5.0 Error: SMTP protocol synchronization\r\n")


def test_a_command_that_ends_in_lf_alone(caplog: pytest.LogCaptureFixture) -> None:
    play = Play(SessionConfig(bare_lf_reply=BARE))
    with caplog.at_level(logging.INFO):
        assert play.send(b"EHLO c.test\n") == BARE.encode() + b"\r\n"
    assert play.world.closed
    assert "NOQUEUE: reject: CONNECT from c.test[192.0.2.9]: bare <LF> received; proto=SMTP" in caplog.messages
    assert Play(SessionConfig()).send(b"NOOP\n") == b"250 2.0.0 Ok\r\n"


@pytest.mark.parametrize("cut", range(1, 40))
@pytest.mark.parametrize(("content", "good"), [
    (b"Subject: x\n\r\nbody\r\n.\r\n", False), (b"Subject: x\r\n\r\nbody\r\n\n.\r\n.\r\n", False),
    (b"Subject: x\r\n\r\nbody text here\r\nmore\r\n.\r\n", True), (b"\nbody\r\n.\r\n", False)])
def test_a_message_with_a_bare_lf(content: bytes, good: bool, cut: int) -> None:
    play = Play(SessionConfig(bare_lf_reply=BARE))
    play.lines(*MAIL, "DATA")
    out = play.send(content[:cut]) + play.send(content[cut:])
    assert out == (b"250 2.0.0 Ok: queued as 4F3A21\r\n" if good else BARE.encode() + b"\r\n")
    assert play.lines("NOOP") == ["250 2.0.0 Ok"]


def test_a_bare_lf_of_a_message_that_was_too_big_is_forgotten() -> None:
    play = Play(SessionConfig(bare_lf_reply=BARE, message_size_limit=50))
    assert play.lines("EHLO c.test")[-1].startswith("250")
    for content, want in [(b"a\n" + b"b" * 100 + b"\r\n", b"552 5.3.4"), (b"good\r\n", b"250 2.0.0")]:
        play.lines("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA")
        assert play.send(content + b".\r\n").startswith(want)


def test_a_chunk_with_a_bare_lf() -> None:
    play = Play(SessionConfig(bare_lf_reply=BARE))
    play.lines(*MAIL)
    assert play.send(b"BDAT 5 LAST\r\nab\nc\n") == BARE.encode() + b"\r\n"
    play.lines(*MAIL[1:])
    assert play.send(b"BDAT 6 LAST\r\nabcd\r\n").startswith(b"250 2.0.0 Ok: 6 bytes queued")


def test_filtered_commands(caplog: pytest.LogCaptureFixture) -> None:
    class Filter(World):
        def answer(self, session: ServerSession, question: object) -> object:
            if isinstance(question, questions.FilterCommand):
                return {"HELO": "HELO from.filter", "XYZ": "NOOP"}.get(question.line)
            return super().answer(session, question)

    play = Play(SessionConfig(filters=True), Filter())
    with caplog.at_level(logging.INFO):
        assert play.lines("HELO", "  XYZ", "RSET") == ["250 localhost", "250 2.0.0 Ok", "250 2.0.0 Ok"]
    assert play.session.facts.helo == "from.filter"
    assert 'c.test[192.0.2.9]: replacing command "  XYZ" with "NOOP"' in caplog.messages


def test_footers() -> None:
    play = Play(config(smtpd_reject_footer="\\c; plain",
                       smtpd_reject_footer_maps="regexp:{{/^500/ mapped\\\\nsecond}}".replace("\\\\n", "\\n")))
    play.lines("EHLO x")
    assert play.lines("RCPT TO:<x@y>") == ["503 5.5.1 Error: need MAIL command; plain"]
    assert play.send(b"FOO\r\n") == (b"500-5.5.2 Error: command not recognized\r\n500-5.5.2 mapped\r\n"
                                     b"500 5.5.2 second\r\n")


def test_permits_are_logged_when_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    lists = {"smtpd_recipient_restrictions": "check_client_access inline:{192.0.2.9=OK}, reject",
             "smtpd_relay_restrictions": ""}
    with caplog.at_level(logging.INFO):
        assert reply(make(**lists)) == ""
        assert not caplog.messages
        assert reply(make(**lists, smtpd_log_access_permit_actions="static:all")) == ""
        assert reply(make(**lists, smtpd_log_access_permit_actions="permit_mynetworks")) == ""
    assert caplog.messages == [
        "NOQUEUE: permit: RCPT from c.test[192.0.2.9]: action=OK for Client host=c.test[192.0.2.9] from "
        "inline:{192.0.2.9=OK}; from=<a@b.test> to=<x@example.test> proto=ESMTP helo=<h.test>"]


def test_what_stands_behind_a_last_word(caplog: pytest.LogCaptureFixture) -> None:
    policy = make(smtpd_recipient_restrictions="permit_mynetworks, reject, permit_sasl_authenticated",
                  smtpd_client_restrictions="permit, reject", smtpd_relay_restrictions="")
    assert reply(policy, facts()).startswith("554 5.7.1 ")
    assert caplog.messages == ["restriction `reject' after `permit' is ignored",
                               "restriction `permit_sasl_authenticated' after `reject' is ignored"]


def test_stress_shortens_what_it_should() -> None:
    calm, stressed = config(), config(stress="yes")
    assert (calm.timeout_s, calm.hard_errors, calm.junk_limit, calm.min_rate) == (300, 20, 100, 0)
    assert (stressed.timeout_s, stressed.hard_errors, stressed.junk_limit, stressed.min_rate) == (10, 1, 1, 500)


def test_the_last_place_is_served_under_stress(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_folders(str(tmp_path))

    def client(port: int) -> list[bytes]:
        said = []
        socks = [socket.create_connection(("127.0.0.1", port), 60) for _ in range(100)]
        for sock in socks:
            assert sock.recv(999).startswith(b"220")
        socks[-1].sendall(b"FOO\r\n")               # one error is too many now
        socks[0].sendall(b"FOO\r\n")
        with socks[-1].makefile("rb") as last:
            said.append(last.read())                # to its end
        said.append(socks[0].recv(999))
        for sock in socks:
            sock.close()
        return said

    chosen = settings(tmp_path, smtpd_client_connection_count_limit="0")
    last, first = with_server(chosen, client)
    assert b"421 4.7.0" in last and b"421" not in first
    assert "has reached its process limit" in caplog.text


def test_time_for_a_whole_request() -> None:
    """An octet now and then does not extend it; whole commands and enough content do."""
    async def run() -> None:
        loop = asyncio.get_running_loop()
        patience = Patience(cast(Connection, None), loop)
        patience.pace = pace = Pace(500)
        patience.last_octet = began = loop.time() - 100
        patience.keep_pace(1)
        assert patience.last_octet == began
        pace.content = True
        patience.keep_pace(5000)
        assert patience.last_octet == began + 10
        patience.keep_pace(10**9)
        assert began + 100 <= patience.last_octet <= loop.time()
        patience.last_octet = began
        pace.requests += 1
        patience.keep_pace(1)
        assert patience.last_octet >= began + 100

    asyncio.run(run())


def test_a_session_says_how_far_it_is() -> None:
    play = Play(SessionConfig(min_rate=500.0))
    pace = play.session.pace
    assert pace is not None
    play.send(b"NOO")
    assert (pace.requests, pace.content) == (0, False)
    play.send(b"P\r\n")
    play.lines(*MAIL, "DATA")
    assert (pace.requests, pace.content) == (5, True)
    play.send(b"x\r\n.\r\n")
    assert not pace.content


def test_a_socket_is_passed_with_what_it_holds(tmp_path: Path) -> None:
    async def run() -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "smtpd"))
        listener.listen()
        here, there = socket.socketpair()
        there.sendall(b"early")
        peer = Peer("192.0.2.1", 4711, "192.0.2.2", 25)
        with pytest.raises(OSError):
            await pass_socket(str(tmp_path / "nobody"), here, peer)
        await pass_socket(str(tmp_path / "smtpd"), here, peer)
        here.close()
        got, sock = await take_socket(listener.accept()[0])
        assert got == peer and sock.recv(99) == b"early"
        for each in (sock, there):
            each.close()
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(tmp_path / "smtpd"))
            stranger.sendall(b"{}\n")
            with pytest.raises(ValueError, match="makes no sense"):
                await take_socket(listener.accept()[0])
        listener.close()

    asyncio.run(run())
