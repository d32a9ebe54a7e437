"""The full text of one user's mailboxes: a SQLite file beside the index, never trusted over the mail.

    text = FullText("/home/alice/Maildir/dovecot.fulltext.mailsuite")
    box = text.mailbox("INBOX", uid_validity)           another UIDVALIDITY empties what was known
    box.add([Entry(17, header words, body words)], left_out=[18])
    box.known                       UIDs that were looked at; box.left_out: those of them that have to be read
    box.find([b"NEEDLE"], headers=True) -> UIDs         of messages whose words hold each of the needles
    box.drop(uids)                  forget these
    box.tidy(present) -> bool       forget messages that are gone, put small segments together; True: there is more

Segments (segment.py) of some messages each are added, never changed; tidy() writes new ones in their place. So a
message that is gone leaves the file with its segment: when a quarter of that is gone.
Damaged, or from another version: it is made anew, and logged. WAL with synchronous=NORMAL: a crash loses at most the
last segments. Threads: each call takes the lock. Rights: 0600.
"""

import logging
import os
import sqlite3
import sys
import threading
import zlib
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from mailsuite.fulltext.params import FullTextOptions
from mailsuite.fulltext.segment import Section, build, no_pause

FILE_NAME = "dovecot.fulltext.mailsuite"
VERSION = 1 if sys.byteorder == "little" else 1001
BUSY_S = 10.0
PAGE_OCTETS = 16384
WAL_PAGES = 256
FULL = 1024             # messages of a segment: smaller ones are put together
FANOUT = 8              # so many segments of one size become one
STALE_SHARE = 0.25      # of a segment's messages that are gone: then it is written anew

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


class Entry(NamedTuple):
    """The distinct words of a message: of all headers in it, and of all its text."""

    uid: int
    header: Collection[str]
    body: Collection[str]


class Damaged(Exception):
    """The file does not hold what it should."""


class FullText:
    """The database. A file that cannot be made or written leaves everything unknown.

    wanted: called with the name of a mailbox whose messages should be looked at soon.
    """

    def __init__(self, path: str, options: FullTextOptions = FullTextOptions(),       # noqa: B008 (frozen)
                 wanted: Callable[[str], None] = lambda name: None) -> None:
        self.path, self.options, self.wanted, self.lock = path, options, wanted, threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._boxes: dict[str, MailboxText] = {}
        self._seen_version, self._inode = -1, 0
        with self.lock:
            self._db = self._open()

    # --- the file ---------------------------------------------------------------------------------------------------

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

    def _check_file(self) -> None:
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
        for box in self._boxes.values():
            box.doubt()

    def close(self) -> None:
        with self.lock:
            self._close()
            self._boxes.clear()

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
        for box in self._boxes.values():
            box.doubt()

    def _look(self, db: sqlite3.Connection) -> None:
        """Another process (doveadm) may have written."""
        version = db.execute("PRAGMA data_version").fetchone()[0]
        if version != self._seen_version:
            self._seen_version = version
            for box in self._boxes.values():
                box.doubt()

    @property
    def size(self) -> int:
        """Octets of the file and of what is not in it yet."""
        octets = 0
        for end in ("", "-wal"):
            with suppress(OSError):
                octets += os.stat(self.path + end).st_size
        return octets

    # --- mailboxes --------------------------------------------------------------------------------------------------

    def mailbox(self, name: str, uid_validity: int) -> "MailboxText":
        with self.lock:
            self._check_file()
            box = self._boxes.get(name)
            if box is None or box.uid_validity != uid_validity:
                box = self._boxes[name] = MailboxText(self, name, uid_validity)
            return box

    def names(self) -> list[str]:
        """Mailboxes of which something is known."""
        with self.using() as db:
            return [name for name, in db.execute("SELECT name FROM mailbox ORDER BY name")] if db is not None else []
        return []

    def forget(self, name: str) -> None:
        """The mailbox was deleted."""
        with self.using(write=True) as db:
            self._boxes.pop(name, None)
            if db is not None:
                _forget(db, name)
        self.shrink()

    def rename(self, old: str, new: str) -> None:
        with self.using(write=True) as db:
            self._boxes.pop(old, None)
            self._boxes.pop(new, None)
            if db is not None:
                _forget(db, new)
                db.execute("UPDATE mailbox SET name = ? WHERE name = ?", (new, old))

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


def _forget(db: sqlite3.Connection, name: str) -> None:
    row = db.execute("SELECT id FROM mailbox WHERE name = ?", (name,)).fetchone()
    if row:
        db.execute("DELETE FROM segment WHERE mailbox = ?", row)
        db.execute("DELETE FROM mailbox WHERE id = ?", row)


class MailboxText:
    """One mailbox's part."""

    def __init__(self, text: FullText, name: str, uid_validity: int) -> None:
        self._text, self.name, self.uid_validity = text, name, uid_validity
        self._id = 0
        self._left_out: set[int] | None = None          # None: not read yet
        self._segments: dict[int, array[int]] = {}      # UIDs of each, by its number
        self._checked: set[int] = set()                 # segments that have been read and found whole

    def doubt(self) -> None:
        """What is in memory may be old."""
        self._left_out = None

    def _load(self, db: sqlite3.Connection) -> None:
        if self._left_out is not None:
            return
        row = db.execute("SELECT id, uid_validity, left_out FROM mailbox WHERE name = ?", (self.name,)).fetchone()
        if row is None or row[1] != self.uid_validity:
            self._id, self._segments, self._left_out = 0, {}, set()
            return
        self._id, left_out = row[0], set(_uids(row[2]))
        found = db.execute("SELECT id, uids FROM segment WHERE mailbox = ? ORDER BY id", (self._id,))
        self._segments = {number: _uids(uids) for number, uids in found}
        self._left_out = left_out

    @property
    def left_out(self) -> set[int]:
        """UIDs of messages that were looked at and whose words are not kept."""
        with self._text.using() as db:
            if db is not None:
                self._load(db)
                return set(self._left_out or ())
        return set()

    @property
    def known(self) -> set[int]:
        """UIDs of messages that were looked at."""
        with self._text.using() as db:
            if db is not None:
                self._load(db)
                return self._known()
        return set()

    def _known(self) -> set[int]:
        return set(self._left_out or ()).union(*self._segments.values())

    @property
    def segments(self) -> int:
        with self._text.using() as db:
            if db is not None:
                self._load(db)
                return len(self._segments)
        return 0

    def find(self, needles: Sequence[bytes], *, headers: bool) -> tuple[set[int], set[int]]:
        """Messages whose words are kept, and those of them whose words hold each of the needles (segment.encoded(),
        without white space). headers: words of headers count, too."""
        kept, found = set[int](), set[int]()
        for number in self._numbers():
            with self._text.using() as db:              # other calls may come in between
                row = self._read(db, number, headers=headers) if db is not None else None
                if row is None:
                    continue
                uids = _uids(row[0])
                sections = [Section(octets) for octets in row[1:]]
                if any(section.count != len(uids) for section in sections):
                    raise Damaged("a segment's parts do not fit")
                hits = set(range(len(uids)))
                for needle in needles:
                    hits &= set().union(*(section.find(needle) for section in sections))
                    if not hits:
                        break
                kept.update(uids)
                found.update(uids[hit] for hit in hits)
        return kept, found

    def _read(self, db: sqlite3.Connection, number: int, *, headers: bool) -> tuple[bytes, ...] | None:
        """UIDs and sections of a segment: the header's (when asked for) and the body's. None: it is there no more."""
        columns = "uids, header, body" if headers or number not in self._checked else "uids, body"
        row: tuple[bytes, ...] | None = db.execute(
            f"SELECT {columns} FROM segment WHERE id = ? AND mailbox = ?", (number, self._id)).fetchone()
        if row is not None and number not in self._checked:
            wanted = db.execute("SELECT check_sum FROM segment WHERE id = ?", (number,)).fetchone()[0]
            if _check_sum(*row) != wanted:
                raise Damaged("a segment is not as it was written")
            self._checked.add(number)
        return row if row is None or headers or len(row) == 2 else (row[0], row[2])

    def _numbers(self) -> list[int]:
        with self._text.using() as db:
            if db is not None:
                self._load(db)
                return list(self._segments)
        return []

    @property
    def options(self) -> FullTextOptions:
        return self._text.options

    @property
    def is_full(self) -> bool:
        """May nothing more be kept?"""
        return 0 < self.options.index_size <= self._text.size

    def want(self) -> None:
        """Have the messages that are not known looked at, in the background."""
        self._text.wanted(self.name)

    def add(self, entries: Sequence[Entry], left_out: Collection[int] = (),
            pause: Callable[[], None] = no_pause) -> None:
        """One more segment, of at most segment.MAX_MESSAGES; what is known already is passed over.

        left_out: messages that have to be read when somebody searches. pause: called often, outside of the lock.
        """
        for _ in range(3):                              # until nobody else was quicker with some of them
            known = self.known
            entries = [entry for entry in entries if entry.uid not in known]
            octets = _segment(entries, pause)
            with self._text.using(write=True) as db:
                if db is None:
                    return
                self._load(db)
                if not {entry.uid for entry in entries}.isdisjoint(self._known()):
                    continue
                self._begin(db)
                if entries:
                    self._insert(db, entries, octets)
                if left_out:
                    assert self._left_out is not None
                    self._left_out.update(left_out)
                    self._save_left_out(db)
            return

    def _begin(self, db: sqlite3.Connection) -> None:
        if not self._id:
            _forget(db, self.name)                      # of another UIDVALIDITY
            cursor = db.execute("INSERT INTO mailbox (name, uid_validity) VALUES (?, ?)",
                                (self.name, self.uid_validity))
            self._id = cursor.lastrowid or 0

    def _insert(self, db: sqlite3.Connection, entries: Sequence[Entry], octets: tuple[bytes, bytes]) -> None:
        uids = array("I", [entry.uid for entry in entries])
        row = (uids.tobytes(), *octets)
        cursor = db.execute("INSERT INTO segment (mailbox, uids, header, body, check_sum) VALUES (?, ?, ?, ?, ?)",
                            (self._id, *row, _check_sum(*row)))
        self._segments[cursor.lastrowid or 0] = uids

    def _save_left_out(self, db: sqlite3.Connection) -> None:
        db.execute("UPDATE mailbox SET left_out = ? WHERE id = ?",
                   (array("I", sorted(self._left_out or ())).tobytes(), self._id))

    # --- tidying ----------------------------------------------------------------------------------------------------

    def tidy(self, present: Collection[int], *, thorough: bool = False, pause: Callable[[], None] = no_pause) -> bool:
        """One step: a segment with many messages that are gone, or several small ones, written anew. True: there may be
        more. present: UIDs that the mailbox has. thorough: everything that is gone leaves, small segments are put
        together however few there are."""
        present = present if isinstance(present, set | frozenset) else set(present)
        chosen = self._choose(present, thorough=thorough)
        if not chosen:
            return False
        rows = list[tuple[bytes, ...] | None]()
        with self._text.using() as db:
            rows = [self._read(db, number, headers=True) for number in chosen] if db is not None else []
        try:
            entries = [entry for row in rows if row is not None for entry in _entries(row, pause)
                       if entry.uid in present]
        except (LookupError, ValueError, Damaged) as error:
            log.warning("%s: %s; the full text is built anew", self._text.path, error)
            self._text.begin_anew()
            return False
        entries.sort(key=lambda entry: entry.uid)
        octets = _segment(entries, pause)
        with self._text.using(write=True) as db:
            if db is None:
                return False
            self._load(db)
            if not set(chosen) <= self._segments.keys():        # begun anew, or another process was here
                return False
            for number in chosen:
                db.execute("DELETE FROM segment WHERE id = ?", (number,))
                self._segments.pop(number, None)
            if entries:
                self._insert(db, entries, octets)
            assert self._left_out is not None
            if self._left_out - present:
                self._left_out &= present
                self._save_left_out(db)
        self._text.shrink()
        return True

    def rescan(self) -> None:
        """Read everything, so that what is damaged is noticed; what was left out is not known any more."""
        self._checked.clear()
        for number in self._numbers():
            with self._text.using() as db:
                if db is not None:
                    self._read(db, number, headers=True)
        with self._text.using(write=True) as db:
            if db is not None:
                self._load(db)
                self._left_out = set()
                self._save_left_out(db)

    def drop(self, uids: Collection[int]) -> None:
        """Forget these messages."""
        known = self.known
        if not known.isdisjoint(uids):
            left = known.difference(uids)
            while self.tidy(left, thorough=True):
                pass

    def _choose(self, present: Collection[int], *, thorough: bool) -> list[int]:
        """Numbers of segments that should become one."""
        with self._text.using() as db:
            if db is None:
                return []
            self._load(db)
        levels: dict[int, list[int]] = {}
        for number, uids in self._segments.items():
            gone = len(uids) - len(set(uids).intersection(present))
            if gone > (0 if thorough else len(uids) * STALE_SHARE):
                return [number]
            if len(uids) < FULL // 2:
                levels.setdefault(0 if thorough else len(uids).bit_length() // 3, []).append(number)
        for level in sorted(levels):
            if len(levels[level]) >= (2 if thorough else FANOUT):
                return self._within(levels[level])
        return []

    def _within(self, numbers: Sequence[int]) -> list[int]:
        """The first of them that together are not larger than a segment should be; at least two."""
        chosen, count = list[int](), 0
        for number in numbers:
            count += len(self._segments[number])
            if count > FULL and len(chosen) > 1:
                break
            chosen.append(number)
        return chosen


def _uids(octets: bytes) -> "array[int]":
    found = array("I")
    found.frombytes(octets)
    return found


def _check_sum(*parts: bytes) -> int:
    total = 0
    for part in parts:
        total = zlib.crc32(part, total)
    return total


def _segment(entries: Sequence[Entry], pause: Callable[[], None]) -> tuple[bytes, bytes]:
    return build([entry.header for entry in entries], pause), build([entry.body for entry in entries], pause)


def _entries(row: tuple[bytes, ...], pause: Callable[[], None]) -> list[Entry]:
    uids = _uids(row[0])
    header = Section(row[1]).words()
    pause()
    body = Section(row[2]).words()
    pause()
    if not len(uids) == len(header) == len(body):
        raise Damaged("a segment's parts do not fit")
    return list(map(Entry, uids, header, body))
