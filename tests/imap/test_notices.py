"""What other programs do to mailboxes is told in IDLE at once, and to STATUS: Maildir and mbox."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mailsuite.store.delivery import MboxLocks, append_mbox
from mailsuite.store.locks import MailboxLock
from mailsuite.store.maildir_delivery import deliver_maildir
from mailsuite.store.watch import POLL_S
from tests.support.mail_sessions import ImapServer, Settings

LIMIT_S = 15.0          # less than a look by the clock would take: notices must come from the system
assert LIMIT_S < POLL_S
MESSAGE = b"Subject: new\n\ntext\n"
LOCATIONS = {"maildir": "maildir:~/Maildir", "mbox": "mbox:~/mail:INBOX=~/inbox"}


class Client:
    """Lines as they come, with the time each one came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def say(self, command: str, *, until: bytes = b"x ") -> list[bytes]:
        self._writer.write(command.encode() + b"\r\n")
        return await self.hear(until)

    async def hear(self, end: bytes) -> list[bytes]:
        """Lines up to one that holds `end`."""
        lines = [b""]
        while end not in lines[-1]:
            lines.append(await asyncio.wait_for(self._reader.readline(), LIMIT_S))
            assert lines[-1], lines
        return lines[1:]


def our_agent(home: Path, kind: str) -> None:
    if kind == "mbox":
        append_mbox(str(home / "inbox"), "a@b.test", b"", [MESSAGE], locks=MboxLocks(("fcntl", "dotlock")))
    else:
        deliver_maildir(str(home / "Maildir"), b"", [MESSAGE], host="mx")


def another_program(home: Path, kind: str) -> None:
    """procmail and such: appended without much ado; written in tmp/ and moved into cur/ with flags."""
    if kind == "mbox":
        with (home / "inbox").open("ab") as file:
            file.write(b"From a@b.test  Tue Nov 14 22:13:20 2023\n" + MESSAGE + b"\n")
    else:
        name = f"{time.time_ns()}.1.other"
        (home / "Maildir/tmp" / name).write_bytes(MESSAGE)
        os.rename(home / "Maildir/tmp" / name, home / "Maildir/cur" / f"{name}:2,S")


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """As mutt does it: locked."""
    with path.open("r+b") as file, MailboxLock(str(path), ("dotlock", "fcntl")).held(file.fileno()):
        text = change(file.read())
        file.seek(0)
        file.write(text)
        file.truncate()


def flag(home: Path, kind: str) -> None:
    """One message gets \\Flagged."""
    if kind == "mbox":
        rewrite(home / "inbox", lambda text: text.replace(b"\n\n", b"\nX-Status: F\n\n", 1))
    else:
        path = min((home / "Maildir/cur").iterdir())
        path.rename(path.with_name(path.name.partition(":2,")[0] + ":2,FS"))


def remove(home: Path, kind: str) -> None:
    """One message goes."""
    if kind == "mbox":
        rewrite(home / "inbox", lambda text: text[text.index(b"From a@b.test", 10):])
    else:
        min((home / "Maildir/cur").iterdir()).unlink()


async def idle(home: Path, kind: str, acts: list[tuple[Callable[[Path, str], None], bytes]]) -> list[float]:
    """Do each act in a thread while a session idles; seconds until it heard of it."""
    took = []
    async with ImapServer({"alice": home}, Settings({"mail_location": LOCATIONS[kind]})) as server:
        client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
        await client.say("x LOGIN alice x")
        await client.say("x SELECT INBOX")
        await client.say("x IDLE", until=b"+ ")
        for act, heard in acts:
            await asyncio.to_thread(act, home, kind)
            start = time.monotonic()
            await client.hear(heard)
            took.append(time.monotonic() - start)
        await client.say("DONE")
        await client.say("x LOGOUT")
    return took


@pytest.mark.parametrize("kind", list(LOCATIONS))
def test_told_in_idle(tmp_path: Path, kind: str) -> None:
    (tmp_path / "inbox").touch()
    acts = [(our_agent, b"* 1 EXISTS"), (another_program, b"* 2 EXISTS"), (our_agent, b"* 3 EXISTS"),
            (flag, b"\\Flagged"), (remove, b" EXPUNGE"), (our_agent, b"* 3 EXISTS")]
    asyncio.run(idle(tmp_path, kind, acts))


@pytest.mark.parametrize("kind", list(LOCATIONS))
def test_status_of_another_mailbox_is_never_old(tmp_path: Path, kind: str) -> None:
    """Asked right after each delivery, within the same tick of the kernel's clock too."""
    async def ask() -> None:
        async with ImapServer({"alice": tmp_path}, Settings({"mail_location": LOCATIONS[kind]})) as server:
            client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
            await client.say("x LOGIN alice x")
            await client.say("x CREATE other")
            await client.say("x SELECT other")
            for number in range(1, 11):
                await asyncio.to_thread([our_agent, another_program][number % 2], tmp_path, kind)
                assert b"MESSAGES %d)" % number in (await client.say("x STATUS INBOX (MESSAGES)"))[0]
            await client.say("x LOGOUT")
    (tmp_path / "inbox").touch()
    asyncio.run(ask())
