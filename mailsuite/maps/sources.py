"""Reading the files that tables are made from.

    for line in logical_lines(text, complain): line.text, line.number
    key_and_value('"a b" c') -> ('"a b"', "c")                access, virtual, transport: key white space value
    alias_and_value('"a b": c, d') -> ("a b", "c, d")         aliases(5): name: value
    plain_pairs(b"a 1\\nb 2\\n") -> [[b"a", b"1"], [b"b", b"2"]]      the same at once, where no line is special

A logical line goes on in lines that begin with white space (kept, as Postfix keeps it); comments and empty lines
between do not end it. number is that of its first line. White space is ASCII's, and a NUL ends a line, as in C.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from mailsuite.maps.table import TableError

_SPACE = " \t\r\n\v\f"
_BLANKS = re.compile(r"[ \t\r\n\v\f]+")
_SHOWN = 30             # characters of a misplaced line that are logged


class Line(NamedTuple):
    number: int
    text: str


class BadLine(Exception):
    """A line makes no sense; the text stands behind "FILE, line N: "."""


def logical_lines(text: str, complain: Callable[[str], None] | None = None) -> Iterator[Line]:
    """Logical lines without comments and empty lines; white space at the end is stripped.

    complain: told of text that begins with white space and continues nothing; it is passed over.
    """
    parts: list[str] = []
    first = 0
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.lstrip(_SPACE)
        if not bare or bare[0] == "#":
            continue
        if line[0] in _SPACE and parts:
            parts.append(line)
            continue
        if parts:
            yield from _logical(first, "".join(parts), complain)
        parts, first = [line], number
    if parts:
        yield from _logical(first, "".join(parts), complain)


def _logical(number: int, text: str, complain: Callable[[str], None] | None) -> Iterator[Line]:
    if text[0] in _SPACE:
        if complain is not None:
            complain(f"logical line must not start with whitespace: "
                     f"\"{text[:_SHOWN]}{'...' if len(text) > _SHOWN else ''}\"")
        return
    if "\0" in text:
        text = text.partition("\0")[0]
    yield Line(number, text.rstrip(_SPACE))


def key_and_value(text: str) -> tuple[str, str]:
    """Split at the first white space outside quotes. Raises BadLine."""
    text = text.strip(_SPACE)
    if '"' not in text and "\\" not in text:
        key, *rest = _BLANKS.split(text, maxsplit=1)
        value = rest[0] if rest else ""
    else:
        end = _end_of_key(text)
        key, value = text[:end], text[end:].strip(_SPACE)
    if not key or not value:
        raise BadLine("expected format: key whitespace value")
    return key, value


def _end_of_key(text: str) -> int:
    """Raises BadLine for an open quote."""
    quoted, position = False, 0
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
        elif char == '"':
            quoted = not quoted
        elif not quoted and char in _SPACE:
            return position
        position += 1
    if quoted:
        raise BadLine(f"unbalanced '\"' in '{text}' -- ignoring this line")
    return len(text)


def plain_pairs(octets: bytes) -> list[list[bytes]] | None:
    """Each line's words, at most two (the rest of the line is the second), when all lines stand for themselves; None
    when quotes, continued lines or NULs need a closer look. An empty line has no words.

    This is what makes postmap fast for tables of many thousand lines.
    """
    if octets[:1] in (b" ", b"\t", b"\v", b"\f", b"\r") or any(
            special in octets for special in (b'"', b"\\", b"\0", b"\n ", b"\n\t", b"\n\v", b"\n\f", b"\n\r")):
        return None
    return [line.split(None, 1) for line in octets.split(b"\n")]


class AliasError(BadLine):
    """What is wrong with a line of an alias file, as postalias says it."""


def alias_and_value(text: str) -> tuple[str, str]:
    """Name (internal form, case kept) and value (in standard spacing) of a line. Raises AliasError."""
    from mailsuite.address import tokens as t  # only postalias needs it

    tokens = t.scan(text)
    position = next((place for place, token in enumerate(tokens) if token.kind == ":"), 0)
    left, right = tokens[:position], tokens[position + 1:]
    if not left or not right or any(token.kind == "," for token in left):
        raise AliasError("need name:value pair")
    if any(token.kind == "@" for token in left):
        raise AliasError("name must be local")
    name = t.internalize(left)
    if not name:                                    # `"": x`, which nobody can look up
        raise AliasError("need name:value pair")
    return name, t.externalize(right)


def read_text(path: str) -> str:
    """A file's text. Raises TableError in Postfix's words ("open PATH: No such file or directory")."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            return file.read()
    except OSError as error:
        raise TableError(f"open {path}: {error.strerror}", config=True) from error


def is_utf8(text: str) -> bool:
    """Whether text was valid UTF-8 in its file."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def not_utf8(line: Line) -> BadLine:
    """What is said of a line that is not UTF-8."""
    shown = line.text.encode("utf-8", "replace").decode()
    return BadLine(f"non-UTF-8 input \"{shown}\" -- ignoring this line")


def read_values(names: str) -> bytes:
    """The files that `-F` tables name instead of values, with a newline between two. Raises ValueError with Postfix's
    words.
    """
    words = names.replace(",", " ").split()
    if not words:
        raise ValueError(f"empty pathname list: >>{names}<<'")
    contents = []
    for name in words:
        try:
            with open(name, "rb") as file:
                contents.append(file.read())
        except IsADirectoryError as error:
            raise ValueError(f"read {name}: {error.strerror}") from error
        except OSError as error:
            raise ValueError(f"open {name}: {error.strerror}") from error
    return b"\n".join(contents)
