"""ManageSieve commands out of octets: a word, then strings, numbers and words, literals among them.

    reader = Reader(LineBuffer(...), literal_limit=...)
    reader.take() -> Command | None                     None: not whole yet
    command.arguments: b"..." for strings, Word("...") for what stands bare, TooLarge(n) for a literal that was skipped

Before and after login the same. Raises (take): BadArguments, which costs a line; Unreadable, after which nothing can be
understood.
Limits: the buffer's for a line, literal_limit for a literal, ARGUMENTS_LIMIT.
Source: RFC 5804 section 4; a literal without "+" is taken as well, as Pigeonhole does. See tests/managesieve/.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from mailsuite.base.errors import PeerError
from mailsuite.base.lines import LineBuffer

ARGUMENTS_LIMIT = 16
SKIPPED_LIMIT = 1 << 30          # octets of a literal that is skipped; who announces more is not listened to

_QUOTED = re.compile(rb'"((?:[^"\\\r\n\0]|\\["\\])*)"')
_WORD = re.compile(rb"[^\x00-\x20\x7f-\xff\"(){}\\]+")
_LITERAL = re.compile(rb"\{(\d{1,18})\+?\}$")


class BadArguments(PeerError):
    """The line makes no sense; the next may."""

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(text, status="5.5.2")
        self.name = name


class Unreadable(PeerError):
    """Where the next command begins is not known."""

    def __init__(self, text: str) -> None:
        super().__init__(text, status="5.5.2")


@dataclass(frozen=True, slots=True)
class Word:
    """A bare word: a number, an atom."""

    text: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """A literal of that many octets that was not kept."""

    octets: int


Argument = bytes | Word | TooLarge


@dataclass(frozen=True, slots=True)
class Command:
    """name: in capitals, "" when the line begins with none."""

    name: str
    arguments: tuple[Argument, ...]


class Reader:
    """skipping: commands whose literals may be too large, and are read over then; others end the session."""

    def __init__(self, lines: LineBuffer, *, literal_limit: int, skipping: Collection[str] = ()) -> None:
        self._lines, self._literal_limit, self._skipping = lines, literal_limit, skipping
        self._reset()

    def _reset(self) -> None:
        self._name: str | None = None
        self._arguments: list[Argument] = []
        self._wanted = 0                 # octets of a literal that are missing
        self._literal: bytearray | None = None
        self._announced = 0
        self._bare = False

    def take(self, *, bare: bool = False) -> Command | None:
        """bare: no command but arguments alone are expected (a SASL response)."""
        self._bare = bare
        while True:
            if (self._announced or self._literal is not None) and not self._take_literal():
                return None
            try:
                line = self._lines.take_line()
            except PeerError as error:
                raise Unreadable("Input buffer full, aborting") from error
            if line is None:
                return None
            try:
                whole = self._take_line(line)
            except BadArguments:
                self._reset()
                raise
            if whole:
                command = Command(self._name or "", tuple(self._arguments))
                self._reset()
                return command

    def _take_literal(self) -> bool:
        """Whether it is complete now."""
        octets = self._lines.take_octets(self._wanted)
        self._wanted -= len(octets)
        if self._literal is not None:
            self._literal += octets
        if self._wanted:
            return False
        self._arguments.append(TooLarge(self._announced) if self._literal is None else bytes(self._literal))
        self._literal, self._announced = None, 0
        return True

    def _take_line(self, line: bytes) -> bool:
        """False when the line ends with the announcement of a literal."""
        at = 0
        if self._name is None:
            self._name = ""
            if not self._bare:
                word = _WORD.match(line)
                self._name = word[0].decode("ascii").upper() if word else ""
                at = word.end() if word else len(line)
        while at < len(line):
            if line[at] == 0x20:
                at += 1
                continue
            if len(self._arguments) >= ARGUMENTS_LIMIT:
                raise BadArguments("Too many arguments.", self._name)
            if literal := _LITERAL.match(line, at):
                self._announce(int(literal[1]))
                return False
            at = self._one(line, at)
        return True

    def _announce(self, size: int) -> None:
        kept = size <= self._literal_limit
        if not kept and (self._name not in self._skipping or size > SKIPPED_LIMIT):
            raise Unreadable("Literal size too large")
        self._wanted, self._announced, self._literal = size, size, bytearray() if kept else None

    def _one(self, line: bytes, at: int) -> int:
        """Take a string or word; returns the position behind it."""
        assert self._name is not None
        if line[at] == 0x22:
            quoted = _QUOTED.match(line, at)
            if quoted is None:
                raise BadArguments("Invalid quoted string.", self._name)
            self._arguments.append(re.sub(rb"\\(.)", rb"\1", quoted[1]))
            end = quoted.end()
            if end < len(line) and line[end] != 0x20:
                raise BadArguments("Invalid characters behind a string.", self._name)
            return end
        word = _WORD.match(line, at)
        if word is None:
            raise BadArguments("Invalid characters in atom.", self._name)
        self._arguments.append(Word(word[0].decode("ascii")))
        return word.end()
