"""What all kinds of mailboxes share: messages in memory, views, flags, rendered columns, the index.

A kind (store/maildir/mailbox.py, store/mbox/mailbox.py) is a subclass that says how the files are looked at, read and
changed: the methods under "what a kind must say". Everything public takes `lock`; one object serves all sessions.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from mailsuite.fulltext.database import FullText
from mailsuite.fulltext.mailbox import MailboxText
from mailsuite.message.message import Message
from mailsuite.store.acl import WRITING, writable_flags
from mailsuite.store.api import (
    Append,
    Column,
    CopyResult,
    FlagAction,
    IdentityChange,
    Mailbox,
    MessageGone,
    NoPermission,
    NotPossible,
    Status,
    StoreResult,
    View,
)
from mailsuite.store.fetching import Reader
from mailsuite.store.flags import DELETED, KEYWORD_SHIFT, MAX_KEYWORDS, SEEN, FlagTable
from mailsuite.store.index import Index
from mailsuite.store.index_box import MailboxIndex
from mailsuite.store.options import StoreOptions
from mailsuite.store.quota import Quota
from mailsuite.store.rows import Rows
from mailsuite.store.view import MailboxView

Change = tuple[int, int]        # position, flags
KEYWORDS = -1 << KEYWORD_SHIFT
READ_OCTETS = 1 << 20           # read_some() stops behind the message that passes it, unless told otherwise


@contextmanager
def both_locked(one: Mailbox, other: Mailbox) -> Iterator[None]:
    """The locks of two mailboxes, always in the same order."""
    first, second = sorted((one, other), key=id)
    with first.lock, second.lock:
        yield
SAVED = b"\0saved"         # among the header fields that the index keeps: when messages came


def copy_through(source: "BaseMailbox", uids: Sequence[int], target: "BaseMailbox") -> CopyResult:
    """COPY between mailboxes of different kinds, with both locks held: each message is read and written."""
    append = target.begin_append()
    try:
        for uid in uids:
            append.write(source.read_stored(uid))
            append.finish(source.flags(uid) or [], source.stored_date(uid))
        uid_validity, new = append.commit()
    except BaseException:
        append.abort()
        raise
    return CopyResult(uid_validity, list(uids), new)


def _change(action: FlagAction, wanted: int, mask: int) -> Callable[[int], int]:
    """What becomes of flags. mask: those that the user may set."""
    if action is FlagAction.ADD:
        return wanted.__or__
    if action is FlagAction.REMOVE:
        return (~wanted).__and__
    return lambda old: old & ~mask | wanted


class BaseMailbox(ABC):
    """See store/api.Mailbox for the public methods."""

    flags_in_files = False                      # the files always show all flags: the index may learn of them later

    def __init__(self, name: str, index: Index, options: StoreOptions) -> None:
        self.name, self.options = name, options
        self.lock = threading.RLock()
        self.rows, self.table = Rows(), FlagTable()
        self.uid_validity, self.uid_next, self.highest_modseq = 0, 1, 1
        self.unclaimed: set[int] = set()        # \Recent to nobody yet
        self.deleted = False                    # the mailbox is no more
        self.writable = True
        self.quota: Quota | None = None         # of the user; set by who opens the mailbox
        self.quota_name = name
        self.rights: Callable[[], frozenset[str]] | None = None        # of the user, likewise; None: all
        self.texts: Callable[[], FullText | None] = lambda: None        # likewise
        self.autoindex = False                  # fts_autoindex; likewise
        self.doubts = 0
        self._database = index
        self.index: MailboxIndex                # from the first look on: it needs the UIDVALIDITY
        self._reader = Reader(self)
        self._views: list[MailboxView] = []
        self._listeners: list[Callable[[], None]] = []

    # --- what a kind must say ---------------------------------------------------------------------------------------

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

    def read_many(self, uids: Sequence[int]) -> Iterator[tuple[int, bytes, int]]:
        """(uid, octets as stored, date) of those that are there. Raises StoreError."""
        with self.bulk():
            for uid in uids:
                with suppress(MessageGone):
                    yield uid, self.read_stored(uid), self.stored_date(uid)

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

    def flush(self) -> None:  # noqa: B027 (a kind may delay nothing)
        """Write what was delayed."""

    # --- views ------------------------------------------------------------------------------------------------------

    @property
    def keywords(self) -> list[str]:
        return list(self.table.keywords)

    @property
    def permanent_keywords(self) -> bool:
        return True

    def open_view(self, *, read_only: bool, claim_recent: bool = True) -> View:
        with self.lock:
            self.doubt()
            self.refresh()
            view = MailboxView(self, read_only=read_only or not self.writable, claim_recent=claim_recent)
            self._views.append(view)
        if claim_recent:                        # a client's; who looks at words does not want itself
            self.arrived(len(view.recent))
        return view

    def arrived(self, recent: int) -> None:
        """There may be new messages: have their words looked at, where that is wanted before somebody searches."""
        most = self.options.fulltext.max_recent
        if self.autoindex and not (0 < most < recent) and (text := self.fulltext) is not None:
            text.want()

    def view_closed(self, view: MailboxView) -> None:
        with self.lock:
            self._views.remove(view)
            if not self._views:
                self._reader.forget()
                if not self.deleted:
                    self.flush()
            self.trim_log()

    @property
    def in_use(self) -> bool:
        return bool(self._views)

    def trim_log(self) -> None:
        """Forget what all views have taken over."""
        now = self.rows.now
        oldest = min((view.seen_log for view in self._views), default=now)
        self.rows.trim(oldest, forget=oldest == now and not any(view.waits_for_expunge for view in self._views))

    def claim_recent(self) -> None:
        """A session takes all that is \\Recent."""
        self.unclaimed.clear()
        self.claimed()
        self.save_rows([], [])

    def refresh(self) -> None:
        with self.lock:
            if not self.deleted:
                self.look()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def tell(self) -> None:
        """Something changed by our hand."""
        for listener in list(self._listeners):
            listener()

    # --- looking ----------------------------------------------------------------------------------------------------

    def status(self, *, size: bool = False, deleted: bool = False) -> Status:
        with self.lock:
            self.doubt()
            self.refresh()
            rows = self.rows
            unseen = len(rows) - sum(1 for bits in rows.flags if bits & SEEN)
            total = sum(one or 0 for one in self.sizes(rows.uids)) if size else None
            doomed = [uid for uid, bits in zip(rows.uids, rows.flags, strict=True) if bits & DELETED]
            octets = sum(one or 0 for one in self.sizes(doomed)) if deleted else 0
            return Status(len(rows), len(self.unclaimed), unseen, self.uid_next, self.uid_validity,
                          self.highest_modseq, total, self.guid, len(doomed), octets)

    @property
    def guid(self) -> str:
        """32 hex digits that stay with the mailbox."""
        return f"{self.uid_validity:032x}"

    def first_unseen(self, view: View) -> int | None:
        with self.lock:
            for uid, bits in zip(self.rows.uids, self.rows.flags, strict=True):
                if not bits & SEEN and (number := view.sequence(uid)) is not None:
                    return number
            return None

    def columns(self, uids: Sequence[int], columns: Sequence[Column]) -> list[list[bytes | None]]:
        with self.lock:
            return self._reader.columns(uids, columns)

    def header_fields(self, uids: Sequence[int], names: Sequence[bytes], *, negate: bool = False) -> list[bytes | None]:
        with self.lock:
            return self._reader.header_fields(uids, names, negate)

    def message(self, uid: int) -> Message:
        with self.lock:
            return self._reader.message(uid)

    def blocks(self, uid: int) -> Iterator[bytes] | None:
        return None

    def message_at_once(self, uid: int) -> Message | None:
        return None

    def read_some(self, uids: Sequence[int], octets: int = READ_OCTETS) -> list[bytes | None]:
        found: list[bytes | None] = []
        asked = iter(uids)
        with self.lock:
            for uid, stored, _ in self.read_many(uids):
                while next(asked) != uid:
                    found.append(None)
                found.append(stored)
                octets -= len(stored)
                if octets < 0:
                    return found
        return found + [None for _ in asked]

    @property
    def fulltext(self) -> MailboxText | None:
        text = self.texts() if not self.deleted else None
        return text.mailbox(self.name, self.uid_validity) if text is not None else None

    def forget_messages(self) -> None:
        self._reader.forget()

    def _bits(self, uid: int) -> int | None:
        at = self.rows.position(uid)
        return self.rows.flags[at] if at is not None else self.rows.departed.get(uid)

    def flags(self, uid: int) -> list[str] | None:
        with self.lock:
            bits = self._bits(uid)
            return None if bits is None else self.table.names(bits)

    def with_flag(self, uids: Sequence[int], flag: str) -> set[int]:
        with self.lock:
            bit, rows = self.table.bit(flag), self.rows
            if not bit:
                return set()
            if len(uids) * 8 < len(rows):
                return {uid for uid in uids if (self._bits(uid) or 0) & bit}
            found = {uid for uid, bits in zip(rows.uids, rows.flags, strict=True) if bits & bit}
            found.update(uid for uid, bits in rows.departed.items() if bits & bit)
            return found.intersection(uids)

    def dates(self, uids: Sequence[int]) -> list[int | None]:
        with self.lock:
            return self._reader.dates(uids)

    def sizes(self, uids: Sequence[int]) -> list[int | None]:
        with self.lock:
            return self._reader.sizes(uids)

    def named_size(self, uid: int) -> int | None:
        """The size with CRLF where it is known without index and message."""
        return None

    def named_sizes(self, uids: Sequence[int]) -> list[int | None]:
        return [None] * len(uids)

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

    def identities(self, uids: Sequence[int], kind: str) -> list[str] | None:
        return None

    def saved_uidls(self, uids: Sequence[int]) -> list[str | None]:
        return [None] * len(uids)

    def save_uidls(self, uidls: Mapping[int, str]) -> None:  # noqa: B027
        """Most kinds have no place for them."""

    # --- changing ---------------------------------------------------------------------------------------------------

    def store_flags(self, uids: Sequence[int], action: FlagAction, flags: Sequence[str], *,
                    silent_for: View | None = None, unchanged_since: int | None = None) -> StoreResult:
        with self.lock:
            self._must_be_writable()
            self.look()
            mask = self._flag_mask()
            wanted = self.table.bits(flags) & mask if action is FlagAction.REMOVE else self.flag_bits(flags)
            positions: Sequence[int | None] = self.rows.positions(uids)
            refused: list[int] = []
            if unchanged_since is not None:
                refused = [uid for uid, at in zip(uids, positions, strict=True)
                           if at is not None and self.rows.modseqs[at] > unchanged_since]
                barred = set(refused)
                positions = [at for uid, at in zip(uids, positions, strict=True) if uid not in barred]
                uids = [uid for uid in uids if uid not in barred]
            changes, departed = self._flag_changes(uids, positions, _change(action, wanted, mask))
            changed = self.set_flags(self.apply_flags(changes), silent_for) if changes else []
            changed += self.rows.set_departed(departed, silent_for)
            if changes:
                self.flags_changed()
        if changed:
            self.tell()
        return StoreResult(changed, refused)

    def _flag_changes(self, uids: Sequence[int], positions: Sequence[int | None], change: Callable[[int], int]) -> (
            "tuple[list[Change], list[Change]]"):
        """What would be different: (position, flags); (uid, flags) of messages that are gone, but that views show."""
        flags, gone = self.rows.flags, self.rows.departed
        changes = [(at, new) for at in positions if at is not None and (new := change(flags[at])) != flags[at]]
        if not gone or None not in positions:
            return changes, []
        return changes, [(uid, new) for uid, at in zip(uids, positions, strict=True)
                         if at is None and uid in gone and (new := change(gone[uid])) != gone[uid]]

    def flag_bits(self, names: Sequence[str]) -> int:
        """The bits of those flags and keywords that the user may set; new keywords are made."""
        mask = self._flag_mask()
        unknown = self.table.unknown(names)
        if unknown and mask & KEYWORDS:
            if len(self.table.keywords) + len(unknown) > MAX_KEYWORDS:
                raise NotPossible("Too many keywords")
            self.make_keywords(unknown)
        return self.table.bits(names) & mask

    def _flag_mask(self) -> int:
        return -1 if self.rights is None else writable_flags(self.rights())

    def may(self, right: str) -> bool:
        return self.rights is None or right in self.rights()

    def may_write(self) -> bool:
        return self.rights is None or not WRITING.isdisjoint(self.rights())

    def _demand(self, right: str) -> None:
        if not self.may(right):
            raise NoPermission(f"{self.name} (missing right: {right})")

    def set_flags(self, changes: list[Change], origin: object = None) -> list[int]:
        """Flags that are in the files already come into memory and the index."""
        if not changes:
            return []
        self.highest_modseq += 1
        uids = self.rows.set_flags(changes, self.highest_modseq, origin)
        self.save_rows([at for at, _ in changes], [])
        return uids

    def save_rows(self, positions: Sequence[int], removed: Sequence[int]) -> None:
        """Rows that are new or changed, and UIDs that went, into the index."""
        rows = self.rows
        first_recent = min(self.unclaimed, default=self.uid_next)
        highest = self.highest_modseq
        if self.flags_in_files and not removed and len(positions) == len(rows):
            self.index.save_later(rows.uids[:], rows.flags[:], rows.modseqs[:],
                                  highest_modseq=highest, first_recent=first_recent)
            return
        changed = [(rows.uids[at], rows.flags[at], rows.modseqs[at]) for at in positions]
        if self.flags_in_files and not removed and changed:
            self.index.save_later(*zip(*changed, strict=True), highest_modseq=highest, first_recent=first_recent)
        else:
            self.index.save(changed, removed, highest_modseq=highest, first_recent=first_recent)

    def drop_rows(self, uids: Sequence[int]) -> list[int]:
        """Messages that are gone from the files leave memory and index."""
        gone = self.rows.remove(uids)
        if gone:
            self.unclaimed.difference_update(gone)
            self.highest_modseq += 1
            self.save_rows([], gone)
            self.trim_log()
        return gone

    def add_keywords(self, names: Sequence[str]) -> bool:
        with self.lock:
            unknown = self.table.unknown(names)
            if not unknown or self.table.full:
                return False
            self.make_keywords(unknown)
        self.tell()
        return True

    def expunge(self, uids: Sequence[int] | None = None) -> list[int]:
        with self.lock:
            self.look()
            wanted = None if uids is None else set(uids)
            marked = [uid for uid, bits in zip(self.rows.uids, self.rows.flags, strict=True)
                      if bits & DELETED and (wanted is None or uid in wanted)]
            return self.remove(marked)

    def remove(self, uids: Sequence[int]) -> list[int]:
        with self.lock:
            self._must_be_writable()
            self._demand("e")
            present = [uid for uid, at in zip(uids, self.rows.positions(uids), strict=True) if at is not None]
            sizes = dict(zip(present, self.quota_sizes(present), strict=True)) if self.quota is not None else {}
            gone = self.take_out(present) if present else []
            self.drop_rows(gone)
            self.counted([sizes.get(uid, 0) for uid in gone], removed=True)
        if gone:
            self.tell()
        return gone

    def adopt(self, uid_validity: int) -> bool:
        with self.lock:
            self.refresh()
            if self.deleted or not self.writable or self._views or len(self.rows) or self.uid_next > 1:
                return False
            return self.uid_validity == uid_validity or self.take_uid_validity(uid_validity)

    @abstractmethod
    def take_uid_validity(self, uid_validity: int) -> bool:
        """The mailbox is empty and was always; False: it can't be. Called under the lock."""

    def copy(self, uids: Sequence[int], target: Mailbox, *, move: bool = False) -> CopyResult:
        assert isinstance(target, BaseMailbox)
        if target.quota is not None and target.quota.makes_room:
            target.quota.make_room(target.quota_name, self.quota_sizes(uids, target.quota),
                                   moved_from=self._leaves(target) if move else "", spare=self.quota_name)
        with both_locked(self, target):
            self.look()
            if move:
                self._demand("e")
            target._must_be_writable()
            target._demand("i")
            present = [uid for uid, at in zip(uids, self.rows.positions(uids), strict=True) if at is not None]
            if len(present) != len(uids) and not move:
                raise MessageGone
            sizes = self.quota_sizes(present, target.quota)
            target.admit(sizes, moved_from=self._leaves(target) if move else "")
            if type(self) is type(target):
                result = self.copy_into(present, target)
                target.counted(sizes)
            else:
                result = copy_through(self, present, target)
            if move:
                left = sizes if self.quota is target.quota else self.quota_sizes(present)
                self.drop_rows(self.take_out(result.source_uids))
                self.counted(left, removed=True)
        target.tell()
        if move:
            self.tell()
        return result

    # --- quota ------------------------------------------------------------------------------------------------------

    def _leaves(self, target: "BaseMailbox") -> str:
        """For a MOVE: what of the target's quota gets free here."""
        return self.quota_name if self.quota is target.quota else ""

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

    def checkpoint(self) -> None:
        with self.lock:
            self.doubt()
            self.refresh()
            self.flush()

    def resync(self) -> None:
        with self.lock:
            self.forget_cached(self.rows.uids)
            self.doubt()
            self.refresh()
            self.flush()

    def forget_cached(self, uids: Sequence[int]) -> None:
        with self.lock:
            self._reader.forget()
            self.index.forget_cached(uids)
            self.doubts += 1
        if (text := self.fulltext) is not None:
            text.drop(uids)

    def update(self, change: IdentityChange) -> None:
        with self.lock:
            self._must_be_writable()
            self.look()
            self.give_identity(change)
            if self.deleted:
                return
            if change.least_modseq is not None and change.least_modseq > self.highest_modseq:
                self.highest_modseq = change.least_modseq
                self.save_rows([], [])
            if change.least_recent is not None:
                self.unclaimed = {uid for uid in self.unclaimed if uid >= change.least_recent}
                self.save_rows([], [])
        self.tell()

    def give_identity(self, change: IdentityChange) -> None:
        """UIDVALIDITY, GUID and next UID into the files (lock held). Raises NotPossible where a kind cannot."""
        if (change.uid_validity, change.guid, change.least_uid_next) != (None, None, None):
            raise NotPossible("This mailbox format keeps its UIDVALIDITY, GUID and next UID")

    def _must_be_writable(self) -> None:
        if not self.writable:
            raise NoPermission(self.name)

    def vanish(self) -> None:
        """The mailbox was deleted or renamed: views end with their next sync()."""
        self.deleted = True
        self._reader.forget()
        self.tell()
