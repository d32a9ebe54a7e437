"""A cache that outlives its process: what verify, greylisting and the sending limits remember.

    cache = Cache("/var/lib/postfix/verify_cache")               the file NAME.db, made when it is not there
    cache.get("a@b.test") -> "0:0:1795247546:250 2.1.5 Ok"       None: not known
    cache.put(key, value);  cache.delete(key)
    cache.change(key, lambda old: new)                           read and write with nobody between; None deletes
    cache.sweep(keep) -> (retained, dropped)                     forget what keep(key, value) says no to

Inside is LMDB with its lock file, so several processes may share a cache, and one that is killed leaves it whole.
Nothing is synced: a power loss may cost the newest entries, and a file that then cannot be read is put aside as
NAME.db.bad and begun anew. `postmap -s btree:NAME` shows the entries. Calls take microseconds and belong into the event
loop; a big cache is swept in parts (`sweep_some`).
Limits: limit_octets for the entries; what does not fit any more is not kept (a warning, at most one a minute).
Raises: CacheError when the file cannot be made or opened (the folder is missing or not ours).
"""

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.maps.indexed import is_digest, long_entry, octets, split_long_entry, stored_key, text

ROOM = 1.5                  # of the file to its entries: LMDB needs room to delete, too
LIMIT = 256 * 1024 * 1024
STEP = 500                  # entries of one transaction of a sweep
WARN_S = 60.0
log = logger("cache")


class CacheError(TemporaryError):
    """The cache cannot be used."""


class Cache:
    """One per process and file: LMDB must not open a file twice in a process. Not to be carried over a fork."""

    def __init__(self, name: str, *, limit_octets: int = LIMIT) -> None:
        self.path = name + ".db"
        self._limit = limit_octets
        self._warned = -WARN_S
        try:
            self._env = self._open()
            self._main = self._env.open_db()
        except _lmdb().Error as error:
            if isinstance(error, (_lmdb().PanicError, _lmdb().CorruptedError, _lmdb().InvalidError,
                                  _lmdb().VersionMismatchError)):
                self._begin_anew(error)
            else:
                raise CacheError("cache unavailable", detail=f"open cache {self.path}: {error}") from error

    def _open(self) -> Any:
        return _lmdb().open(self.path, subdir=False, map_size=int(self._limit * ROOM), mode=0o600, sync=False,
                            metasync=False, max_readers=1024)

    def _begin_anew(self, why: Exception) -> None:
        log.warning("cache %s is damaged (%s): put aside, begun anew", self.path, why)
        try:
            os.replace(self.path, self.path + ".bad")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path + "-lock")
            self._env = self._open()
            self._main = self._env.open_db()
        except (OSError, _lmdb().Error) as error:
            raise CacheError("cache unavailable", detail=f"open cache {self.path}: {error}") from error

    def get(self, key: str) -> str | None:
        with self._env.begin() as transaction:
            return _read(transaction, octets(key))

    def put(self, key: str, value: str) -> None:
        self.change(key, lambda old: value)

    def delete(self, key: str) -> None:
        self.change(key, lambda old: None)

    def change(self, key: str, function: Callable[[str | None], str | None]) -> str | None:
        """Store what function makes of the old value, which no other process changes meanwhile; returns it."""
        name = octets(key)
        value: str | None = None
        try:
            with self._env.begin(write=True) as transaction:
                old = _read(transaction, name)
                value = function(old)
                if old is None and value is not None and self._is_full(transaction):
                    self._say_full()
                elif value is None:
                    transaction.delete(stored_key(name))
                else:
                    stored = stored_key(name)
                    transaction.put(stored, octets(value) if stored == name else long_entry(name, octets(value)))
        except _lmdb().MapFullError:
            self._say_full()
        return value

    def _is_full(self, transaction: Any) -> bool:
        used = transaction.stat(self._main)
        pages: int = used["branch_pages"] + used["leaf_pages"] + used["overflow_pages"]
        return pages * int(used["psize"]) > self._limit

    def _say_full(self) -> None:
        now = time.monotonic()
        if now - self._warned >= WARN_S:
            self._warned = now
            log.warning("cache %s is full (%d octets): new entries are not kept until old ones expire", self.path,
                        self._limit)

    def sweep(self, keep: Callable[[str, str], bool]) -> tuple[int, int]:
        """All entries, once."""
        retained = dropped = 0
        after: bytes | None = b""
        while after is not None:
            after, kept, gone = self.sweep_some(keep, after)
            retained, dropped = retained + kept, dropped + gone
        return retained, dropped

    def sweep_some(self, keep: Callable[[str, str], bool], after: bytes = b"") -> tuple[bytes | None, int, int]:
        """At most STEP entries behind the key `after`: the last key looked at (None: the end), retained, dropped."""
        retained = dropped = 0
        with self._env.begin(write=True) as transaction, transaction.cursor() as cursor:
            more = cursor.set_range(after + b"\0") if after else cursor.first()
            while more:
                if retained + dropped == STEP:
                    return after, retained, dropped
                after = key = cursor.key()
                value = cursor.value()
                if is_digest(key):
                    key, value = split_long_entry(value)
                if keep(text(key), text(value)):
                    retained += 1
                    more = cursor.next()
                else:
                    dropped += 1
                    cursor.delete()
                    more = bool(cursor.key())       # the next entry, or none
        return None, retained, dropped

    def close(self) -> None:
        self._env.close()


def _read(transaction: Any, name: bytes) -> str | None:
    stored = stored_key(name)
    value: bytes | None = transaction.get(stored)
    if value is not None and stored != name:
        value = split_long_entry(value)[1]
    return None if value is None else text(value)


def _lmdb() -> Any:
    import lmdb  # not for those who only import us

    return lmdb
