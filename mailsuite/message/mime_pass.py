"""A message line by line as Postfix's MIME reader sees it: for checks of headers, of inner headers and of body lines.

    run = MimePass(visitor, MimeLimits(nesting=100, boundary=2048))
    kind = run.field(b"Content-Type: multipart/mixed; boundary=x")     each field of the message header, as it came
    out = await run.lines(octets)               then the body, from the empty line on; an unfinished line waits
    out = await run.end()

The visitor is told of each field of a part, each line, and each problem once. Headers of parts and of attached messages
(message/rfc822, message/global) are headers; what else is attached is body, also message/partial. Lines between and
around parts, boundaries among them, are body lines.
Limits: MimeLimits; a longer field is cut, a longer body line comes in pieces.
Source: RFC 2045, RFC 2046 section 5; tests/message/test_mime_pass.py has what Postfix 3.7 makes of broken MIME.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from mailsuite.message.params import parse_content_type
from mailsuite.message.quoted_printable import quoted_line

PRIMARY, PART, NESTED = "header", "mime header", "nested header"
MIME_FIELDS = frozenset({b"content-description", b"content-disposition", b"content-id", b"content-transfer-encoding",
                         b"content-type", b"mime-version"})
_FIELD = re.compile(rb"[!-9;-~]{1,998}[ \t]*:")
_CODED = frozenset({b"base64", b"quoted-printable"})
_NOT_7BIT = _CODED | {b"8bit", b"binary"}
_EIGHT = frozenset({b"8bit", b"binary"})
_COMMENT = re.compile(rb"\([^()]*\)")
_MORE_LEVELS = 2            # Postfix's mime_nesting_limit = 3 takes five boundaries


class Problem(Enum):
    """What may be wrong with a message; the order is that of their weight, the value is told to the sender."""

    NESTING = "MIME nesting exceeds safety limit"
    EIGHT_IN_HEADER = "improper use of 8-bit data in message header"
    EIGHT_IN_BODY = "improper use of 8-bit data in message body"
    ENCODING = "invalid message/* or multipart/* encoding domain"


@dataclass(frozen=True, slots=True)
class MimeLimits:
    """off: the body is one text. boundary: octets of a boundary that are compared. header, line: octets."""

    nesting: int = 100
    boundary: int = 2048
    header: int = 102400
    line: int = 2048
    off: bool = False


class Visitor(Protocol):
    """Who looks at a message. The results are what stands in the place of the field or line, without line ends."""

    async def header(self, field: bytes, kind: str) -> list[bytes]: ...
    async def body(self, line: bytes, offset: int) -> list[bytes]: ...
    def problem(self, problem: Problem, text: bytes) -> None: ...


class MimePass:
    """One message."""

    def __init__(self, visitor: Visitor, limits: MimeLimits, *, to_7bit: bool = False) -> None:
        """to_7bit: what is labelled 8bit or binary becomes quoted-printable, and the label with it."""
        self._visitor, self._limits, self._to_7bit = visitor, limits, to_7bit
        self.relabelled = False     # the last field told a transfer encoding that is told anew behind the header
        self._boundaries: list[tuple[bytes, bool]] = []         # and whether its parts are messages (digest)
        self._told: set[Problem] = set()
        self._rest = self._pending = b""
        self._where: str | None = PRIMARY       # None: in a body
        self._offset = 0
        self._midline = False
        self._begin(message=False)

    def _begin(self, *, message: bool) -> None:
        """An entity begins; message: without a Content-Type it is a message."""
        self._message = message
        self._partial = self._composite = False
        self._encoding = b""
        self._container = self._open = message      # cannot be encoded; its body is a message, or parts
        self._quoting = False

    # --- headers ------------------------------------------------------------------------------------------------

    def field(self, field: bytes) -> str:
        """Take note of a field of the header at hand. Returns the kind of checks it gets."""
        where = self._where or PRIMARY
        self.relabelled = False
        if not field.isascii():
            self._report(Problem.EIGHT_IN_HEADER, field)
        label, _, value = field.partition(b":")
        name = label.rstrip().lower()
        if self._limits.off or name not in MIME_FIELDS:
            return where
        if name == b"content-type":
            self._content_type(field, value)
        elif name == b"content-transfer-encoding":
            self._encoding = _token(value)
            self.relabelled = self._to_7bit and self._encoding in _EIGHT
        return PART

    def _content_type(self, field: bytes, value: bytes) -> None:
        kind = parse_content_type(value, bare=True)
        main, sub = kind.type.lower(), kind.subtype.lower()
        self._container = main in (b"message", b"multipart") and (main, sub) != (b"message", b"global")
        # A message/global is encoded as a whole (RFC 6532 section 3.7), so there is no header to see in it then.
        self._message = main == b"message" and (sub == b"rfc822" or sub == b"global" and not self._to_7bit)
        self._open = main == b"multipart" or self._message
        self._partial = main == b"message" and sub == b"partial"
        self._composite = main == b"multipart" or main == b"message" and sub == b"rfc822"
        if main != b"multipart":
            return
        boundary = kind.param(b"boundary")
        if not boundary:
            return
        if len(self._boundaries) >= self._limits.nesting + _MORE_LEVELS:
            self._report(Problem.NESTING, field)
        else:
            self._boundaries.append((boundary[:self._limits.boundary], sub == b"digest"))

    def _end_of_header(self) -> None:
        """A body begins, or the header of an attached message."""
        if self._limits.off:
            self._where = None
            return
        if self._composite and self._encoding in _CODED or self._partial and self._encoding in (b"8bit", b"binary"):
            self._report(Problem.ENCODING, self._encoding)
        self._offset = 0
        self._quoting = self._to_7bit and self._encoding in _EIGHT and not self._open
        if self._message:
            self._where = NESTED
            self._begin(message=False)
        else:
            self._where = None

    def _report(self, problem: Problem, text: bytes) -> None:
        if problem not in self._told:
            self._told.add(problem)
            self._visitor.problem(problem, text)

    # --- body ---------------------------------------------------------------------------------------------------

    async def lines(self, octets: bytes) -> bytes:
        """The whole lines of what has come, as they are passed on."""
        out: list[bytes] = []
        pieces = (self._rest + octets).split(b"\n")
        self._rest = pieces.pop()
        for line in pieces:
            if self._midline:
                self._midline = False
                await self._go_on(line, out, b"\n")
            else:
                await self._line(line, out)
        if len(self._rest) > self._limits.header:
            await self._overlong(out)
        return b"".join(out)

    async def _overlong(self, out: list[bytes]) -> None:
        """The beginning of a line without end must not fill the memory."""
        piece, self._rest = self._rest, b""
        if self._midline:
            await self._go_on(piece, out, b"")
            return
        self._midline = True
        await self._line(piece, out)
        if out and self._where is None:
            out[-1] = out[-1].removesuffix(b"\n")

    async def _go_on(self, piece: bytes, out: list[bytes], end: bytes) -> None:
        """More of a line that was too long. In a header it is cut off."""
        if self._where is None:
            await self._body_line(piece, out)
            out[-1:] = [out[-1].removesuffix(b"\n") + end] if out else []

    async def end(self) -> bytes:
        """What was waiting."""
        out: list[bytes] = []
        if self._rest:
            rest, self._rest = self._rest, b""
            await (self._go_on(rest, out, b"\n") if self._midline else self._line(rest, out))
        await self._flush(out)
        if self._where is not None:
            self._label(out)
        return b"".join(out)

    async def _line(self, line: bytes, out: list[bytes]) -> None:
        if self._where is PRIMARY:
            self._label(out)
            self._end_of_header()               # the empty line that ends the message header
            out.append(line + b"\n")
            self._offset = 1
            return
        if self._boundaries and line.startswith(b"--") and (depth := self._boundary(line)) is not None:
            await self._delimiter(line, depth, out)
        elif self._where is not None:
            await self._header_line(line, out)
        else:
            await self._body_line(line, out)

    def _boundary(self, line: bytes) -> int | None:
        """Which one the line begins with, the innermost first."""
        for depth in range(len(self._boundaries) - 1, -1, -1):
            if line.startswith(self._boundaries[depth][0], 2):
                return depth
        return None

    async def _delimiter(self, line: bytes, depth: int, out: list[bytes]) -> None:
        await self._flush(out)
        if self._where is not None:
            self._label(out)
        boundary, digest = self._boundaries[depth]
        del self._boundaries[depth + 1:]
        if line.startswith(b"--", 2 + len(boundary)):
            del self._boundaries[depth]
            self._begin(message=False)
            self._where, self._offset = None, 0
            await self._body_line(line, out)
            return
        await self._visit(line, out)
        self._begin(message=digest)
        self._where, self._offset = PART, 0

    async def _header_line(self, line: bytes, out: list[bytes]) -> None:
        if line[:1] in (b" ", b"\t") and self._pending:
            if len(self._pending) + len(line) < self._limits.header:
                self._pending += b"\n" + line
            return
        await self._flush(out)
        if _FIELD.match(line):
            self._pending = line
            return
        self._label(out)
        self._end_of_header()
        if not line or self._where is None:
            await self._body_line(line, out)
        else:
            await self._header_line(line, out)

    async def _flush(self, out: list[bytes]) -> None:
        """The field that was waiting for its continuation lines."""
        if self._pending:
            field, self._pending = self._pending[:self._limits.header], b""
            kind = self.field(field)
            if not self.relabelled:
                out += [new + b"\n" for new in await self._visitor.header(field, kind)]

    def _label(self, out: list[bytes]) -> None:
        """At the end of a header: the transfer encoding that the body gets."""
        if self._to_7bit and self._encoding in _EIGHT:
            out.append(b"Content-Transfer-Encoding: " + (b"7bit" if self._container else b"quoted-printable") + b"\n")

    async def _body_line(self, line: bytes, out: list[bytes]) -> None:
        if not line.isascii() and self._encoding not in _NOT_7BIT:
            self._report(Problem.EIGHT_IN_BODY, line)
        for each in quoted_line(line) if self._quoting else (line,):
            await self._visit(each, out)

    async def _visit(self, line: bytes, out: list[bytes]) -> None:
        """Long lines are looked at in pieces, as Postfix reads them."""
        size = self._limits.line
        if not line:
            out.append(b"\n")
            self._offset += 1
            return
        kept: list[bytes] = []
        for at in range(0, len(line), size):
            piece = line[at:at + size]
            new = await self._visitor.body(piece, self._offset)
            self._offset += len(piece)
            if new or size < len(line):
                kept.append(b"\n".join(new))
        self._offset += 1
        if kept:
            out.append(b"".join(kept) + b"\n")


def _token(value: bytes) -> bytes:
    """The first word of a field's value, comments left out, in lower case."""
    words = _COMMENT.sub(b" ", value).replace(b";", b" ").split()
    return words[0].lower() if words else b""
