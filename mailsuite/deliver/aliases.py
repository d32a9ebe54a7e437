"""What stands right of an alias, in a .forward and in an :include: file: a list of destinations.

    parse_destinations('alice, "|/usr/bin/filter -x", /var/archive, :include:/etc/list, Bob <bob@a.test>')
    parse_file(text)              all lines of a file; "#" begins a comment line

Destinations are separated by commas, blanks and, in files, line ends. Quotes and backslashes go, comments in () too; ""
is the null address.
Never raises: what makes no sense becomes an address that will not be found.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)("|$)|(\((?:[^()\\]|\\.)*\))|<([^>]*)>|([,;])|(\s+)|((?:\\.|[^\s,;"(<])+|.)',
                    re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Kind(Enum):
    """What mail for a destination does."""

    ADDRESS = "address"
    COMMAND = "command"
    FILE = "file"
    INCLUDE = "include"


@dataclass(frozen=True, slots=True)
class Destination:
    """text: an address in internal form, a shell command, or a path."""

    kind: Kind
    text: str


def parse_destinations(line: str) -> list[Destination]:
    """The destinations of one line."""
    found: list[Destination] = []
    group: list[_Word] = []
    for match in _TOKEN.finditer(line):
        quoted, _, comment, angle, separator, blank, word = match.groups()
        if separator is not None:
            _close(found, group)
        elif blank is not None or comment is not None:
            if group:
                group[-1].ended = True
        elif angle is not None:
            group.append(_Word(_ESCAPE.sub(r"\1", angle.strip()), route=True, ended=True))
        else:
            text = _ESCAPE.sub(r"\1", quoted if quoted is not None else word)
            if group and not group[-1].route and (not group[-1].ended or text[:1] == "@" or group[-1].text[-1:] == "@"):
                group[-1].text += text
                group[-1].ended = False
            else:
                group.append(_Word(text, plain=quoted is None))
    _close(found, group)
    return found


@dataclass(slots=True)
class _Word:
    """plain: began without quotes. ended: a blank followed. route: stood in <>."""

    text: str
    plain: bool = False
    ended: bool = False
    route: bool = False


def _close(found: list[Destination], group: list[_Word]) -> None:
    """A separator: what stood before it is an address with a name, or a word for each address."""
    routes = [word for word in group if word.route]
    for word in routes or group:
        if word.plain and word.text[:1] not in (":", "|", "/") and ":" in word.text:
            word.text = word.text.partition(":")[2]         # "group: a, b;"
            if not word.text:
                continue
        found.append(_destination(word.text))
    group.clear()


def parse_file(text: str) -> Iterable[Destination]:
    """The destinations of all lines of a .forward or :include: file."""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            yield from parse_destinations(line)


def _destination(text: str) -> Destination:
    if text.startswith("|"):
        return Destination(Kind.COMMAND, text[1:].strip())
    if text.startswith("/"):
        return Destination(Kind.FILE, text)
    if text.lower().startswith(":include:"):
        return Destination(Kind.INCLUDE, text[9:].strip())
    return Destination(Kind.ADDRESS, text)
