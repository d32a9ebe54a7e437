"""Reading the files that tables are made from.

    for line in logical_lines(text): line.text, line.number
    key_and_value('"a b" c') -> ('"a b"', "c")                access, virtual, transport: key white space value
    alias_and_value('"a b": c, d') -> ("a b", "c, d")         aliases(5): name: value

A logical line goes on in lines that begin with white space (kept, as Postfix keeps it); comments and empty lines
between do not end it. number is that of its first line.
"""

from collections.abc import Iterator
from typing import NamedTuple

from mailsuite.address import tokens as t
from mailsuite.maps.table import TableError

_SPACE = " \t\r\n\v\f"


class Line(NamedTuple):
    number: int
    text: str


def logical_lines(text: str) -> Iterator[Line]:
    """Logical lines without comments and empty lines; white space at the end is stripped."""
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
            yield Line(first, "".join(parts).rstrip(_SPACE))
        parts, first = [line], number
    if parts:
        yield Line(first, "".join(parts).rstrip(_SPACE))


def key_and_value(text: str) -> tuple[str, str]:
    """Split at the first white space outside quotes. Either part may be empty: the line is then malformed."""
    text = text.strip(_SPACE)
    if '"' not in text and "\\" not in text:
        key, *rest = text.split(None, 1)
        return key, rest[0].strip(_SPACE) if rest else ""
    quoted, position = False, 0
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
        elif char == '"':
            quoted = not quoted
        elif not quoted and char in _SPACE:
            break
        position += 1
    return text[:position], text[position:].strip(_SPACE)


class AliasError(Exception):
    """What is wrong with a line of an alias file, as postalias says it."""


def alias_and_value(text: str) -> tuple[str, str]:
    """Name (internal form, case kept) and value (in standard spacing) of a line. Raises AliasError."""
    tokens = t.scan(text)
    position = next((place for place, token in enumerate(tokens) if token.kind == ":"), 0)
    left = [token for token in tokens[:position] if token.kind != t.COMMENT]
    right = tokens[position + 1:]
    if not left or not right:
        raise AliasError("need name:value pair")
    if any(token.kind == "@" for token in left):
        raise AliasError("name must be local")
    return t.internalize(left), t.externalize(right)


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


def read_values(names: str) -> str:
    """The files that `-F` tables name instead of values, with a newline between two. Raises OSError."""
    contents = []
    for name in names.replace(",", " ").split():
        with open(name, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            contents.append(file.read())
    return "\n".join(contents)
