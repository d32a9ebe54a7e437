"""What a kind of mailbox must say, and what all of it share: messages in memory, rights, who listens.

A kind (store/maildir/mailbox.py, store/mbox/mailbox.py) is a BaseMailbox that says how the files are looked at, read
and changed. The layers over this one: mailbox_reading.py, mailbox_quota.py, mailbox_flags.py, mailbox.py.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING

from mailsuite.fulltext.database import FullText
from mailsuite.message.message import Message
from mailsuite.store.acl import WRITING, writable_flags
from mailsuite.store.api import Append, CopyResult, IdentityChange, MessageGone, NoPermission, NotPossible
from mailsuite.store.flags import FlagTable
from mailsuite.store.index import Index
from mailsuite.store.index_box import MailboxIndex
from mailsuite.store.options import StoreOptions
from mailsuite.store.quota import Quota
from mailsuite.store.rows import Rows
from mailsuite.store.uid_set import UidSet
from mailsuite.store.view import MailboxView

if TYPE_CHECKING:
    from mailsuite.store.mailbox import BaseMailbox

Change = tuple[int, int]        # position, flags
MOST_HELD = 50_000              # messages of a mailbox that an event loop works with: to look through more takes ms


class MailboxKind(ABC):
    """Everything public takes `lock`; one object serves all sessions."""

    flags_in_files = False                      # the files always show all flags: the index may learn of them later

    def __init__(self, name: str, index: Index, options: StoreOptions) -> None:
        self.name, self.options = name, options
        self.lock = threading.RLock()
        self.rows, self.table = Rows(), FlagTable()
        self.uid_validity, self.uid_next, self.highest_modseq = 0, 1, 1
        self.unclaimed = UidSet()               # \Recent to nobody yet
        self.deleted = False                    # the mailbox is no more
        self.writable = True
        self.quota: Quota | None = None         # of the user; set by who opens the mailbox
        self.quota_name = name
        self.rights: Callable[[], frozenset[str]] | None = None        # of the user, likewise; None: all
        self.texts: Callable[[], FullText | None] = lambda: None        # likewise
        self.autoindex = False                  # fts_autoindex; likewise
        self.doubts = 0
        self._at_rest = False                      # by hold(unchanged=True): there is nothing to look at
        self._database = index
        self.index: MailboxIndex                # from the first look on: it needs the UIDVALIDITY
        self._views: list[MailboxView] = []
        self._listeners: list[Callable[[], None]] = []

    # --- what a kind must say -----------------------------------------------------------------------------------------

    @abstractmethod
    def look(self) -> None:
        """Take over what is in the files. Called under the lock; cheap when nothing changed."""

    @abstractmethod
    def read_stored(self, uid: int) -> bytes:
        """The message's octets as stored. Raises MessageGone, StoreError."""

    @abstractmethod
    def stored_date(self, uid: int) -> int:
        """Raises MessageGone."""

    @abstractmethod
    def apply_flags(self, changes: list[Change]) -> list[Change]:
        """Put flags where they are kept; returns what could be done (a message may be gone)."""

    @abstractmethod
    def take_out(self, uids: list[int]) -> list[int]:
        """Remove messages from the files; returns those that are gone now."""

    @abstractmethod
    def begin_append(self, *, sender: str = "", delivery: bool = False) -> Append: ...

    @abstractmethod
    def stored_octets(self, uid: int) -> int:
        """The size as stored, for quotas; 0 when the message is gone."""

    @abstractmethod
    def copy_into(self, uids: Sequence[int], target: "BaseMailbox") -> CopyResult:
        """Copy with both locks held. Raises MessageGone, StoreError."""

    @abstractmethod
    def watch_paths(self) -> list[str]: ...

    @abstractmethod
    def take_uid_validity(self, uid_validity: int) -> bool:
        """Of a mailbox that is empty and was always; False: it can't be. Called under the lock."""

    # --- what a kind may say ------------------------------------------------------------------------------------------

    def read_many(self, uids: Sequence[int]) -> Iterator[tuple[int, bytes, int]]:
        """(uid, octets as stored, date) of those that are there. Raises StoreError."""
        with self.bulk():
            for uid in uids:
                with suppress(MessageGone):
                    yield uid, self.read_stored(uid), self.stored_date(uid)

    def read_whole(self, uids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """As read_many, without dates."""
        for uid, octets, _ in self.read_many(uids):
            yield uid, octets

    def read_headers(self, uids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """(uid, the octets as stored up to some point behind the header) of those that are there."""
        for uid, octets, _ in self.read_many(uids):
            yield uid, octets

    def bulk(self) -> AbstractContextManager[object]:
        """Around the reading of many messages: a kind may keep its file open and locked."""
        return nullcontext()

    def make_keywords(self, names: list[str]) -> None:
        """Add keywords to the table, and to the files where those list them."""
        for name in names:
            self.table.add(name)

    def doubt(self) -> None:  # noqa: B027 (most kinds always look thoroughly)
        """The next look is thorough, if the last was not."""

    def claimed(self) -> None:  # noqa: B027 (a kind may have nothing to note)
        """\\Recent was given to a session."""

    def flags_changed(self) -> None:  # noqa: B027 (a kind may write at once what it would delay)
        """A client stored flags."""

    def is_unchanged(self) -> bool:
        """Are the files as they were looked at? False where that cannot be told without waiting. Lock held."""
        return False

    def flush(self) -> None:  # noqa: B027 (a kind may delay nothing)
        """Write what was delayed."""

    def blocks(self, uid: int) -> Iterator[bytes] | None:
        return None

    def will_need(self, uids: Sequence[int]) -> None:  # noqa: B027 (one file needs no advice: the kernel reads ahead)
        """Have the kernel read these messages."""

    def message_at_once(self, uid: int) -> Message | None:
        return None

    def named_size(self, uid: int) -> int | None:
        """The size with CRLF where it is known without index and message."""
        return None

    def named_sizes(self, uids: Sequence[int]) -> list[int | None]:
        return [None] * len(uids)

    def identities(self, uids: Sequence[int], kind: str) -> list[str] | None:
        return None

    def saved_uidls(self, uids: Sequence[int]) -> list[str | None]:
        return [None] * len(uids)

    def save_uidls(self, uidls: Mapping[int, str]) -> None:  # noqa: B027
        """Most kinds have no place for them."""

    def give_identity(self, change: IdentityChange) -> None:
        """UIDVALIDITY, GUID and next UID into the files (lock held). Raises NotPossible where a kind cannot."""
        if (change.uid_validity, change.guid, change.least_uid_next) != (None, None, None):
            raise NotPossible("This mailbox format keeps its UIDVALIDITY, GUID and next UID")

    # --- rights and listeners -----------------------------------------------------------------------------------------

    def may(self, right: str) -> bool:
        return self.rights is None or right in self.rights()

    def may_write(self) -> bool:
        return self.rights is None or not WRITING.isdisjoint(self.rights())

    def _demand(self, right: str) -> None:
        if not self.may(right):
            raise NoPermission(f"{self.name} (missing right: {right})")

    def _must_be_writable(self) -> None:
        if not self.writable:
            raise NoPermission(self.name)

    def _flag_mask(self) -> int:
        return -1 if self.rights is None else writable_flags(self.rights())

    def hold(self, *, unchanged: bool, claims: bool = True) -> bool:
        if not self.lock.acquire(blocking=False):
            return False
        if len(self.rows) <= MOST_HELD and not self.deleted and not self._at_rest and (not unchanged or (
                self.rights is None and not (claims and (self.unclaimed or self.autoindex)) and self.is_unchanged())):
            self._at_rest = unchanged
            return True
        self.lock.release()
        return False

    def is_recent(self, uid: int, *, claimed: bool) -> bool:
        """Is it \\Recent to nobody yet or, with claimed, to a session?"""
        return uid in self.unclaimed or claimed and any(uid in view.recent for view in self._views)

    def release(self) -> None:
        self._at_rest = False
        self.lock.release()

    def refresh(self) -> None:
        with self.lock:
            if not self.deleted and not self._at_rest:
                self.look()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def tell(self) -> None:
        """Something changed by our hand."""
        for listener in list(self._listeners):
            listener()

    @property
    def keeps_modseqs(self) -> bool:
        return self._database.path is not None

    @property
    def in_use(self) -> bool:
        return bool(self._views)

    def trim_log(self) -> None:
        """Forget what all views have taken over."""
        now = self.rows.now
        oldest = min((view.seen_log for view in self._views), default=now)
        self.rows.trim(oldest, forget=oldest == now and not any(view.waits_for_expunge for view in self._views))
