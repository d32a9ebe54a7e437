"""8-bit mail for a server without 8BITMIME: parts with 8-bit octets become quoted-printable.

    to_7bit(octets) -> octets          LF line ends, both ways

multipart/* and message/rfc822 are gone into, to DEPTH_LIMIT; a signed part (multipart/signed) stays as it is: changing
it would break the signature, and 8-bit octets that get lost break it no worse. The new Content-Transfer-Encoding header
stands last in its header; parts that are 7-bit or encoded already are left alone. A "From " or "." at the start of a
line needs no care: the wire's dot doubling does that. Source: RFC 2045 section 6.7, RFC 6152.
"""

import re

DEPTH_LIMIT = 30
_TYPE = re.compile(rb"^content-type:[ \t]*([^;\n]*(?:\n[ \t][^;\n]*)*)(.*(?:\n[ \t].*)*)", re.I | re.M)
_ENCODING = re.compile(rb"^content-transfer-encoding:[ \t]*([^\n]*)(?:\n[ \t][^\n]*)*\n?", re.I | re.M)
_BOUNDARY = re.compile(rb"boundary[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|([^ \t;\n\"]+))", re.I)
_EIGHT = re.compile(rb"[\x80-\xff]")
_QUOTE = re.compile(rb"[^\t !-<>-~]")
_LINE = 73                # octets before the "=" that goes on; an encoded octet may end two later


def to_7bit(octets: bytes) -> bytes:
    """The message with all of its body in 7 bits."""
    return _entity(octets, 0) if _EIGHT.search(octets) else octets


def _entity(octets: bytes, depth: int) -> bytes:
    if octets.startswith(b"\n"):
        header, body = b"", octets[1:]
    else:
        head, gap, body = octets.partition(b"\n\n")
        header = head + b"\n" if gap or not octets.endswith(b"\n") else head
        if not gap:
            return octets
    if not _EIGHT.search(body):
        return octets
    kind, parameters = _content_type(header)
    if kind.startswith(b"multipart/") and depth < DEPTH_LIMIT:
        boundary = _boundary(parameters)
        if kind == b"multipart/signed" or boundary is None:
            return octets
        return _relabel(header, b"7bit") + b"\n" + _multipart(body, boundary, depth)
    if kind == b"message/rfc822" and depth < DEPTH_LIMIT:
        return _relabel(header, b"7bit") + b"\n" + _entity(body, depth + 1)
    return _relabel(header, b"quoted-printable") + b"\n" + quoted_printable(body)


def _content_type(header: bytes) -> tuple[bytes, bytes]:
    match = _TYPE.search(header)
    if match is None:
        return b"text/plain", b""
    return b"".join(match[1].split()).lower(), match[2]


def _boundary(parameters: bytes) -> bytes | None:
    match = _BOUNDARY.search(parameters)
    if match is None:
        return None
    return re.sub(rb"\\(.)", rb"\1", match[1]) if match[1] is not None else match[2]


def _relabel(header: bytes, encoding: bytes) -> bytes:
    """The header with its transfer encoding told anew, at the end; 8bit containers just lose theirs."""
    found = _ENCODING.search(header)
    header = _ENCODING.sub(b"", header)
    if encoding == b"7bit" and found is None:
        return header
    return header + b"Content-Transfer-Encoding: " + encoding + b"\n"


def _multipart(body: bytes, boundary: bytes, depth: int) -> bytes:
    delimiter = re.compile(rb"^--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\n|\Z)", re.M)
    out, start, inside = [], 0, False
    for match in delimiter.finditer(body):
        piece = body[start:match.start()]
        out += [_part(piece, depth) if inside else _plain(piece), match[0]]
        start, inside = match.end(), match[1] is None
        if not inside:
            break
    rest = body[start:]
    out.append(_part(rest, depth) if inside else _plain(rest))
    return b"".join(out)


def _part(piece: bytes, depth: int) -> bytes:
    """A part of a multipart; the line end before the next delimiter is the delimiter's."""
    ended = piece.endswith(b"\n")
    new = _entity(piece[:-1] if ended else piece, depth + 1)
    return new + b"\n" if ended else new


def _plain(piece: bytes) -> bytes:
    """Preamble and epilogue: nobody reads them; they must not have 8 bits."""
    return _EIGHT.sub(b"?", piece)


def quoted_printable(body: bytes) -> bytes:
    """Lines of at most 76 octets."""
    lines = body.split(b"\n")
    return b"\n".join(_quoted_line(line) for line in lines)


def _quoted_line(line: bytes) -> bytes:
    line = _QUOTE.sub(lambda found: b"=%02X" % found[0][0], line)
    if line[-1:] in (b" ", b"\t"):
        line = line[:-1] + b"=%02X" % line[-1]
    out, start = [], 0
    while len(line) - start > _LINE:
        end = start + _LINE
        # Never between the octets of "=XX".
        end += 2 if line[end - 1] == 0x3D else 1 if line[end - 2] == 0x3D else 0
        if end >= len(line):
            break
        out.append(line[start:end])
        start = end
    out.append(line[start:])
    return b"=\n".join(out)
