"""A message's octets on their way to a server: the wire's line ends and dots, and the pieces of BDAT.

    encode_body([b".a\\n"]) -> b"..a\\r\\n"               also as an asynchronous iterator: encode_body_async
    chunk, last = await Chunks(blocks).take()

Nothing that a server could read in two ways goes out: a CR that is no part of a line end becomes a blank.
"""

import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass

CHUNK = 1 << 20                 # octets of one BDAT
Blocks = Iterable[bytes] | AsyncIterable[bytes]


@dataclass(frozen=True, slots=True)
class Body:
    """A message's octets as they go out, and how long they may take.

    timeout_s: for a block of them. min_rate: octets a second that all of it must make besides; 0: none (see
    smtp_per_request_deadline, smtp_min_data_rate).
    """

    blocks: Blocks = ()
    timeout_s: float = 180.0
    min_rate: int = 0


NO_BODY = Body()


class Chunks:
    """A message in pieces of CHUNK octets and more, and which is the last one."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = aiter(blocks) if isinstance(blocks, AsyncIterable) else _later(blocks)
        self._held = b""

    async def take(self) -> tuple[bytes, bool]:
        taken, size = [self._held], len(self._held)
        async for block in self._blocks:
            if size >= CHUNK:
                self._held = block
                return b"".join(taken), False
            taken.append(block)
            size += len(block)
        return b"".join(taken), True


async def _later(blocks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


def encode_body(blocks: Iterable[bytes], *, line_length: int = 998, dots: bool = True,
                broke: Callable[[], None] = lambda: None) -> Iterator[bytes]:
    """LF lines to the wire's form: CRLF, dots doubled, too long lines broken by CRLF and a blank; ends with CRLF.

    line_length: 0 breaks none. dots: not doubled where they are no end (BDAT). broke: called when lines are broken.
    """
    encoder = _Encoder(line_length, dots, broke)
    for block in blocks:
        yield encoder.feed(block)
    yield encoder.end()


async def encode_body_async(blocks: AsyncIterable[bytes], *, line_length: int = 998, dots: bool = True,
                            broke: Callable[[], None] = lambda: None) -> AsyncIterator[bytes]:
    """The same for blocks that take their time."""
    encoder = _Encoder(line_length, dots, broke)
    async for block in blocks:
        yield encoder.feed(block)
    yield encoder.end()


class _Encoder:
    """See encode_body."""

    def __init__(self, line_length: int, dots: bool, broke: Callable[[], None]) -> None:
        self._length, self._dots, self._broke = line_length, dots, broke
        self._long = re.compile(rb"[^\n]{%d}" % (line_length + 1)) if line_length else None
        self._held = b""

    def feed(self, block: bytes) -> bytes:
        """The lines that are whole now."""
        block = self._held + block
        end = block.rfind(b"\n") + 1
        self._held = block[end:]
        if self._length and len(self._held) > 64 * 1024:
            # A line without end: what is sure to be broken goes now.
            self._broke()
            broken = _broken(self._held, self._length)
            cut = broken.rfind(b"\n") + 1
            block, self._held = block[:end] + broken[:cut], broken[cut:]
            end = len(block)
        return self._lines(block[:end]) if end else b""

    def end(self) -> bytes:
        return self._lines(self._held + b"\n") if self._held else b""

    def _lines(self, lines: bytes) -> bytes:
        """Whole lines. A CR inside one could be another line's end to the receiver: it becomes a blank."""
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n").replace(b"\r", b" ")
        if self._long is not None and self._long.search(lines):
            self._broke()
            lines = b"\n".join(_broken(line, self._length) for line in lines.split(b"\n"))
        if self._dots:
            lines = lines.replace(b"\n.", b"\n..")
            if lines.startswith(b"."):
                lines = b"." + lines
        return lines.replace(b"\n", b"\r\n")


def _broken(line: bytes, length: int) -> bytes:
    if len(line) <= length:
        return line
    parts = [line[:length]]
    rest = line[length:]
    parts += [rest[at:at + length - 1] for at in range(0, len(rest), length - 1)]
    return b"\n ".join(parts)
