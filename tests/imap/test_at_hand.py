"""What the event loop answers itself, and what it leaves to threads."""

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailsuite.access.threads import Job, Pool
from mailsuite.store import mailbox_kind
from mailsuite.store.mailbox import BaseMailbox
from mailsuite.store.maildir import mailbox as maildir_mailbox
from tests.store.support import append, numbered, store_at
from tests.support.mail_sessions import ImapServer, Settings


class Client:
    """One session. threads: calls that went to a thread since `ask` was called last."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, calls: list[object]) -> None:
        self.reader, self.writer, self._calls = reader, writer, calls
        self.threads = 0

    async def ask(self, command: bytes, end: bytes = b"\r\nt ") -> bytes:
        self._calls.clear()
        said = await self.say(command, end)
        self.threads = len(self._calls)
        return said

    async def say(self, command: bytes, end: bytes = b"\r\nt ") -> bytes:
        """end: what stands in front of the last line."""
        self.writer.write(b"t " + command + b"\r\n")
        said = b""
        while end not in b"\r\n" + said or not said.endswith(b"\r\n"):
            octets = await asyncio.wait_for(self.reader.read(65536), 20)
            assert octets, "the server closed"
            said += octets
        return said


Talk = Callable[[list[Client]], Any]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with_mail(tmp_path, "maildir", 3)
    return tmp_path


def with_mail(home: Path, kind: str, count: int) -> None:
    store = store_at(home, kind)
    append(store.open("INBOX"), *numbered(count), flags=["\\Flagged"])        # so they are in cur/
    store.close()
    for folder in (home / "Maildir").glob("???"):
        os.utime(folder, (1_700_000_000, 1_700_000_000))        # one that changed just now is looked at again


def converse(home: Path, talk: Talk, monkeypatch: pytest.MonkeyPatch, *, sessions: int = 2,
             location: str = "maildir:~/Maildir") -> None:
    calls: list[object] = []
    start = Pool.start

    def counted(pool: Pool, call: Callable[[], Any]) -> Job[Any]:
        calls.append(call)
        return start(pool, call)

    monkeypatch.setattr(Pool, "start", counted)

    async def run() -> None:
        async with ImapServer({"alice": home}, Settings({"mail_location": location})) as server:
            clients = []
            for _ in range(sessions):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                client = Client(reader, writer, calls)
                await reader.readline()
                await client.say(b"LOGIN alice x")
                clients.append(client)
            await talk(clients)
            for client in clients:
                client.writer.close()

    asyncio.run(run())


def test_of_a_mailbox_that_is_open_and_unchanged(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(clients: list[Client]) -> None:
        first, second = clients
        said = await first.ask(b"SELECT INBOX")
        assert b"* 3 EXISTS" in said and b"* 3 RECENT" in said and first.threads
        said = await second.ask(b"SELECT INBOX")
        assert b"* 3 EXISTS" in said and b"* 0 RECENT" in said and b"t OK [READ-WRITE]" in said and not second.threads
        assert (await second.ask(b"NOOP")).startswith(b"t OK NOOP completed") and not second.threads
        said = await second.ask(b"UID FETCH 1:* (UID FLAGS MODSEQ)")
        assert said.count(b" FETCH (UID ") == 3 and not second.threads
        said = await first.ask(b"FETCH 2 FLAGS")
        assert said.startswith(b"* 2 FETCH (FLAGS (\\Flagged \\Recent))\r\n") and not first.threads
        await second.ask(b"FETCH 2 (FLAGS INTERNALDATE)")
        assert second.threads

    converse(home, talk, monkeypatch)


def test_what_happened_meanwhile_is_seen(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(clients: list[Client]) -> None:
        first, second = clients
        await first.ask(b"SELECT INBOX")
        await second.ask(b"SELECT INBOX")
        (home / "Maildir/new/1700000009.M1P1.mx").write_bytes(b"Subject: new\n\n")
        said = await first.ask(b"NOOP")
        assert b"* 4 EXISTS" in said and first.threads
        await second.ask(b"STORE 1 +FLAGS (\\Deleted)")
        await second.ask(b"EXPUNGE")
        assert b"* 1 EXPUNGE" in await first.ask(b"NOOP")
        next((home / "Maildir/cur").iterdir()).unlink()
        assert b" EXPUNGE" in await second.ask(b"NOOP")
        (home / "Maildir/dovecot-uidlist").write_bytes(b"3 V77 N1\n")
        assert b"* BYE " in await first.ask(b"NOOP", b"\r\n* BYE ")

    converse(home, talk, monkeypatch)


def test_who_finds_the_mailbox_locked_waits_in_a_thread(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[BaseMailbox] = []
    open_view = BaseMailbox.open_view

    def noted(mailbox: BaseMailbox, **options: bool) -> Any:
        opened.append(mailbox)
        return open_view(mailbox, **options)

    monkeypatch.setattr(BaseMailbox, "open_view", noted)

    async def talk(clients: list[Client]) -> None:
        first, second = clients
        await first.ask(b"SELECT INBOX")
        held, free = threading.Event(), threading.Event()

        def hold() -> None:
            with opened[0].lock:
                held.set()
                free.wait(20)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(20)
        waiting = asyncio.ensure_future(first.ask(b"FETCH 1:* FLAGS"))
        selecting = asyncio.ensure_future(second.say(b"SELECT INBOX"))
        third = await asyncio.open_connection("127.0.0.1", first.writer.get_extra_info("peername")[1])
        assert (await third[0].readline()).startswith(b"* OK")       # the loop goes on
        third[1].close()
        assert not waiting.done() and not selecting.done()
        free.set()
        assert (await waiting).count(b" FETCH (FLAGS ") == 3 and first.threads
        assert b"* 3 EXISTS" in await selecting
        thread.join()

    converse(home, talk, monkeypatch)


def test_a_large_mailbox_is_left_to_threads(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox_kind, "MOST_HELD", 2)

    async def talk(clients: list[Client]) -> None:
        await clients[0].ask(b"SELECT INBOX")
        assert (await clients[0].ask(b"FETCH 1:* FLAGS")).count(b" FETCH (FLAGS ") == 3 and clients[0].threads
        assert b"* 3 EXISTS" in await clients[1].ask(b"SELECT INBOX") and clients[1].threads

    converse(home, talk, monkeypatch)


def test_flags_of_many_come_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("cur", "new", "tmp"):
        (tmp_path / "Maildir" / folder).mkdir(parents=True)
    for number in range(2500):
        (tmp_path / f"Maildir/cur/1700000000.M{number:06d}P1.mx:2,S").touch()

    async def talk(clients: list[Client]) -> None:
        await clients[0].ask(b"EXAMINE INBOX")
        said = await clients[0].ask(b"UID FETCH 1:* (FLAGS)")
        assert said.count(b"\r\n") == 2501 and not clients[0].threads
        assert b"* 2499 FETCH (UID 2499 FLAGS (\\Seen \\Recent))\r\n* 2500 FETCH (UID 2500 " in said

    converse(tmp_path, talk, monkeypatch, sessions=1)


def test_an_mbox_is_looked_at_by_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_mail(tmp_path, "mbox", 2)

    async def talk(clients: list[Client]) -> None:
        first, second = clients
        await first.ask(b"SELECT INBOX")
        await second.ask(b"SELECT INBOX")
        assert second.threads
        assert (await second.ask(b"FETCH 1:* FLAGS")).count(b" FETCH (FLAGS ") == 2 and not second.threads
        await second.ask(b"NOOP")
        assert second.threads

    converse(tmp_path, talk, monkeypatch, location="mbox:~/mail:INBOX=~/inbox")


MAIL = (b"From: A <a@b.test>\nSubject: one\n two\nTo: c@d.test\nX-Nul: \0\n\ntext\n\0\n",
        b"From: a@b.test\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nfirst\r\n--x--\r\n",
        b"no header\n")
ASKED = (b"BODY.PEEK[]", b"(BODY.PEEK[] ENVELOPE BODY.PEEK[])", b"(UID FLAGS RFC822.HEADER)", b"BODY.PEEK[1]",
         b"BODYSTRUCTURE",
         b"(BODY.PEEK[]<3.5> RFC822.SIZE)", b"BODY.PEEK[HEADER.FIELDS (Subject TO)]", b"(ENVELOPE BODY RFC822.SIZE)",
         b"BODY.PEEK[HEADER.FIELDS.NOT (FROM)]", b"(BODY.PEEK[TEXT] FLAGS)", b"BODY.PEEK[HEADER.FIELDS (\"X-Nul\")]")


def reads(monkeypatch: pytest.MonkeyPatch, *, cached: bool) -> None:
    """Whether the kernel has files in memory, as the store believes."""
    def read(path: bytes, most: int) -> bytes | None:
        octets = Path(os.fsdecode(path)).read_bytes() if cached else b""
        return octets if cached and len(octets) <= most else None

    monkeypatch.setattr(maildir_mailbox, "read_cached", read)


def test_a_few_messages_that_are_in_memory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_at(home, "maildir")
    append(store.open("INBOX"), *MAIL)
    store.close()

    async def talk(clients: list[Client]) -> None:
        client = clients[0]
        for asked in ASKED:
            told = []
            for cached in (True, False):
                reads(monkeypatch, cached=cached)
                await client.say(b"SELECT INBOX")
                told.append((await client.ask(b"FETCH 3:6 " + asked)).splitlines()[:-1])
                assert (client.threads == 0) is cached, asked
                await client.say(b"UNSELECT")           # what was in hand is forgotten
            assert told[0] == told[1] and told[0], asked

    converse(home, talk, monkeypatch, sessions=1)


def test_what_marks_messages_or_looks_at_many_is_a_threads(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads(monkeypatch, cached=True)
    large = b"Subject: large\n\n" + b"x" * (maildir_mailbox.AT_ONCE + 1)
    store = store_at(home, "maildir")
    append(store.open("INBOX"), large, *numbered(9))
    store.close()

    async def talk(clients: list[Client]) -> None:
        first, second = clients
        await first.ask(b"SELECT INBOX")
        assert b"FLAGS (\\Flagged \\Seen" in await first.ask(b"FETCH 1 BODY[]") and first.threads
        assert b"FLAGS" not in await first.ask(b"FETCH 1 BODY[]") and not first.threads
        assert b"{65552}" in await first.ask(b"FETCH 4 RFC822.TEXT") or first.threads
        assert (await first.ask(b"UID FETCH 5:13 BODY.PEEK[]")).count(b"BODY[] {") == 9 and first.threads
        assert (await first.ask(b"UID FETCH 5:12 BODY.PEEK[]")).count(b"BODY[] {") == 8 and not first.threads
        assert (await first.ask(b"UID FETCH 99 BODY.PEEK[]")).startswith(b"t OK ")
        await second.ask(b"SELECT INBOX")
        await second.ask(b"STORE 13 +FLAGS.SILENT (\\Deleted)")
        await second.ask(b"EXPUNGE")
        assert b"NIL" in await first.ask(b"FETCH 13 BODY.PEEK[HEADER]")        # gone, but not for this session yet
        assert b"t BAD " in await first.ask(b"FETCH 1 BODY.PEEK[") and b"t BAD " in await first.ask(b"FETCH x BODY[]")

    converse(home, talk, monkeypatch)


def test_status_of_what_is_open(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's \\Recent does not hinder it, and sizes only until they have been asked for."""
    async def talk(clients: list[Client]) -> None:
        first, second = clients
        await first.ask(b"EXAMINE INBOX")
        counted = b"MESSAGES 3 RECENT 3 UIDNEXT 4"
        assert counted in await second.ask(b"STATUS INBOX (MESSAGES RECENT UIDNEXT)") and not second.threads
        size = (await second.ask(b"STATUS INBOX (SIZE)")).partition(b"\r\n")[0]
        assert size.startswith(b"* STATUS INBOX (SIZE ") and second.threads
        assert (await second.ask(b"STATUS INBOX (SIZE)")).startswith(size + b"\r\n") and not second.threads
        assert b"UNSEEN 3" in await first.ask(b"STATUS INBOX (UNSEEN)") and not first.threads       # the selected one
        await second.ask(b"SELECT INBOX")
        await second.ask(b"STORE 2 +FLAGS.SILENT (\\Seen)")
        for client in clients:
            assert b"UNSEEN 2" in await client.ask(b"STATUS INBOX (UNSEEN)")
        (home / "Maildir/new/1700000009.M1P1.mx").write_bytes(b"Subject: new\n\n")
        await first.ask(b"NOOP")
        said = await first.ask(b"STATUS INBOX (MESSAGES UNSEEN)")
        assert b"MESSAGES 4 UNSEEN 3" in said
        assert not (await first.ask(b"STATUS INBOX (SIZE)")).startswith(size + b"\r\n") and first.threads
        assert b"Mailbox doesn't exist" in await first.ask(b"STATUS Nowhere (MESSAGES)") and first.threads
        assert b"BAD" in await first.ask(b"STATUS INBOX (NOTHING)")

    converse(home, talk, monkeypatch)


def test_search_for_flags(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(clients: list[Client]) -> None:
        first, second = clients
        await first.ask(b"SELECT INBOX")
        await second.ask(b"SELECT INBOX")
        await second.ask(b"STORE 2 +FLAGS (\\Seen)")
        for command, found in ((b"SEARCH UNSEEN", b" 1 3"), (b"UID SEARCH UID 2:9 UNSEEN", b" 3"),
                               (b"SEARCH 2 SEEN", b" 2"), (b"SEARCH ALL", b" 1 2 3"), (b"SEARCH ANSWERED", b""),
                               (b"SEARCH OR SEEN DRAFT", b" 2"), (b"SEARCH NOT NOT FLAGGED UNSEEN", b" 1 3")):
            assert (await first.ask(command)).startswith(b"* SEARCH%b\r\n" % found) and not first.threads, command
        for command, found in ((b"SEARCH OR 1 SEEN", b" 1 2"), (b"SEARCH 1:2 2:3", b" 2"),
                               (b"SEARCH RECENT", b" 1 2 3"), (b"SEARCH SUBJECT ALL", b"")):
            assert (await first.ask(command)).startswith(b"* SEARCH%b\r\n" % found) and first.threads

    converse(home, talk, monkeypatch)
