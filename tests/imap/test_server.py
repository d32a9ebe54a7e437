"""imap/server_connection.py, server.py: what one session may not do to others, and how sessions end."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mailsuite.imap import commands
from mailsuite.imap.commands import Entry
from mailsuite.imap.commands.context import Context
from mailsuite.imap.reply import OK, Reply
from mailsuite.imap.server_connection import Handler
from mailsuite.store.maildir.append import MaildirAppend
from tests.support.mail_sessions import ImapServer, Settings

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter, ImapServer], Awaitable[None]]


def converse(home: Path, talk: Talk) -> None:
    async def run() -> None:
        async with ImapServer({"alice": home}) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"a LOGIN alice x\r\n")
            await reader.readline()
            assert (await reader.readline()).startswith(b"a OK")
            await asyncio.wait_for(talk(reader, writer, server), 60)  # type: ignore[arg-type]
            writer.close()

    asyncio.run(run())


async def until(reader: asyncio.StreamReader, tag: bytes) -> list[bytes]:
    lines = []
    while not lines or not lines[-1].startswith(tag):
        lines.append(await reader.readline())
        assert lines[-1], "the server closed"
    return lines


def test_an_unforeseen_exception_is_told_and_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(context: object, command: object) -> commands.Run:
        yield b"* OK so far\r\n"
        raise RuntimeError("a bug")

    monkeypatch.setitem(commands.COMMANDS, "CHECK", Entry(broken))  # type: ignore[arg-type]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: ImapServer) -> None:
        writer.write(b"b CHECK\r\nc NOOP\r\n")
        said = await until(reader, b"c ")
        assert said[1].startswith(b"b NO [SERVERBUG] Internal error occurred. Refer to server log")
        assert said[2].startswith(b"c OK")

    converse(tmp_path, talk)


def test_a_large_message_flows_in_and_out(tmp_path: Path) -> None:
    body = b"x" * 76 + b"\r\n"
    message = b"Subject: large\r\n\r\n" + body * 30_000

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: ImapServer) -> None:
        writer.write(b"b APPEND INBOX {%d+}\r\n" % len(message) + message + b"\r\nc SELECT INBOX\r\n")
        await until(reader, b"c ")
        writer.write(b"d FETCH 1 BODY.PEEK[]\r\n")
        assert await reader.readline() == b"* 1 FETCH (BODY[] {%d}\r\n" % len(message)
        assert await reader.readexactly(len(message)) == message
        assert (await until(reader, b"d "))[-1].startswith(b"d OK")

    converse(tmp_path, talk)


def test_a_connection_lost_in_an_append_leaves_nothing(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: ImapServer) -> None:
        writer.write(b"b APPEND INBOX {100000+}\r\nhalf of it")
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(b"c")
        writer.close()
        while server.tasks:
            await asyncio.wait(server.tasks)

    converse(tmp_path, talk)
    assert [path for folder in ("new", "cur", "tmp") for path in (tmp_path / "Maildir" / folder).iterdir()] == []


def test_a_session_that_is_ended_during_a_commit_does_not_disturb_it(tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    began, left, aborted = threading.Event(), threading.Event(), threading.Event()
    disturbed: list[bool] = []
    commit, abort, closed = MaildirAppend.commit, MaildirAppend.abort, Handler.closed

    def slow_commit(append: MaildirAppend, *, replacing: str = "") -> object:
        began.set()
        assert left.wait(10)
        disturbed.append(aborted.wait(0.2))
        return commit(append)

    def told_abort(append: MaildirAppend) -> None:
        aborted.set()
        abort(append)

    def told_closed(handler: Handler, reason: str) -> None:
        closed(handler, reason)
        left.set()

    monkeypatch.setattr(MaildirAppend, "commit", slow_commit)
    monkeypatch.setattr(MaildirAppend, "abort", told_abort)
    monkeypatch.setattr(Handler, "closed", told_closed)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: ImapServer) -> None:
        writer.write(b"b APPEND INBOX {12+}\r\nSubject: x\r\n\r\n")
        await writer.drain()
        await asyncio.to_thread(began.wait, 10)
        server.world.stop()
        while server.tasks:
            await asyncio.wait(server.tasks)

    converse(tmp_path, talk)
    assert disturbed == [False]
    assert len(list((tmp_path / "Maildir").glob("[nc]*/*"))) == 1


def test_a_stopping_worker_says_bye(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: ImapServer) -> None:
        server.world.stop()
        assert await reader.readline() == b"* BYE Server shutting down.\r\n"
        assert await reader.read() == b""

    converse(tmp_path, talk)


def test_commands_before_a_mailbox_is_opened_touch_no_file(tmp_path: Path) -> None:
    """They are answered in the event loop; a login that looks at nothing leaves nothing behind."""
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: ImapServer) -> None:
        for number, command in enumerate((b"NOOP", b"CAPABILITY", b"ID NIL", b"ENABLE CONDSTORE", b"NAMESPACE",
                                          b"LOGOUT")):
            writer.write(b"t%d %b\r\n" % (number, command))
            assert (await until(reader, b"t%d " % number))[-1].startswith(b"t%d OK" % number)
        assert await reader.read() == b""
        while server.tasks:
            await asyncio.wait(server.tasks)

    converse(tmp_path, talk)
    assert not (tmp_path / "Maildir").exists()


def test_pipelined_commands_are_answered_in_order(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: ImapServer) -> None:
        writer.write(b"".join(b"t%d NOOP\r\n" % number for number in range(500)))
        for number in range(500):
            assert (await reader.readline()).startswith(b"t%d OK" % number)

    converse(tmp_path, talk)


def test_a_client_that_does_not_read_stops_only_itself(tmp_path: Path) -> None:
    message = b"Subject: x\r\n\r\n" + b"y" * 500_000

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: ImapServer) -> None:
        writer.write(b"b APPEND INBOX {%d+}\r\n" % len(message) + message + b"\r\nc SELECT INBOX\r\n")
        await until(reader, b"c ")
        writer.write(b"d FETCH 1 BODY.PEEK[]\r\n" * 50)         # 25 MB that nobody reads
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", server.port)
        other_writer.write(b"a LOGIN alice x\r\nb STATUS INBOX (MESSAGES)\r\n")
        assert (await until(other_reader, b"b "))[-1].startswith(b"b OK")
        other_writer.close()
        server.world.stop()

    converse(tmp_path, talk)


def served(home: Path, settings: dict[str, str], talk: Talk) -> None:
    async def run() -> None:
        async with ImapServer({"alice": home}, Settings(settings)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
            writer.write(b"a LOGIN alice x\r\n")
            await until_line(reader, b"a OK")
            await asyncio.wait_for(talk(reader, writer, server), 60)  # type: ignore[arg-type]
            writer.close()

    asyncio.run(run())


async def until_line(reader: asyncio.StreamReader, start: bytes) -> None:
    """Read up to a line that begins so, however long the lines are."""
    data = b"\r\n"
    while b"\r\n" + start not in data:
        octets = await reader.read(65536)
        assert octets, "the server closed"
        data += octets


def test_a_long_command_tells_that_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9585: the tag, and of a search in texts how far it is."""
    go_on = threading.Event()

    def slow(context: Context, command: object) -> commands.Run:
        context.opened().progress = b"454", b"1000"
        assert go_on.wait(60)
        yield b"* OK so far\r\n"
        return Reply(OK, "Check completed")

    monkeypatch.setitem(commands.COMMANDS, "CHECK", Entry(slow))  # type: ignore[arg-type]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: ImapServer) -> None:
        writer.write(b"b SELECT INBOX\r\nc CHECK\r\n")
        await until_line(reader, b"b OK")
        for _ in range(2):
            while (line := await reader.readline()) == b'* OK [INPROGRESS ("c" NIL NIL)] Still working.\r\n':
                pass                    # its thread has not begun
            assert line == b'* OK [INPROGRESS ("c" 454 1000)] Still working.\r\n'
        go_on.set()
        await until_line(reader, b"* OK so far\r\nc OK")

    served(tmp_path, {"imap_extensions": "all", "imap_progress_interval": "0.05"}, talk)


def test_who_does_not_read_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: ImapServer) -> None:
        message = b"x" * 2_000_000 + b"\r\n"
        writer.write(b"b APPEND INBOX {%d+}\r\n%b\r\nc SELECT INBOX\r\n" % (len(message), message))
        await until_line(reader, b"c OK")
        writer.write(b"d FETCH 1 (" + b" ".join([b"BODY.PEEK[]<%d>" % at for at in range(50)]) + b")\r\n")
        while "in reading our output" not in caplog.text:
            await asyncio.sleep(0.05)

    served(tmp_path, {"imap_output_timeout": "0.3"}, talk)


@pytest.mark.parametrize(("said", "want"), [
    (b"", "Connection closed (No commands sent)"),
    (b"b SELECT INBOX\r\n", "Connection closed (SELECT finished "),
    (b"b NOOP\r\n", "Connection closed (NOOP finished "),
    (b"b IDLE\r\n", "Connection closed (IDLE running for "),
    (b"b LOGOUT\r\n", "Logged out"),
])
def test_the_log_tells_what_a_client_did_last(tmp_path: Path, caplog: pytest.LogCaptureFixture, said: bytes,
                                              want: str) -> None:
    caplog.set_level(logging.INFO)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: ImapServer) -> None:
        if said:
            writer.write(said)
            await until(reader, b"+ " if b"IDLE" in said else b"b ")
        writer.close()
        while "Disconnected: " not in caplog.text:
            await asyncio.sleep(0.01)

    converse(tmp_path, talk)
    assert f"Disconnected: {want}" in caplog.text
