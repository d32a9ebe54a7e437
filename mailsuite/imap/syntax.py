"""IMAP commands: octets to values. Pure; a session feeds lines and literals as they come.

    parser = ArgumentParser()
    literal = parser.feed_line(b'"INBOX" (\\\\Seen) {34+}')     Literal(34, sync=False): 34 octets follow
    parser.feed_literal(octets); parser.feed_line(b"")           None: the command is whole
    parser.arguments -> [Quoted(b"INBOX"), [Atom(b"\\\\Seen")], String(b"...")]

Arguments are `Atom`, `String` (quoted or literal; both are bytes) or a list of arguments. Neighbours need no blank
between them where a parenthesis or a quote separates them, because BODY[HEADER.FIELDS (X)] reads as atom, list, atom.

Raises: PeerError, whose text is what Dovecot says in "BAD Error in IMAP command FETCH: Missing ')'".
Limits: MAX_DEPTH parentheses; the session limits the line. Cost: one pass by a regular expression.
Source: RFC 3501 section 9, RFC 7888 (LITERAL+), RFC 3516 (~{} literals).
"""

import re
from dataclasses import dataclass

from mailsuite.base.errors import PeerError

MAX_DEPTH = 100          # nested parentheses; RFC-sized searches need a handful
MAX_LITERAL = 0xFFFF_FFFF_FFFF


class Atom(bytes):
    """An unquoted word. NIL is one, too."""

    __slots__ = ()


class String(bytes):
    """A quoted string or a literal, unquoted."""

    __slots__ = ()


class LiteralString(String):
    """A string that came as a literal; binary says it was ~{} (RFC 3516)."""

    __slots__ = ()


Argument = Atom | String | list["Argument"]


@dataclass(frozen=True, slots=True)
class Literal:
    """The announcement of octets that follow the line. sync: the client waits for "+"."""

    size: int
    sync: bool
    binary: bool = False


_TOKEN = re.compile(
    rb' *(?:([^\x00-\x20(){"\x7f-\xff]+)(?=[ )]|\Z)'        # 1 atom
    rb'|"([^"\\\x00]*)"'                                     # 2 quoted, nothing escaped
    rb'|"((?:[^"\\\x00]|\\[^\x00])*)"'                       # 3 quoted
    rb"|(\()|(\))"                                           # 4, 5 parentheses
    rb"|(~?)\{([0-9]+)(\+?)\}\Z"                             # 6, 7, 8 literal
    rb"|(\Z))", re.S)                                        # 9 the end
_ESCAPE = re.compile(rb"\\(.)", re.S)


class ArgumentParser:
    """Collects the arguments of one command. arguments is whole when feed_line returned None."""

    __slots__ = ("_binary", "_stack", "arguments")

    def __init__(self) -> None:
        self.arguments: list[Argument] = []
        self._stack: list[list[Argument]] = [self.arguments]
        self._binary = False

    @property
    def in_list(self) -> bool:
        """A parenthesis is still open."""
        return len(self._stack) > 1

    def is_behind(self, word: bytes) -> bool:
        """The last argument in the list that is open is this atom. word: in upper case."""
        inner = self._stack[-1]
        return self.in_list and bool(inner) and isinstance(inner[-1], Atom) and inner[-1].upper() == word

    def feed_line(self, line: bytes) -> Literal | None:
        """Read a line (CRLF removed). A Literal: octets follow, then another line. None: the end. Raises PeerError."""
        position, stack = 0, self._stack
        into = stack[-1]
        match_token = _TOKEN.match
        while True:
            token = match_token(line, position)
            if token is None:
                raise PeerError(_what_is_wrong(line, position))
            position = token.end()
            match token.lastindex:
                case 1:
                    into.append(Atom(token[1]))
                case 2:
                    into.append(String(token[2]))
                case 3:
                    into.append(String(_ESCAPE.sub(rb"\1", token[3])))
                case 4:
                    if len(stack) > MAX_DEPTH:
                        raise PeerError("Too many nested lists")
                    inner: list[Argument] = []
                    into.append(inner)
                    stack.append(inner)
                    into = inner
                case 5:
                    if len(stack) == 1:
                        raise PeerError("Unexpected ')'")
                    stack.pop()
                    into = stack[-1]
                case 9:
                    if len(stack) > 1:
                        raise PeerError("Missing ')'")
                    return None
                case _:
                    size = int(token[7]) if len(token[7]) < 16 else MAX_LITERAL
                    self._binary = bool(token[6])
                    return Literal(size, sync=not token[8], binary=self._binary)

    def feed_literal(self, octets: bytes) -> None:
        """Take the octets that a Literal announced."""
        self._stack[-1].append(LiteralString(octets))


def _what_is_wrong(line: bytes, position: int) -> str:
    while line[position:position + 1] == b" ":
        position += 1
    rest = line[position:]
    if rest.startswith(b'"'):
        return "NULs not allowed in strings" if b"\0" in rest else "Missing '\"'"
    if rest.startswith((b"{", b"~{")):
        return "Invalid literal size"
    bad = re.search(rb'[\x00-\x20(){"\x7f-\xff]', rest)
    if bad is not None and bad[0] >= b"\x80":
        return "8bit data in atom"
    return "Invalid characters in atom"


_TAG = re.compile(rb'([^\x00-\x20(){"\x7f-\xff%*+\\]+)(?: |\Z)')
_NAME = re.compile(rb'([^\x00-\x20(){"\x7f-\xff]+)(?: +|\Z)')


_BOTH = re.compile(rb'([^\x00-\x20(){"\x7f-\xff%*+\\]+) ([^\x00-\x20(){"\x7f-\xff]+)(?: +|\Z)(.*)', re.S)


def split_command(line: bytes) -> tuple[bytes, str, bytes] | None:
    """Tag, name and rest at once; None: split_tag or split_name has something to say about the line."""
    match = _BOTH.match(line)
    if match is None:
        return None
    tag, name, rest = match.groups()
    return tag, name.decode("ascii").upper(), rest


def split_tag(line: bytes) -> tuple[bytes, bytes]:
    """The tag and the rest of the line. Raises PeerError."""
    match = _TAG.match(line)
    if match is None:
        raise PeerError("Invalid tag")
    return match[1], line[match.end():]


def split_name(line: bytes) -> tuple[str, bytes]:
    """The command's name in upper case ("UID" alone is no name), and the rest. Raises PeerError."""
    match = _NAME.match(line)
    if match is None:
        raise PeerError("Invalid command name")
    return match[1].decode("ascii").upper(), line[match.end():]


def text_of(argument: Argument) -> str:
    """An astring as text; what is no UTF-8 stays as surrogates."""
    assert isinstance(argument, bytes)
    return argument.decode("utf-8", "surrogateescape")


def number(argument: Argument, most: int = 0xFFFF_FFFF) -> int | None:
    """An unsigned decimal atom up to most, else None."""
    if not isinstance(argument, Atom) or not argument.isdigit() or len(argument) > 20:
        return None
    value = int(argument)
    return value if value <= most else None
