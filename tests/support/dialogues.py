"""Plays the dialogues below tests/dialogues: text that an administrator can review.

    # a comment
    C: a2 NOOP                the client's line            b C: ...   on a second connection
    S: a2 OK {.*}             the server's answer; what stands in braces is a regular expression
    S: * LIST {{}             a brace itself

Times such as " (0.001 + 0.000 secs)" are dropped from what the server says. A line that the server is not asked for
must not come: each S line is compared with the next line, and at the end nothing may be left.
"""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

WAIT_S = 60.0
_TOOK = re.compile(r" \(\d+\.\d+ \+ [\d.+ ]*secs\)")


def pattern_of(line: str) -> re.Pattern[str]:
    parts = re.split(r"\{((?:\\.|[^{}])*|\{)\}", line)
    return re.compile("".join(re.escape(part) if at % 2 == 0 else ("\\{" if part == "{" else f"(?:{part})")
                              for at, part in enumerate(parts)))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


class Connection:
    """A client's end, line by line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def line(self) -> str:
        octets = await asyncio.wait_for(self.reader.readline(), WAIT_S)
        return _TOOK.sub("", octets.decode("utf-8", "surrogateescape").rstrip("\r\n")) if octets else "<closed>"

    def send(self, line: str) -> None:
        self.send_octets(line.encode("utf-8", "surrogateescape") + b"\r\n")

    def send_octets(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def end(self) -> bytes:
        """Close it; what the server said that nobody has read."""
        self.writer.close()
        return await self.reader.read()


async def play(path: Path, port: int) -> None:
    """Raises AssertionError with the number of the line that did not come."""
    connections: dict[str, Connection] = {}
    for number, text in enumerate(_lines(path), 1):
        if not text or text.startswith("#"):
            continue
        match = re.fullmatch(r"(?:([b-z]) )?([CS]): ?(.*)", text)
        assert match, f"{path.name}:{number}: {text!r} is no line of a dialogue"
        name, who, line = match[1] or "a", match[2], match[3]
        if name not in connections:
            connections[name] = await Connection.to(port)
        connection = connections[name]
        if who == "C":
            connection.send(line)
            continue
        said = await connection.line()
        assert pattern_of(line).fullmatch(said), f"{path.name}:{number}: expected {line!r}, got {said!r}"
    for connection in connections.values():
        rest = await connection.end()
        assert not rest, f"{path.name}: the server said more: {rest!r}"


def talk(dialogue: str, hear: Callable[[bytes], bytes], greeting: bytes = b"") -> None:
    """Play lines "C: " and "S: " with a session that knows no sockets. hear: what it answers to octets.

    Lines of the client that follow each other are sent as one. "S: ..." is any lines, until one fits the next S line.
    Raises AssertionError with the line that did not come.
    """
    said, waiting, skipping = greeting, b"", False
    for text in filter(str.strip, dialogue.splitlines()):
        match = re.fullmatch(r" *([CS]): ?(.*)", text)
        assert match, f"{text!r} is no line of a dialogue"
        if match[1] == "C":
            waiting += match[2].encode() + b"\r\n"
            continue
        said, waiting = said + (hear(waiting) if waiting else b""), b""
        if match[2] == "...":
            skipping = True
            continue
        wanted = pattern_of(match[2])
        first, end, said = said.partition(b"\r\n")
        while skipping and end and not wanted.fullmatch(first.decode()):
            first, end, said = said.partition(b"\r\n")
        skipping = False
        assert end and wanted.fullmatch(first.decode()), f"expected {match[2]!r}, got {first!r} before {said!r}"
    said += hear(waiting) if waiting else b""
    assert not said, f"more was said: {said!r}"
