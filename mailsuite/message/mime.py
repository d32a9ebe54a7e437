"""The tree of MIME parts of a message in its CRLF form: offsets only, no copies.

    part = parse_structure(octets)
    part.children, part.header_start, part.body_start, part.end      octets[part.body_start:part.end] is the body

RFC 2046 section 5.1. A boundary matches by its beginning, the longest of the open ones wins, so sloppy mailers are
read as they meant it; the line end before a boundary belongs to the boundary. The body of message/rfc822 is one child.
Time is linear in size times depth. Limits: MAX_DEPTH levels and MAX_PARTS parts; what is deeper or later stays octets.
"""

import re
from collections.abc import Callable, Sequence

from mailsuite.message.header import Field, header_size, split_fields, unfold
from mailsuite.message.params import ContentType, parse_content_type, parse_disposition, parse_encoding, parse_languages

MAX_DEPTH = 100
MAX_PARTS = 10_000

_READABLE: dict[bytes, Callable[[bytes], object]] = {
    b"content-transfer-encoding": parse_encoding, b"content-language": parse_languages,
    b"content-disposition": lambda value: parse_disposition(value)[1]}
_DASHES = re.compile(rb"^--", re.M)


class Part:
    """One part. is_multipart, is_message: it has children as such. is_mime: its Content- fields count."""

    __slots__ = ("_content", "body_start", "children", "content_type", "end", "header_end", "header_start",
                 "is_message", "is_mime", "is_multipart")

    def __init__(self, header_start: int, body_start: int, fields: list[Field]) -> None:
        self.header_start, self.body_start, self.end = header_start, body_start, body_start
        self.header_end = body_start        # less where a boundary follows at once: the last line end is its own
        content: dict[bytes, bytes] = {}        # raw values of the first field of each name that matters
        for name, value, whole in fields:
            if (name.startswith(b"content-") or name == b"mime-version") and b":" in whole:
                readable = _READABLE.get(name)
                if name not in content or readable is not None and not readable(unfold(content[name])):
                    content[name] = value       # else the first counts, or the first that can be read
        self._content = content
        self.children: list[Part] = []
        self.content_type: ContentType | None = None        # None: there is no such field
        self.is_multipart = self.is_message = self.is_mime = False

    def is_marked(self) -> bool:
        """Does the header say that this is MIME?"""
        return b"content-type" in self._content or b"mime-version" in self._content

    def field(self, name: bytes) -> bytes | None:
        """The unfolded value of the first field of that name (content-...), None in a message that is no MIME."""
        if not self.is_mime:
            return None
        return self.given_field(name)

    def given_field(self, name: bytes) -> bytes | None:
        """The same, whether or not the message says that it is MIME: what is shown and searched goes by that."""
        value = self._content.get(name)
        return None if value is None else unfold(value)


class _Hit:
    """A boundary line: where it begins, where the next line begins, which of the open boundaries, and "--" behind."""

    __slots__ = ("after", "at", "closes", "level")

    def __init__(self, at: int, after: int, level: int, closes: bool) -> None:
        self.at, self.after, self.level, self.closes = at, after, level, closes

    def stop(self, octets: bytes, least: int) -> int:
        """Where the content before the boundary ends."""
        return max(least, self.at - 2) if octets[self.at - 2: self.at] == b"\r\n" else max(least, self.at)


class _Parser:
    def __init__(self, octets: bytes) -> None:
        self.octets, self.count = octets, 0
        self.boundaries: list[bytes] = []

    def find(self, start: int) -> _Hit | None:
        """The next line that begins with an open boundary."""
        octets = self.octets
        if not self.boundaries:
            return None
        for match in _DASHES.finditer(octets, start):
            at = match.start()
            if at != start and octets[at - 1] != 0x0A:
                continue
            end = octets.find(b"\r\n", at)
            line = octets[at + 2: len(octets) if end < 0 else end]
            level = self.match(line)
            if level is not None:
                # No part begins behind a boundary that the end of the message cuts off.
                closes = end < 0 or line.startswith(b"--", len(self.boundaries[level]))
                return _Hit(at, len(octets) if end < 0 else end + 2, level, closes)
        return None

    def match(self, line: bytes) -> int | None:
        best: int | None = None
        for level in range(len(self.boundaries) - 1, -1, -1):
            boundary = self.boundaries[level]
            if line.startswith(boundary) and (best is None or len(boundary) > len(self.boundaries[best])):
                best = level
                if line in (boundary, boundary + b"--"):
                    break
        return best

    def part(self, start: int, depth: int, *, in_multipart: bool = False,
             digest: bool = False) -> tuple[Part, _Hit | None]:
        """The part that begins at start, and the boundary line that ends it (None: the end of the message)."""
        octets = self.octets
        self.count += 1
        hit = self.find(start)
        limit = hit.at if hit else len(octets)
        body = start + header_size(octets, start, limit)
        part = Part(start, body, split_fields(octets[start:body]))
        if hit:
            part.header_end = min(body, hit.stop(octets, start))
        part.is_mime = in_multipart or part.is_marked()
        value = part.field(b"content-type")
        kind, boundary, least = b"", None, body
        if value is not None:
            part.content_type = parse_content_type(value)
            kind = part.content_type.type.lower()
            boundary = part.content_type.param(b"boundary")
        elif digest:
            kind = b"message"
        subtype = part.content_type.subtype.lower() if part.content_type else b"rfc822"
        if kind == b"multipart" and subtype and depth < MAX_DEPTH:
            part.is_multipart = True
            # A header that a boundary cuts off ends its part: it was an outer one's.
            if boundary is not None and not (hit and not _is_whole(octets, start, body)):
                hit, least = self.multipart(part, boundary, depth)
        elif kind == b"message" and subtype == b"rfc822" and depth < MAX_DEPTH and self.count < MAX_PARTS:
            part.is_message = True
            child, hit = self.part(body, depth + 1)
            part.children.append(child)
            part.end = child.end
            return part, hit
        part.end = hit.stop(octets, least) if hit else len(octets)
        return part, hit

    def multipart(self, part: Part, boundary: bytes, depth: int) -> tuple[_Hit | None, int]:
        """Fill in the children. Returns the boundary of an outer part that ended this one, and where its content ends
        at the earliest: the line end of its own last boundary stays, also where the outer one follows at once."""
        own = len(self.boundaries)
        digest = part.content_type is not None and part.content_type.subtype.lower() == b"digest"
        self.boundaries.append(boundary)
        hit = self.find(part.body_start)
        least = part.body_start
        if hit is not None and hit.level == own:
            part.header_end = part.body_start       # it is not an outer one of the same name that follows at once
        while hit is not None and hit.level == own and not hit.closes and self.count < MAX_PARTS:
            child, hit = self.part(hit.after, depth + 1, in_multipart=True, digest=digest)
            part.children.append(child)
            least = child.end
        self.boundaries.pop()
        if hit is not None and hit.level == own:
            least = hit.after
            hit = self.find(least)              # the epilogue
        return hit, least


def _is_whole(octets: bytes, start: int, body: int) -> bool:
    """Does the header end in an empty line?"""
    return octets.endswith(b"\r\n\r\n", start, body) or octets[start:body] == b"\r\n"


def parse_structure(octets: bytes) -> Part:
    """octets: a whole message with CRLF line ends. Never raises for content."""
    part, _ = _Parser(octets).part(0, 0)
    return part


def part_at(part: Part, path: Sequence[int]) -> Part | None:
    """The part that a section path names, RFC 3501 section 6.4.5; None when there is none. 0 in a multipart is its
    first part, as with Dovecot."""
    same = False        # a ".1" has named the part that was already meant: there is no second one
    for level, number in enumerate(path):
        # 1 of a message that is itself message/rfc822 is the message inside; only from there on it is looked into.
        inner = part.children[0] if level and part.is_message and part.children else part
        if inner.is_multipart:
            if not number <= len(inner.children) or not inner.children:
                return None
            part, same = inner.children[max(number, 1) - 1], False
        elif number == 1 and not same:
            part, same = inner, not inner.is_message
        else:
            return None
    return part
