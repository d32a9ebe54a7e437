"""What all kinds of mailboxes share, the layer that kinds are made from: views, copies, numbers, the end.

Below it: mailbox_kind.py (what a kind must say), mailbox_reading.py, mailbox_quota.py, mailbox_flags.py.
Everything public takes `lock`; one object serves all sessions.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mailsuite.store.api import CopyResult, IdentityChange, Mailbox, MessageGone, View
from mailsuite.store.events import hearing, telling
from mailsuite.store.mailbox_flags import FlaggedMailbox
from mailsuite.store.mailbox_kind import Change
from mailsuite.store.uid_set import UidSet
from mailsuite.store.view import MailboxView

__all__ = ["BaseMailbox", "Change", "both_locked", "copy_through"]


@contextmanager
def both_locked(one: Mailbox, other: Mailbox) -> Iterator[None]:
    """The locks of two mailboxes, always in the same order."""
    first, second = sorted((one, other), key=id)
    with first.lock, second.lock:
        yield


def copy_through(source: "BaseMailbox", uids: Sequence[int], target: "BaseMailbox") -> CopyResult:
    """COPY between mailboxes of different kinds, with both locks held: each message is read and written."""
    append = target.begin_append()
    try:
        for uid in uids:
            append.write(source.read_stored(uid))
            append.finish(source.flags(uid) or [], source.stored_date(uid))
        with telling(None):                     # a copy is not saved as well
            uid_validity, new = append.commit()
    except BaseException:
        append.abort()
        raise
    return CopyResult(uid_validity, list(uids), new)


class BaseMailbox(FlaggedMailbox):
    """See store/mailbox_api.Mailbox for the public methods."""

    # --- views --------------------------------------------------------------------------------------------------------

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

    def claim_recent(self) -> None:
        """A session takes all that is \\Recent."""
        self.unclaimed = UidSet()
        self.claimed()
        self.save_rows([], [])

    # --- copies -------------------------------------------------------------------------------------------------------

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
            events = hearing()
            if events is not None:
                events.copied(self, target, result.source_uids, result.target_uids)
            if move:
                went = None if events is None else events.removing(self, result.source_uids, moved=True)
                left = sizes if self.quota is target.quota else self.quota_sizes(present)
                gone = self.take_out(result.source_uids)
                self.drop_rows(gone)
                if went is not None:
                    went(gone)
                self.counted(left, removed=True)
        target.tell()
        if move:
            self.tell()
        return result

    # --- numbers and upkeep -------------------------------------------------------------------------------------------

    def adopt(self, uid_validity: int) -> bool:
        with self.lock:
            self.refresh()
            if self.deleted or not self.writable or self._views or len(self.rows) or self.uid_next > 1:
                return False
            return self.uid_validity == uid_validity or self.take_uid_validity(uid_validity)

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
                self.unclaimed = UidSet(uid for uid in self.unclaimed if uid >= change.least_recent)
                self.save_rows([], [])
        self.tell()

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

    def vanish(self) -> None:
        """The mailbox was deleted or renamed: views end with their next sync()."""
        self.deleted = True
        self._reader.forget()
        self.tell()
