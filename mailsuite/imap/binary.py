"""BINARY (RFC 3516): parts without their Content-Transfer-Encoding.

    content = binary_content(message, section)      None: the encoding is unknown
    content.octets, content.decoded                 decoded: an encoding was taken off; the reply is a ~{} literal

Of a multipart or a message inside, all parts are decoded, and their headers say "binary".
"""

import re
from dataclasses import dataclass

from mailsuite.imap.text import transfer_decoded
from mailsuite.message.message import Message
from mailsuite.message.mime import Part, part_at
from mailsuite.message.section import Kind, Section

_ENCODING = re.compile(rb"(?im)^(Content-Transfer-Encoding:[ \t]*)[^\r\n]*(?:\r\n[ \t][^\r\n]*)*")
_PLAIN = (b"", b"7bit", b"8bit", b"binary")


@dataclass(frozen=True)
class Content:
    octets: bytes
    decoded: bool


def binary_content(message: Message, section: Section) -> Content | None:
    """Decoded octets of a section; None when its encoding is unknown."""
    octets = message.section(section)
    if section.kind is not Kind.ALL:
        return Content(octets, False)
    if not section.path:
        return _rebuilt(message.octets, message.structure, message.structure.header_start)
    part = part_at(message.structure, section.path)
    if part is None:
        return Content(octets, False)
    if part.is_multipart or part.is_message:
        return _rebuilt(message.octets, part, part.body_start)
    encoding = _encoding(part)
    decoded = transfer_decoded(octets, encoding)
    return None if decoded is None else Content(decoded, encoding not in _PLAIN)


def _encoding(part: Part) -> bytes:
    return (part.field(b"content-transfer-encoding") or b"").strip().lower()


def _leaves(part: Part) -> list[Part]:
    waiting, found = [part], []
    while waiting:
        part = waiting.pop()
        if part.children:
            waiting += reversed(part.children)
        elif not part.is_multipart:
            found.append(part)
    return found


def _rebuilt(octets: bytes, part: Part, start: int) -> Content | None:
    """octets[start:part.end] with every encoded part decoded."""
    out: list[bytes] = []
    at, changed = start, False
    for leaf in _leaves(part):
        encoding = _encoding(leaf)
        if encoding in _PLAIN:
            continue
        decoded = transfer_decoded(octets[leaf.body_start:leaf.end], encoding)
        if decoded is None:
            return None
        header = _ENCODING.sub(rb"\1binary", octets[leaf.header_start:leaf.body_start])
        out += [octets[at:leaf.header_start], header, decoded]
        at, changed = leaf.end, True
    out.append(octets[at:part.end])
    return Content(b"".join(out), changed)
