"""Address text to tokens and back, as in header fields and alias files.

    scan('Bob <b@d>, c') -> [Token(ATOM, "Bob"), Token("<", "<"), ...]        externalize(tokens) -> text

Nothing is refused: what no grammar knows becomes an atom, an open quote or comment ends with the text.
Source: RFC 5322 section 3.2; "%" and "!" are tokens too, because old routes are made of them.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

ATOM, QUOTED, COMMENT, LITERAL = "atom", "quoted", "comment", "literal"


class Token(NamedTuple):
    """kind: ATOM, QUOTED, COMMENT, LITERAL or the operator itself. text: quotes, brackets and backslashes removed
    from QUOTED and LITERAL; a COMMENT keeps all of its own."""

    kind: str
    text: str


_TOKEN = re.compile(r"""
    \s+
  | (?P<quoted>"(?:[^"\\]|\\.)*(?:"|\\?\Z))
  | (?P<literal>\[(?:[^\]\\]|\\.)*(?:\]|\\?\Z))
  | (?P<operator>[<>@,;:.%!|)\]])
  | (?P<open>\()
  | (?P<atom>(?:\\(?:.|\Z)|[^\s()<>@,;:\\".\[\]%!|])+)
""", re.VERBOSE | re.DOTALL | re.ASCII)         # white space beyond ASCII is text
_PAIR = re.compile(r"\\(.?)", re.DOTALL)        # one at the end of the text says nothing
_ATOM_NEEDS_QUOTES = re.compile(r"[\x00-\x20\x7f()<>@,;:\\\".%!\[\]]")
_BLANK = re.compile(r"[\t\n\v\f\r]")        # inside quotes each stands for a blank
_IN_COMMENT = re.compile(r"[()]|\\.", re.DOTALL)
_WORDS = frozenset((ATOM, QUOTED, COMMENT, LITERAL))


def scan(text: str, limit: int = 102400) -> list[Token]:
    """Split text into tokens; white space only parts them. limit: what follows after so many tokens is left out."""
    tokens: list[Token] = []
    position, end = 0, len(text)
    match = _TOKEN.match
    while position < end and len(tokens) < limit:
        found = match(text, position)
        assert found is not None        # the last alternative takes any character
        position = found.end()
        kind = found.lastgroup
        if kind is None:
            continue
        piece = found[0]
        if kind == "operator":
            tokens.append(Token(piece, piece))
        elif kind == "atom":
            tokens.append(_atom(piece))
        elif kind == "open":
            start, position = position - 1, _comment_end(text, position)
            tokens.append(Token(COMMENT, text[start:position]))
        else:
            closed = len(piece) > 1 and piece[-1] == ('"' if kind == "quoted" else "]")
            tokens.append(Token(kind, _BLANK.sub(" ", _PAIR.sub(r"\1", piece[1:-1] if closed else piece[1:]))))
    return tokens


def _atom(piece: str) -> Token:
    if "\\" in piece:
        piece = _PAIR.sub(r"\1", piece)
        if not piece or _ATOM_NEEDS_QUOTES.search(piece):
            return Token(QUOTED, piece)
    return Token(ATOM, piece)


def _comment_end(text: str, position: int) -> int:
    depth = 1
    for found in _IN_COMMENT.finditer(text, position):
        if found[0] == "(":
            depth += 1
        elif found[0] == ")":
            depth -= 1
            if depth == 0:
                return found.end()
    return len(text)


def quote(token: Token) -> str:
    """One token as it is written."""
    if token.kind == QUOTED:
        return '"' + re.sub(r'["\\\r\n]', r"\\\g<0>", token.text) + '"'
    if token.kind == LITERAL:
        return "[" + re.sub(r"[\\\r\n]", r"\\\g<0>", token.text) + "]"
    return token.text


def externalize(tokens: Sequence[Token], *, separator: str = ", ") -> str:
    """Tokens as text: one blank between words, before "<" and after a group's ":"; separator stands for a comma."""
    out: list[str] = []
    last = len(tokens) - 1
    for number, token in enumerate(tokens):
        if token.kind == ",":
            out.append(separator)
            continue
        out.append(quote(token))
        if number < last:
            following = tokens[number + 1].kind
            if following == "<" or (token.kind in _WORDS and following in _WORDS):
                out.append(" ")
    return "".join(out)


def internalize(tokens: Sequence[Token]) -> str:
    """Tokens as text without quotes: what is meant."""
    out: list[str] = []
    last = len(tokens) - 1
    for number, token in enumerate(tokens):
        out.append("[" + token.text + "]" if token.kind == LITERAL else token.text)
        if number < last:
            following = tokens[number + 1].kind
            if token.kind == "," or following == "<" or (token.kind in _WORDS and following in _WORDS):
                out.append(" ")
    return "".join(out)
