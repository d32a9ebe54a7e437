"""Tables made of tables: unionmap:{a, b} (all values, joined by commas), pipemap:{a, b} (one's value is the next's
key), randmap:{x, y} (a value by chance).
"""

import random
from typing import TYPE_CHECKING

from mailsuite.maps.maps import split_specs
from mailsuite.maps.simple import Unbraced, unbrace
from mailsuite.maps.table import BadTable, Table

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource


def _items(table: Table, need: str) -> list[str]:
    """What stands in the braces. Raises BadTable."""
    try:
        items = split_specs(unbrace(table.name)) if table.name.startswith("{") else []
    except Unbraced:
        items = []
    if not items:
        raise BadTable(f"bad syntax: \"{table.spec}\"; need \"{table.type}:{{{need}...}}\"")
    return items


class _Composite(Table):
    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        from mailsuite.maps.opening import open_table

        super().__init__(type, name)
        specs = _items(self, "type:name")
        if any(":" not in spec for spec in specs):
            raise BadTable(f"bad syntax: \"{self.spec}\"; need \"{type}:{{type:name...}}\"")
        self.parts = [open_table(spec, source, folds=folds) for spec in specs]
        self.waits = any(table.waits for table in self.parts)
        self.pattern = any(table.pattern for table in self.parts)

    def close(self) -> None:
        for table in self.parts:
            table.close()


class UnionTable(_Composite):
    """unionmap."""

    def lookup(self, key: str) -> str | None:
        values = [value for table in self.parts if (value := table.lookup(key)) is not None]
        return ",".join(values) if values else None

    async def ask(self, key: str) -> str | None:
        values = [value for table in self.parts if (value := await table.ask(key)) is not None]
        return ",".join(values) if values else None


class PipeTable(_Composite):
    """pipemap."""

    def lookup(self, key: str) -> str | None:
        for table in self.parts:
            value = table.lookup(key)
            if value is None:
                return None
            key = value
        return key

    async def ask(self, key: str) -> str | None:
        for table in self.parts:
            value = await table.ask(key)
            if value is None:
                return None
            key = value
        return key


class RandomTable(Table):
    """randmap."""

    pattern = True

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        self._values = _items(self, "value")

    def lookup(self, key: str) -> str | None:
        return random.choice(self._values)
