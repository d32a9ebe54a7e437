"""What an IMAP server says, as values.

    tokens = tokenize(b'* 5 FETCH (UID 7 BODY[] ')  + [Literal(...)] + tokenize(b')')
    values(tokens) -> [b"*", b"5", b"FETCH", [b"UID", b"7", b"BODY[]", Literal(...)]]

Atoms are bytes, strings are Text (also bytes), NIL is None, parenthesized lists are lists. Literals come from the
connection, which has read them: small ones as Text, a message's as whatever it was put into.
Limits: MAX_DEPTH of parentheses; the length of a line and of a literal is the connection's affair.
Raises: PeerError for what is no IMAP. Source: RFC 3501 section 9.
"""

import calendar
import re
from collections.abc import Iterable, Sequence
from typing import Any

from mailsuite.base.errors import PeerError

MAX_DEPTH = 40

_TOKEN = re.compile(rb"""\s*(?:
    (?P<open>\()|(?P<close>\))|
    "(?P<quoted>(?:[^"\\]|\\.)*)"|
    (?P<atom>(?:[^\s()"\[]|\[[^\]]*\])+)
)""", re.VERBOSE | re.DOTALL)
_SLASHED = re.compile(rb"\\(.)", re.DOTALL)


class Text(bytes):
    """A quoted string or a literal: never NIL, never a number."""

    __slots__ = ()


class _Mark:
    """A parenthesis."""


OPEN, CLOSE = _Mark(), _Mark()


def tokenize(line: bytes) -> list[Any]:
    """Tokens of a piece of a response between literals."""
    found: list[Any] = []
    at, end = 0, len(line.rstrip())
    while at < end:
        match = _TOKEN.match(line, at)
        if match is None:
            raise PeerError(f"the server sent what is no IMAP: {line[at:at + 40]!r}")
        at = match.end()
        kind = match.lastgroup
        if kind == "atom":
            atom = match["atom"]
            found.append(None if atom.upper() == b"NIL" else atom)
        elif kind == "quoted":
            text = match["quoted"]
            found.append(Text(_SLASHED.sub(rb"\1", text) if b"\\" in text else text))
        else:
            found.append(OPEN if kind == "open" else CLOSE)
    return found


def values(tokens: Iterable[Any]) -> list[Any]:
    """Lists for parentheses. Raises PeerError when they don't match, or are too deep."""
    top: list[Any] = []
    stack = [top]
    for token in tokens:
        if token is OPEN:
            if len(stack) > MAX_DEPTH:
                raise PeerError("the server's answer is nested too deeply")
            inner: list[Any] = []
            stack[-1].append(inner)
            stack.append(inner)
        elif token is CLOSE:
            if len(stack) == 1:
                raise PeerError("the server's answer has a parenthesis too many")
            stack.pop()
        else:
            stack[-1].append(token)
    if len(stack) > 1:
        raise PeerError("the server's answer has a parenthesis too few")
    return top


def pairs(items: Sequence[Any]) -> dict[bytes, Any]:
    """b"UID", b"7", b"FLAGS", [...] as a dictionary with upper-case names. Raises PeerError."""
    if len(items) % 2:
        raise PeerError("the server sent a name without a value")
    found = {}
    for at in range(0, len(items), 2):
        if not isinstance(items[at], bytes):
            raise PeerError("the server sent a value without a name")
        found[items[at].upper()] = items[at + 1]
    return found


def number(value: Any, *, most: int = 0xFFFFFFFFFFFFFFFF) -> int:
    """A number of the protocol. Raises PeerError."""
    if not isinstance(value, bytes) or not value.isdigit() or len(value) > 20 or int(value) > most:
        raise PeerError(f"the server sent {value!r} in place of a number")
    return int(value)


def code_of(text: bytes) -> tuple[bytes, bytes, bytes]:
    """b"[UIDVALIDITY 5] Ok" as its code's name in upper case, the code's arguments, and the text."""
    if not text.startswith(b"["):
        return b"", b"", text
    code, closed, rest = text[1:].partition(b"]")
    if not closed:
        return b"", b"", text
    name, _, arguments = code.partition(b" ")
    return name.upper(), arguments, rest.lstrip(b" ")


def uid_set(text: bytes, *, most: int) -> list[int]:
    """The UIDs of an APPENDUID or COPYUID. Raises PeerError for nonsense or more than `most`."""
    found: list[int] = []
    for item in text.split(b","):
        low, colon, high = item.partition(b":")
        first, last = number(low, most=0xFFFFFFFF), number(high if colon else low, most=0xFFFFFFFF)
        if abs(last - first) + len(found) >= most:
            raise PeerError("the server gave more UIDs than there are messages")
        found += range(first, last + 1) if first <= last else range(first, last - 1, -1)
    return found


_MONTHS = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_DATE = re.compile(rb" ?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")


def internal_date(text: Any) -> int | None:
    """Seconds since the epoch of an INTERNALDATE; None for what is no date."""
    match = _DATE.match(text) if isinstance(text, bytes) else None
    if match is None or match[2].lower() not in _MONTHS:
        return None
    month = _MONTHS.index(match[2].lower()) + 1
    day, year, hour, minute, second = (int(match[at]) for at in (1, 3, 4, 5, 6))
    if not 1 <= day <= 31 or year < 1 or hour > 24 or minute > 59 or second > 60:
        return None
    offset = (int(match[8]) * 60 + int(match[9])) * 60
    return calendar.timegm((year, month, day, hour, minute, second)) - (offset if match[7] == b"+" else -offset)


def format_date(stamp: float) -> bytes:
    """A date-time for APPEND, in UTC."""
    import time

    when = time.gmtime(stamp)
    return b'"%2d-%b-%04d %02d:%02d:%02d +0000"' % (
        when.tm_mday, _MONTHS[when.tm_mon - 1].capitalize(), when.tm_year, when.tm_hour, when.tm_min, when.tm_sec)
