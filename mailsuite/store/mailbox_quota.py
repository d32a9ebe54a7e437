"""What a mailbox asks of its user's quota, and tells it."""

from collections.abc import Sequence

from mailsuite.store.mailbox_reading import ReadMailbox
from mailsuite.store.quota import Quota


class CountedMailbox(ReadMailbox):
    """Without a quota nothing is counted."""

    def quota_sizes(self, uids: Sequence[int], quota: Quota | None = None) -> list[int]:
        """As a quota counts, by default the mailbox's own; [] without a quota."""
        quota = quota or self.quota
        if quota is None:
            return []
        if quota.wire:
            return [size or 0 for size in self.sizes(uids)]
        return [self.stored_octets(uid) for uid in uids]

    def make_room(self, sizes: Sequence[int], *, delivery: bool = False) -> None:
        """Call it without the lock."""
        if self.quota is not None and sizes:
            self.quota.make_room(self.quota_name, sizes, delivery=delivery)

    def admit(self, sizes: Sequence[int], *, delivery: bool = False, moved_from: str = "", replaces: bool = False
              ) -> None:
        if self.quota is not None:
            self.quota.admit(self.quota_name, sizes, delivery=delivery, moved_from=moved_from, replaces=replaces)

    def counted(self, sizes: Sequence[int], *, removed: bool = False) -> None:
        """Messages came, or went."""
        if self.quota is not None and sizes:
            sign = -1 if removed else 1
            self.quota.changed(self.quota_name, octets=sign * sum(sizes), messages=sign * len(sizes))

    def _leaves(self, target: "CountedMailbox") -> str:
        """For a MOVE: what of the target's quota gets free here."""
        return self.quota_name if self.quota is target.quota else ""
