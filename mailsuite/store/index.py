"""The index of one user: what would be dear to find out again. SQLite, one file, never trusted over the mail.

    index = Index("/home/alice/Maildir/dovecot.index.mailsuite")      None: in memory
    box = index.mailbox("INBOX", uid_validity)      another UIDVALIDITY empties what was known
    box.load() -> {uid: (flags, modseq)};  box.highest_modseq; box.first_recent
    box.save(changed rows, removed uids, highest_modseq=, first_recent=)
    box.cached(uids) -> {uid: Cached}; box.store(rows)

Damaged, unwritable or from another version: it is made anew or kept in memory, silently; the mail is the truth. WAL
with synchronous=NORMAL: a crash loses at most the last changes, never the file.
Threads: each call takes the index's lock. Cost: 20,000 rows are read in some 20 ms.
"""

import os
import sqlite3
import threading
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

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
_BIG = 1 << 62          # keywords beyond what SQLite's integers hold are kept as text


class Cached(NamedTuple):
    """What was found out about a message; None: not yet."""

    size: int | None = None
    date: int | None = None
    envelope: bytes | None = None
    body: bytes | None = None
    structure: bytes | None = None


class Index:
    """The database; path None or an unusable one: in memory."""

    def __init__(self, path: str | None) -> None:
        self.lock = threading.RLock()
        self.path = path
        self._db = self._open(path)

    def _open(self, path: str | None) -> sqlite3.Connection:
        if path is not None:
            for _ in range(2):
                with suppress(sqlite3.Error, OSError):
                    return self._connect(path)
                _remove(path)
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
            except sqlite3.Error:
                self._renew()

    def query(self, statement: str, values: Sequence[object]) -> list[tuple[object, ...]]:
        """Rows of a question, [] from a damaged index."""
        with self.lock:
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.Error:
                self._renew()
                return []

    def _renew(self) -> None:
        """Full disk: go on in memory. Damaged: begin anew."""
        with suppress(sqlite3.Error):
            self._db.close()
        if self.path is not None:
            _remove(self.path)
        self._db = self._open(self.path)

    def mailbox(self, name: str, uid_validity: int | None) -> "MailboxIndex":
        """uid_validity None: whatever is known of the mailbox holds."""
        return MailboxIndex(self, name, uid_validity)

    def forget(self, name: str) -> None:
        """The mailbox was deleted."""
        with self.transaction() as db:
            _forget(db, name)

    def rename(self, old: str, new: str) -> None:
        with self.transaction() as db:
            _forget(db, new)
            db.execute("UPDATE mailbox SET name = ? WHERE name = ?", (new, old))

    def close(self) -> None:
        with self.lock, suppress(sqlite3.Error):
            self._db.close()


def _forget(db: sqlite3.Connection, name: str) -> None:
    row = db.execute("SELECT id FROM mailbox WHERE name = ?", (name,)).fetchone()
    if row:
        for table in ("message", "cache", "fields"):
            db.execute(f"DELETE FROM {table} WHERE mailbox = ?", row)
        db.execute("DELETE FROM mailbox WHERE id = ?", row)


def _remove(path: str) -> None:
    for end in ("", "-wal", "-shm"):
        with suppress(OSError):
            os.unlink(path + end)


class MailboxIndex:
    """One mailbox's part. first_recent: UIDs from here on were \\Recent to nobody yet. state: the store's own notes."""

    def __init__(self, index: Index, name: str, uid_validity: int | None) -> None:
        self._index, self.name, self.uid_validity = index, name, uid_validity or 0
        self._id, self.known, self.highest_modseq, self.first_recent = 0, False, 1, 0
        self.state = b""
        self._lists: list[bytes] | None = None
        self._begin(uid_validity)

    def _begin(self, uid_validity: int | None) -> None:
        found = self._index.query("SELECT id, uid_validity, highest_modseq, first_recent, state FROM mailbox "
                                  "WHERE name = ?", (self.name,))
        if found and uid_validity in (None, found[0][1]):
            row = found[0]
            assert isinstance(row[0], int) and isinstance(row[1], int)
            assert isinstance(row[2], int) and isinstance(row[3], int)
            self.uid_validity = row[1]
            self._id, self.highest_modseq, self.first_recent, self.known = row[0], row[2], row[3], True
            self.state = row[4] if isinstance(row[4], bytes) else b""
            return
        with self._index.transaction() as db:
            _forget(db, self.name)
            cursor = db.execute("INSERT INTO mailbox (name, uid_validity) VALUES (?, ?)",
                                (self.name, self.uid_validity))
            self._id = cursor.lastrowid or 0

    def set_uid_validity(self, uid_validity: int) -> None:
        """For a mailbox whose files don't tell it yet."""
        if uid_validity != self.uid_validity:
            self.uid_validity = uid_validity
            with self._index.transaction() as db:
                db.execute("UPDATE mailbox SET uid_validity = ? WHERE id = ?", (uid_validity, self._id))

    def load(self) -> dict[int, tuple[int, int]]:
        return {uid: (flags, modseq) for uid, (flags, modseq, _) in self.load_all().items()}

    def load_all(self) -> dict[int, tuple[int, int, bool]]:
        """uid -> (flags, modseq, dirty)."""
        rows = self._index.query("SELECT uid, flags, modseq FROM message WHERE mailbox = ?", (self._id,))
        return {uid: (flags, modseq, False) if isinstance(flags, int) else                   # type: ignore[misc]
                (int(flags.lstrip("~")), modseq, flags.startswith("~"))                      # type: ignore[attr-defined]
                for uid, flags, modseq in rows}

    def save(self, rows: Iterable[tuple[int, int, int]], removed: Sequence[int], *, highest_modseq: int,
             first_recent: int, state: bytes | None = None, dirty: Container[int] = ()) -> None:
        """rows: (uid, flags, modseq) that are new or changed. dirty: UIDs whose flags the files don't show yet."""
        with self._index.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO message (mailbox, uid, flags, modseq) VALUES (?, ?, ?, ?)",
                           [(self._id, uid, f"~{bits}" if uid in dirty else bits if bits < _BIG else str(bits), modseq)
                            for uid, bits, modseq in rows])
            if removed:
                pairs = [(self._id, uid) for uid in removed]
                db.executemany("DELETE FROM message WHERE mailbox = ? AND uid = ?", pairs)
                db.executemany("DELETE FROM cache WHERE mailbox = ? AND uid = ?", pairs)
                db.executemany("DELETE FROM fields WHERE mailbox = ? AND names = ? AND uid = ?",
                               [(self._id, names, uid) for names in self._known_lists(db) for uid in removed])
            if state is not None:
                self.state = state
            self.highest_modseq, self.first_recent = highest_modseq, first_recent
            db.execute("UPDATE mailbox SET highest_modseq = ?, first_recent = ?, state = ? WHERE id = ?",
                       (highest_modseq, first_recent, self.state, self._id))

    def cached(self, uids: Sequence[int]) -> dict[int, Cached]:
        """What is known of these messages."""
        columns = "uid, size, date, envelope, body, structure"
        return {row[0]: Cached(*row[1:])                                       # type: ignore[misc, arg-type]
                for row in self._select(f"SELECT {columns} FROM cache WHERE mailbox = ?", (self._id,), uids)}

    def dates(self, uids: Sequence[int]) -> dict[int, int]:
        return {row[0]: row[1]                                                 # type: ignore[misc]
                for row in self._select("SELECT uid, date FROM cache WHERE mailbox = ?", (self._id,), uids)
                if row[1] is not None}

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        return {row[0]: row[1]                                                 # type: ignore[misc]
                for row in self._select("SELECT uid, size FROM cache WHERE mailbox = ?", (self._id,), uids)
                if row[1] is not None}

    def fields(self, names: bytes, uids: Sequence[int]) -> dict[int, bytes]:
        """Rendered HEADER.FIELDS of exactly these names."""
        return {row[0]: row[1]                                                 # type: ignore[misc]
                for row in self._select("SELECT uid, octets FROM fields WHERE mailbox = ? AND names = ?",
                                        (self._id, names), uids)}

    def _select(self, statement: str, values: tuple[object, ...], uids: Sequence[int]) -> list[tuple[object, ...]]:
        if not uids:
            return []
        low, high = min(uids), max(uids)
        if high - low < 4 * len(uids) + 100:
            return self._index.query(f"{statement} AND uid BETWEEN ? AND ?", (*values, low, high))
        found: list[tuple[object, ...]] = []
        for at in range(0, len(uids), 500):
            some = uids[at: at + 500]
            found += self._index.query(f"{statement} AND uid IN ({','.join('?' * len(some))})", (*values, *some))
        return found

    def store(self, rows: Iterable[tuple[int, Cached]]) -> None:
        """Add to what is known."""
        with self._index.transaction() as db:
            db.executemany(
                "INSERT INTO cache (mailbox, uid, size, date, envelope, body, structure) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (mailbox, uid) DO UPDATE SET size = coalesce(excluded.size, size), "
                "date = coalesce(excluded.date, date), envelope = coalesce(excluded.envelope, envelope), "
                "body = coalesce(excluded.body, body), structure = coalesce(excluded.structure, structure)",
                [(self._id, uid, *cached) for uid, cached in rows])

    def forget_cached(self, uids: Sequence[int]) -> None:
        """Nothing is known of these messages' content any more."""
        with self._index.transaction() as db:
            pairs = [(self._id, uid) for uid in uids]
            db.executemany("DELETE FROM cache WHERE mailbox = ? AND uid = ?", pairs)
            for names in self._known_lists(db):
                db.executemany("DELETE FROM fields WHERE mailbox = ? AND names = ? AND uid = ?",
                               [(self._id, names, uid) for uid in uids])

    def _known_lists(self, db: sqlite3.Connection) -> list[bytes]:
        """The lists of names of which something is kept."""
        if self._lists is None:
            rows = db.execute("SELECT DISTINCT names FROM fields WHERE mailbox = ?", (self._id,))
            self._lists = [row[0] for row in rows]
        return self._lists

    def store_fields(self, names: bytes, rows: Iterable[tuple[int, bytes]], *, lists: int = 16) -> None:
        """At most `lists` lists of names are kept for a mailbox; a client uses one or two."""
        with self._index.transaction() as db:
            known = self._known_lists(db)
            if names not in known:
                known.append(names)
                if len(known) > lists:
                    db.execute("DELETE FROM fields WHERE mailbox = ? AND names = ?", (self._id, known.pop(0)))
            db.executemany("INSERT OR REPLACE INTO fields (mailbox, names, uid, octets) VALUES (?, ?, ?, ?)",
                           [(self._id, names, uid, octets) for uid, octets in rows])
