"""The SQLite file that holds a user's full text: opened, watched, begun anew where it is damaged.

    file = TextFile(path)
    with file.using(write=True) as db: ...      db: the database, None when there is none
    file.check_file(); file.begin_anew(); file.shrink(); file.compact(); file.close()

Damaged, or from another version: it is made anew, and logged. A file that cannot be made or written is none.
WAL with synchronous=NORMAL: a crash loses at most what was written last. Threads: each call takes the lock.
"""

import logging
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mailsuite.fulltext.rows import Damaged

FILE_NAME = "dovecot.fulltext.mailsuite"
VERSION = 1 if sys.byteorder == "little" else 1001
BUSY_S = 10.0
PAGE_OCTETS = 16384
WAL_PAGES = 256

_SCHEMA = f"""
CREATE TABLE mailbox (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, uid_validity INTEGER NOT NULL,
    left_out BLOB NOT NULL DEFAULT x'');
CREATE TABLE segment (id INTEGER PRIMARY KEY AUTOINCREMENT, mailbox INTEGER NOT NULL, uids BLOB NOT NULL,
    header BLOB NOT NULL, body BLOB NOT NULL, check_sum INTEGER NOT NULL);
CREATE INDEX segments ON segment (mailbox);
PRAGMA user_version = {VERSION};
"""

_PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
                      sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PERM})
log = logging.getLogger("mailsuite.dovecot.fulltext")


class TextFile:
    """The file. _doubt is called when what is in memory of its content may be old."""

    def __init__(self, path: str) -> None:
        self.path, self.lock = path, threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._seen_version, self._inode = -1, 0
        with self.lock:
            self._db = self._open()

    def _doubt(self) -> None:
        """Another process has written, or it was begun anew."""

    def _open(self) -> sqlite3.Connection | None:
        for _ in range(2):
            try:
                return self._connect()
            except (OSError, sqlite3.Error, Damaged) as error:
                if isinstance(error, OSError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
                    log.warning("%s: %s; texts are searched without it", self.path, error)      # no room, no right
                    return None
                log.warning("%s: %s; the full text is built anew", self.path, error)
                self._remove()
        return None

    def _connect(self) -> sqlite3.Connection:
        if os.path.islink(self.path):
            raise OSError("it is a symbolic link")
        old = os.umask(0o077)
        try:
            db = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        finally:
            os.umask(old)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise Damaged("from another version")
            if version == 0:
                db.execute("PRAGMA synchronous=OFF")        # a new one that a crash takes with it is no loss
                db.execute(f"PRAGMA page_size={PAGE_OCTETS}")
                db.execute("PRAGMA auto_vacuum=INCREMENTAL")
                db.execute("PRAGMA journal_mode=WAL")
                db.executescript("BEGIN;" + _SCHEMA + "COMMIT;")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA cache_size=-1024")
            db.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
            db.execute("PRAGMA temp_store=MEMORY")
            self._inode = os.stat(self.path).st_ino
        except BaseException:
            db.close()
            raise
        return db

    def _remove(self) -> None:
        for end in ("", "-wal", "-shm"):
            with suppress(OSError):
                os.unlink(self.path + end)

    def begin_anew(self) -> None:
        """Forget everything."""
        with self.lock:
            self._close()
            self._remove()
            self._db = self._open()

    def check_file(self) -> None:
        """Somebody may have deleted it, or put another in its place."""
        try:
            same = os.stat(self.path).st_ino == self._inode
        except OSError:
            same = False
        if not same and self._db is not None:
            self._close()
            self._db = self._open()

    def _close(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
        self._db, self._seen_version = None, -1
        self._doubt()

    def close(self) -> None:
        with self.lock:
            self._close()

    @contextmanager
    def using(self, *, write: bool = False) -> Iterator[sqlite3.Connection | None]:
        """The database; None: there is none. What is wrong with it is logged, and it is begun anew: a fault inside ends
        the block without an exception."""
        with self.lock:
            db = self._begin(write)
            if db is None:
                yield None
                return
            try:
                yield db
                if write:
                    db.execute("COMMIT")
            except (sqlite3.Error, LookupError, ValueError, Damaged) as error:
                self._failed(db, error)
            except BaseException:
                self._give_up(db)
                raise

    def _begin(self, write: bool) -> sqlite3.Connection | None:
        db = self._db
        if db is None:
            return None
        try:
            if write:
                db.execute("BEGIN IMMEDIATE")
            self._look(db)
        except sqlite3.Error as error:
            self._failed(db, error)
            return None
        return db

    def _failed(self, db: sqlite3.Connection, error: Exception) -> None:
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in _PASSING:
            log.warning("%s: %s", self.path, error)
            self._give_up(db)
        else:
            log.warning("%s: %s; the full text is built anew", self.path, error)
            self.begin_anew()

    def _give_up(self, db: sqlite3.Connection) -> None:
        if db.in_transaction:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        self._doubt()

    def _look(self, db: sqlite3.Connection) -> None:
        """Another process (doveadm) may have written."""
        version = db.execute("PRAGMA data_version").fetchone()[0]
        if version != self._seen_version:
            self._seen_version = version
            self._doubt()

    @property
    def size(self) -> int:
        """Octets of the file and of what is not in it yet."""
        octets = 0
        for end in ("", "-wal"):
            with suppress(OSError):
                octets += os.stat(self.path + end).st_size
        return octets

    def compact(self) -> None:
        """Leave nothing in the file that is not used."""
        with self.using() as db:
            if db is not None:
                db.execute("VACUUM")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def shrink(self) -> None:
        """Give room that is not used back to the file system."""
        with self.using() as db:
            if db is not None and db.execute("PRAGMA freelist_count").fetchone()[0] > 16:
                db.execute("PRAGMA incremental_vacuum").fetchall()
