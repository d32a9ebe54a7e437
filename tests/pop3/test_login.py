"""What a POP3 client hears first: "+OK" before INBOX is opened, as from Dovecot 2.3."""

import asyncio
from pathlib import Path

import pytest

from mailsuite.pop3 import server as pop3_server
from mailsuite.pop3.maildrop import Maildrop
from tests.support.mail_sessions import Pop3Server


async def logged_in(server: Pop3Server, more: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"USER alice\r\nPASS secret\r\n" + more)
    while (line := await asyncio.wait_for(reader.readline(), 30)) != b"+OK Logged in.\r\n":
        assert line.startswith(b"+OK")
    return reader, writer


def test_an_inbox_that_cannot_be_opened_is_told_of_after_the_login(tmp_path: Path) -> None:
    (tmp_path / "Maildir").write_text("not a folder")

    async def work() -> None:
        async with Pop3Server({"alice": tmp_path}) as server:
            reader, writer = await logged_in(server, b"STAT\r\n")
            assert (await reader.readline()).startswith(b"-ERR [SYS/TEMP] Internal error occurred.")
            assert await reader.read() == b""
            writer.close()

    asyncio.run(work())


def test_the_login_does_not_wait_for_the_inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that come meanwhile are answered afterwards, in order."""
    async def work() -> None:
        import threading

        go_on = threading.Event()

        class Slow(Maildrop):
            def __init__(self, *arguments: object) -> None:
                assert go_on.wait(10)
                super().__init__(*arguments)  # type: ignore[arg-type]  # whatever it takes

        monkeypatch.setattr(pop3_server, "Maildrop", Slow)
        async with Pop3Server({"alice": tmp_path}) as server:
            reader, writer = await logged_in(server)
            writer.write(b"STAT\r\nNOOP\r\nQUIT\r\n")
            go_on.set()
            assert await asyncio.wait_for(reader.read(), 30) == b"+OK 0 0\r\n+OK\r\n+OK Logging out.\r\n"
            writer.close()

    asyncio.run(work())
