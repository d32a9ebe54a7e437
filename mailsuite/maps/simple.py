"""Tables without files: static:, inline:, environ:, fail:, internal:, nis:.

    static:value  static:{value with blanks}      every key has this value
    inline:{key=value, {key = text with blanks}}  as written; keys fold to lower case
    environ:x     the process's environment       fail:x  cannot be asked       internal:x  empty
    nis:map                                       empty: there is no NIS here, but alias_maps' default names it
"""

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailsuite.maps.maps import split_specs
from mailsuite.maps.table import BadTable, Table, TableError, fold

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource

# A name may hold blanks and "=" between quotes; they stay in it.
_NAME = r'\s*((?:[^\s="\\]|\\.|"(?:[^"\\]|\\.)*")*)'
_ENTRY = re.compile(_NAME + r"\s*=\s*(.*?)\s*", re.S)
_OPEN_QUOTE = re.compile(_NAME + '"', re.S)


class Unbraced(Exception):
    """Text that should stand in braces does not; the reason as Postfix says it."""


def unbrace(text: str) -> str:
    """The text between the outermost braces, stripped. Raises Unbraced."""
    stripped = text.strip()
    if not stripped.startswith("{"):
        raise Unbraced(f"no '{{' at start of text in \"{text}\"")
    depth = 0
    for position, char in enumerate(stripped):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            if position + 1 < len(stripped):
                raise Unbraced(f"syntax error after '}}' in \"{text}\"")
            return stripped[1:position].strip()
    raise Unbraced(f"missing '}}' in \"{text}\"")


class _Fixed(Table):
    """Postfix has its own words for tables that are made of nothing but their name."""

    def remove(self, key: str) -> bool:
        raise BadTable(f"table {self.spec}: delete operation is not supported")


class StaticTable(_Fixed):
    """One value for all keys."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        self._value = name
        if name.startswith("{"):
            try:
                self._value = unbrace(name)
            except Unbraced as error:
                raise BadTable(f"bad static:name syntax: {error}") from None
        try:
            self._value = source.value(self._value)
        except ValueError as error:
            raise BadTable(str(error)) from None

    def lookup(self, key: str) -> str | None:
        return self._value


class InlineTable(Table):
    """Keys and values in the name itself."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        self._entries: dict[str, str] = {}
        self._fold = fold if folds else str
        kind = "filename" if source.values_are_files else "value"
        self._need = f"\"{self.spec}\"; need \"{type}:{{name={kind}...}}\""
        try:
            items = split_specs(unbrace(name)) if name.startswith("{") else None
        except Unbraced:
            items = None
        if not items or name == "{}":
            what = "bad syntax" if items is None or name == "{}" else "empty table"
            raise BadTable(f"{what}: {self._need}")
        for item in items:
            key, value = self._entry(item)
            try:
                self._entries[self._fold(key)] = source.value(value)        # the last of equal keys counts
            except ValueError as error:
                raise BadTable(f"{error}: {self._need}") from None

    def _entry(self, item: str) -> tuple[str, str]:
        """One "name=value" or "{name = value}". Raises BadTable."""
        try:
            whole = unbrace(item) if item.startswith("{") else item
        except Unbraced as error:
            raise BadTable(f"{error}: {self._need}") from None
        entry = _ENTRY.fullmatch(whole)
        if entry is None:
            what = "unbalanced '\"'" if _OPEN_QUOTE.match(whole) else "missing '=' after attribute name"
            raise BadTable(f"{what}: {self._need}")
        return entry[1], entry[2]

    def lookup(self, key: str) -> str | None:
        return self._entries.get(self._fold(key))

    def items(self) -> Iterator[tuple[str, str]]:
        yield from self._entries.items()


class EnvironTable(_Fixed):
    """The environment. Keys fold to lower case, so only variables in lower case are found, as with Postfix."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        self._folds = folds

    def lookup(self, key: str) -> str | None:
        return os.environ.get(fold(key) if self._folds else key)


class FailTable(Table):
    """Every look-up fails, for tests."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)

    def lookup(self, key: str) -> str | None:
        raise TableError("")

    def items(self) -> Iterator[tuple[str, str]]:
        raise BadTable(f"table {self.spec}: sequence error: Application error")

    def remove(self, key: str) -> bool:
        raise BadTable(f"table {self.spec}: delete error: Application error")


class InternalTable(Table):
    """A table that a process fills for itself; empty at its start."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        self._entries: dict[str, str] = {}

    def lookup(self, key: str) -> str | None:
        return self._entries.get(fold(key))

    def items(self) -> Iterator[tuple[str, str]]:
        yield from self._entries.items()

    def remove(self, key: str) -> bool:
        return self._entries.pop(fold(key), None) is not None


class NisTable(Table):
    """What Postfix's nis: is on a machine without a NIS domain: empty."""

    _told = False

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        if not NisTable._told:
            NisTable._told = True
            source.log.warning("dict_nis_init: NIS domain name not set - NIS lookups disabled")

    def lookup(self, key: str) -> str | None:
        return None
