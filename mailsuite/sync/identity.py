"""What names a message wherever it lies: a digest of the header fields that no server changes.

    digest(b"Message-ID: <x@y>\\r\\nDate: ...\\r\\n\\r\\n") -> 16 octets

Date and Message-ID where there is a Message-ID, as in dsync; else all of FIELDS. White space doesn't count: servers
fold anew. Messages that are alike in all of it are told apart by nothing but their number: two stay two.
"""

import hashlib
import re

FIELDS = b"MESSAGE-ID DATE FROM TO SUBJECT"
_FIELD = re.compile(rb"^(message-id|date|from|to|subject)[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)",
                    re.IGNORECASE | re.MULTILINE)
_BLANKS = re.compile(rb"\s+")


def digest(header: bytes) -> bytes:
    """header: at least the fields of FIELDS, up to the empty line or less."""
    end = re.search(rb"\r?\n\r?\n", header)
    found: dict[bytes, bytes] = {}
    for name, value in _FIELD.findall(header[: end.end()] if end else header):
        found.setdefault(name.lower(), _BLANKS.sub(b"", value))
    names = (b"message-id", b"date") if found.get(b"message-id") else (b"date", b"from", b"to", b"subject")
    text = b"\n".join(name + b":" + found.get(name, b"") for name in names)
    return hashlib.blake2b(text, digest_size=16).digest()
