"""POP3 replies: values to octets.

    ok("3 106") -> b"+OK 3 106\\r\\n"        error("Unknown command.") -> b"-ERR Unknown command.\\r\\n"
    stuffed(octets, BLOCK) -> blocks        a message as the lines of a multi-line reply, without its final "."
"""

from collections.abc import Iterator

INTERNAL = b"-ERR [SYS/TEMP] Internal error occurred. Refer to server log for more information.\r\n"
END = b".\r\n"


def ok(text: str = "") -> bytes:
    return f"+OK {text}\r\n".encode() if text else b"+OK\r\n"


def error(text: str) -> bytes:
    return f"-ERR {text}\r\n".encode("utf-8", "surrogateescape")


def listing(lines: list[bytes]) -> bytes:
    """The lines of a multi-line reply (none begins with a dot), and its end."""
    return b"".join(lines) + END


def stuffed(octets: bytes, size: int, end: int | None = None) -> Iterator[bytes]:
    """octets up to end, some `size` at a time; lines that begin with a dot get another (RFC 1939 section 3).

    Octets that don't end a line get a line end, and so does an empty message.
    """
    at, stop = 0, len(octets) if end is None else end
    line_start = True
    while at < stop:
        cut = min(at + size, stop)
        if cut < stop:      # at a line's end, so that no dot is looked for over a border; unless the line is longer
            cut = octets.rfind(b"\n", at, cut) + 1 or cut
        block = octets[at:cut]
        at = cut
        if b"\n." in block:
            block = block.replace(b"\n.", b"\n..")
        yield b"." + block if line_start and block.startswith(b".") else block
        line_start = block.endswith(b"\n")
    if not stop or not octets.endswith(b"\n", 0, stop):
        yield b"\r\n"


def expunged(number: int) -> bytes:
    return error(f"Message {number} expunged.")
