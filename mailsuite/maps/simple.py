"""Tables without files: static:, inline:, environ:, fail:, internal:, nis:.

    static:value  static:{value with blanks}      every key has this value
    inline:{key=value, {key = text with blanks}}  as written; keys fold to lower case
    environ:x     the process's environment       fail:x  cannot be asked       internal:x  empty
    nis:map                                       empty: there is no NIS here, but alias_maps' default names it
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailsuite.maps.maps import split_specs
from mailsuite.maps.table import BadTable, Table, TableError, fold

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource


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


class StaticTable(Table):
    """One value for all keys."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        self._value = name
        if name.startswith("{"):
            try:
                self._value = unbrace(name)
            except Unbraced as error:
                raise BadTable(f"bad static:name syntax: {error}") from None

    def lookup(self, key: str) -> str | None:
        return self._value


class InlineTable(Table):
    """Keys and values in the name itself."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        self._entries: dict[str, str] = {}
        try:
            items = split_specs(unbrace(name)) if name.startswith("{") else []
        except Unbraced:
            items = []
        if not items:
            raise BadTable(f"bad syntax: \"{self.spec}\"; need \"{type}:{{name=value...}}\"")
        for item in items:
            key, value = self._entry(item)
            self._entries[fold(key)] = value        # the last of equal keys counts

    def _entry(self, item: str) -> tuple[str, str]:
        """One "name=value" or "{name = value}". Raises BadTable."""
        need = f"\"{self.spec}\"; need \"{self.type}:{{name=value...}}\""
        try:
            whole = unbrace(item) if item.startswith("{") else item
        except Unbraced as error:
            raise BadTable(f"{error}: {need}") from None
        key, equals, value = whole.partition("=")
        if not equals or len(key.split()) > 1:
            raise BadTable(f"missing '=' after attribute name: {need}")
        return key.strip(), value.strip()

    def lookup(self, key: str) -> str | None:
        return self._entries.get(fold(key))

    def items(self) -> Iterator[tuple[str, str]]:
        yield from self._entries.items()


class EnvironTable(Table):
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


class InternalTable(Table):
    """A table that a process fills for itself; empty at its start."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        self._entries: dict[str, str] = {}

    def lookup(self, key: str) -> str | None:
        return self._entries.get(fold(key))

    def items(self) -> Iterator[tuple[str, str]]:
        yield from self._entries.items()


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
