"""The messages of an open mailbox in memory: parallel columns ordered by UID, and a log of what changed.

    rows = Rows(); rows.append(uid, flags, modseq, key); rows.extend(uids, flags, modseqs, keys)
    rows.position(uid) -> int | None                    O(log n)
    rows.set_flags(positions, values, modseq, origin)   logged
    rows.remove(uids, modseq)                           logged; flags of the departed are kept for the views
    rows.changes_since(number) -> (flag changes, expunged uids, now)
    rows.trim(oldest)                                   forget log entries that every view has seen

key: what the store finds the message by (a file name, an offset). 200,000 messages take some 20 MB.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class FlagChange(NamedTuple):
    """uids got other flags; origin: the view that did it silently, else None."""

    uids: Sequence[int]
    origin: object


class Gone(NamedTuple):
    """uids were expunged."""

    uids: Sequence[int]


class Rows:
    """Columns by position; only this class changes them."""

    def __init__(self) -> None:
        self.uids = array("I")
        self.flags: list[int] = []
        self.modseqs = array("Q")
        self.keys: list[bytes] = []
        self.departed: dict[int, int] = {}      # uid -> flags, while a view may still ask
        self._log: list[FlagChange | Gone] = []
        self._first = 0                         # number of the first entry in the log

    def __len__(self) -> int:
        return len(self.uids)

    @property
    def now(self) -> int:
        """The number that changes_since() takes for "from here on"."""
        return self._first + len(self._log)

    def position(self, uid: int) -> int | None:
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else None

    def positions(self, uids: Sequence[int]) -> list[int | None]:
        if uids:        # mostly they are a stretch of all
            start = bisect_left(self.uids, uids[0])
            if self.uids[start:start + len(uids)].tolist() == list(uids):
                return list(range(start, start + len(uids)))
        if len(uids) > 64:
            known = {uid: at for at, uid in enumerate(self.uids)} if len(uids) > len(self.uids) // 8 else None
            if known is not None:
                return [known.get(uid) for uid in uids]
        return [self.position(uid) for uid in uids]

    def append(self, uid: int, flags: int, modseq: int, key: bytes) -> None:
        """uid is above all others."""
        self.uids.append(uid)
        self.flags.append(flags)
        self.modseqs.append(modseq)
        self.keys.append(key)

    def extend(self, uids: Sequence[int], flags: Sequence[int], modseqs: Sequence[int], keys: Sequence[bytes]) -> None:
        """As append, of many; uids ascending."""
        self.uids.extend(uids)
        self.flags.extend(flags)
        self.modseqs.extend(modseqs)
        self.keys.extend(keys)

    def set_flags(self, changes: Iterable[tuple[int, int]], modseq: int, origin: object = None) -> list[int]:
        """changes: (position, new flags). Returns the UIDs."""
        uids = []
        for at, flags in changes:
            self.flags[at] = flags
            self.modseqs[at] = modseq
            uids.append(self.uids[at])
        if uids:
            self._log.append(FlagChange(uids, origin))
        return uids

    def set_departed(self, changes: Sequence[tuple[int, int]], origin: object = None) -> list[int]:
        """changes: (uid, new flags) of messages that are gone, but that a view still shows."""
        self.departed.update(changes)
        uids = [uid for uid, _ in changes]
        if uids:
            self._log.append(FlagChange(uids, origin))
        return uids

    def remove(self, uids: Sequence[int]) -> list[int]:
        """Take messages out; those that are not there are left out of the result."""
        gone = {uid for uid in uids if self.position(uid) is not None}
        if not gone:
            return []
        ordered = sorted(gone)
        if len(gone) < 50:
            for uid in reversed(ordered):
                at = bisect_left(self.uids, uid)
                self.departed[uid] = self.flags[at]
                del self.uids[at], self.flags[at], self.modseqs[at], self.keys[at]
        else:
            keep = []
            for at, uid in enumerate(self.uids):
                if uid in gone:
                    self.departed[uid] = self.flags[at]
                else:
                    keep.append(at)
            self.uids = array("I", [self.uids[at] for at in keep])
            self.flags = [self.flags[at] for at in keep]
            self.modseqs = array("Q", [self.modseqs[at] for at in keep])
            self.keys = [self.keys[at] for at in keep]
        self._log.append(Gone(ordered))
        return ordered

    def changes_since(self, number: int) -> list[FlagChange | Gone]:
        return self._log[number - self._first:]

    def trim(self, oldest: int, *, forget: bool) -> None:
        """oldest: all views have seen the entries before it. forget: no view holds departed messages."""
        if oldest > self._first:
            del self._log[: oldest - self._first]
            self._first = oldest
        if forget:
            self.departed.clear()

    def after(self, uid: int) -> "array[int]":
        """UIDs above uid."""
        return self.uids[bisect_left(self.uids, uid + 1):]
