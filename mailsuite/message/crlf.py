"""Line ends, a whole block at a time.

    to_wire(octets) -> bytes        every LF gets its CR, as IMAP and POP3 send it; NUL becomes 0x80
    to_crlf(octets) -> bytes        the same without touching NUL
    to_stored(octets) -> bytes      every CRLF becomes LF
    wire_size(octets) -> int        len(to_wire(octets)) without making it
    BlockConverter().feed(octets)   to_stored over blocks, where a block may end between CR and LF;
                                    BlockConverter(to_crlf) the other way
A CR that no LF follows is content and stays.
"""

from collections.abc import Callable

COPIED = 64 * 1024          # octets of a message that may be copied to find out its size


def to_crlf(octets: bytes) -> bytes:
    """LF and CRLF become CRLF."""
    if b"\r" in octets:             # one octet is found much faster than two
        octets = octets.replace(b"\r\n", b"\n")
    return octets.replace(b"\n", b"\r\n")


def to_wire(octets: bytes) -> bytes:
    """CRLF line ends and no NUL, which an IMAP literal must not hold (RFC 3501 section 9, CHAR8)."""
    wire = to_crlf(octets)
    return wire.replace(b"\0", b"\x80") if b"\0" in wire else wire


def to_stored(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n") if b"\r" in octets else octets


def wire_size(octets: bytes) -> int:
    if b"\r" not in octets and len(octets) < COPIED:
        return len(octets.replace(b"\n", b"\r\n"))          # faster than to count
    return len(octets) + octets.count(b"\n") - octets.count(b"\r\n")


class BlockConverter:
    """to_stored, or another of these, for a stream: a CR at a block's end waits for what follows."""

    def __init__(self, convert: Callable[[bytes], bytes] = to_stored) -> None:
        self._convert, self._cr = convert, False

    def feed(self, octets: bytes) -> bytes:
        if not octets:
            return b""
        if self._cr:
            octets = b"\r" + octets
        self._cr = octets.endswith(b"\r")
        return self._convert(octets[:-1] if self._cr else octets)

    def end(self) -> bytes:
        """What is left: b"" or a lone CR."""
        rest, self._cr = (b"\r" if self._cr else b""), False
        return rest
