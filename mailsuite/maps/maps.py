"""Several tables in a row, as a main.cf parameter names them: the first that knows a key answers.

    maps = open_maps("hash:/etc/a, regexp:/etc/b", MapSource(settings, "smtpd"))
    await maps.find("key"), await maps.find_with_source("key"), maps.names, maps.empty

Opening never raises: a table that cannot be opened is logged ("error: open database ...", with the first look-up of
the process), fails when it is asked, and is tried again meanwhile. A failed look-up is logged here, with the program's
name, and raises TemporaryError. Tables are cached for the process; they notice themselves when their files change.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.base.trace import TRACE
from mailsuite.maps.table import BadTable, Table, TableError, UnavailableTable

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings


class Found(NamedTuple):
    """A value and the table that gave it, e.g. ("OK", "hash:/etc/postfix/access")."""

    value: str
    table: str


class MapSource:
    """What tables need to know of the configuration, and the name that their complaints are logged under.

    program: "smtpd", "cleanup", "trivial-rewrite"... values_are_files: what stands as a value in a table of text names
    files that have the value (postmap -F).
    """

    def __init__(self, settings: "Settings", program: str = "smtpd", *, values_are_files: bool = False,
                 may_substitute: bool = True) -> None:
        self.settings, self.program, self.values_are_files = settings, program, values_are_files
        self._may_substitute = may_substitute
        self.log = logger(program)

    def for_program(self, program: str) -> "MapSource":
        """The same configuration, logged under another name."""
        return MapSource(self.settings, program)

    def without_substitution(self) -> "MapSource":
        """For tables that choose transports and hosts: a sender or recipient shall not choose among them."""
        return MapSource(self.settings, self.program, may_substitute=False)

    @property
    def may_substitute(self) -> bool:
        """Whether values of patterns may hold $1."""
        return self._may_substitute and not self.restricted

    def value(self, text: str) -> str:
        """A value as it stands in a table of text, or what its files have. Raises ValueError in Postfix's words."""
        if not self.values_are_files:
            return text
        from mailsuite.maps.sources import read_values

        return read_values(text).partition(b"\0")[0].decode("utf-8", "surrogateescape")

    @property
    def restricted(self) -> bool:
        """Tables of the agents that run commands and write files as others: what a client sent never becomes part of
        a result, so patterns may not substitute."""
        return self.program in ("local", "virtual")


# What went wrong when tables were opened, by program: logged when the process looks something up for the first time, so
# that one of many workers that wait for work tells it, not each.
_UNTOLD: dict[str, list[str]] = {}
_OPEN: "WeakValueDictionary[tuple[str, str, bool, bool], Table]" = WeakValueDictionary()


def split_specs(text: str) -> list[str]:
    """Split a parameter at blanks and commas, but not inside {}: "a:b, inline:{x = y}" -> two items."""
    if "{" not in text:
        return text.replace(",", " ").split()
    items, depth, start = [], 0, -1
    for position, char in enumerate(text):
        if depth == 0 and char in " \t\r\n,":
            if start >= 0:
                items.append(text[start:position])
            start = -1
            continue
        if start < 0:
            start = position
        depth += (char == "{") - (char == "}" and depth > 0)
    if start >= 0:
        items.append(text[start:])
    return items


def open_maps(text: str | Iterable[str], source: MapSource, title: str = "") -> "Maps":
    """The tables that text names. Never raises; what cannot be opened fails when it is asked.

    title: the parameter that names them, for messages.
    """
    specs = split_specs(text) if isinstance(text, str) else list(text)
    return Maps([_cached_table(spec, source) for spec in specs], source, title)


def _cached_table(spec: str, source: MapSource, *, again: bool = False) -> Table:
    """again: it could not be opened before, which was logged then."""
    key = (source.settings.config_directory, spec, source.restricted, source.may_substitute)
    table = _OPEN.get(key)
    if table is None or table.outdated(source):
        from mailsuite.maps.opening import open_table
        try:
            table = open_table(spec, source)
        except (BadTable, TableError) as error:
            if not again:
                untold = _UNTOLD.setdefault(source.program, [])
                if str(error) not in untold:
                    untold.append(str(error))
            type_, _, name = spec.partition(":")
            return UnavailableTable(type_, name, str(error))        # not cached: it may be there when the next asks
        _OPEN[key] = table
    return table


def _tell_trace(table: Table, key: str, value: str) -> None:
    from mailsuite.maps.whence import tell
    tell(table, key, value)


class Maps:
    """Tables in order."""

    __slots__ = ("_log", "_source", "_tables", "_title", "empty", "listed_in", "names")

    def __init__(self, tables: list[Table], source: MapSource, title: str = "") -> None:
        self._tables, self._source, self._log, self._title = tables, source, source.log, title
        self.names = [table.spec for table in tables]
        self.empty = not tables
        self.listed_in = ""         # the list that has the table among its items, for messages

    @property
    def immediate(self) -> bool:
        """Whether every table answers without suspending; then find_now may be used."""
        return not any(table.waits for table in self._tables)

    @property
    def same_for_all(self) -> bool:
        """Whether every key has the same value: static: stands first."""
        return bool(self._tables) and self._tables[0].type == "static"

    async def find(self, key: str, *, partial: bool = False) -> str | None:
        """The first table's value, or None when all say absent. Raises TemporaryError when one cannot be asked.

        partial: the key is only a part of an address: tables of patterns are passed over.
        """
        if not key:
            return None
        if _UNTOLD:
            self.tell()
        for table in self._tables:
            if partial and table.pattern:
                continue
            try:
                value = await table.ask(key) if table.waits else table.lookup(key)
            except TemporaryError as error:
                if self._opened_again(table):
                    return await self.find(key, partial=partial)
                self._complain(table, key, error)
                raise
            if value is not None:
                if TRACE.get() is not None:
                    _tell_trace(table, key, value)
                return value if value else self._refuse_empty(table, key)
        return None

    async def find_with_source(self, key: str, *, partial: bool = False) -> Found | None:
        """As find, with the name of the table."""
        if _UNTOLD:
            self.tell()
        for table in self._tables if key else ():
            if partial and table.pattern:
                continue
            try:
                value = await table.ask(key) if table.waits else table.lookup(key)
            except TemporaryError as error:
                if self._opened_again(table):
                    return await self.find_with_source(key, partial=partial)
                self._complain(table, key, error)
                raise
            if value is not None:
                if TRACE.get() is not None:
                    _tell_trace(table, key, value)
                return Found(value if value else self._refuse_empty(table, key), table.spec)
        return None

    def tell(self) -> None:
        """Log what went wrong when tables were opened."""
        for text in _UNTOLD.pop(self._source.program, ()):
            self._log.error("%s", text)

    def _complain(self, table: Table, key: str, error: TemporaryError) -> None:
        """Log a failure; its detail is taken out, so that nobody logs it again."""
        if error.detail:
            self._log.warning("%s", error.detail)
            error.detail = ""
        spec = re.sub(r"\s", " ", table.spec)
        if self.listed_in:
            self._log.warning("%s: %s: table lookup problem", self.listed_in, spec)
        else:
            self._log.warning("%s lookup error for \"%s\"", spec, key)

    def _refuse_empty(self, table: Table, key: str) -> str:
        """An empty value is a mistake in the table; taking it for "absent" could lose mail."""
        title = self._title or table.spec
        self._log.warning("%s lookup of %s returns an empty string result", title, key)
        self._log.warning("%s should return NO RESULT in case of NOT FOUND", title)
        raise TableError("", config=True)

    def _opened_again(self, table: Table) -> bool:
        """Whether a table that could not be opened now can: its file may have been made meanwhile."""
        if not isinstance(table, UnavailableTable) or not table.fresh.due():
            return False
        new = _cached_table(table.spec, self._source, again=True)
        if isinstance(new, UnavailableTable):
            return False
        self._tables[self._tables.index(table)] = new
        return True
