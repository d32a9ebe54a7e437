"""POSIX regular expressions for regexp: tables: what the C library says of them, and how RE2 writes them.

    problem("(")  -> "Unmatched ( or \\\\("         to_re2("^(a+)$", extended=True) -> the same meaning in RE2's syntax

The C library judges (its words are what administrators know from Postfix), RE2 matches, in linear time.
"""

import ctypes
import re
from functools import lru_cache

_REG_EXTENDED, _REG_ICASE, _REG_NEWLINE = 1, 2, 4     # the same in glibc and musl
_ROOM = 512                                           # more than regex_t takes anywhere
_GROUP_LIMIT = 100


@lru_cache(maxsize=1)
def _libc() -> "ctypes.CDLL | None":
    try:
        libc = ctypes.CDLL(None)
        for name in ("regcomp", "regexec", "regerror", "regfree"):
            getattr(libc, name)
    except (OSError, AttributeError):
        return None
    return libc


class _Match(ctypes.Structure):
    _fields_ = [("start", ctypes.c_int), ("end", ctypes.c_int)]


class PosixRegex:
    """A pattern of the C library, for what RE2 cannot do (collating elements). Raises ValueError with its words.

    It never backtracks as long as the pattern has no back-references; those are matched by PCRE2, with a limit.
    """

    def __init__(self, pattern: bytes, *, extended: bool, icase: bool, newline: bool, group_count: int = 0) -> None:
        self.group_count = group_count
        libc = _libc()
        if libc is None:
            raise ValueError("no POSIX regular expressions on this system")
        self._libc = libc
        self._compiled: ctypes.Array[ctypes.c_char] | None = ctypes.create_string_buffer(_ROOM)
        flags = _REG_EXTENDED * extended | _REG_ICASE * icase | _REG_NEWLINE * newline
        code = libc.regcomp(self._compiled, pattern, flags)
        if code:
            message = ctypes.create_string_buffer(256)
            libc.regerror(code, self._compiled, message, 256)
            self._compiled = None
            raise ValueError(message.value.decode())

    def groups(self, subject: bytes) -> list[bytes | None] | None:
        """The whole match and its groups; None without a match."""
        found = (_Match * _GROUP_LIMIT)()
        if self._libc.regexec(self._compiled, subject, _GROUP_LIMIT, found, 0):
            return None
        return [subject[one.start:one.end] if one.start >= 0 else None for one in found]

    def __del__(self) -> None:
        if getattr(self, "_compiled", None) is not None:
            self._libc.regfree(self._compiled)


def problem(pattern: bytes, *, extended: bool, icase: bool = True) -> str:
    """What the C library finds wrong with a pattern, "" for nothing (or when it cannot be asked)."""
    if _libc() is None:
        return ""
    try:
        PosixRegex(pattern, extended=extended, icase=icase, newline=False)
    except ValueError as error:
        return str(error)
    return ""


_PIECE = re.compile(r"""
    (?P<bracket>\[\^?\]?(?:\[[:.=].*?[:.=]\]|[^\]])*\])
  | (?P<escape>\\.)
  | (?P<char>.)
""", re.VERBOSE | re.DOTALL)
_GNU = {"<": r"\b", ">": r"\b", "`": r"\A", "'": r"\z", "b": r"\b", "B": r"\B", "w": r"\w", "W": r"\W",
        "s": r"\s", "S": r"\S"}


class NotRe2(Exception):
    """RE2 has nothing of that meaning (a back-reference)."""


def to_re2(pattern: str, *, extended: bool, back_references: bool = False) -> str:
    """The pattern in RE2's syntax (with back_references: in PCRE2's). It must have passed `problem`. Raises NotRe2."""
    out: list[str] = []
    depth = 0
    at_start = True         # where "*" is a plain character in a basic expression, and "^" an anchor
    for found in _PIECE.finditer(pattern):
        piece = found[0]
        if found.lastgroup == "bracket":
            out.append(_bracket(piece))
        elif found.lastgroup == "escape":
            char = piece[1]
            if char.isdigit() and char != "0":
                if not back_references:
                    raise NotRe2
                out.append(f"(?:\\{char})")
                at_start = False
                continue
            if not extended and char in "(){}|+?":
                depth += (char == "(") - (char == ")")
                out.append(char)
                at_start = char in "(|"
                continue
            out.append(_GNU.get(char) or re.escape(char))
        elif extended:
            depth += (piece == "(")
            if piece == ")" and depth == 0:
                piece = r"\)"
            elif piece == ")":
                depth -= 1
            elif piece == "{" and pattern.startswith(",", found.end()):
                piece = "{0"
            out.append(piece)
        elif piece in "(){}|+?" or (piece == "*" and at_start) or (piece == "^" and not at_start):
            out.append("\\" + piece)
        elif piece == "$" and found.end() < len(pattern) and not pattern.startswith(("\\)", "\\|"), found.end()):
            out.append(r"\$")
        else:
            out.append(piece)
            at_start = piece == "^"
            continue
        at_start = False
    return "".join(out)


def _bracket(piece: str) -> str:
    """A bracket expression; a backslash in it is a plain character for POSIX."""
    head = "[^" if piece.startswith("[^") else "["
    inside = piece[len(head):-1]
    if "[." in inside or "[=" in inside:
        raise NotRe2
    if inside.startswith("]"):
        head, inside = head + r"\]", inside[1:]
    pieces = re.split(r"(\[:[a-z]+:\])", inside)
    return head + "".join(part if part.startswith("[:") and part.endswith(":]")
                          else part.replace("\\", r"\\").replace("[", r"\[") for part in pieces) + "]"
