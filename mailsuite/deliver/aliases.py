"""What stands right of an alias, in a .forward and in an :include: file: a list of destinations.

    parse_destinations('alice, "|/usr/bin/filter -x", /var/archive, :include:/etc/list, Bob <bob@a.test>')
    parse_file(text)              all lines of a file; "#" begins a comment line

Destinations are separated by commas, blanks and, in files, line ends. Quotes and backslashes go, comments in () too; ""
is the null address.
Never raises: what makes no sense becomes an address that will not be found.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from mailsuite.address import tokens as t
from mailsuite.address.header import parse_addresses


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
    return [_destination(t.internalize(t.scan(address))) for address in parse_addresses(line).addresses() if address]


def parse_file(text: str) -> Iterable[Destination]:
    """The destinations of all lines of a .forward or :include: file."""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            yield from parse_destinations(line)


def _destination(text: str) -> Destination:
    if text.startswith("|"):
        return Destination(Kind.COMMAND, text[1:])
    if text.startswith("/"):
        return Destination(Kind.FILE, text)
    if text.lower().startswith(":include:"):
        return Destination(Kind.INCLUDE, text[9:])
    return Destination(Kind.ADDRESS, text)
