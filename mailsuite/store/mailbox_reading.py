"""What is read of a mailbox: rendered columns, messages, flags, sizes, dates, words. Under the mailbox's lock."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import compress

from mailsuite.fulltext.mailbox import MailboxText
from mailsuite.message.crlf import to_wire
from mailsuite.message.message import Message
from mailsuite.store.api import Column, Status, View
from mailsuite.store.fetching import Reader
from mailsuite.store.flags import DELETED, SEEN
from mailsuite.store.index import Index
from mailsuite.store.mailbox_kind import MailboxKind
from mailsuite.store.options import StoreOptions

READ_OCTETS = 1 << 20           # read_some() stops behind the message that passes it, unless told otherwise
SAVED = b"\0saved"              # among the header fields that the index keeps: when messages came


class ReadMailbox(MailboxKind):
    """See store/mailbox_api.Mailbox for the public methods."""

    def __init__(self, name: str, index: Index, options: StoreOptions) -> None:
        super().__init__(name, index, options)
        self._reader = Reader(self)
        self._counted = -1, 0           # octets of all messages, and which these were (Rows.membership)

    @property
    def keywords(self) -> list[str]:
        return list(self.table.keywords)

    @property
    def permanent_keywords(self) -> bool:
        return True

    @property
    def guid(self) -> str:
        """32 hex digits that stay with the mailbox."""
        return f"{self.uid_validity:032x}"

    def status(self, *, size: bool = False, deleted: bool = False) -> Status:
        with self.lock:
            self.doubt()
            self.refresh()
            rows = self.rows
            unseen = len(rows) - rows.count(SEEN.__and__)
            octets = sum(one or 0 for one in self.sizes(rows.uids_where(DELETED.__and__))) if deleted else 0
            return Status(len(rows), len(self.unclaimed), unseen, self.uid_next, self.uid_validity,
                          self.highest_modseq, self._total() if size else None, self.guid,
                          rows.count(DELETED.__and__), octets)

    @property
    def total_known(self) -> bool:
        return self._counted[0] == self.rows.membership

    def _total(self) -> int:
        """Octets of all messages. What could not be read counts as nothing, and is not remembered so."""
        if not self.total_known:
            sizes = self.sizes(self.rows.uids)
            total = sum(one or 0 for one in sizes)
            if None in sizes:
                return total
            self._counted = self.rows.membership, total
        return self._counted[1]

    def first_unseen(self, view: View) -> int | None:
        with self.lock:
            rows = self.rows
            for at in range(rows.first_where(lambda bits: not bits & SEEN), len(rows)):
                if not rows.flags[at] & SEEN and (number := view.sequence(rows.uids[at])) is not None:
                    return number
            return None

    # --- messages -----------------------------------------------------------------------------------------------------

    def columns(self, uids: Sequence[int], columns: Sequence[Column]) -> list[list[bytes | None]]:
        with self.lock:
            return self._reader.columns(uids, columns)

    def header_fields(self, uids: Sequence[int], names: Sequence[bytes], *, negate: bool = False) -> list[bytes | None]:
        with self.lock:
            return self._reader.header_fields(uids, names, negate)

    def message(self, uid: int) -> Message:
        with self.lock:
            return self._reader.message(uid)

    def read_some(self, uids: Sequence[int], octets: int = READ_OCTETS) -> list[bytes | None]:
        found: list[bytes | None] = []
        asked = iter(uids)
        with self.lock:
            for uid, stored in self.read_whole(uids):
                while next(asked) != uid:
                    found.append(None)
                found.append(stored)
                octets -= len(stored)
                if octets < 0:
                    return found
        return found + [None for _ in asked]

    def read_wire(self, uids: Sequence[int], octets: int = READ_OCTETS) -> list[bytes | None]:
        with self.lock:
            held = self._reader.in_hand(uids)
            if held is not None:
                return [message.octets for message in held]
            stored = self.read_some(uids, octets)
        return [None if one is None else to_wire(one) for one in stored]

    def hold_messages(self, uids: Sequence[int]) -> bool:
        if not self.lock.acquire(blocking=False):
            return False
        if not self.deleted and not self._at_rest and self._reader.take(uids):
            return True
        self.lock.release()
        return False

    def release(self) -> None:
        self._reader.let_go()
        super().release()

    @property
    def fulltext(self) -> MailboxText | None:
        text = self.texts() if not self.deleted else None
        return text.mailbox(self.name, self.uid_validity) if text is not None else None

    def forget_messages(self) -> None:
        self._reader.forget()

    def forget_cached(self, uids: Sequence[int]) -> None:
        with self.lock:
            self._reader.forget()
            self.index.forget_cached(uids)
            self._counted = -1, 0
            self.doubts += 1
        if (text := self.fulltext) is not None:
            text.drop(uids)

    # --- what is known of each message --------------------------------------------------------------------------------

    def _bits(self, uid: int) -> int | None:
        at = self.rows.position(uid)
        return self.rows.flags[at] if at is not None else self.rows.departed.get(uid)

    def flags(self, uid: int) -> list[str] | None:
        with self.lock:
            bits = self._bits(uid)
            return None if bits is None else self.table.names(bits)

    def _bits_of(self, uids: Sequence[int]) -> Sequence[int]:
        """Of messages that are gone as they were."""
        rows, start = self.rows, bisect_left(self.rows.uids, uids[0]) if uids else 0
        if rows.uids[start:start + len(uids)].tolist() == list(uids):       # mostly they are a stretch of all
            return rows.flags[start:start + len(uids)]
        return [rows.flags[at] if at is not None else rows.departed.get(uid, 0)
                for uid, at in zip(uids, rows.positions(uids), strict=True)]

    def with_flag(self, uids: Sequence[int], flag: str) -> set[int]:
        with self.lock:
            bit, rows = self.table.bit(flag), self.rows
            if not bit or not uids or not rows.departed and not rows.count(bit.__and__):
                return set()
            return set(compress(uids, map(bit.__and__, self._bits_of(uids))))

    def fitting(self, uids: Sequence[int], fits: Callable[[Callable[[str], bool]], bool]) -> list[int]:
        bit = self.table.bit
        known = _Known(lambda bits: fits(lambda flag: bool(bits & bit(flag))))
        with self.lock:
            if uids == self.rows.uids:
                return self.rows.uids_where(known.__getitem__).tolist()
            return list(compress(uids, map(known.__getitem__, self._bits_of(uids))))

    def count_with(self, uids: Sequence[int], flag: str) -> int:
        with self.lock:
            bit = self.table.bit(flag)
            if uids == self.rows.uids:
                return self.rows.count(bit.__and__)
            return sum(1 for bits in self._bits_of(uids) if bits & bit)

    def dates(self, uids: Sequence[int]) -> list[int | None]:
        with self.lock:
            return self._reader.dates(uids)

    def sizes(self, uids: Sequence[int]) -> list[int | None]:
        with self.lock:
            return self._reader.sizes(uids)

    def saved_dates(self, uids: Sequence[int]) -> list[int | None]:
        """Once asked for, a date stays as it was told (RFC 8514): what the files say changes with them."""
        with self.lock:
            known = {uid: int(octets) for uid, octets in self.index.fields(SAVED, uids).items()}
            found = [(uid, date) for uid in uids if uid not in known and (date := self.find_saved(uid)) is not None]
            if found:
                known.update(found)
                self.index.store_fields(SAVED, [(uid, b"%d" % date) for uid, date in found])
            return [known.get(uid) for uid in uids]

    def saved_date(self, uid: int) -> int | None:
        return self.saved_dates([uid])[0]

    def find_saved(self, uid: int) -> int | None:
        """What the files tell."""
        return self.dates([uid])[0]

    def modseqs(self, uids: Sequence[int]) -> list[int | None]:
        with self.lock:
            return [None if at is None else self.rows.modseqs[at] for at in self.rows.positions(uids)]


class _Known(dict[int, bool]):
    """Whether flags fit, by combinations: each is asked about once."""

    def __init__(self, fits: Callable[[int], bool]) -> None:
        self._fits = fits

    def __missing__(self, bits: int) -> bool:
        fits = self[bits] = self._fits(bits)
        return fits
