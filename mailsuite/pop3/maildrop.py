"""The mailbox as one POP3 session sees it: a snapshot of INBOX, made at login.

Numbers, sizes and UIDLs don't change while the session lasts; new mail shows in the next. Deletions and \\Seen are
remembered here and carried out by `update()`, at QUIT only.
Blocks: run it in a thread.
"""

from collections.abc import Sequence
from functools import cached_property
from weakref import WeakKeyDictionary

from mailsuite.base.errors import PermanentError
from mailsuite.pop3.uidl import Uidl
from mailsuite.store.api import FlagAction, Mailbox, MailStore, Message

# RFC822.SIZE by UID, as long as a mailbox is open: a client that comes every few minutes asks for all each time.
_sizes: "WeakKeyDictionary[Mailbox, dict[int, int]]" = WeakKeyDictionary()


def _sizes_of(mailbox: Mailbox, uids: Sequence[int]) -> list[int]:
    known = _sizes.setdefault(mailbox, {})
    missing = [uid for uid in uids if uid not in known]
    if missing:
        known.update((uid, size or 0) for uid, size in zip(missing, mailbox.sizes(missing), strict=True))
    if len(known) > 2 * len(uids) + 1000:
        _sizes[mailbox] = {uid: known[uid] for uid in uids}
    return [known[uid] for uid in uids]


class Maildrop:
    """Positions are message numbers - 1."""

    def __init__(self, store: MailStore, uidl_format: str) -> None:
        self.mailbox: Mailbox = store.open("INBOX")
        self.view = self.mailbox.open_view(read_only=False)
        self.uids = list(self.view.uids)
        self.deleted: set[int] = set()          # positions
        self.seen: set[int] = set()
        self.last = 0                           # the highest number that was accessed
        self._uidl_format = uidl_format
        self.gone_before = 0                    # the last number that was found to be gone

    @property
    def count(self) -> int:
        return len(self.uids)

    @cached_property
    def sizes(self) -> list[int]:
        """Octets of each message as RETR sends it; read when first asked for."""
        return _sizes_of(self.mailbox, self.uids)

    @property
    def left(self) -> list[int]:
        """Positions that are not deleted."""
        if not self.deleted:
            return list(range(self.count))
        return [position for position in range(self.count) if position not in self.deleted]

    def left_size(self) -> tuple[int, int]:
        """Number and octets of what is not deleted."""
        size = sum(self.sizes) - sum(self.sizes[position] for position in self.deleted)
        return self.count - len(self.deleted), size

    @cached_property
    def uidls(self) -> list[bytes]:
        """Raises PermanentError when the format asks for what this mailbox does not have."""
        found = Uidl(self._uidl_format).render(self.mailbox, self.uids)
        if found is None:
            raise PermanentError("UIDL not available", detail=f"pop3_uidl_format {self._uidl_format}: not available")
        return found

    def message(self, position: int) -> Message:
        """Raises MessageGone."""
        return self.mailbox.message(self.uids[position])

    def reset(self) -> None:
        """RSET: all marks of this session go, \\Seen as well."""
        self.deleted.clear()
        self.seen.clear()
        self.last = 0

    def update(self) -> None:
        """QUIT: set \\Seen, remove what was deleted. Raises MailError; nothing is then half forgotten: marks stay."""
        seen = [self.uids[position] for position in sorted(self.seen - self.deleted)]
        if seen:
            self.mailbox.store_flags(seen, FlagAction.ADD, ["\\Seen"])
        if self.deleted:
            self.mailbox.remove([self.uids[position] for position in sorted(self.deleted)])

    def close(self) -> None:
        self.view.close()
