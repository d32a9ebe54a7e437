"""Perl patterns that RE2 does not know, for pcre: tables.

    compile_slow("^(?!.*@ours)(.*)", flags) -> a Slow: .groups(octets) -> [whole, group 1...] | None

Look-ahead at the start of an anchored pattern, the common case, is taken apart and stays with RE2, in linear time.
What remains (look-behind, back-references, look-ahead inside) goes to the system's PCRE2, which has a limit.
Raises ValueError with PCRE's words for a pattern that makes no sense, Missing where there is no PCRE2.
"""

import re
from typing import Any, NamedTuple, Protocol

import re2

from mailsuite.maps.pcre2 import Pcre2


class Slow(Protocol):
    """A pattern that is not in the table's RE2 set."""

    group_count: int

    def groups(self, subject: bytes) -> list[bytes | None] | None:
        """The whole match and its groups; None without a match. Raises pcre2.LimitReached."""
        ...


class _Look(NamedTuple):
    negative: bool
    pattern: Any            # RE2, anchored at the start


class Lookahead:
    """"^(?!A)(?=B)rest" as RE2 patterns that all have to hold at the start."""

    def __init__(self, looks: list[_Look], rest: Any) -> None:
        self._looks, self._rest = looks, rest
        self.group_count: int = sum(look.pattern.groups for look in looks) + rest.groups

    def groups(self, subject: bytes) -> list[bytes | None] | None:
        found = self._rest.search(subject)
        if found is None:
            return None
        groups: list[bytes | None] = [found[0]]
        for negative, pattern in self._looks:
            seen = pattern.search(subject)
            if (seen is None) != negative:
                return None
            groups += [None] * pattern.groups if seen is None else list(seen.groups())
        return groups + list(found.groups())


def compile_slow(text: str, flags: set[str]) -> Slow:
    """flags: the table's letters in force (i, m, x, s, A, E, U). Raises ValueError, Missing."""
    whole = Pcre2(text, flags)
    apart = None if flags & {"m", "x", "A"} else _take_apart(
        text, inline_flags("i" in flags, False, "s" in flags, "U" in flags))
    return apart or whole


def inline_flags(ignore_case: bool, lines: bool, dot_newline: bool, ungreedy: bool = False) -> str:
    """Flags at the head of an RE2 pattern."""
    letters = "i" * ignore_case + "m" * lines + "s" * dot_newline + "U" * ungreedy
    return f"(?{letters})" if letters else ""


_ESCAPE = re.compile(r"\\(.)|\[\^?\]?(?:\[:\w+:\]|\\.|[^\]\\])*\]", re.DOTALL)
# \K only moves where the match begins, which nobody asks.
_RE2_ESCAPES = {"K": "", "h": r"[ \t]", "H": r"[^ \t]", "N": r"[^\n]", "R": r"(?:\r\n|[\n\v\f\r])", "Z": r"\n?\z"}


def to_re2_escapes(text: str) -> str:
    """Write the escapes of Perl that RE2 lacks in another way."""
    return _ESCAPE.sub(lambda found: _RE2_ESCAPES.get(found[1] or "", found[0]), text)


def compile_re2(text: str, *, longest: bool = False) -> Any:
    """One RE2 pattern over octets. Raises re2.error."""
    options = re2.Options()
    options.longest_match, options.log_errors = longest, False
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(text.encode("utf-8", "surrogateescape"), options)


def _take_apart(text: str, flags: str) -> Lookahead | None:
    """None when the pattern is not of the form "^" look-aheads rest, or RE2 does not know its parts."""
    if not text.startswith("^"):
        return None
    rest = text[1:]
    looks: list[_Look] = []
    try:
        while rest.startswith(("(?!", "(?=")):
            end = _closing(rest)
            if end < 0:
                return None
            looks.append(_Look(rest[2] == "!", compile_re2(f"{flags}\\A(?:{rest[3:end]})")))
            rest = rest[end + 1:]
            if rest[:1] in ("*", "+", "?", "{"):
                return None
        if not looks or _has_branches(rest):
            return None
        return Lookahead(looks, compile_re2(f"{flags}\\A(?:{rest})"))
    except re2.error:
        return None


_PIECE = re.compile(r"\\.|\[\^?\]?(?:\[:\w+:\]|\\.|[^\]\\])*\]|.", re.DOTALL)


def _closing(text: str) -> int:
    """Where the parenthesis closes that text begins with, -1 when it does not."""
    depth = 0
    for piece in _PIECE.finditer(text):
        depth += (piece[0] == "(") - (piece[0] == ")")
        if depth == 0:
            return piece.start()
    return -1


def _has_branches(text: str) -> bool:
    """Whether there is a "|" outside parentheses."""
    depth = 0
    for piece in _PIECE.finditer(text):
        depth += (piece[0] == "(") - (piece[0] == ")")
        if piece[0] == "|" and depth == 0:
            return True
    return False
