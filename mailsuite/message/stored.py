"""What IMAP asks for most, straight from a message as it is stored, without making the wire form of all of it.

    stored_header(octets) -> bytes                      the header with its empty line; all where there is none
    stored_fields(octets, names, negate=False) -> bytes     BODY[HEADER.FIELDS (names)]
    stored_envelope(octets) -> bytes                    ENVELOPE

The same octets as from Message.from_stored(octets), some times as fast: in usual headers (LF line ends, no CR, no NUL,
ended by an empty line, not long) one regular expression picks the fields; all others go the long way. Lists of
addresses come back again and again in a mailbox: KEPT_LISTS short ones are remembered with what they became.
Limits: headers of up to QUICK_OCTETS are picked so. Cost: linear in the header's length.
"""

import re
from functools import lru_cache

from mailsuite.message.address import parse_addresses, render_addresses
from mailsuite.message.crlf import to_crlf
from mailsuite.message.envelope import render_envelope
from mailsuite.message.header import header_size, pick_fields
from mailsuite.message.quote import human, nstring

QUICK_OCTETS = 16 * 1024                # so there are fewer fields than header.MAX_FIELDS
KEPT_LISTS, KEPT_OCTETS = 2048, 256

_VALUE = rb"[^\n]*(?:\n[ \t][^\n]*)*"
_ENVELOPE = re.compile(
    rb"\n(date|subject|in-reply-to|message-id|from|sender|reply-to|to|cc|bcc)[ \t]*:[ \t]*(%b)" % _VALUE, re.I)
_TEXTS = frozenset((b"date", b"subject", b"in-reply-to", b"message-id"))
_NAME = re.compile(rb"[!-9;-~]+")


def stored_header(octets: bytes) -> bytes:
    """Line ends as stored, or CRLF. octets: of the beginning at least so much as holds the header."""
    end = octets.find(b"\n\n")
    header = b"\n" if octets.startswith(b"\n") else octets if end < 0 else octets[:end + 2]
    if b"\r" not in header:
        return header
    wire = to_crlf(octets)
    return wire[:header_size(wire)]


def _usual(header: bytes) -> bool:
    """Can the quick expressions read it?"""
    return header.endswith(b"\n\n") and len(header) <= QUICK_OCTETS and b"\r" not in header and b"\0" not in header


@lru_cache(maxsize=64)
def _picker(names: frozenset[bytes]) -> "re.Pattern[bytes] | None":
    """Finds the fields of these names (lower case), each behind a line end. None: some can't be names of fields."""
    if not names or not all(map(_NAME.fullmatch, names)):
        return None
    # A line without a colon is a field whose whole text is its name.
    return re.compile(rb"\n((?:%b)[ \t]*(?::%b|(?=\n(?![ \t]))))" % (
        b"|".join(map(re.escape, sorted(names, key=len, reverse=True))), _VALUE), re.I)


def stored_fields(octets: bytes, names: frozenset[bytes], *, negate: bool = False) -> bytes:
    """names: in lower case; negate: HEADER.FIELDS.NOT. octets: as of stored_header."""
    header = stored_header(octets)
    picker = None if negate else _picker(names)
    if picker is None or not _usual(header):
        return pick_fields(to_crlf(header).replace(b"\0", b"\x80"), names, negate=negate, end=not negate)
    return b"\n".join([*picker.findall(b"\n" + header), b"\n"]).replace(b"\n", b"\r\n")


def stored_envelope(octets: bytes) -> bytes:
    """octets: as of stored_header. As Dovecot does it: see envelope.py."""
    header = stored_header(octets)
    if not _usual(header):
        return render_envelope(to_crlf(header))
    found: dict[bytes, bytes] = {}
    for name, value in _ENVELOPE.findall(b"\n" + header):
        name = name.lower()
        if not value or value.startswith(b"\n") or (name in found and name not in _TEXTS):
            return render_envelope(to_crlf(header))         # a field without a text on its first line, or a second list
        found[name] = value
    get = found.get
    from_ = _addresses(get(b"from"))
    sender = _addresses(get(b"sender")) if b"sender" in found else b"NIL"
    reply_to = _addresses(get(b"reply-to")) if b"reply-to" in found else b"NIL"
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        _text(get(b"date")), human(get(b"subject")),
        from_, from_ if sender == b"NIL" else sender, from_ if reply_to == b"NIL" else reply_to,
        _addresses(get(b"to")), _addresses(get(b"cc")), _addresses(get(b"bcc")),
        _text(get(b"in-reply-to")), _text(get(b"message-id")))


def _text(value: bytes | None) -> bytes:
    """An unstructured field on one line. Where a line is folded white space follows its end, which stays."""
    return b"NIL" if value is None else nstring(value.replace(b"\n", b""))


def _addresses(value: bytes | None) -> bytes:
    if value is None:
        return b"NIL"
    return _kept_list(value) if len(value) <= KEPT_OCTETS else _list(value)


def _list(value: bytes) -> bytes:
    return render_addresses(parse_addresses(value.replace(b"\n", b"")))


_kept_list = lru_cache(maxsize=KEPT_LISTS)(_list)
