"""Strings as IMAP responses hold them (RFC 3501 section 4.3), with Dovecot's choice between quoted and literal.

    nstring(octets | None)      as it is: b'"text"', a literal for 8-bit octets or many quotes, NIL for None
    human(octets | None)        text for people: runs of white space become one blank; a literal when anything
                                had to be changed or escaped

NUL, which no string can hold, is shown as U+FFFD.
"""

import re

MAX_ESCAPES = 4

# Anything that keeps a text from being a plain quoted string.
_SPECIAL = re.compile(rb'["\\\x80-\xff\r\n\0]')
_LITERAL = re.compile(rb"[\x80-\xff\r\n\0]")
_QUOTE = re.compile(rb'(["\\])')
_RUNS = re.compile(rb"[ \t\r\n]+")


def literal(octets: bytes) -> bytes:
    if b"\0" in octets:
        octets = octets.replace(b"\0", b"\xef\xbf\xbd")
    return b"{%d}\r\n%b" % (len(octets), octets)


def nstring(octets: bytes | None) -> bytes:
    if octets is None:
        return b"NIL"
    if not _SPECIAL.search(octets):
        return b'"' + octets + b'"'
    if _LITERAL.search(octets):
        return literal(octets)
    quoted, escapes = _QUOTE.subn(rb"\\\1", octets)
    return b'"' + quoted + b'"' if escapes <= MAX_ESCAPES else literal(octets)


def human(octets: bytes | None) -> bytes:
    if octets is None:
        return b"NIL"
    shown = _RUNS.sub(b" ", octets).strip(b" ")
    if not shown:
        return b'""'
    if shown == octets and not _SPECIAL.search(octets):
        return b'"' + octets + b'"'
    return literal(shown)
