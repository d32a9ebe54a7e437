"""RETR: messages from the kernel's memory, and large ones that are never in ours as a whole."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailsuite.access.user_mail import UserMail
from mailsuite.store.api import StoreError
from mailsuite.store.maildir.mailbox import MaildirMailbox
from mailsuite.store.opening import open_store
from tests.support.mail_sessions import Pop3Server


def fill(home: Path, messages: list[bytes]) -> list[Path]:
    for folder in ("cur", "new", "tmp"):
        (home / "Maildir" / folder).mkdir(parents=True)
    paths = [home / f"Maildir/cur/{1700000000 + number}.M1P1.mx:2," for number in range(len(messages))]
    for path, message in zip(paths, messages, strict=True):
        path.write_bytes(message)
    return paths


class Client:
    """One POP3 session over a server of the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def log_in(cls, server: Pop3Server) -> "Client":
        client = cls(*await asyncio.open_connection("127.0.0.1", server.port))
        assert await client.say(b"USER alice") == b"+OK ready.\r\n"
        assert await client.say(b"PASS x") == b"+OK\r\n"
        assert await client.reader.readline() == b"+OK Logged in.\r\n"
        return client

    async def say(self, command: bytes, *, multiline: bool = False) -> bytes:
        self.writer.write(command + b"\r\n")
        said = await asyncio.wait_for(self.reader.readline(), 20)
        if multiline and said.startswith(b"+"):
            while not said.endswith(b"\r\n.\r\n"):
                said += await asyncio.wait_for(self.reader.readline(), 20)
        return said

    def close(self) -> None:
        self.writer.close()


def test_messages_in_order_are_those_asked_for(tmp_path: Path) -> None:
    """One that goes meanwhile is told of, however it would have been read."""
    count = 60
    paths = fill(tmp_path, [b"Subject: %d\n\n.body %d\n" % (number, number) for number in range(1, count + 1)])

    async def work() -> None:
        async with Pop3Server({"alice": tmp_path}) as server:
            client = await Client.log_in(server)
            for number in range(1, count + 1):
                if number % 10 == 0:
                    os.unlink(paths[number - 1])
                said = await client.say(b"RETR %d" % number, multiline=True)
                if number % 10 == 0:
                    assert said == b"-ERR Message %d expunged.\r\n" % number
                else:
                    text = b"Subject: %d\r\n\r\n..body %d\r\n.\r\n" % (number, number)
                    assert said == b"+OK %d octets\r\n" % (len(text) - 4) + text
            assert await client.say(b"DELE 1") == b"+OK Marked to be deleted.\r\n"
            assert await client.say(b"RETR 1") == b"-ERR Message is deleted.\r\n"
            assert await client.say(b"QUIT") == b"+OK Logging out, messages deleted.\r\n"
            client.close()

    asyncio.run(work())
    assert not paths[0].exists()


def test_small_messages_need_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel has them in memory; else they do."""
    fill(tmp_path, [b"Subject: %d\n\nbody\n" % number for number in range(3)])
    monkeypatch.setattr("mailsuite.store.maildir.mailbox.read_cached",
                        lambda path, most: Path(os.fsdecode(path)).read_bytes())

    async def work() -> None:
        async with Pop3Server({"alice": tmp_path}) as server:
            client = await Client.log_in(server)
            assert (await client.say(b"STAT")).startswith(b"+OK 3 ")
            monkeypatch.setattr(UserMail, "start", not_called)
            for command, said in ((b"RETR 1", b"+OK 20 octets\r\n"), (b"TOP 2 1", b"+OK\r\n"),
                                  (b"RETR 3", b"+OK 20 octets\r\n")):
                assert (await client.say(command, multiline=True)).startswith(said)
            for command, said in ((b"STAT", b"+OK 3 60"), (b"LIST 2", b"+OK 2 20"), (b"NOOP", b"+OK"),
                                  (b"NONE", b"-ERR"), (b"DELE 1", b"+OK"), (b"STAT", b"+OK 2 40"),
                                  (b"RETR 1", b"-ERR Message is deleted."), (b"RSET", b"+OK")):
                assert (await client.say(command)).startswith(said)
            monkeypatch.undo()
            assert await client.say(b"QUIT") == b"+OK Logging out.\r\n"
            client.close()

    asyncio.run(work())


def not_called(*_: object) -> None:
    raise AssertionError("a thread was asked for")


def test_a_large_message_goes_out_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing reads it as a whole; RETR and TOP say what they would say of a small one."""
    lines = [b"line %d" % number if number % 7 else b".line %d" % number for number in range(60_000)]
    stored = b"Subject: large\nX-A: b\n\n" + b"\n".join(lines) + b"\nend\r\nno line end"
    fill(tmp_path, [stored, b"Subject: small\n\nx\n"])

    def refused(self: MaildirMailbox, uid: int) -> bytes:
        raise AssertionError("read as a whole")

    async def work() -> None:
        async with Pop3Server({"alice": tmp_path}) as server:
            client = await Client.log_in(server)
            small = await client.say(b"RETR 2", multiline=True)
            monkeypatch.setattr(MaildirMailbox, "read_stored", refused)
            wire = stored.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            want = b"+OK %d octets\r\n" % len(wire) + wire.replace(b"\n.", b"\n..") + b"\r\n.\r\n"
            assert await client.say(b"RETR 1", multiline=True) == want
            assert await client.say(b"LIST 1") == b"+OK 1 %d\r\n" % len(wire)
            assert await client.say(b"TOP 1 0", multiline=True) == b"+OK\r\nSubject: large\r\nX-A: b\r\n\r\n.\r\n"
            top = await client.say(b"TOP 1 8", multiline=True)
            assert top.endswith(b"\r\nline 6\r\n..line 7\r\n.\r\n")
            assert small.startswith(b"+OK 21 octets")
            client.close()

    asyncio.run(work())


def test_a_message_that_cannot_be_read_to_its_end_ends_the_session(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """No reply can be told from content any more."""
    fill(tmp_path, [b"Subject: large\n\n" + b"line\n" * 100_000])

    def blocks(self: MaildirMailbox, uid: int) -> Iterator[bytes]:
        yield b"Subject: large\r\n\r\n" + b"line\r\n" * 50_000
        raise StoreError("the disk is broken")

    async def work() -> None:
        async with Pop3Server({"alice": tmp_path}) as server:
            client = await Client.log_in(server)
            assert (await client.say(b"LIST 1")).startswith(b"+OK 1 ")
            monkeypatch.setattr(MaildirMailbox, "blocks", blocks)
            client.writer.write(b"RETR 1\r\n")
            said = await asyncio.wait_for(client.reader.read(), 20)
            assert said.startswith(b"+OK ")
            assert b"-ERR" not in said
            assert not said.endswith(b"\r\n.\r\n")
            client.close()

    asyncio.run(work())
    assert "the disk is broken" in caplog.text


def test_messages_on_the_disk_are_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once one was not in memory; what was asked for is not asked for again."""
    fill(tmp_path, [b"Subject: %d\n\nbody\n" % number for number in range(50)])
    wanted: list[list[int]] = []
    in_memory = True

    def cached(path: bytes, most: int) -> bytes | None:
        return Path(os.fsdecode(path)).read_bytes() if in_memory else None

    monkeypatch.setattr("mailsuite.store.maildir.mailbox.read_cached", cached)
    monkeypatch.setattr(MaildirMailbox, "will_need", lambda self, uids: wanted.append(list(uids)))

    async def work() -> None:
        nonlocal in_memory
        async with Pop3Server({"alice": tmp_path}) as server:
            client = await Client.log_in(server)
            for number in range(1, 51):
                in_memory = number != 4
                assert (await client.say(b"RETR %d" % number, multiline=True)).startswith(b"+OK ")
            assert (await client.say(b"RETR 51")).startswith(b"-ERR")
            client.close()

    asyncio.run(work())
    assert wanted[0] == list(range(5, 21))
    assert sorted(sum(wanted, [])) == list(range(5, 51))


def test_what_is_read_ahead_may_be_gone(tmp_path: Path) -> None:
    paths = fill(tmp_path, [b"Subject: %d\n\nbody\n" % number for number in range(3)])
    store = open_store("alice", home=str(tmp_path), location="maildir:~/Maildir")
    inbox = store.open("INBOX")
    paths[1].unlink()
    inbox.will_need([1, 2, 3, 4])
    assert inbox.message(3).fields(b"Subject") == [b"2"]
    store.close()
