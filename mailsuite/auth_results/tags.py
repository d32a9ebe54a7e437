"""tag=value lists: `v=1; d=example.com; h=from : to`. Source: RFC 6376 section 3.2.

    parse_tags(b" v=1; d=example.com") -> {"v": b"1", "d": b"example.com"}       names keep their case
    unfolded(b"ab \\n c") -> b"abc"                 for values whose white space means nothing (b=, bh=, p=, h=)
    without_value(b"v=1; b=xyz", b"b") -> b"v=1; b="
"""

import re

_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*\Z")
_VALUE = re.compile(rb"[!-:<-~ \t\r\n\x80-\xff]*\Z")
_SPACE = b" \t\r\n"
TAGS_LIMIT = 200


def parse_tags(text: bytes) -> dict[str, bytes]:
    """Raises ValueError: no tag list, a name twice, more than TAGS_LIMIT tags. Values lose outer white space."""
    parts = text.split(b";", TAGS_LIMIT + 1)
    if len(parts) > TAGS_LIMIT:
        raise ValueError("too many tags")
    if parts[-1].strip(_SPACE) == b"":
        parts.pop()
    tags: dict[str, bytes] = {}
    for part in parts:
        name, equals, value = part.partition(b"=")
        name = name.strip(_SPACE)
        if not equals or not _NAME.match(name) or not _VALUE.match(value):
            raise ValueError("not a list of tags")
        if name.decode() in tags:
            raise ValueError(f"tag {name.decode()}= twice")
        tags[name.decode()] = value.strip(_SPACE)
    return tags


def unfolded(value: bytes) -> bytes:
    """Without any white space."""
    return value.translate(None, _SPACE)


def without_value(text: bytes, name: bytes) -> bytes:
    """The same octets, but nothing behind "name=": what a signature signs of its own field (RFC 6376 section 3.7)."""
    parts = text.split(b";")
    for at, part in enumerate(parts):
        label, equals, _ = part.partition(b"=")
        if equals and label.strip(_SPACE) == name:
            parts[at] = label + b"="
    return b";".join(parts)
