"""A set of UIDs in four octets each: \\Recent of a mailbox of a million messages is 4 MB, not 100.

    recent = UidSet(range(1, 20001))
    17 in recent; len(recent); recent.first         O(log n), O(1), O(1)
    recent.update([20001]); recent.difference_update(gone)
    recent.intersection(uids) -> set[int]; recent.covers(uids)

UIDs come in ascending order, so adding behind the last is the usual, cheap case.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence, Set

FEW = 64                # are looked for one by one


class UidSet(Set[int]):
    """Equal to any set with the same UIDs."""

    __slots__ = ("_uids",)

    def __init__(self, uids: Iterable[int] = ()) -> None:
        self._uids = array("I")         # ascending
        self.update(uids)

    def __contains__(self, uid: object) -> bool:
        assert isinstance(uid, int)
        at = bisect_left(self._uids, uid)
        return at < len(self._uids) and self._uids[at] == uid

    def __iter__(self) -> Iterator[int]:
        return iter(self._uids)

    def __len__(self) -> int:
        return len(self._uids)

    @property
    def first(self) -> int | None:
        """The lowest."""
        return self._uids[0] if self._uids else None

    def add(self, uid: int) -> None:
        """One more."""
        self.update((uid,))

    def update(self, uids: Iterable[int]) -> None:
        """More."""
        if not isinstance(uids, range | array | UidSet):        # these are in order as they are
            uids = sorted(set(uids))
        if not uids:
            return
        more = uids._uids if isinstance(uids, UidSet) else uids
        if not self._uids or more[0] > self._uids[-1]:
            self._uids.extend(more)
        else:
            self._uids = array("I", sorted(set(self._uids).union(more)))

    def difference_update(self, uids: Iterable[int]) -> None:
        """Take some out; those that are not there do not matter."""
        gone = set(uids)
        if len(gone) > FEW:
            self._uids = array("I", [uid for uid in self._uids if uid not in gone])
            return
        for uid in gone:
            if uid in self:
                del self._uids[bisect_left(self._uids, uid)]

    def intersection(self, uids: Sequence[int]) -> set[int]:
        """Those of uids that are in it."""
        if len(uids) <= FEW:
            return {uid for uid in uids if uid in self}
        return set(self._uids).intersection(uids)

    def covers(self, uids: Sequence[int]) -> bool:
        """Is it a stretch of this set? uids: ascending."""
        start = bisect_left(self._uids, uids[0]) if uids else 0
        return self._uids[start:start + len(uids)].tolist() == list(uids)
