"""One mailbox's part of an index (store/index.py): flags and MODSEQs, and what was read out of its messages.

What is read out of messages waits in memory until there is a pause (store/index_later.py), and so do the flags and
MODSEQs of many messages of a Maildir at once (`save_later`). These may be lost with the process: HIGHESTMODSEQ is
written at once and never goes back, the flags are in the files' names; at the next look, what the files say and the
index does not is a change with a MODSEQ of its own.
"""

from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING

from mailsuite.store.flags import KEYWORD_SHIFT
from mailsuite.store.index_later import ROW_OCTETS, Cached, Waiting

if TYPE_CHECKING:
    import sqlite3

    from mailsuite.store.index import Index

# Flags below it are in the name of a Maildir's file: the system flags, and the keywords that have a letter.
NAMED = 1 << (KEYWORD_SHIFT + 26)
_BIG = 1 << 62          # keywords beyond what SQLite's integers hold are kept as text
MANY = 500              # rows that are worth to be written later
LISTS = 16              # lists of names of which header fields are kept; a client uses one or two


class MailboxIndex:
    """One mailbox's part. first_recent: UIDs from here on were \\Recent to nobody yet. state: the store's own notes."""

    def __init__(self, index: "Index", name: str, uid_validity: int | None) -> None:
        self._index, self.name, self.uid_validity = index, name, uid_validity or 0
        self._id, self.known, self.highest_modseq, self.first_recent = 0, False, 1, 0
        self.state = b""
        self._generation = index.generation
        self._begin(uid_validity)

    def _begin(self, uid_validity: int | None) -> None:
        """Find the mailbox in the index, or begin there."""
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
            self._index.forget_in(db, self.name)
            cursor = db.execute("INSERT INTO mailbox (name, uid_validity, highest_modseq, first_recent, state) "
                                "VALUES (?, ?, ?, ?, ?)", (self.name, self.uid_validity, self.highest_modseq,
                                                           self.first_recent, self.state or None))
            self._id = cursor.lastrowid or 0

    @property
    def _here(self) -> int:
        """The mailbox's number in the index; in one that was made anew meanwhile (it was damaged), a new one."""
        if self._generation != self._index.generation:
            self._generation = self._index.generation
            self._begin(self.uid_validity)
        return self._id

    def set_uid_validity(self, uid_validity: int) -> None:
        """For a mailbox whose files don't tell it yet."""
        if uid_validity != self.uid_validity:
            number, self.uid_validity = self._here, uid_validity
            with self._index.transaction() as db:
                db.execute("UPDATE mailbox SET uid_validity = ? WHERE id = ?", (uid_validity, number))

    @property
    def _waiting(self) -> Waiting:
        return self._index.later.of(self._here)

    def load(self) -> dict[int, tuple[int, int]]:
        return {uid: (flags, modseq) for uid, (flags, modseq, _) in self.load_all().items()}

    def load_all(self) -> dict[int, tuple[int, int, bool]]:
        """uid -> (flags, modseq, dirty)."""
        self._index.write_waiting()
        rows = self._index.query("SELECT uid, flags, modseq FROM message WHERE mailbox = ?", (self._here,))
        return {uid: (flags, modseq, False) if isinstance(flags, int) else                   # type: ignore[misc]
                (int(flags.lstrip("~")), modseq, flags.startswith("~"))                      # type: ignore[attr-defined]
                for uid, flags, modseq in rows}

    def save(self, rows: Sequence[tuple[int, int, int]], removed: Sequence[int], *, highest_modseq: int,
             first_recent: int, state: bytes | None = None, dirty: Container[int] = ()) -> None:
        """rows: (uid, flags, modseq) that are new or changed. dirty: UIDs whose flags the files don't show yet."""
        self.highest_modseq, self.first_recent = highest_modseq, first_recent
        self.state = self.state if state is None else state
        with self._index.lock:
            number, waiting = self._here, self._waiting
            with self._index.transaction() as db:
                if rows:
                    waiting.discard_flags(row[0] for row in rows)
                    write_flags(db, number, rows, dirty)
                if removed:
                    waiting.discard(removed)
                    waiting.discard_flags(removed)
                    db.executemany("DELETE FROM message WHERE mailbox = ? AND uid = ?",
                                   [(number, uid) for uid in removed])
                    _delete_cached(db, number, removed)
                db.execute("UPDATE mailbox SET highest_modseq = ?, first_recent = ?, state = ? WHERE id = ?",
                           (highest_modseq, first_recent, self.state, number))

    def save_later(self, uids: Sequence[int], flags: Sequence[int], modseqs: Sequence[int], *, highest_modseq: int,
                   first_recent: int) -> None:
        """New or changed rows of a mailbox whose files show all flags: many of them may wait."""
        if len(uids) < MANY or max(flags) >= NAMED:
            self.save(list(zip(uids, flags, modseqs, strict=True)), [], highest_modseq=highest_modseq,
                      first_recent=first_recent)
            return
        with self._index.lock:
            self._waiting.batches.append((uids, flags, modseqs))
            self._index.later.added(len(uids) * ROW_OCTETS)
            self.save([], [], highest_modseq=highest_modseq, first_recent=first_recent)

    def cached(self, uids: Sequence[int]) -> dict[int, Cached]:
        """What is known of these messages."""
        with self._index.lock:
            known = self._waiting.cache
            found = {uid: known[uid] for uid in uids if uid in known} if known else {}
            if len(found) < len(uids):
                columns = "uid, size, date, envelope, body, structure"
                for row in self._select(f"SELECT {columns} FROM cache WHERE mailbox = ?", (self._here,), uids):
                    found.setdefault(row[0], Cached(*row[1:]))                 # type: ignore[arg-type]
            return found

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        return {uid: row.size for uid, row in self.cached(uids).items() if row.size is not None}

    def fields(self, names: bytes, uids: Sequence[int]) -> dict[int, bytes]:
        """Rendered HEADER.FIELDS of exactly these names."""
        with self._index.lock:
            known = self._waiting.fields.get(names, {})
            found = {uid: known[uid] for uid in uids if uid in known} if known else {}
            if len(found) < len(uids):
                for uid, octets in self._select("SELECT uid, octets FROM fields WHERE mailbox = ? AND names = ?",
                                                (self._here, names), uids):
                    found.setdefault(uid, octets)                              # type: ignore[arg-type]
            return found

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

    def store(self, rows: Sequence[tuple[int, Cached]]) -> None:
        """What is known of messages now, all of it."""
        with self._index.lock:
            self._waiting.cache.update(rows)
            self._index.later.added(sum([row.octets() for _, row in rows]))

    def store_fields(self, names: bytes, rows: Sequence[tuple[int, bytes]]) -> None:
        """At most LISTS lists of names are kept for a mailbox."""
        with self._index.lock:
            self._waiting.fields.setdefault(names, {}).update(rows)
            self._index.later.added(sum([ROW_OCTETS + len(octets) for _, octets in rows]))

    def forget_cached(self, uids: Sequence[int]) -> None:
        """Nothing is known of these messages' content any more."""
        with self._index.lock:
            number = self._here
            self._waiting.discard(uids)
            with self._index.transaction() as db:
                _delete_cached(db, number, uids)


def _delete_cached(db: "sqlite3.Connection", mailbox: int, uids: Sequence[int]) -> None:
    db.executemany("DELETE FROM cache WHERE mailbox = ? AND uid = ?", [(mailbox, uid) for uid in uids])
    db.executemany("DELETE FROM fields WHERE mailbox = ? AND names = ? AND uid = ?",
                   [(mailbox, names, uid) for names in _known_lists(db, mailbox) for uid in uids])


def write_flags(db: "sqlite3.Connection", mailbox: int, rows: Iterable[tuple[int, int, int]],
                dirty: Container[int] = ()) -> None:
    """mailbox: its number in the index."""
    db.executemany("INSERT OR REPLACE INTO message (mailbox, uid, flags, modseq) VALUES (?, ?, ?, ?)",
                   [(mailbox, uid, f"~{bits}" if uid in dirty else bits if bits < _BIG else str(bits), modseq)
                    for uid, bits, modseq in rows])


def write_waiting(db: "sqlite3.Connection", mailbox: int, waiting: Waiting) -> None:
    """What waited of a mailbox, unless that is gone."""
    if not db.execute("SELECT 1 FROM mailbox WHERE id = ?", (mailbox,)).fetchone():
        return
    write_flags(db, mailbox, [(uid, *row) for uid, row in waiting.flags.items()])
    db.executemany("INSERT OR REPLACE INTO cache (mailbox, uid, size, date, envelope, body, structure) "
                   "VALUES (?, ?, ?, ?, ?, ?, ?)", [(mailbox, uid, *row) for uid, row in waiting.cache.items()])
    known = _known_lists(db, mailbox) if waiting.fields else []
    for names, found in waiting.fields.items():
        if names not in known:
            known.append(names)
            if len(known) > LISTS:
                db.execute("DELETE FROM fields WHERE mailbox = ? AND names = ?", (mailbox, known.pop(0)))
        db.executemany("INSERT OR REPLACE INTO fields (mailbox, names, uid, octets) VALUES (?, ?, ?, ?)",
                       [(mailbox, names, uid, octets) for uid, octets in found.items()])


def _known_lists(db: "sqlite3.Connection", mailbox: int) -> list[bytes]:
    """The lists of names of which something is kept. One step for each, however many messages there are."""
    found: list[bytes] = []
    while (names := db.execute("SELECT min(names) FROM fields WHERE mailbox = ? AND names > ?",
                               (mailbox, found[-1] if found else b"")).fetchone()[0]) is not None:
        found.append(names)
    return found
