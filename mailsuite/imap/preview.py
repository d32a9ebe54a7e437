"""PREVIEW (RFC 8970): the first words of a message, for a list of messages."""

import re

from mailsuite.imap.text import decode, is_text, parts, transfer_decoded
from mailsuite.message.message import Message

LENGTH = 200            # characters
_TAGS = re.compile(r"<(?:style|script|head)\b.*?(?:</(?:style|script|head)>|\Z)|<[^>]*(?:>|\Z)", re.S | re.I)
_ENTITIES = {"&nbsp;": " ", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&amp;": "&"}
_READ = 16 * 1024       # octets of the text that are looked at


def preview(message: Message) -> bytes:
    """UTF-8 text of the first part that is text; quoted lines are left out."""
    for part in parts(message.structure):
        if part.is_multipart or part.is_message or not is_text(part):
            continue
        octets = message.octets[part.body_start:min(part.end, part.body_start + _READ)]
        decoded = transfer_decoded(octets, part.field(b"content-transfer-encoding") or b"") or b""
        charset = part.content_type.param(b"charset") if part.content_type else None
        text = decode(decoded, charset or b"utf-8")
        if part.content_type is not None and part.content_type.subtype.lower() == b"html":
            text = _TAGS.sub(" ", text)
            for entity, character in _ENTITIES.items():
                text = text.replace(entity, character)
        lines = [line for line in text.splitlines() if not line.startswith(">")]
        return " ".join(" ".join(lines).split())[:LENGTH].encode("utf-8", "replace")
    return b""
