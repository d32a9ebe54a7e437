"""BER as LDAP uses it: definite lengths, tags of one octet (RFC 4511 section 5.1).

    tlv(0x30, integer(1) + octets(b"x"))  -> encoded       Reader(encoded).take() -> (tag, content)
    whole(buffer) -> length of the first message with its header, None while it is not all there

Raises BerError: not BER, or longer than MESSAGE_LIMIT.
"""

MESSAGE_LIMIT = 16 << 20        # octets of one reply, e.g. an entry with all its members

BOOLEAN, INTEGER, OCTETS, ENUMERATED, SEQUENCE, SET = 0x01, 0x02, 0x04, 0x0A, 0x30, 0x31


class BerError(ValueError):
    """What the peer sent is not BER, or too long."""


def tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def integer(value: int, tag: int = INTEGER) -> bytes:
    return tlv(tag, value.to_bytes((value ^ (value >> 63)).bit_length() // 8 + 1, "big", signed=True))


def octets(value: bytes, tag: int = OCTETS) -> bytes:
    return tlv(tag, value)


def boolean(value: bool, tag: int = BOOLEAN) -> bytes:
    return tlv(tag, b"\xff" if value else b"\0")


def _header(data: bytes | bytearray, start: int) -> tuple[int, int, int] | None:
    """Tag, place of the content, its end; None: not all there."""
    if len(data) < start + 2:
        return None
    tag, size, place = data[start], data[start + 1], start + 2
    if tag & 0x1F == 0x1F:
        raise BerError("long tag")
    if size & 0x80:
        count = size & 0x7F
        if not 0 < count <= 8:
            raise BerError("bad length")
        if len(data) < place + count:
            return None
        size = int.from_bytes(data[place:place + count], "big")
        place += count
    if size > MESSAGE_LIMIT:
        raise BerError("message too long")
    return tag, place, place + size


def whole(data: bytes | bytearray) -> int | None:
    """The octets of the first element; None while it is not all there."""
    found = _header(data, 0)
    return None if found is None or found[2] > len(data) else found[2]


class Reader:
    """Elements one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    @property
    def more(self) -> bool:
        return self._place < len(self._data)

    def peek(self) -> int:
        """The next tag, -1 at the end."""
        return self._data[self._place] if self.more else -1

    def take(self) -> tuple[int, bytes]:
        found = _header(self._data, self._place)
        if found is None or found[2] > len(self._data):
            raise BerError("cut short")
        tag, place, self._place = found
        return tag, self._data[place:self._place]

    def expect(self, tag: int) -> bytes:
        found, content = self.take()
        if found != tag:
            raise BerError(f"tag {found:#x} instead of {tag:#x}")
        return content

    def integer(self, tag: int = INTEGER) -> int:
        content = self.expect(tag)
        if not 0 < len(content) <= 8:
            raise BerError("bad integer")
        return int.from_bytes(content, "big", signed=True)
