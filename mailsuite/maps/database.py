"""What all tables in databases have in common.

A subclass makes its pool, and answers one key with `look_up`, which blocks: in a thread of the pool when a service
asks, in the calling thread for a command (`ask_now`). Around that: keys fold to lower case and must be UTF-8; keys
outside `domain` and keys without what the templates need are not looked up; values go through result_format and are
joined with commas; expansion_limit; what goes wrong becomes a TableError.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mailsuite.database.errors import DatabaseError, DriverMissing, require_driver
from mailsuite.database.pool import Deadline, Pool, PoolOptions
from mailsuite.maps.parameters import TableParameters
from mailsuite.maps.params import TABLE_CONNECTION_LIMIT
from mailsuite.maps.sources import is_utf8
from mailsuite.maps.table import BadTable, Table, TableError, fold
from mailsuite.maps.template import Templates

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource
    from mailsuite.maps.matchlist import NameList

T = TypeVar("T")


class DatabaseTable(Table):
    """Base. function: what Postfix's complaints begin with."""

    waits = True
    function = "dict_lookup"
    utf8 = True         # the database is asked in UTF-8: it cannot have other keys
    retry_s = 60

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        self._folds, self._log = folds, source.log
        # What the pool's threads call when a host fails. Not a method: they would keep the table, and so their
        # connections, for as long as they are idle after a reload has dropped it.
        self.warn = partial(source.log.warning, "%s")
        self._utf8 = source.settings.text("smtputf8_enable") != "no"
        self._connections = source.settings[TABLE_CONNECTION_LIMIT]
        self.parameters = TableParameters(type, name, source)
        self.pool: Pool[Any] | None = None
        self.templates = Templates(name, queries=[], result="%s")
        self.domains: NameList | None = None
        self.expansion_limit = 0

    # -- opening ---------------------------------------------------------------------------------------------------

    def read_common(self, source: "MapSource", queries: list[str]) -> None:
        """result_format, domain, expansion_limit. Raises BadTable."""
        parameters = self.parameters
        form = parameters.text("result_format") or parameters.text("result_filter") or "%s"
        self.templates = Templates(self.name, queries=queries, result=form)
        self.expansion_limit = parameters.integer("expansion_limit", 0)
        self.read_domain(source)

    def read_domain(self, source: "MapSource") -> None:
        text = self.parameters.text("domain")
        if text:
            from mailsuite.maps.matchlist import NameList

            self.domains = NameList(text, source, name=self.name)

    def pool_options(self, timeout_s: int) -> PoolOptions:
        """retry_interval, idle_interval, connection_limit. Raises BadTable."""
        parameters = self.parameters
        return PoolOptions(connections=parameters.integer("connection_limit", self._connections, least=1),
                           timeout_s=timeout_s,
                           retry_s=parameters.seconds("retry_interval", self.retry_s),
                           idle_s=parameters.seconds("idle_interval", 60))

    def need(self, module: str) -> None:
        """Import a client library. Raises BadTable, which says how to install it."""
        try:
            require_driver(module)
        except DriverMissing as error:
            raise BadTable(f"unsupported dictionary type: {self.type}: {error}") from error

    def outdated(self, source: "MapSource") -> bool:
        return not self.parameters.same_as(source)

    # -- asking ----------------------------------------------------------------------------------------------------

    def _prepare(self, key: str, *, check_utf8: bool = True) -> bytes | None:
        """The key as it is looked up; None: no table has such a key. check_utf8: a command has done so already."""
        if self._folds:
            key = fold(key)
        if (self.utf8 or check_utf8 and self._utf8) and not is_utf8(key):
            self._log.warning("%s: non-UTF-8 key \"%s\": malformed UTF-8 or invalid codepoint", self.spec,
                              key.encode("utf-8", "replace").decode())
            return None
        octets = key.encode("utf-8", "surrogateescape")
        if not octets:
            self._log.warning("table \"%s\": empty query string -- ignored", self.spec)
        return octets if octets and b"\0" not in octets and self.templates.asks(octets) else None

    @staticmethod
    def _domain_of(key: bytes) -> str:
        user, at, domain = key.rpartition(b"@")
        return domain.decode("utf-8", "surrogateescape") if at and user and domain else ""

    async def ask(self, key: str) -> str | None:
        octets = self._prepare(key)
        if octets is None or self.domains is not None and not (
                (domain := self._domain_of(octets)) and await self.domains.matches(domain)):
            return None
        try:
            return self._answer(await self.query_waiting(octets))
        except DatabaseError as error:
            raise self.failure(error) from error

    def ask_now(self, key: str) -> str | None:
        octets = self._prepare(key, check_utf8=False)
        if octets is None or self.domains is not None and not (
                (domain := self._domain_of(octets)) and self._matches_now(domain)):
            return None
        try:
            return self._answer(self.query_blocking(octets))
        except DatabaseError as error:
            raise self.failure(error) from error

    def _matches_now(self, domain: str) -> bool:
        assert self.domains is not None
        answer = self.domains.matches_now(domain)
        if answer is None:
            import asyncio

            answer = asyncio.run(self.domains.matches(domain))
        return answer

    async def query_waiting(self, key: bytes) -> bytes | None:
        assert self.pool is not None
        return await self.pool.ask(self._work(key))

    def query_blocking(self, key: bytes) -> bytes | None:
        assert self.pool is not None
        return self.pool.run(self._work(key))

    def _work(self, key: bytes) -> Callable[[Any, Deadline], bytes | None]:
        def work(connection: Any, deadline: Deadline) -> bytes | None:
            return self.look_up(connection, key, deadline)
        return work

    def look_up(self, connection: Any, key: bytes, deadline: Deadline) -> bytes | None:
        """The value. Raises DatabaseError."""
        raise NotImplementedError

    def failure(self, error: DatabaseError) -> TableError:
        """What the asking program is told; the text of a QueryError has not been logged yet."""
        return TableError(str(error), cause=error.cause)

    @staticmethod
    def _answer(value: bytes | None) -> str | None:
        return None if value is None else value.decode("utf-8", "surrogateescape")

    # -- values ----------------------------------------------------------------------------------------------------

    def add(self, found: list[bytes], values: Iterable[bytes], key: bytes, *, level: str = "") -> None:
        """Values through result_format, up to expansion_limit. Raises QueryError."""
        for value in values:
            if not value:
                self.warn(f"table \"{self.spec}\": empty lookup result for: \"{_show(key)}\" -- ignored")
                continue
            made = self.templates.result(value, key)
            if made is None:
                continue
            if 0 < self.expansion_limit <= len(found):
                raise self.limit_error(key, level)
            found.append(made)

    def limit_error(self, key: bytes, level: str) -> DatabaseError:
        from mailsuite.database.errors import QueryError

        return QueryError(f"{self.function}{level}: {self.name}: Expansion limit exceeded for key: '{_show(key)}'")

    def close(self) -> None:
        if self.pool is not None:
            self.pool.close()

    def __del__(self) -> None:
        pool = getattr(self, "pool", None)
        if pool is not None:
            pool.close()        # after a reload nobody has the table any more: its connections end


def _show(key: bytes) -> str:
    return key.decode("utf-8", "replace")
