"""BINARY (RFC 3516): parts without their Content-Transfer-Encoding.

    content = binary_content(message, section)
    content.octets, content.decoded                 decoded: an encoding was taken off; the reply is a ~{} literal

Raises: UnknownEncoding; BrokenEncoding for what is no base64, where a reader that shows mail takes what it can.

Of a multipart or a message inside, all parts are decoded, and their headers say "binary". An encoding counts without
MIME-Version, too. NULs stay in what is a body, and make the reply a ~{} literal as well.
"""

import re
from dataclasses import dataclass

from mailsuite.base.errors import PermanentError
from mailsuite.imap.text import transfer_decoded
from mailsuite.message.message import Message
from mailsuite.message.mime import Part, part_at
from mailsuite.message.section import Kind, Section, stored_section

_ENCODING = re.compile(rb"(?im)^Content-Transfer-Encoding[ \t]*:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*\r\n")
_PLAIN = (b"", b"7bit", b"8bit", b"binary")


_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_NOT_QUOTED = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r\n|[ \t]*\Z)")
_TOKEN = re.compile(rb"[^\s;()]*")


class UnknownEncoding(PermanentError):
    """RFC 3516 section 4.3, UNKNOWN-CTE."""

    def __init__(self) -> None:
        super().__init__("Unknown Content-Transfer-Encoding", status="5.6.0")


class BrokenEncoding(PermanentError):
    """RFC 5530, PARSE."""

    def __init__(self) -> None:
        super().__init__("Invalid data in MIME part", status="5.6.0")


@dataclass(frozen=True)
class Content:
    octets: bytes
    decoded: bool


def binary_content(message: Message, section: Section) -> Content:
    """Decoded octets of a section. Raises UnknownEncoding, BrokenEncoding."""
    if section.kind not in (Kind.ALL, Kind.TEXT):
        return Content(message.section(section), False)
    octets = stored_section(message, section)
    if not section.path:
        whole = message.structure
        return _rebuilt(message.crlf, whole, whole.header_start if section.kind is Kind.ALL else whole.body_start)
    part = part_at(message.structure, section.path)
    if section.kind is Kind.TEXT and part is not None and part.is_message:
        return _rebuilt(message.crlf, part.children[0], part.children[0].body_start)
    if part is None:
        return Content(octets, b"\0" in octets)
    if part.is_multipart or part.is_message:
        return _rebuilt(message.crlf, part, part.body_start)
    encoding = _encoding(part)
    decoded = _decoded(octets, encoding)
    return Content(decoded, encoding not in _PLAIN or b"\0" in decoded)


def _decoded(octets: bytes, encoding: bytes) -> bytes:
    if encoding == b"base64" and _BASE64.fullmatch(octets.translate(None, b" \t\r\n")) is None:
        raise BrokenEncoding
    if encoding == b"quoted-printable" and _NOT_QUOTED.search(octets):
        raise BrokenEncoding
    decoded = transfer_decoded(octets, encoding)
    if decoded is None:
        raise UnknownEncoding
    return decoded


def _encoding(part: Part) -> bytes:
    """Without comments; whether or not the message says that it is MIME, as Dovecot has it."""
    token = _TOKEN.match((part.given_field(b"content-transfer-encoding") or b"").strip())
    return token[0].lower() if token else b""


def _leaves(part: Part) -> list[Part]:
    waiting, found = [part], []
    while waiting:
        part = waiting.pop()
        if part.children:
            waiting += reversed(part.children)
        elif not part.is_multipart:
            found.append(part)
    return found


def _header(octets: bytes) -> bytes:
    """A part's header that says "binary", in its last field, as Dovecot writes it."""
    fields = _ENCODING.sub(b"", octets)
    end = b"\r\n" if fields.endswith(b"\r\n\r\n") or fields == b"\r\n" else b""
    return fields.removesuffix(end) + b"Content-Transfer-Encoding: binary\r\n" + end


def _rebuilt(octets: bytes, part: Part, start: int) -> Content:
    """octets[start:part.end] with every encoded part decoded."""
    out: list[bytes] = []
    at, changed = start, False
    for leaf in _leaves(part):
        encoding = _encoding(leaf)
        if encoding in _PLAIN:
            continue
        decoded = _decoded(octets[leaf.body_start:leaf.end], encoding)
        if leaf.header_start >= start:          # else the header is not asked for
            out.append(octets[at:leaf.header_start])
            out.append(_header(octets[leaf.header_start:leaf.body_start]))
        out.append(decoded)
        at, changed = leaf.end, True
    out.append(octets[at:part.end])
    whole = b"".join(out)
    return Content(whole, changed or b"\0" in whole)
