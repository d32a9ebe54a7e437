"""The index of one user: what would be dear to find out again. SQLite, one file, never trusted over the mail.

    index = Index("/home/alice/Maildir/dovecot.index.mailsuite")      None: in memory
    box = index.mailbox("INBOX", uid_validity)      (index_box.py) another UIDVALIDITY empties what was known
    box.load() -> {uid: (flags, modseq)};  box.highest_modseq; box.first_recent
    box.save(changed rows, removed uids, highest_modseq=, first_recent=)
    box.cached(uids) -> {uid: Cached}; box.store(rows)
    index.close()                                   what waited (index_later.py) is written

Damaged, unwritable or from another version: it is made anew or kept in memory, which only the log tells; the mail is
the truth. WAL with synchronous=NORMAL: a crash loses at most the last changes, never the file.
Threads: each call takes the index's lock. Cost: 20,000 rows are read in some 20 ms.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from mailsuite.base.log import access_logger
from mailsuite.store.index_box import MailboxIndex, write_waiting
from mailsuite.store.index_later import Later

VERSION = 3
BUSY_S = 10.0

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS mailbox (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, uid_validity INTEGER NOT NULL,
    highest_modseq INTEGER NOT NULL DEFAULT 1, first_recent INTEGER NOT NULL DEFAULT 0, state BLOB);
CREATE TABLE IF NOT EXISTS message (mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, flags, modseq INTEGER NOT NULL,
    PRIMARY KEY (mailbox, uid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cache (mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, size INTEGER, date INTEGER,
    envelope BLOB, body BLOB, structure BLOB, PRIMARY KEY (mailbox, uid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fields (mailbox INTEGER NOT NULL, names BLOB NOT NULL, uid INTEGER NOT NULL, octets BLOB,
    PRIMARY KEY (mailbox, names, uid)) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""
ROWS = 1000             # that are written in one transaction; a client may wait for it

log = access_logger("index")


class Index:
    """The database; path None or an unusable one: in memory. generation: how often it was made anew."""

    def __init__(self, path: str | None) -> None:
        self.lock = threading.RLock()
        self.path, self.generation = path, 0
        self.later = Later(self.write_waiting)
        self._db = self._open(path)

    def _open(self, path: str | None) -> sqlite3.Connection:
        if path is not None:
            for _ in range(2):
                try:
                    return self._connect(path)
                except (sqlite3.Error, OSError) as error:
                    if _remove(path):
                        log.warning("%s: %s: the index is made anew", path, error)
        return self._connect(":memory:")

    @staticmethod
    def _connect(path: str) -> sqlite3.Connection:
        if path != ":memory:" and os.path.islink(path):
            raise OSError("the index is a symbolic link")
        old = os.umask(0o077)
        try:
            db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False,
                                 cached_statements=64)
        finally:
            os.umask(old)
        try:
            db.execute("PRAGMA temp_store=MEMORY")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise sqlite3.DatabaseError("another version")
            if version == 0:                            # a new one that a crash takes with it is no loss
                db.execute("PRAGMA synchronous=OFF")
                db.execute("PRAGMA journal_mode=WAL")
                db.executescript("BEGIN;" + _SCHEMA + "COMMIT;")
            db.execute("PRAGMA synchronous=NORMAL")
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One change of the database; a fault in it is no fault of the mail: a new index is begun."""
        with self.lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._renew(error)

    def query(self, statement: str, values: Sequence[object]) -> list[tuple[object, ...]]:
        """Rows of a question, [] from a damaged index."""
        with self.lock:
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                self._renew(error)
                return []

    def write_waiting(self) -> None:
        """Put into the database what waits for that."""
        more = True
        while more:
            with self.lock:
                taken = self.later.take(ROWS)
                more = bool(taken)
                if taken:
                    with self.transaction() as db:
                        for mailbox, waiting in taken:
                            write_waiting(db, mailbox, waiting)

    def _renew(self, error: sqlite3.Error) -> None:
        """Full disk: go on in memory. Damaged: begin anew."""
        log.warning("%s: %s: the index is made anew", self.path or "index in memory", error)
        self.generation += 1
        self.later.clear()
        with suppress(sqlite3.Error):
            self._db.close()
        if self.path is not None:
            _remove(self.path)
        self._db = self._open(self.path)

    def mailbox(self, name: str, uid_validity: int | None) -> MailboxIndex:
        """uid_validity None: whatever is known of the mailbox holds."""
        return MailboxIndex(self, name, uid_validity)

    def forget(self, name: str) -> None:
        """The mailbox was deleted."""
        with self.transaction() as db:
            self.forget_in(db, name)

    def forget_in(self, db: sqlite3.Connection, name: str) -> None:
        """As forget, within a transaction."""
        row = db.execute("SELECT id FROM mailbox WHERE name = ?", (name,)).fetchone()
        if row:
            self.later.forget(row[0])
            for table in ("message", "cache", "fields"):
                db.execute(f"DELETE FROM {table} WHERE mailbox = ?", row)
            db.execute("DELETE FROM mailbox WHERE id = ?", row)

    def rename(self, old: str, new: str) -> None:
        with self.transaction() as db:
            self.forget_in(db, new)
            db.execute("UPDATE mailbox SET name = ? WHERE name = ?", (new, old))

    def close(self) -> None:
        with self.lock:
            self.write_waiting()
            with suppress(sqlite3.Error):
                self._db.close()


def _remove(path: str) -> bool:
    """False: there was none, or it cannot be removed."""
    found = False
    for end in ("", "-wal", "-shm"):
        with suppress(OSError):
            os.unlink(path + end)
            found = True
    return found
