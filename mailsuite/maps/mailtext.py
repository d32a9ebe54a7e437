"""Look-up keys from a message on standard input, as postmap's -h, -b and -m take them.

    list(message_keys(octets, header=True, body=False, mime=True))

header: each logical header field (with the newlines inside). body: each line after the header, the empty one between
included. mime: the headers of parts and of attached messages count as headers too; without it everything after the
first header is body. This is what header_checks and body_checks see of a message: blanks before a field's colon are
gone, a boundary is found by its beginning.
Limits, as cleanup's: NESTING_LIMIT nested multiparts, BOUNDARY_LIMIT octets of a boundary, FIELD_LIMIT of a field.
"""

import re
from collections.abc import Iterator

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_TYPE = re.compile(rb"content-type:\s*([^\s/;()]+)\s*/\s*([^\s/;()]+)", re.IGNORECASE)
_BOUNDARY = re.compile(rb";\s*boundary\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;]+))", re.IGNORECASE)
_COMMENT = re.compile(rb"\([^()]*\)")
NESTING_LIMIT = 100
BOUNDARY_LIMIT = 2048
FIELD_LIMIT = 102400


class _Message:
    """Where in the message we are."""

    def __init__(self) -> None:
        self.in_header = True
        self.attached = False           # the part is a message: its text begins with another header
        self.boundaries: list[tuple[bytes, bool]] = []      # with: are its parts messages unless they say otherwise?

    def at_boundary(self, line: bytes) -> bool:
        """Whether line ends a part; what follows is then the next part's header, or text."""
        for depth in range(len(self.boundaries) - 1, -1, -1):
            boundary, digest = self.boundaries[depth]
            if line.startswith(boundary, 2):
                last = line[2 + len(boundary):].startswith(b"--")
                del self.boundaries[depth if last else depth + 1:]
                self.in_header, self.attached = not last, digest and not last
                return True
        return False

    def look_into(self, field: bytes) -> None:
        """Take a Content-Type field in."""
        field = _COMMENT.sub(b" ", field)
        kind = _TYPE.match(field)
        if kind is None:
            return
        main, sub = kind[1].lower(), kind[2].lower()
        self.attached = main == b"message" and sub in (b"rfc822", b"global")
        found = _BOUNDARY.search(field)
        if main == b"multipart" and found is not None and len(self.boundaries) < NESTING_LIMIT:
            boundary = (found[1] or found[2] or b"")[:BOUNDARY_LIMIT]
            self.boundaries.append((boundary, sub == b"digest"))


def message_keys(octets: bytes, *, header: bool, body: bool, mime: bool) -> Iterator[bytes]:
    """Keys in the message's order."""
    if not octets:
        return
    message = _Message()
    field, top = b"", True
    for line in octets.removesuffix(b"\n").split(b"\n"):
        if message.in_header:
            if field and line[:1] in (b" ", b"\t"):
                if len(field) < FIELD_LIMIT:
                    field += b"\n" + line
                continue
            if field:
                message.look_into(field)
                if header:
                    yield field
            field = _field(line)
            if field:
                continue
            if body and (top or not line):
                yield b""       # the empty line that ends a header; the message's own ends so, even where it is missing
            top = False
            message.in_header, message.attached = mime and message.attached and not line, False
            if not line:
                continue
        if mime and line.startswith(b"--"):
            message.at_boundary(line)
        if body:
            yield line
    if field and header:
        yield field


def _field(line: bytes) -> bytes:
    """The line, when a field begins with it, without blanks before the colon; else nothing."""
    found = _FIELD.match(line)
    return b"" if found is None else found[1] + line[found.end() - 1:]
