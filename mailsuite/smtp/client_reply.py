"""Replies of a remote server: octets in, values out.

    reader = ReplyReader(lines_limit=200)
    reader.feed(b"250-mx.test\\r\\n250 SIZE\\r\\n"); reader.take() -> Reply(250, ("mx.test", "SIZE"))

Raises PeerError for a line that is no reply, and for one that is too long or has too many lines: what comes behind it
cannot be trusted.
"""

import re
from collections import deque
from dataclasses import dataclass

from mailsuite.base.errors import PeerError
from mailsuite.base.lines import LineBuffer

LINE_LIMIT = 8192
TEXT_LIMIT = 4096               # of a reply in logs and reports
_LINE = re.compile(r"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_CODED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?=\s|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Reply:
    """lines: without codes. text: the whole reply on one line, as logs and reports show it."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        last = len(self.lines) - 1
        return " ".join(f"{self.code}{' ' if number == last else '-'}{line}".rstrip()
                        for number, line in enumerate(self.lines))[:TEXT_LIMIT]

    @property
    def dsn(self) -> str:
        """The enhanced status code that it carries, when its class fits; else the class and ".0.0"."""
        match = _CODED.match(self.lines[0]) if self.lines else None
        kind = str(self.code)[0]
        if match is not None and match[1][0] == kind:
            return match[1]
        return f"{kind}.0.0"

    @property
    def kind(self) -> int:
        """2, 3, 4 or 5."""
        return self.code // 100


class ReplyReader:
    """Whole replies from octets."""

    def __init__(self, *, lines_limit: int = 200) -> None:
        self._buffer, self._limit = LineBuffer(LINE_LIMIT), lines_limit
        self._lines: list[str] = []
        self._ready: deque[Reply] = deque()

    def feed(self, octets: bytes) -> None:
        """Raises PeerError."""
        self._buffer.feed(octets)
        while (line := self._buffer.take_line()) is not None:
            self._line(_CONTROL.sub("?", line.rstrip(b"\r").decode("utf-8", "surrogateescape")))

    def take(self) -> Reply | None:
        """The next whole reply, None when there is none yet."""
        return self._ready.popleft() if self._ready else None

    @property
    def empty(self) -> bool:
        """Nothing was received beyond what was taken."""
        return not self._ready and not self._lines and not len(self._buffer)

    def _line(self, line: str) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            raise PeerError(f"unexpected server message: {line[:100]}", status="5.5.0")
        self._lines.append(match[3] or "")
        if len(self._lines) > self._limit:
            raise PeerError("multi-line response is too long", status="5.5.0")
        if match[2] != "-":
            self._ready.append(Reply(int(match[1]), tuple(self._lines)))
            self._lines = []
