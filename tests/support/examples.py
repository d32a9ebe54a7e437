"""Plays a file of an RFC's examples: many short dialogues with one IMAP server in this process.

    = imap_extensions = all             a line of the server's dovecot.conf; {root} is the folder of all homes
    ## Section 3.1, example 2           a new example: new connections, a user without mail
    ### Section 3.1, example 3          one that goes on where the last one ended
    user: fred                          who the example's connections log in as, on their own; "user b: barney" for one
    V: INBOX 3857529045 4392            the mailbox's UIDVALIDITY and next UID; it is made, too
    M: INBOX (\\Seen) "17-Jul-1996 02:44:25 -0700"     a message for this mailbox; flags and date may be left out
    M: INBOX x23                        23 of them; without lines below it is a small one
    | Subject: a line of the message
    C: a2 NOOP                          as in dialogues.py, and so are {regular expressions}
    S: a2 OK {.*}
    S: ...                              any lines, until one fits the next S line

Messages and mailboxes are made by connections of their own, before the next line is played.
"""

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path

from mailsuite.config.dovecot import DovecotSettings
from tests.support.dialogues import WAIT_S, Connection, pattern_of
from tests.support.mail_sessions import ImapServer

CONF = "mail_location = maildir:~/Maildir\nmail_fsync = never\nbase_dir = {root}/run\nhostname = example.com\n"
_MESSAGE = re.compile(r'(?:(\w+) )?M: ("[^"]*"|\S+)(?: x(\d+))?(?: (\([^)]*\)))?(?: ("[^"]*"))?')


@dataclass(slots=True)
class Step:
    """One line of a file. kind: user, V, M, C or S; name: of the connection."""

    number: int
    kind: str
    name: str
    text: str
    lines: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Example:
    title: str
    goes_on: bool
    steps: list[Step] = field(default_factory=list)


def read(path: Path) -> tuple[str, list[Example]]:
    """The configuration's text and the examples. Raises AssertionError for a line that means nothing."""
    conf: list[str] = []
    examples: list[Example] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("= "):
            conf.append(line[2:])
        elif title := re.fullmatch(r"(###?) (.*)", line):
            examples.append(Example(title[2], title[1] == "###"))
        elif line.startswith("|"):
            examples[-1].steps[-1].lines.append(line[2:])
        elif line and not line.startswith("#"):
            match = re.fullmatch(r"(?:([b-z]) )?(C|S|V|M|user)(?: ([b-z]))?: ?(.*)", line)
            assert match, f"{path.name}:{number}: {line!r} means nothing"
            examples[-1].steps.append(Step(number, match[2], match[1] or match[3] or "a", match[4]))
    return "\n".join(conf) + "\n", examples


class Homes(dict[str, Path]):
    """A home for whoever logs in."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def __missing__(self, user: str) -> Path:
        self[user] = home = self.root / user
        home.mkdir(mode=0o700, exist_ok=True)
        return home


class Player:
    """The state of one file's dialogues. server: accepts any user."""

    def __init__(self, server: ImapServer, homes: Homes) -> None:
        self.server, self.homes = server, homes
        self.connections: dict[str, Connection] = {}
        self.users: dict[str, str] = {}
        self.skipping = False

    async def play(self, number: int, example: Example) -> None:
        """Raises AssertionError with the number of the line that did not come."""
        if not example.goes_on:
            await self.end()
            self.users = {"a": f"user{number}"}
        for step in example.steps:
            match step.kind:
                case "user":
                    self.users[step.name] = step.text
                case "V":
                    await self._make(self._user(step.name), *step.text.rsplit(" ", 2))
                case "M":
                    await self._append(self._user(step.name), step)
                case "C":
                    (await self._connection(step.name)).send(step.text)
                case _:
                    await self._expect(step)

    def _user(self, name: str) -> str:
        return self.users.get(name, self.users["a"])

    async def _connection(self, name: str) -> Connection:
        if name not in self.connections:
            self.connections[name] = await self._log_in(self._user(name))
        return self.connections[name]

    async def _log_in(self, user: str) -> Connection:
        connection = await Connection.to(self.server.port)
        connection.send(f"login LOGIN {user} x")
        assert (await connection.line()).startswith("* OK ")
        assert "login OK " in await connection.line()
        return connection

    async def _expect(self, step: Step) -> None:
        if step.text == "...":
            self.skipping = True
            return
        wanted = pattern_of(step.text)
        connection = await self._connection(step.name)
        passed: list[str] = []
        try:
            while not wanted.fullmatch(said := await connection.line()):
                passed.append(said)
                assert self.skipping and said != "<closed>", f"line {step.number}: expected {step.text!r}, got {said!r}"
        except TimeoutError:
            raise AssertionError(f"line {step.number}: {step.text!r} did not come, but {passed}") from None
        self.skipping = False

    async def _make(self, user: str, mailbox: str, validity: str, uid: str) -> None:
        home = self.homes[user] / "Maildir"
        folder = home if mailbox == "INBOX" else home / f".{mailbox.replace('/', '.')}"
        for part in ("cur", "new", "tmp"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "dovecot-uidlist").write_text(f"3 V{validity} N{uid} G{int(validity):032x}\n")

    async def _append(self, user: str, step: Step) -> None:
        match = _MESSAGE.fullmatch("M: " + step.text)
        assert match, f"line {step.number}: {step.text!r} names no mailbox"
        lines = step.lines or ["From: Fred <fred@example.com>", "Subject: one", "", "text"]
        octets = "".join(line + "\r\n" for line in lines).encode("utf-8", "surrogateescape")
        options = "".join(" " + part for part in match.group(4, 5) if part)
        connection = await self._log_in(user)
        for count in range(int(match[3] or 1)):
            connection.send(f"m{count} APPEND {match[2]}{options} {{{len(octets)}+}}")
            connection.send_octets(octets + b"\r\n")
            said = await connection.line()
            if "[TRYCREATE]" in said:
                connection.send(f"c CREATE {match[2]}")
                assert (await connection.line()).startswith("c OK")
                connection.send(f"m{count} APPEND {match[2]}{options} {{{len(octets)}+}}")
                connection.send_octets(octets + b"\r\n")
                said = await connection.line()
            assert said.startswith(f"m{count} OK"), f"line {step.number}: {said}"
        await connection.end()

    async def end(self) -> None:
        """Close all connections. Raises AssertionError when something was said that no line expects."""
        for name, connection in self.connections.items():
            rest = await connection.end()
            assert not rest, f"{name}: the server said more: {rest!r}"
        self.connections.clear()


async def play_file(path: Path, root: Path) -> list[str]:
    """Play all examples; returns what went wrong, each with its title."""
    text, examples = read(path)
    homes = Homes(root)
    conf = (CONF + text).replace("{root}", str(root))
    wrong: list[str] = []
    async with ImapServer(homes, DovecotSettings.of(conf)) as server:       # type: ignore[arg-type]  # the real thing
        player = Player(server, homes)
        for number, example in enumerate(examples):
            try:
                async with asyncio.timeout(3 * WAIT_S):
                    await player.play(number, example)
                    if number + 1 == len(examples) or not examples[number + 1].goes_on:
                        await player.end()
            except AssertionError as error:
                wrong.append(f"{path.name}: {example.title}: {error}")
                player.connections.clear()
    return wrong
