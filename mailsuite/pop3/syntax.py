"""POP3 command lines: octets to values.

    split_command(b"retr  1") -> ("RETR", "1")
    message_number("1 x", count=3) -> raises PeerError("Noise after message number:  x")

Raises: PeerError in Dovecot's words (they go behind "-ERR ").
Source: RFC 1939 section 3.
"""

import re

from mailsuite.base.errors import PeerError

_DIGITS = re.compile(r"[0-9]+")
LARGEST = 0xFFFF_FFFF


def split_command(line: bytes) -> tuple[str, str]:
    """Upper-case name (ASCII only) and arguments; what is no UTF-8 stays as surrogates, a NUL ends the line."""
    name, _, arguments = line.partition(b"\0")[0].partition(b" ")
    return name.upper().decode("utf-8", "surrogateescape"), arguments.lstrip(b" ").decode("utf-8", "surrogateescape")


def _number(text: str, what: str, kind: str) -> tuple[int, str]:
    digits = _DIGITS.match(text)
    if digits is None:
        raise PeerError(f"Invalid {kind}: {text}")
    rest = text[digits.end():]
    value = int(digits[0]) if len(digits[0]) <= 20 else 1 << 64
    if value >= 1 << 64:
        raise PeerError(f"{what} too large: {text}")
    if value > LARGEST and what == "Message number":
        raise PeerError(f"{what} too large: {rest}")
    return value, rest


def message_number(text: str, count: int) -> int:
    """The one argument of RETR, DELE, LIST, UIDL. Raises PeerError."""
    number, rest = _number(text, "Message number", "message number")
    if rest:
        raise PeerError(f"Noise after message number: {rest}")
    return _existing(number, count)


def number_and_lines(text: str, count: int) -> tuple[int, int]:
    """TOP's arguments. Raises PeerError."""
    number, rest = _number(text, "Message number", "message number")
    if not rest.startswith(" "):
        raise PeerError(f"Noise after message number: {rest}")
    number = _existing(number, count)
    lines, rest = _number(rest.lstrip(" "), "Size", "size")
    if rest:
        raise PeerError(f"Noise after size: {rest}")
    return number, lines


def lang_reply(arguments: str) -> list[str]:
    """The lines of LANG's reply: all texts are in English (RFC 6856 section 3.2)."""
    wanted = arguments.strip().lower()
    if not wanted:
        return ["+OK Language listing follows:", "en English", "."]
    if wanted in ("*", "en", "i-default") or wanted.startswith("en-"):
        return ["+OK en Language is English."]
    return ["-ERR There are texts in English only."]


def _existing(number: int, count: int) -> int:
    if not 1 <= number <= count:
        raise PeerError(f"There's no message {number}.")
    return number
