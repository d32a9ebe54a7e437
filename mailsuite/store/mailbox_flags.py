"""Changes of flags and removals: in the files, in memory, in the index. Under the mailbox's lock."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from mailsuite.store.api import FlagAction, NotPossible, StoreResult, View
from mailsuite.store.events import hearing
from mailsuite.store.flags import DELETED, KEYWORD_SHIFT, MAX_KEYWORDS
from mailsuite.store.mailbox_kind import Change
from mailsuite.store.mailbox_quota import CountedMailbox

if TYPE_CHECKING:
    from mailsuite.store.mailbox_api import Mailbox

KEYWORDS = -1 << KEYWORD_SHIFT


def _change(action: FlagAction, wanted: int, mask: int) -> Callable[[int], int]:
    """What becomes of flags. mask: those that the user may set."""
    if action is FlagAction.ADD:
        return wanted.__or__
    if action is FlagAction.REMOVE:
        return (~wanted).__and__
    return lambda old: old & ~mask | wanted


class FlaggedMailbox(CountedMailbox):
    """See store/mailbox_api.Mailbox for the public methods."""

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
            changed = self._carry_out(changes, silent_for) if changes else []
            changed += self.rows.set_departed(departed, silent_for)
            if changes:
                self.flags_changed()
        if changed:
            self.tell()
        return StoreResult(changed, refused)

    def _carry_out(self, changes: "list[Change]", silent_for: View | None) -> list[int]:
        events = hearing()
        before = {} if events is None else {self.rows.uids[at]: self.rows.flags[at] for at, _ in changes}
        changed = self.set_flags(self.apply_flags(changes), silent_for)
        if events is not None:
            events.flags_changed(cast("Mailbox", self), [
                (uid, before[uid], self.rows.flags[at]) for uid, at in
                zip(changed, self.rows.positions(changed), strict=True) if at is not None and uid in before])
        return changed

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
            marked = self.rows.uids_where(DELETED.__and__)
            return self.remove(marked if wanted is None else [uid for uid in marked if uid in wanted])

    def remove(self, uids: Sequence[int]) -> list[int]:
        with self.lock:
            self._must_be_writable()
            self._demand("e")
            present = [uid for uid, at in zip(uids, self.rows.positions(uids), strict=True) if at is not None]
            sizes = dict(zip(present, self.quota_sizes(present), strict=True)) if self.quota is not None else {}
            events = hearing() if present else None
            went = None if events is None else events.removing(cast("Mailbox", self), present)
            gone = self.take_out(present) if present else []
            self.drop_rows(gone)
            if went is not None:
                went(gone)
            self.counted([sizes.get(uid, 0) for uid in gone], removed=True)
        if gone:
            self.tell()
        return gone

    # --- memory and index ---------------------------------------------------------------------------------------------

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
        first_recent = self.unclaimed.first or self.uid_next
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
