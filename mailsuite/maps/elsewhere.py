"""Tables that another process asks: for parents that are root, who read nothing that a server sends, without threads.

    ask_through(worker.ask)         in such a process: tables of NETWORK types are asked through this function
    ask_through(None)               in the process that does ask

worker.ask(program, spec, folds, key) -> value, None when absent; raises TemporaryError. The table's own file is read
here: one with a password that only root may read is kept in mind for the process that connects.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mailsuite.maps.table import Table, refuse_untrusted

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource

Asker = Callable[[str, str, bool, str], Awaitable[str | None]]
UNTRUSTED = frozenset({"tcp", "socketmap", "memcache"})
NETWORK = frozenset({"pgsql", "mysql", "ldap", "sqlite"}) | UNTRUSTED
_asker: Asker | None = None


def ask_through(asker: Asker | None) -> None:
    """How this process asks tables of NETWORK types; None: itself."""
    global _asker
    _asker = asker


def is_elsewhere(type: str) -> bool:
    """Whether this process leaves tables of this type to another."""
    return _asker is not None and type in NETWORK


class RemoteTable(Table):
    """Stands for a table that another process has open."""

    waits = True

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        self.pattern = type in ("tcp", "socketmap")
        if type in UNTRUSTED:
            refuse_untrusted(self, source)
        from mailsuite.maps.parameters import TableParameters  # commands that ask no database start faster

        self._program, self._folds = source.program, folds
        self._parameters = None if type in ("tcp", "socketmap") else TableParameters(type, name, source)

    def outdated(self, source: "MapSource") -> bool:
        return self._parameters is not None and not self._parameters.same_as(source)

    async def ask(self, key: str) -> str | None:
        assert _asker is not None
        return await _asker(self._program, self.spec, self._folds, key)
