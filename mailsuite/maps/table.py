"""What every lookup table can do.

A table that answers from memory or a local file has `waits` False, and `lookup` answers at once. One that asks another
process has `waits` True: then only `ask` may be called. Three results: a value, None (absent), TemporaryError (could
not be asked). A file that is missing or broken is the third, never the second: otherwise good mail would bounce while
somebody rebuilds a table.

Keys are folded to lower case by the table (`folds`), as Postfix folds them for the type.
"""

import time
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError, TemporaryError

if TYPE_CHECKING:
    import asyncio

    from mailsuite.maps.maps import MapSource

CHECK_INTERVAL_S = 0.05     # how stale a file's answer may be after it changed


class TableError(TemporaryError):
    """The table could not be asked. detail: the reason, in Postfix's words. cause: the same in two words, for postmap.

    config: the administrator has to act (4.3.5); else it may pass by itself (4.3.0).
    """

    def __init__(self, detail: str, *, config: bool = False, cause: str = "Application error") -> None:
        super().__init__("Temporary lookup failure", status="4.3.5" if config else "4.3.0", detail=detail)
        self.config, self.cause = config, cause


class BadTable(ConfigError):
    """The table's name is malformed or the type is not known; the text is what Postfix says after "fatal: "."""

    def __init__(self, text: str) -> None:
        super().__init__(text, detail=text)


def fold(key: str) -> str:
    """The form in which keys are stored and compared where case does not matter."""
    return key.lower() if key.isascii() else key.casefold()


@cache
def _runner() -> "asyncio.Runner":
    """One event loop for all that a command asks, so that connections are used again."""
    import asyncio  # commands should start fast

    return asyncio.Runner()


class Table:
    """Base of all tables. type and name are what stood in the configuration before and after the colon."""

    pattern = False     # rules, not keys: only ever asked for whole addresses and names
    waits = False       # lookups suspend: use `ask`
    _fresh: "Freshness"

    def __init__(self, type: str, name: str) -> None:
        self.type, self.name = type, name

    @property
    def spec(self) -> str:
        return f"{self.type}:{self.name}"

    def lookup(self, key: str) -> str | None:
        """The value, or None when absent. Raises TableError. Only when not `waits`."""
        raise NotImplementedError

    async def ask(self, key: str) -> str | None:
        """The value, or None when absent, of any table. Raises TableError."""
        return self.lookup(key)

    def ask_now(self, key: str) -> str | None:
        """As ask, of any table, in a program without an event loop: it blocks. Raises TableError."""
        if not self.waits:
            return self.lookup(key)
        return _runner().run(self.ask(key))

    def freeze(self) -> None:
        """Go on with what was read: files are not looked at again, as who may read them may not later."""
        self._fresh = Frozen()

    def outdated(self, source: "MapSource") -> bool:
        """Whether the configuration that the table was opened with is not that of source: it has to be opened anew."""
        return False

    def items(self) -> Iterator[tuple[str, str]]:
        """All keys and values. Raises BadTable when the type cannot list them."""
        raise BadTable(f"table {self.spec}: sequence operation is not supported")

    def remove(self, key: str) -> bool:
        """Delete a key; whether it was there. Raises BadTable when the type cannot."""
        raise BadTable(f"{self.spec} map requires O_RDONLY access mode")

    def close(self) -> None:
        """Give back what the table holds open."""


def refuse_untrusted(table: Table, source: "MapSource") -> None:
    """For types whose answers anybody on the network may have made: not for who runs commands and writes files.

    Raises TableError.
    """
    if source.restricted:
        raise TableError(f"{table.spec} map is not allowed for security-sensitive data", config=True)


class UnavailableTable(Table):
    """Stands for a table that could not be opened: every look-up says so in the log and fails."""

    def __init__(self, type: str, name: str, reason: str) -> None:
        super().__init__(type, name)
        self.reason, self.fresh = reason, Freshness()

    def lookup(self, key: str) -> str | None:
        raise TableError(f"{self.spec} is unavailable. {self.reason}", config=True)


class Freshness:
    """Tells when to look at a file again: at most once per CHECK_INTERVAL_S."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = 0.0

    def due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + CHECK_INTERVAL_S
        return True


class Frozen(Freshness):
    """Never."""

    __slots__ = ()

    def due(self) -> bool:
        return False
