"""One mailbox's part of a user's full text: segments of some messages each, and messages that have to be read.

    box.add([Entry(17, header words, body words)], left_out=[18])
    box.known                       UIDs that were looked at; box.left_out: those of them that have to be read
    box.find([b"NEEDLE"], headers=True) -> kept, found      of messages whose words are kept, and that hold each needle
    box.drop(uids)                  forget these
    box.tidy(present) -> bool       forget messages that are gone, put small segments together; True: there is more

Segments (segment.py) are added, never changed; tidy() writes new ones in their place. So a message that is gone leaves
the file with its segment: when a quarter of that is gone.
"""

import logging
import sqlite3
from array import array
from collections.abc import Callable, Collection, Sequence

from mailsuite.fulltext.file import TextFile
from mailsuite.fulltext.params import FullTextOptions
from mailsuite.fulltext.rows import Damaged, Entry, check_sum, entries_of, sections_of, uids_of
from mailsuite.fulltext.segment import Section, no_pause

FULL = 1024             # messages of a segment: smaller ones are put together
FANOUT = 8              # so many segments of one size become one
STALE_SHARE = 0.25      # of a segment's messages that are gone: then it is written anew

log = logging.getLogger("mailsuite.dovecot.fulltext")


def forget(db: sqlite3.Connection, name: str) -> None:
    """The mailbox is gone, or another one now."""
    row = db.execute("SELECT id FROM mailbox WHERE name = ?", (name,)).fetchone()
    if row:
        db.execute("DELETE FROM segment WHERE mailbox = ?", row)
        db.execute("DELETE FROM mailbox WHERE id = ?", row)


class MailboxText:
    """One mailbox's part."""

    def __init__(self, file: TextFile, options: FullTextOptions, wanted: Callable[[str], None], name: str,
                 uid_validity: int) -> None:
        self._text, self.options, self._wanted = file, options, wanted
        self.name, self.uid_validity = name, uid_validity
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
        self._id, left_out = row[0], set(uids_of(row[2]))
        found = db.execute("SELECT id, uids FROM segment WHERE mailbox = ? ORDER BY id", (self._id,))
        self._segments = {number: uids_of(uids) for number, uids in found}
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
                uids = uids_of(row[0])
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
            if check_sum(*row) != wanted:
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
    def is_full(self) -> bool:
        """May nothing more be kept?"""
        return 0 < self.options.index_size <= self._text.size

    def want(self) -> None:
        """Have the messages that are not known looked at, in the background."""
        self._wanted(self.name)

    def add(self, entries: Sequence[Entry], left_out: Collection[int] = (),
            pause: Callable[[], None] = no_pause) -> None:
        """One more segment, of at most segment.MAX_MESSAGES; what is known already is passed over.

        left_out: messages that have to be read when somebody searches. pause: called often, outside of the lock.
        """
        for _ in range(3):                              # until nobody else was quicker with some of them
            known = self.known
            entries = [entry for entry in entries if entry.uid not in known]
            octets = sections_of(entries, pause)
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
            forget(db, self.name)                      # of another UIDVALIDITY
            cursor = db.execute("INSERT INTO mailbox (name, uid_validity) VALUES (?, ?)",
                                (self.name, self.uid_validity))
            self._id = cursor.lastrowid or 0

    def _insert(self, db: sqlite3.Connection, entries: Sequence[Entry], octets: tuple[bytes, bytes]) -> None:
        uids = array("I", [entry.uid for entry in entries])
        row = (uids.tobytes(), *octets)
        cursor = db.execute("INSERT INTO segment (mailbox, uids, header, body, check_sum) VALUES (?, ?, ?, ?, ?)",
                            (self._id, *row, check_sum(*row)))
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
            entries = [entry for row in rows if row is not None for entry in entries_of(row, pause)
                       if entry.uid in present]
        except (LookupError, ValueError, Damaged) as error:
            log.warning("%s: %s; the full text is built anew", self._text.path, error)
            self._text.begin_anew()
            return False
        entries.sort(key=lambda entry: entry.uid)
        octets = sections_of(entries, pause)
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
