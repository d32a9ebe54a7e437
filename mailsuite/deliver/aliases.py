"""What stands right of an alias, in a .forward and in an :include: file: a list of destinations.

    parse_destinations('alice, "|/usr/bin/filter -x", /var/archive, :include:/etc/list, Bob <bob@a.test>')
    parse_file(text)              all lines of a file; "#" begins a comment line

Destinations are separated by commas (and, in files, by line ends). Quotes and backslashes go, comments in () too.
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
    text, route, gap = "", None, False
    for match in _TOKEN.finditer(line):
        quoted, _, comment, angle, separator, blank, word = match.groups()
        if separator is not None:
            _add(found, text if route is None else route)
            text, route, gap = "", None, False
        elif blank is not None or comment is not None:
            gap = True
        elif angle is not None:
            route = _ESCAPE.sub(r"\1", angle.strip())
        else:
            text += (" " if gap and text else "") + _ESCAPE.sub(r"\1", quoted if quoted is not None else word)
            gap = False
    _add(found, text if route is None else route)
    return found


def parse_file(text: str) -> Iterable[Destination]:
    """The destinations of all lines of a .forward or :include: file."""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            yield from parse_destinations(line)


def _add(found: list[Destination], text: str) -> None:
    text = text.strip()
    if not text:
        return
    if text.startswith("|"):
        found.append(Destination(Kind.COMMAND, text[1:].strip()))
    elif text.startswith("/"):
        found.append(Destination(Kind.FILE, text))
    elif text.lower().startswith(":include:"):
        found.append(Destination(Kind.INCLUDE, text[9:].strip()))
    else:
        found.append(Destination(Kind.ADDRESS, text))
