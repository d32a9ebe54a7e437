"""A message as signatures see it: header fields and a body.

    content = parse_content(octets)         a whole message in memory, LF or CRLF; for commands and tests
    index = FieldIndex(content.fields); index.take([b"from", b"from"]) -> the last From:, then the one above it

queue/inspection.Inspected is a Content as well.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from mailsuite.auth_results.canonical import HeaderField
from mailsuite.queue.headers import split_header


class Content(Protocol):
    """fields in order; body: blocks of LF lines, from its beginning at each call."""

    @property
    def fields(self) -> Sequence[HeaderField]: ...
    def body(self, block: int = 65536) -> Iterator[bytes]: ...


class TextField(NamedTuple):
    name: bytes
    value: bytes


class TextContent:
    """A message in memory."""

    def __init__(self, fields: Sequence[HeaderField], text: bytes) -> None:
        self.fields, self._text = fields, text

    def body(self, block: int = 65536) -> Iterator[bytes]:
        for at in range(0, len(self._text), block):
            yield self._text[at:at + block]


def field_of(line: bytes) -> TextField:
    """A logical header line (LF folds, no last line end) in two."""
    name, _, value = line.partition(b":")
    return TextField(name.rstrip(b" \t"), value)


def parse_content(octets: bytes) -> TextContent:
    """Split a message; CRLF becomes LF."""
    lines, body, _ = split_header(octets.replace(b"\r\n", b"\n"), whole=True)
    return TextContent([field_of(line) for line in lines], (body or b"").removeprefix(b"\n"))


class FieldIndex:
    """Finds fields by name, from the last to the first, as signatures name them. Cost: one pass, then one step each."""

    def __init__(self, fields: Sequence[HeaderField]) -> None:
        self.fields = fields
        self._places: dict[bytes, list[int]] = {}
        for place, field in enumerate(fields):
            self._places.setdefault(field.name.lower(), []).append(place)

    def count(self, name: bytes) -> int:
        return len(self._places.get(name, ()))

    def all(self, name: bytes) -> list[HeaderField]:
        """Every field of a name (lower case), in order."""
        return [self.fields[place] for place in self._places.get(name, ())]

    def take(self, names: Sequence[bytes]) -> Iterator[HeaderField]:
        """The fields that a list of names (lower case) stands for; RFC 6376 section 5.4.2. Too many names: nothing."""
        used: dict[bytes, int] = {}
        for name in names:
            places = self._places.get(name)
            number = used.get(name, 0)
            if places is not None and number < len(places):
                used[name] = number + 1
                yield self.fields[places[-1 - number]]
