"""Replies of a remote server: octets in, values out.

    reader = ReplyReader(lines_limit=200)
    reader.feed(b"250-mx.test\\r\\n250 SIZE\\r\\n"); reader.take() -> Reply(250, ("250-mx.test", "250 SIZE"))

A line that is no reply belongs to the reply that follows it, as in Postfix: what decides is the line of three digits
and a blank. `reader.noise` is told of such lines, `reader.filter` (smtp_reply_filter) may replace any line.
Limits: octets of a line (what is beyond is dropped), octets of a reply's text, lines of a reply.
Raises PeerError for a reply that has too many lines: nothing behind it can be trusted.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mailsuite.base.errors import PeerError

LINE_LIMIT = 2048               # Postfix's line_length_limit
_CODE = re.compile(r"([0-9]{3})(?:([ -])|$)")
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}(?=\s|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Reply:
    """lines: as they came, with their codes."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The whole reply on one line, as logs and reports show it."""
        return " ".join(line for line in self.lines if line)

    @property
    def words(self) -> list[str]:
        """What each line says behind its code."""
        return [line[4:] for line in self.lines]

    @property
    def dsn(self) -> str:
        """The enhanced status code of the last line, when its class fits; else the class and ".0.0".

        5.5.0 where the class is none of 2, 4, 5: such a reply is a protocol error.
        """
        kind = f"{self.code:03}"[0]
        if kind not in "245":
            return "5.5.0"
        match = _STATUS.match(self.lines[-1][4:].lstrip(" ")) if self.lines else None
        return match[0] if match is not None and match[0][0] == kind else f"{kind}.0.0"

    @property
    def kind(self) -> int:
        """The first digit: 2, 3, 4 or 5 as a rule."""
        return self.code // 100


class ReplyReader:
    """Whole replies from octets. noise: called with each line that is no reply. filter: what stands for a line."""

    def __init__(self, *, lines_limit: int = 200) -> None:
        self._limit = lines_limit
        self._rest = self._held = b""
        self._cut = False           # the line at hand is too long, its end has not come: _held is its beginning
        self._lines: list[str] = []
        self._count = self._size = 0
        self._ready: deque[Reply] = deque()
        self.noise: Callable[[str], None] = lambda line: None
        self.filter: Callable[[str], str] | None = None

    def feed(self, octets: bytes) -> None:
        """Raises PeerError."""
        pieces = (self._rest + octets).split(b"\n")
        self._rest = pieces.pop()
        for piece in pieces:
            if self._cut:
                self._cut, piece = False, b""
                self._line(self._held)
            else:
                self._line(piece.rstrip(b"\r"))
        if len(self._rest) > LINE_LIMIT:
            if not self._cut:
                self._cut, self._held = True, self._rest[:LINE_LIMIT]
            self._rest = b""

    def take(self) -> Reply | None:
        """The next whole reply, None when there is none yet."""
        return self._ready.popleft() if self._ready else None

    @property
    def empty(self) -> bool:
        """Nothing was received beyond what was taken."""
        return not self._ready and not self._lines and not self._rest and not self._cut

    def _line(self, octets: bytes) -> None:
        line = printable(octets[:LINE_LIMIT])
        if self.filter is not None:
            line = self.filter(line)
        self._count += 1
        if self._count > self._limit:
            raise PeerError("multi-line response is too long", status="5.5.0")
        match = _CODE.match(line)
        # The text is for humans: some of it is enough. The last line has the code, and always counts.
        if self._size < LINE_LIMIT or (match is not None and match[2] != "-"):
            self._lines.append(line)
            self._size += len(line)
        if match is None:
            self.noise(line)
        elif match[2] != "-":
            self._ready.append(Reply(int(match[1]), tuple(self._lines)))
            self._lines, self._count, self._size = [], 0, 0


def printable(octets: bytes) -> str:
    """Text in which controls and what is no UTF-8 are "?"."""
    return _CONTROL.sub("?", octets.decode("utf-8", "replace").replace("\ufffd", "?"))
