"""Header fields of a message in its CRLF form, split in linear time.

    header_size(octets) -> int                  octets up to and with the empty line; all when there is none
    split_fields(header) -> [(name, value, whole)]     name in lower case; value raw, folds and all
    first_fields(header) -> {name: value}       the first of each name, unfolded
    unfold(value) -> bytes                      line ends removed, white space kept
    pick_fields(header, names, negate) -> bytes        BODY[HEADER.FIELDS ...]

A line without a colon is a field whose whole text is its name, as Dovecot has it. The first line may begin with white
space. Limits: MAX_FIELDS fields, the rest is not looked at.
"""

import re
from collections.abc import Collection

MAX_FIELDS = 10_000

# A field ends at a line end that no white space follows.
_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_EDGE = re.compile(rb"[\r\n]+(?=[ \t])|[\r\n]+$")
_BARE = re.compile(rb"[\r\n]+")

Field = tuple[bytes, bytes, bytes]


def header_size(octets: bytes, start: int = 0, end: int | None = None) -> int:
    """Length of the header that begins at start, its empty line counted. O(its length)."""
    stop = len(octets) if end is None else end
    if octets.startswith(b"\r\n", start) and start + 2 <= stop:
        return 2
    at = octets.find(b"\r\n\r\n", start, stop)
    return (stop if at < 0 else at + 4) - start


def split_fields(header: bytes) -> list[Field]:
    """All fields in order; the empty line that ends the header is left out."""
    fields = []
    for text in _FIELD_END.split(header, MAX_FIELDS)[:MAX_FIELDS]:
        if not text or text == b"\r\n":
            continue
        name, colon, value = text.partition(b":")
        if b"\0" in name:
            name = name.partition(b"\0")[0]
        fields.append((name.rstrip(b" \t").lower(), value if colon else b"", text))
    return fields


def first_fields(header: bytes) -> dict[bytes, bytes]:
    """The unfolded value of the first field of each name (lower case). For headers of a few fields, and quick there."""
    found: dict[bytes, bytes] = {}
    here: bytes | None = b""            # the field that a fold goes on with; None: one that does not count
    if b"\0" not in header and header.count(b"\r") == header.count(b"\n") == header.count(b"\r\n"):
        for line in header.split(b"\r\n"):
            if line.startswith((b" ", b"\t")):
                if here == b"":
                    break               # of an empty line, or the first
                if here is not None:
                    found[here] += line
                continue
            name, colon, value = line.partition(b":")
            if colon:
                name = name.rstrip(b" \t").lower()
                here = None if name in found else name
                if here is not None:
                    found[name] = value.lstrip(b" \t") or value[1:]
            elif line:
                break
            else:
                here = b""
        else:
            return found
    found = {}
    for name, value, _ in split_fields(header):
        found.setdefault(name, unfold(value))
    return found


def first_text(value: bytes) -> bytes:
    """The value without the white space behind the colon; a value of white space only loses one octet of it."""
    text = value.lstrip(b" \t")
    if text and not text.startswith(b"\r\n"):
        return text
    at = len(value) - len(text)
    return value[1:at] + text if at else value


def unfold(value: bytes) -> bytes:
    """The value on one line: line ends before white space go, others become a blank."""
    if b"\r" not in value and b"\n" not in value:
        return first_text(value)
    return _BARE.sub(b" ", _EDGE.sub(b"", first_text(value)))


def pick_fields(header: bytes, names: Collection[bytes], *, negate: bool = False, end: bool = False) -> bytes:
    """The fields of these names (lower case), or all others, as they stand, and the header's empty line.

    end: the empty line comes even if the header ends without one.
    """
    picked = b"\r\n".join([text for name, _, text in split_fields(header) if (name in names) != negate])
    if header.endswith(b"\r\n\r\n") or header == b"\r\n" or end:
        return (picked if not picked or picked.endswith(b"\r\n") else picked + b"\r\n") + b"\r\n"
    # What was cut off in its last line stays so; any other line has its end.
    if not picked or picked.endswith(b"\r\n") or header.endswith(picked):
        return picked
    return picked + b"\r\n"
