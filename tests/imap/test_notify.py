"""NOTIFY: what other programs do, limits, and that a quiet mailbox costs nothing. Dialogues: tests/dialogues/imap."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mailsuite.access.watching import Watched, Watching
from mailsuite.imap import notify_server
from mailsuite.imap.server_connection import Handler
from mailsuite.store.watch import CREATED, GONE, LOST, Event, Inotify
from tests.support.mail_sessions import ImapServer, Settings

LOCATIONS = {"maildir": "maildir:~/Maildir", "fs": "maildir:~/Maildir:LAYOUT=fs", "mbox": "mbox:~/mail:INBOX=~/inbox"}
WAIT_S = 60.0
MAIL = b"From a@b.test Thu Nov  1 00:00:00 2023\nSubject: x\n\nbody\n\n"
BOTH = "(MessageNew MessageExpunge)"


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.tag = reader, writer, 0

    async def line(self) -> str:
        octets = await asyncio.wait_for(self.reader.readline(), WAIT_S)
        assert octets, "the server closed the connection"
        return octets.decode().rstrip("\r\n")

    async def until(self, start: str) -> list[str]:
        """Lines up to one that begins so."""
        lines = [await self.line()]
        while not lines[-1].startswith(start):
            lines.append(await self.line())
        return lines

    async def say(self, command: str) -> list[str]:
        self.tag += 1
        self.writer.write(f"x{self.tag} {command}\r\n".encode())
        lines = await self.until(f"x{self.tag} ")
        lines[-1] = lines[-1].partition(" ")[2]
        return lines


def run(tmp_path: Path, script: Callable[[Client], Awaitable[None]], **values: str) -> None:
    async def main() -> None:
        async with ImapServer({"alice": tmp_path}, Settings(values)) as server:
            client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
            await client.line()
            await client.say("LOGIN alice x")
            await script(client)
            client.writer.close()

    asyncio.run(main())


def deliver(tmp_path: Path, kind: str, name: str, number: int = 1) -> None:
    """As another program would."""
    if kind == "mbox":
        with open(tmp_path / "mail" / name, "ab") as file:
            file.write(MAIL)
        return
    folder = tmp_path / "Maildir" / (name if kind == "fs" else f".{name}")
    (folder / "tmp" / f"{number}.M1P1.mx").write_bytes(MAIL.partition(b"\n")[2])
    os.rename(folder / "tmp" / f"{number}.M1P1.mx", folder / "new" / f"{number}.M1P1.mx")


@pytest.mark.parametrize("kind", list(LOCATIONS))
def test_another_program(tmp_path: Path, kind: str) -> None:
    async def script(client: Client) -> None:
        await client.say("CREATE Work")
        assert (await client.say("NOTIFY SET (PERSONAL (MessageNew MessageExpunge MailboxName))"))[-1].startswith("OK")
        deliver(tmp_path, kind, "Work")
        assert await client.line() == "* STATUS Work (MESSAGES 1 UIDNEXT 2 UNSEEN 1)"
        top = tmp_path / ("mail" if kind == "mbox" else "Maildir")
        dot = "." if kind == "maildir" else ""
        os.rename(top / f"{dot}Work", top / f"{dot}Job")
        assert (await client.until("* LIST"))[-1].endswith(' Job ("OLDNAME" (Work))')
        deliver(tmp_path, kind, "Job", 2)
        while not (line := await client.line()).startswith("* STATUS Job (MESSAGES 2 "):
            assert line.startswith("* STATUS Job")      # a renamed mbox has another UIDVALIDITY

    run(tmp_path, script, mail_location=LOCATIONS[kind])


def test_a_new_mailbox_and_its_first_message(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        await client.say(f"NOTIFY SET (SUBTREE Lists {BOTH})")
        for name in ("Lists", "Lists.One", "Other"):
            for part in ("cur", "new", "tmp"):
                (tmp_path / "Maildir" / f".{name}" / part).mkdir(parents=True)
            deliver(tmp_path, "maildir", name)
        told = {f"* STATUS {name} (MESSAGES 1 UIDNEXT 2 UNSEEN 1)" for name in ("Lists", "Lists.One")}
        wanted = set(told)
        while wanted:           # it may have been looked at while it was made: then its emptiness is told first
            line = await client.line()
            assert line in told or "MESSAGES 0" in line and "Other" not in line
            wanted.discard(line)
        *again, done = await client.say("NOOP")
        assert done.startswith("OK NOOP completed (") and told.issuperset(again)

    run(tmp_path, script)


def test_without_watches_it_is_polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify_server, "POLL_S", 0.05)

    async def script(client: Client) -> None:
        await client.say("CREATE Work")
        await client.say(f"NOTIFY SET (PERSONAL {BOTH})")
        deliver(tmp_path, "maildir", "Work")
        assert await client.line() == "* STATUS Work (MESSAGES 1 UIDNEXT 2 UNSEEN 1)"

    run(tmp_path, script, imap_notify_max_watches="1")


def test_too_many_mailboxes(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        await client.say("CREATE One")
        assert (await client.say(f"NOTIFY SET (PERSONAL {BOTH})"))[-1].startswith("OK")
        for part in ("cur", "new", "tmp"):
            (tmp_path / "Maildir/.Two" / part).mkdir(parents=True)
        assert await client.line() == "* OK [NOTIFICATIONOVERFLOW] Too many mailboxes to watch."
        deliver(tmp_path, "maildir", "One")
        assert (await client.say(f"NOTIFY SET (PERSONAL {BOTH})"))[-1].startswith(
            "NO [NOTIFICATIONOVERFLOW] Too many mailboxes to watch")
        assert (await client.say(f"NOTIFY SET STATUS (MAILBOXES One {BOTH})"))[0].startswith(
            "* STATUS One (MESSAGES 1 UIDNEXT 2")

    run(tmp_path, script, imap_notify_max_mailboxes="2")


def test_a_mailbox_that_comes_again(tmp_path: Path) -> None:
    """The watch goes with the folder; another one of its name is watched, too."""
    async def script(client: Client) -> None:
        await client.say("CREATE Work")
        await client.say(f"NOTIFY SET (MAILBOXES Work {BOTH})")
        for number in (1, 2, 3):
            await client.say("DELETE Work")
            await client.say("CREATE Work")
            deliver(tmp_path, "maildir", "Work", number)
            assert (await client.line()).startswith("* STATUS Work (MESSAGES 1 UIDNEXT 2 UNSEEN 1")

    run(tmp_path, script)


def test_quiet_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = 0
    tell_news = Handler.tell_news

    async def counted(handler: Handler) -> None:
        nonlocal told
        told += 1
        await tell_news(handler)

    monkeypatch.setattr(Handler, "tell_news", counted)

    async def script(client: Client) -> None:
        await client.say("CREATE Work")
        await client.say(f"NOTIFY SET (SELECTED {BOTH}) (PERSONAL (MessageNew MessageExpunge MailboxName))")
        await client.say("SELECT INBOX")
        for _ in range(30):
            await client.say("NOOP")
        before = told
        for _ in range(30):
            await client.say("NOOP")
        assert told == before < 10

    run(tmp_path, script)


def test_after_leaving_a_mailbox_its_news_are_told(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        await client.say("CREATE Work")
        await client.say(f"NOTIFY SET (PERSONAL {BOTH})")         # of the selected mailbox: nothing
        await client.say("SELECT Work")
        deliver(tmp_path, "maildir", "Work")
        assert len(await client.say("NOOP")) == 1
        await client.say("UNSELECT")
        assert await client.line() == "* STATUS Work (MESSAGES 1 UIDNEXT 2 UNSEEN 1)"

    run(tmp_path, script)


def test_one_descriptor_for_all(tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        told: list[tuple[str, Event]] = []
        (tmp_path / "a").mkdir()
        one, other = (Watched(Watching.of(loop)) for _ in range(2))
        assert one.update({str(tmp_path / "a"): lambda event: told.append(("one", event)),
                           str(tmp_path / "none"): lambda event: None}) == [str(tmp_path / "a")]
        assert one.missed == [str(tmp_path / "none")]
        other.update({str(tmp_path / "a"): lambda event: told.append(("other", event))})
        (tmp_path / "a" / "new").write_text("")
        while {who for who, event in told if event.mask & CREATED} != {"one", "other"}:
            await asyncio.sleep(0.01)
        one.stop()
        told.clear()
        (tmp_path / "a" / "newer").write_text("")
        while not any(event.name == "newer" for _, event in told):
            await asyncio.sleep(0.01)
        assert {who for who, _ in told} == {"other"}
        (tmp_path / "a" / "new").unlink()
        (tmp_path / "a" / "newer").unlink()
        (tmp_path / "a").rmdir()
        while not any(event.mask & GONE for _, event in told):
            await asyncio.sleep(0.01)
        other.stop()

    asyncio.run(asyncio.wait_for(main(), WAIT_S))


def test_lost_events_are_everybodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        told: list[int] = []
        watched = Watched(Watching.of(asyncio.get_running_loop()))
        watched.update({str(tmp_path): lambda event: told.append(event.mask)})
        monkeypatch.setattr(Inotify, "read", lambda inotify: [Event(-1, LOST, "")])
        (tmp_path / "x").write_text("")
        while not told:
            await asyncio.sleep(0.01)
        assert told[0] == LOST
        watched.stop()

    asyncio.run(asyncio.wait_for(main(), WAIT_S))
