"""BINARY (RFC 3516): parts without their Content-Transfer-Encoding."""

from mailsuite.imap.text import transfer_decoded
from mailsuite.message.message import Message
from mailsuite.message.mime import part_at
from mailsuite.message.section import Kind, Section


def binary_content(message: Message, section: Section) -> bytes | None:
    """Decoded octets of a section; None when its encoding is unknown. A multipart stays as it is."""
    octets = message.section(section)
    if section.kind is not Kind.ALL:
        return octets
    part = part_at(message.structure, section.path)
    if part is None or part.is_multipart or part.is_message:
        return octets
    encoding = part.field(b"content-transfer-encoding") or b""
    if section.path == ():
        decoded = transfer_decoded(message.body, encoding)
        return None if decoded is None else message.header + decoded
    return transfer_decoded(octets, encoding)
