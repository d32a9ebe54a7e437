"""POP3 replies: values to octets.

    ok("3 106") -> b"+OK 3 106\\r\\n"        error("Unknown command.") -> b"-ERR Unknown command.\\r\\n"
    stuffed(slices(octets, BLOCK)) -> blocks        a message as the lines of a multi-line reply, without its final "."
"""

from collections.abc import Iterable, Iterator

INTERNAL = b"-ERR [SYS/TEMP] Internal error occurred. Refer to server log for more information.\r\n"
END = b".\r\n"


def ok(text: str = "") -> bytes:
    return f"+OK {text}\r\n".encode() if text else b"+OK\r\n"


def error(text: str) -> bytes:
    return f"-ERR {text}\r\n".encode("utf-8", "surrogateescape")


def listing(lines: list[bytes]) -> bytes:
    """The lines of a multi-line reply (none begins with a dot), and its end."""
    return b"".join(lines) + END


def slices(octets: bytes, size: int, end: int | None = None) -> Iterator[bytes]:
    """octets up to end, `size` at a time; all at once where that is little."""
    stop = len(octets) if end is None else end
    if stop <= size:
        yield octets if stop == len(octets) else octets[:stop]
    else:
        for at in range(0, stop, size):
            yield octets[at:min(at + size, stop)]


def stuffed(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks of a message; lines that begin with a dot get another (RFC 1939 section 3).

    Octets that don't end a line get a line end, and so does an empty message.
    """
    line_start, ended = True, False
    for block in blocks:
        if not block:
            continue
        first = b"." if line_start and block.startswith(b".") else b""
        line_start = block.endswith(b"\n")
        if b"\n." in block:
            block = block.replace(b"\n.", b"\n..")
        yield first + block if first else block
        ended = line_start
    if not ended:
        yield b"\r\n"


def top_of(blocks: Iterable[bytes], lines: int) -> Iterator[bytes]:
    """Blocks of a body up to the end of that many lines (RFC 1939 section 7, TOP)."""
    for block in blocks:
        if not lines:
            return
        count = block.count(b"\n")
        if count < lines:
            lines -= count
            yield block
            continue
        at = 0
        for _ in range(lines):
            at = block.index(b"\n", at) + 1
        yield block[:at]
        return


def expunged(number: int) -> bytes:
    return error(f"Message {number} expunged.")
