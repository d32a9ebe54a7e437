"""memcache: tables: a memcached server in front of another table, or alone. Source: memcache_table(5).

    memcache:/etc/postfix/cache.cf       memcache, backup, key_format, ttl, flags, ...; all in docs/tables.md

What the cache does not know, or cannot be asked, the backup table says, and the cache is told. A value in the cache was
put there by whoever reaches the server: not for tables that name commands, files or users.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mailsuite.database.errors import DatabaseError, Unavailable
from mailsuite.database.memcached import MemcachedConnection, MemcachedDriver, usable
from mailsuite.database.pool import Deadline, Pool
from mailsuite.maps.database import DatabaseTable
from mailsuite.maps.table import BadTable, Table, refuse_untrusted
from mailsuite.maps.template import Templates

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource


class MemcacheTable(DatabaseTable):
    """memcache: ."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name, source, folds=folds)
        from mailsuite.maps.opening import open_table

        refuse_untrusted(self, source)
        parameters = self.parameters
        self.templates = Templates(name, queries=[parameters.text("key_format") or "%s"])
        self.read_domain(source)
        self._ttl_s, self._flags = parameters.integer("ttl", 3600, least=0), parameters.integer("flags", 0, least=0)
        self._tries = parameters.integer("max_try", 2, least=1)
        self._pause_s = parameters.integer("retry_pause", 1, least=0)
        try:
            driver = MemcachedDriver(parameters.text("memcache") or "inet:localhost:11211", label=f"{name}: ",
                                     line_limit=parameters.integer("line_size_limit", 1024, least=1),
                                     data_limit=parameters.integer("data_size_limit", 10240, least=1))
        except ValueError as error:
            raise BadTable(str(error)) from error
        options = self.pool_options(parameters.integer("timeout", 2, least=1))
        if not parameters.has("retry_interval"):
            options = replace(options, retry_s=0)       # a cache that is away is asked each time, as by Postfix
        self.pool = Pool(driver, options, warn=self.warn)
        backup = parameters.text("backup")
        self._backup: Table | None = open_table(backup, source, folds=folds) if backup else None

    def _cache_key(self, key: bytes) -> bytes | None:
        """The key in the cache; None when a cache cannot have it."""
        made = self.templates.query(key, lambda octets: octets)
        return made if usable(made) else None

    def look_up(self, connection: MemcachedConnection, key: bytes, deadline: Deadline) -> bytes | None:
        cache_key = self._cache_key(key)
        if cache_key is None:
            return None
        return connection.get(cache_key, deadline)

    async def query_waiting(self, key: bytes) -> bytes | None:
        assert self.pool is not None
        value, failure = None, None
        for attempt in range(self._tries):
            if attempt:
                await asyncio.sleep(self._pause_s)
            try:
                value, failure = await self.pool.ask(self._work(key)), None
                break
            except Unavailable as error:
                failure = error
                if not error.lost:      # nobody accepts connections: that does not change in a second
                    break
        if value is not None:
            return value
        if self._backup is None:
            return self._result(failure)
        found = await self._backup.ask(_text(key))
        if found is not None and (storing := self._storing(key, found)) is not None:
            with contextlib.suppress(DatabaseError):
                await self.pool.ask(storing)
        return None if found is None else _octets(found)

    def query_blocking(self, key: bytes) -> bytes | None:
        assert self.pool is not None
        value, failure = None, None
        for attempt in range(self._tries):
            if attempt:
                time.sleep(self._pause_s)
            try:
                value, failure = self.pool.run(self._work(key)), None
                break
            except Unavailable as error:
                failure = error
                if not error.lost:
                    break
        if value is not None:
            return value
        if self._backup is None:
            return self._result(failure)
        found = self._backup.ask_now(_text(key))
        if found is not None and (storing := self._storing(key, found)) is not None:
            with contextlib.suppress(DatabaseError):
                self.pool.run(storing)
        return None if found is None else _octets(found)

    @staticmethod
    def _result(failure: Unavailable | None) -> None:
        if failure is not None:
            raise failure

    def _storing(self, key: bytes, value: str) -> Callable[[MemcachedConnection, Deadline], bool] | None:
        """What puts a value of the backup into the cache; None when a cache cannot have the key."""
        cache_key = self._cache_key(key)
        if cache_key is None:
            return None

        def store(connection: MemcachedConnection, deadline: Deadline) -> bool:
            return connection.set(cache_key, _octets(value), deadline, flags=self._flags, ttl_s=self._ttl_s)
        return store

    # -- for postmap -----------------------------------------------------------------------------------------------

    def remove(self, key: str) -> bool:
        """From the cache and the backup; whether it was in one of them."""
        assert self.pool is not None
        octets = self._prepare(key, check_utf8=False)
        cache_key = None if octets is None else self._cache_key(octets)
        found = False
        if cache_key is not None:
            found = self.pool.run(lambda connection, deadline: connection.delete(cache_key, deadline))
        return bool(self._backup is not None and self._backup.remove(key)) or found

    def items(self) -> Iterator[tuple[str, str]]:
        if self._backup is None:
            self.warn(f"database {self.spec}: first/next support requires backup database")
            return
        yield from self._backup.items()


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")
