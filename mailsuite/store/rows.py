"""The messages of an open mailbox in memory: parallel columns ordered by UID, and a log of what changed.

    rows = Rows(); rows.append(uid, flags, modseq, key); rows.extend(uids, flags, modseqs, keys)
    rows.position(uid) -> int | None                    O(log n)
    rows.set_flags(positions, values, modseq, origin)   logged
    rows.remove(uids, modseq)                           logged; flags of the departed are kept for the views
    rows.uids_where(fits) -> those whose flags fit; rows.count(fits)
    rows.changes_since(number) -> (flag changes, expunged uids, now)
    rows.trim(oldest)                                   forget log entries that every view has seen

key: what the store finds the message by (a file name, an offset). 200,000 messages take some 20 MB.
Messages are sought by their flags in all combinations that occur, mostly a handful, whose numbers are kept.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from typing import NamedTuple

RARE = 50               # one message among so many is found faster by its value than by looking at each
MOST_PLACES = 4         # combinations of flags that are looked for like that
FEW = 50                # messages that are taken out or changed one by one


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
        self.membership = 0                     # another number whenever messages come or go
        self._combinations: Counter[int] | None = None      # how many messages have these flags; None: nobody asked

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
        if self._combinations is not None:
            self._combinations[flags] += 1
        self.membership += 1
        self.uids.append(uid)
        self.flags.append(flags)
        self.modseqs.append(modseq)
        self.keys.append(key)

    def extend(self, uids: Sequence[int], flags: Sequence[int], modseqs: Sequence[int], keys: Sequence[bytes]) -> None:
        """As append, of many; uids ascending."""
        if self._combinations is not None:
            self._combinations.update(flags)
        self.membership += 1
        self.uids.extend(uids)
        self.flags.extend(flags)
        self.modseqs.extend(modseqs)
        self.keys.extend(keys)

    def set_flags(self, changes: Sequence[tuple[int, int]], modseq: int, origin: object = None) -> list[int]:
        """changes: (position, new flags). Returns the UIDs."""
        uids = []
        if len(changes) > FEW:
            self._combinations = None
        for at, flags in changes:
            if self._combinations is not None:
                self._combinations[flags] += 1
                self._count_out(self.flags[at])
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
        self.membership += 1
        if len(gone) < FEW:
            for uid in reversed(ordered):
                at = bisect_left(self.uids, uid)
                self.departed[uid] = self.flags[at]
                self._count_out(self.flags[at])
                del self.uids[at], self.flags[at], self.modseqs[at], self.keys[at]
        else:
            keep, self._combinations = [], None
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

    # --- by flags -----------------------------------------------------------------------------------------------------

    def _count_out(self, flags: int) -> None:
        if self._combinations is not None:
            self._combinations[flags] -= 1
            if not self._combinations[flags]:
                del self._combinations[flags]

    def _fitting(self, fits: Callable[[int], object]) -> tuple[set[int], int]:
        """Combinations of flags that fit, and how many messages have them."""
        if self._combinations is None:
            self._combinations = Counter(self.flags)
        combinations = self._combinations
        wanted = {flags for flags in combinations if fits(flags)}
        return wanted, sum(map(combinations.__getitem__, wanted))

    def count(self, fits: Callable[[int], object]) -> int:
        """How many messages have flags that fit."""
        return self._fitting(fits)[1]

    def uids_where(self, fits: Callable[[int], object]) -> "array[int]":
        """UIDs of messages whose flags fit. fits is asked once for each combination of flags."""
        wanted, number = self._fitting(fits)
        if number == len(self):
            return self.uids[:]
        if number * RARE < len(self) and len(wanted) <= MOST_PLACES:
            return array("I", map(self.uids.__getitem__, sorted(at for flags in wanted for at in self._places(flags))))
        return array("I", compress(self.uids, map(wanted.__contains__, self.flags)))

    def _places(self, flags: int) -> Iterator[int]:
        """Positions of messages with these flags."""
        assert self._combinations is not None
        at = -1
        for _ in range(self._combinations[flags]):
            at = self.flags.index(flags, at + 1)
            yield at

    def first_where(self, fits: Callable[[int], object]) -> int:
        """The position of the first message whose flags fit; the number of messages where none does."""
        wanted, number = self._fitting(fits)
        return next(compress(range(len(self)), map(wanted.__contains__, self.flags))) if number else len(self)

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
