"""The body of a message that body_checks or checks of inner headers want to see, line by line.

    body = BodyPass(checks, case, content_type)
    out = await body.lines(octets)          whole lines come out; an unfinished one waits
    out = await body.end()

Only as much MIME as the checks need: boundaries of multiparts, headers of parts (mime_header_checks), headers of
attached messages (nested_header_checks). body_checks see the first body_checks_size_limit octets of each part.
Limits: DEPTH nested multiparts; a line longer than LINE octets is checked in pieces; HEADER octets of a part's field.
Without checks, none of this runs.
"""

import re

from mailsuite.queue.cleanup_checks import Case, ContentChecks
from mailsuite.queue.headers import name_of, value_of

DEPTH = 100
LINE = 65536
HEADER = 102400
_BOUNDARY = re.compile(rb';\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))', re.I)


def boundary_of(content_type: bytes) -> bytes | None:
    """The boundary of a multipart type, else None."""
    if not content_type.lower().startswith(b"multipart/"):
        return None
    match = _BOUNDARY.search(content_type)
    return (match[1] or match[2] or None) if match else None


class BodyPass:
    """One message's body."""

    def __init__(self, checks: ContentChecks, case: Case, content_type: bytes) -> None:
        self.checks, self.case = checks, case
        self._rest = b""
        self._boundaries: list[bytes] = []
        self._in_header = self._nested = False
        self._field = b""
        self._part_type = b""
        self._seen = 0
        self._enter(content_type)
        self._first = True              # the empty line that ends the message header

    def _enter(self, content_type: bytes) -> None:
        """A header has ended: what follows depends on its type."""
        self._seen, self._in_header = 0, False
        boundary = boundary_of(content_type)
        if boundary is not None and len(self._boundaries) < DEPTH:
            self._boundaries.append(boundary)
        elif content_type.lower().startswith((b"message/rfc822", b"message/global")):
            self._in_header = self._nested = True
            self._part_type = b""

    async def lines(self, octets: bytes) -> bytes:
        out: list[bytes] = []
        pieces = (self._rest + octets).split(b"\n")
        self._rest = pieces.pop()
        for line in pieces:
            out.append(await self._line(line))
        if len(self._rest) > LINE:
            out.append((await self._line(self._rest))[:-1])
            self._rest = b""
        return b"".join(out)

    async def end(self) -> bytes:
        last = b""
        if self._rest:
            last = await self._line(self._rest)
            self._rest = b""
        return last + await self._flush_field()

    async def _line(self, line: bytes) -> bytes:
        if self._first:
            self._first = False
            return line + b"\n"
        if line.startswith(b"--") and self._boundaries and self._is_boundary(line):
            return await self._flush_field() + line + b"\n"
        if self._in_header and self.checks.part_headers_on:
            return await self._header_line(line)
        if self._in_header:
            if not line:
                self._enter(b"")
            return line + b"\n"
        if not self.checks.body_on or self._seen >= self.checks.body_limit:
            return line + b"\n"
        self._seen += len(line)
        return b"".join(new + b"\n" for new in await self.checks.body(self.case, line))

    def _is_boundary(self, line: bytes) -> bool:
        for depth in range(len(self._boundaries) - 1, -1, -1):
            if line[2:].startswith(self._boundaries[depth]):
                del self._boundaries[depth + 1:]
                rest = line[2 + len(self._boundaries[depth]):].rstrip()
                if rest == b"--":
                    del self._boundaries[depth:]
                    self._in_header = False
                else:
                    self._in_header, self._nested = True, False
                self._part_type, self._seen = b"", 0
                return True
        return False

    async def _header_line(self, line: bytes) -> bytes:
        if line[:1] in (b" ", b"\t") and self._field and len(self._field) < HEADER:
            self._field += b"\n" + line
            return b""
        before = await self._flush_field()
        if name_of(line):
            self._field = line
            return before
        if line:                        # no header: the part's body begins without an empty line
            self._enter(self._part_type)
            return before + await self._line(line)
        self._enter(self._part_type)
        return before + b"\n"

    async def _flush_field(self) -> bytes:
        if not self._field:
            return b""
        field, self._field = self._field, b""
        name = name_of(field)
        if name == b"content-type":
            self._part_type = value_of(field)
        kind = "nested header" if self._nested and not name.startswith((b"content-", b"mime-version")) else (
            "mime header")
        return b"".join(new + b"\n" for new in await self.checks.header(self.case, field, kind))
