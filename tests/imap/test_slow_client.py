"""A client that does not read what it asked for holds up nobody: no mailbox is locked while something is sent."""

import asyncio
from pathlib import Path

import pytest

from mailsuite.store.maildir_delivery import deliver_maildir
from tests.imap.test_notify import LOCATIONS, WAIT_S, Client
from tests.store.support import append, store_at
from tests.support.mail_sessions import ImapServer, Settings

COUNT, SIZE = 60, 200_000       # far more than what sockets and buffers take


async def logged_in(server: ImapServer) -> Client:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=4096)
    client = Client(reader, writer)
    await client.line()
    await client.say("LOGIN alice x")
    assert (await client.say("SELECT INBOX"))[-1].startswith("OK [READ-WRITE]")
    return client


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
@pytest.mark.parametrize("asked", ["FETCH 1:* BODY.PEEK[]", "UID FETCH 1:* (FLAGS BODY.PEEK[1])"])
def test_who_does_not_read_stops_nobody(tmp_path: Path, kind: str, asked: str) -> None:
    store = store_at(tmp_path, kind)
    message = b"Subject: large\r\n\r\n" + (b"x" * 78 + b"\r\n") * (SIZE // 80)
    append(store.open("INBOX"), *[message] * COUNT)
    store.close()

    async def main() -> None:
        async with ImapServer({"alice": tmp_path}, Settings({"mail_location": LOCATIONS[kind]})) as server, \
                asyncio.timeout(4 * WAIT_S):
            slow, quick = await logged_in(server), await logged_in(server)
            slow.writer.write(f"s1 {asked}\r\n".encode())
            assert (await slow.line()).startswith("* 1 FETCH")          # it is being answered; no more is read
            assert (await quick.say("STORE 1 +FLAGS (\\Flagged)"))[-1].startswith("OK")
            assert (await quick.say("APPEND INBOX {3+}\r\nx\r\n"))[-1].startswith("OK [APPENDUID")
            assert (await quick.say("COPY 2 INBOX"))[-1].startswith("OK [COPYUID")
            assert (await quick.say("STORE 3 +FLAGS.SILENT (\\Deleted)"))[-1].startswith("OK")
            assert (await quick.say("EXPUNGE"))[-1].startswith("OK")
            if kind == "maildir":
                await asyncio.to_thread(deliver_maildir, str(tmp_path / "Maildir"), b"", [b"Subject: new\n\nx\n"],
                                        host="mx.test")
                assert f"* {COUNT + 2} EXISTS" in await quick.say("NOOP")
            assert (await quick.say("SEARCH SUBJECT large"))[-1].startswith("OK")
            assert (await quick.say("CLOSE"))[-1].startswith("OK")
            slow.writer.transport.abort()

    asyncio.run(main())
