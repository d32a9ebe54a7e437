"""Perl patterns that RE2 does not know, for pcre: tables.

    compile_slow("^(?!.*@ours)(.*)", flags) -> a Slow: .groups(octets) -> [whole, group 1...] | None

Look-ahead at the start of an anchored pattern, the common case, is taken apart and stays with RE2, in linear time.
What remains (look-behind, back-references, look-ahead inside) goes to the system's PCRE2, which has a limit, or, where
that is missing, to Python's `re`. Raises ValueError with PCRE's words for a pattern that makes no sense.
"""

import re
import warnings
from typing import Any, NamedTuple, Protocol

import re2

from mailsuite.maps.pcre2 import Missing, Pcre2


class Slow(Protocol):
    """A pattern that is not in the table's RE2 set."""

    group_count: int

    def groups(self, subject: bytes) -> list[bytes | None] | None:
        """The whole match and its groups; None without a match."""
        ...


class PythonRegex:
    """Matched by Python's engine, which has no limit."""

    def __init__(self, text: str, flags: int) -> None:
        octets = text.encode("utf-8", "surrogateescape")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")     # of what may come in a later Python
                self._re: Any = re.compile(octets, flags)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(_pcre_words(error, text)) from None
        self.group_count: int = self._re.groups

    def groups(self, subject: bytes) -> list[bytes | None] | None:
        found = self._re.search(subject)
        return None if found is None else [found[0], *found.groups()]


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
    """flags: the table's letters in force (i, m, x, s, A, E, U). Raises ValueError."""
    try:
        whole: Slow = Pcre2(text, flags)
    except Missing:
        whole = _python_regex(text, flags)
    apart = None if flags & {"m", "x", "A"} else _take_apart(
        text, inline_flags("i" in flags, False, "s" in flags, "U" in flags))
    return apart or whole


def _python_regex(text: str, flags: set[str]) -> PythonRegex:
    """Raises ValueError."""
    value = (re.IGNORECASE * ("i" in flags) | re.MULTILINE * ("m" in flags) | re.DOTALL * ("s" in flags)
             | re.VERBOSE * ("x" in flags))
    PythonRegex(text, value)        # errors count their offset in the pattern as written
    text = _POSIX_CLASS.sub(_spelled_out, text)
    body = f"\\A(?:{text}\n)" if "A" in flags and "x" in flags else f"\\A(?:{text})" if "A" in flags else text
    return PythonRegex(body, value)


_POSIX_CLASS = re.compile(r"\[:(\^?)(\w+):\]")
_CLASSES = {"alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": r"\s",
            "punct": r"!-/:-@\[-`{-~", "xdigit": "0-9A-Fa-f", "blank": r" \t", "cntrl": r"\x00-\x1f\x7f",
            "print": r"\x20-\x7e", "graph": r"\x21-\x7e", "word": r"\w", "ascii": r"\x00-\x7f"}


def _spelled_out(found: "re.Match[str]") -> str:
    """[:alpha:] inside brackets in characters, which is all that Python's engine knows. Raises ValueError."""
    known = _CLASSES.get(found[2])
    if known is None or found[1]:
        raise ValueError(f"error in regex at offset {found.start(2)}: unknown POSIX class name")
    return known


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


_PCRE_WORDS = (("missing )", "missing closing parenthesis"),
               ("unbalanced parenthesis", "unmatched closing parenthesis"),
               ("unterminated character set", "missing terminating ] for character class"),
               ("nothing to repeat", "quantifier does not follow a repeatable item"),
               ("min repeat greater", "numbers out of order in {} quantifier"),
               ("bad character range", "range out of order in character class"),
               ("invalid group reference", "reference to non-existent subpattern"),
               ("unknown extension ?<", "syntax error in subpattern name (missing terminator?)"),
               ("bad escape (end", "\\ at end of pattern"))


def _pcre_words(error: Exception, text: str) -> str:
    said = getattr(error, "msg", str(error))
    position = getattr(error, "pos", None) or 0
    for word, pcre in _PCRE_WORDS:
        if said.startswith(word):
            if word in ("missing )", "unterminated character set"):
                position = len(text)
            elif word == "unknown extension ?<":
                position += 3
            elif word == "bad character range":
                position += 2
            elif word == "min repeat greater":
                position = text.find("}", position)
            return f"error in regex at offset {position}: {pcre}"
    return f"error in regex at offset {position}: {said}"
