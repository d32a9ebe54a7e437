"""Who passed which test until when: in memory, and in a small SQLite file in data_directory.

    cache = Cache("/var/lib/postfix/postscreen_cache", limit=200000);  cache.load()
    cache.get("192.0.2.1") -> Stamps;  cache.put("192.0.2.1", stamps);  cache.flush()      flush and load block

A stamp is the second (since the epoch) until which a test counts as passed; 0: never passed. The file may be deleted at
any time; what was not flushed when the process dies is tested again. A file that can't be used is logged, and memory
serves alone. Limits: limit clients.
"""

import os
import sqlite3
import threading
from collections import OrderedDict
from enum import IntEnum

from mailsuite.base.log import logger

log = logger("postscreen")


class Check(IntEnum):
    """The place of each test in Stamps."""

    PREGREET = 0
    DNSBL = 1
    PIPELINING = 2
    NON_SMTP = 3
    BARE_NEWLINE = 4


Stamps = tuple[int, ...]
NEVER: Stamps = (0,) * len(Check)
_TABLE = "CREATE TABLE IF NOT EXISTS passed (client TEXT PRIMARY KEY, a INT, b INT, c INT, d INT, e INT) WITHOUT ROWID"


class Cache:
    """path "": memory only. get, put and clean belong to one thread, flush and load may run in another."""

    def __init__(self, path: str, *, limit: int) -> None:
        self._path, self._limit = path, limit
        self._entries: OrderedDict[str, Stamps] = OrderedDict()
        self._dirty: dict[str, Stamps | None] = {}
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, client: str) -> Stamps:
        return self._entries.get(client, NEVER)

    def put(self, client: str, stamps: Stamps) -> None:
        self._entries[client] = stamps
        self._entries.move_to_end(client)
        self._dirty[client] = stamps
        while len(self._entries) > self._limit:
            self._dirty[self._entries.popitem(last=False)[0]] = None

    def clean(self, before: float) -> tuple[int, int]:
        """Forget clients all of whose tests ended before that second; how many are kept, how many forgotten."""
        old = [client for client, stamps in self._entries.items() if max(stamps) < before]
        for client in old:
            del self._entries[client]
            self._dirty[client] = None
        return len(self._entries), len(old)

    def load(self) -> None:
        """Read the file. Blocks."""
        database = self._open()
        if database is None:
            return
        try:
            rows = database.execute("SELECT client, a, b, c, d, e FROM passed LIMIT ?", (self._limit,)).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return
        self._entries = OrderedDict((row[0], tuple(int(stamp) for stamp in row[1:])) for row in rows)

    def flush(self) -> None:
        """Write what is new. Blocks."""
        with self._lock:
            dirty, self._dirty = self._dirty, {}
            if not dirty or self._database is None:
                return
            try:
                with self._database:
                    self._database.executemany("DELETE FROM passed WHERE client = ?",
                                               [(client,) for client, stamps in dirty.items() if stamps is None])
                    self._database.executemany("INSERT OR REPLACE INTO passed VALUES (?, ?, ?, ?, ?, ?)",
                                               [(client, *stamps) for client, stamps in dirty.items() if stamps])
            except sqlite3.Error as error:
                self._give_up(error)

    def close(self) -> None:
        self.flush()
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> sqlite3.Connection | None:
        if not self._path:
            return None
        for _ in range(2):
            try:
                database = sqlite3.connect(self._path, check_same_thread=False)
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = NORMAL")
                database.execute(_TABLE)
            except sqlite3.DatabaseError as error:
                if not isinstance(error, sqlite3.OperationalError) and os.path.exists(self._path):
                    log.warning("%s: %s: begun anew", self._path, error)
                    os.unlink(self._path)       # only a cache
                    continue
                self._give_up(error)
                return None
            self._database = database
            return database
        return None

    def _give_up(self, error: Exception) -> None:
        log.warning("%s: %s; the cache is kept in memory only", self._path, error)
        self._database = None
