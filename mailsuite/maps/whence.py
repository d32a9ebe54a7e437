"""Where a table's text says what the table answered: file and line, for people who want to change it.

    place_of(table, key, value) -> Place("/etc/postfix/virtual", 12)        Place("", 0): there is no text, or not there

Called right after the look-up: tables of rules remember the line that fitted. The text of an indexed table is read
through; a line whose value is another one is not named, since the table was not built from it.
"""

import os
from typing import NamedTuple

from mailsuite.base.trace import TRACE, Hit
from mailsuite.maps.combined import PipeTable, UnionTable
from mailsuite.maps.indexed import IndexedTable
from mailsuite.maps.rules import RuleTable
from mailsuite.maps.sources import AliasError, BadLine, alias_and_value, key_and_value, logical_lines, read_text
from mailsuite.maps.table import Table, TableError, fold
from mailsuite.maps.texthash import TextTable

TEXT_LIMIT = 64 << 20       # octets of a text that is read through


class Place(NamedTuple):
    """line: of the first line of an entry that goes on in others, counted from 1; of an inline rule its number."""

    file: str
    line: int


NOWHERE = Place("", 0)


def place_of(table: Table, key: str, value: str) -> Place:
    """Where the text says so. Never raises."""
    if isinstance(table, RuleTable):
        return Place("" if table.name.startswith("{") else table.name, table.fitted)
    if isinstance(table, UnionTable | PipeTable):
        return _place_in_first(table, key)
    if isinstance(table, IndexedTable | TextTable):
        return _line_of(table.name, key, value)
    return NOWHERE


def tell(table: Table, key: str, value: str) -> None:
    """Report to who listens what a table answered."""
    trace = TRACE.get()
    if trace is not None:
        place = place_of(table, key, value)
        trace.found(Hit(table.spec, key, value, place.file, place.line))


def _place_in_first(table: UnionTable | PipeTable, key: str) -> Place:
    """The line of the first of several tables that knows the key."""
    for inner in table.parts:
        if inner.waits:
            return NOWHERE
        try:
            value = inner.lookup(key)
        except TableError:
            return NOWHERE
        if value is not None:
            return place_of(inner, key, value)
    return NOWHERE


def _line_of(path: str, key: str, value: str) -> Place:
    try:
        if os.stat(path).st_size > TEXT_LIMIT:
            return NOWHERE
        text = read_text(path)
    except (OSError, TableError):
        return NOWHERE
    wanted, words = fold(key), value.split()
    for line in logical_lines(text):
        try:
            left, right = key_and_value(line.text)
        except BadLine:
            left = right = ""
        if fold(left) == wanted and right.split() == words:
            return Place(path, line.number)
        if wanted in fold(line.text):
            try:
                name, members = alias_and_value(line.text)
            except AliasError:
                continue
            if fold(name) == wanted and members.split() == words:
                return Place(path, line.number)
    return NOWHERE
