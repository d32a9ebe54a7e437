"""Headers for readers who know ASCII only: what is beyond it becomes encoded words (RFC 2047).

    ascii_header(header) -> header          CRLF octets with the empty line; a header in ASCII comes back as it is

Fields with addresses keep their ASCII addresses; a mailbox whose address itself is beyond ASCII becomes an empty group
named after it, so that nobody answers to something else (RFC 6857 section 3.1.8). Octets that are no UTF-8 count as
latin-1. Never raises; cost: only fields beyond ASCII are looked into.
"""

import re
from email.charset import QP, Charset
from email.header import Header

from mailsuite.message.header import split_fields, unfold

ADDRESSES = frozenset(b"from sender reply-to to cc bcc resent-from resent-sender resent-to resent-cc resent-bcc "
                      b"return-path delivered-to disposition-notification-to".split())
_MAILBOX = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^,"])+')
_ANGLE = re.compile(r"^(.*)<([^<>]*)>\s*$", re.DOTALL)
_LINE = 76
_UTF8 = Charset("utf-8")
_UTF8.header_encoding = QP


def ascii_header(header: bytes) -> bytes:
    if header.isascii():
        return header
    lines = []
    for name, value, text in split_fields(header):
        if text.isascii():
            lines.append(text)
        elif name.isascii() and b":" in text:
            lines.append(_field(text.partition(b":")[0].decode().rstrip(), name, _text(unfold(value))))
        # A name beyond ASCII is no field for these readers.
    return b"".join([line + b"\r\n" for line in lines]) + (b"\r\n" if header.endswith(b"\r\n\r\n") else b"")


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _field(shown: str, name: bytes, value: str) -> bytes:
    if name in ADDRESSES:
        parts = [_mailbox(part.strip()) for part in _MAILBOX.findall(value) if part.strip()]
        return f"{shown}: {(',' + _FOLD).join(parts)}".encode("ascii", "replace")
    return f"{shown}: {_words(value, len(shown) + 2)}".encode("ascii", "replace")


_FOLD = "\r\n "


def _mailbox(text: str) -> str:
    """One of an address list."""
    if text.isascii():
        return text
    match = _ANGLE.match(text)
    if match is None or not match[2].isascii():
        return f"{_words(text.replace('<', '').replace('>', ''), 2)} :;"
    phrase = match[1].strip().strip('"')
    return f"{_words(phrase, 2)} <{match[2]}>"


def _words(text: str, indent: int) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text)
    return Header(printable, _UTF8, maxlinelen=_LINE, header_name="x" * max(0, indent - 2)).encode(linesep="\r\n")
