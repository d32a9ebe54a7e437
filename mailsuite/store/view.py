"""A session's picture of a mailbox: which messages it knows by which number, and which are \\Recent to it.

Implements store/api.View. A view learns of changes in sync() only, so sequence numbers stay what the client was told
(RFC 3501 section 7.4.1: no EXPUNGE while FETCH, STORE or SEARCH is answered). Belongs to one session; sync() and
close() take the mailbox's lock.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mailsuite.store.api import Changes
from mailsuite.store.rows import FlagChange
from mailsuite.store.uid_set import UidSet

if TYPE_CHECKING:
    from mailsuite.store.mailbox import BaseMailbox


class MailboxView:
    """Made by BaseMailbox.open_view()."""

    def __init__(self, mailbox: "BaseMailbox", *, read_only: bool, claim_recent: bool) -> None:
        self._mailbox, self._read_only, self._claims = mailbox, read_only, claim_recent and not read_only
        self.uids = mailbox.rows.uids[:]
        self.recent = UidSet()
        self.seen_log = mailbox.rows.now
        self._expunged: set[int] = set()        # not announced yet
        self.modseq = mailbox.highest_modseq
        self._keywords = len(mailbox.keywords)
        self._take_recent()
        self._told_recent = len(self.recent)
        self.closed = False

    @property
    def mailbox(self) -> "BaseMailbox":
        return self._mailbox

    @property
    def read_only(self) -> bool:
        return self._read_only

    @property
    def waits_for_expunge(self) -> bool:
        return bool(self._expunged)

    def sync(self, *, expunges: bool, refresh: bool = True) -> Changes:
        mailbox = self._mailbox
        with mailbox.lock:
            if mailbox.deleted:
                return Changes(gone=True)
            if refresh:
                mailbox.refresh()
                if mailbox.deleted:
                    return Changes(gone=True)
            return self._sync(expunges)

    def _sync(self, expunges: bool) -> Changes:
        rows = self._mailbox.rows
        touched: set[int] = set()
        for entry in rows.changes_since(self.seen_log):
            if not isinstance(entry, FlagChange):
                self._expunged.update(entry.uids)
            elif entry.origin is not self:
                touched.update(entry.uids)
        self.seen_log = rows.now
        expunged, expunged_uids = self._drop_expunged() if expunges and self._expunged else ([], [])
        if not self._expunged:
            self.modseq = self._mailbox.highest_modseq
        arrived = rows.after(self.uids[-1] if self.uids else 0)
        self.uids.extend(arrived)
        self._take_recent()
        recent = len(self.recent)
        told, self._told_recent = self._told_recent, recent
        keywords, self._keywords = self._keywords != len(self._mailbox.keywords), len(self._mailbox.keywords)
        if arrived:
            self._mailbox.arrived(recent)
        touched.difference_update(arrived)
        if len(touched) * 8 < len(self.uids):
            changed = [number for uid in sorted(touched) if (number := self.sequence(uid)) is not None]
        else:
            changed = [number for number, uid in enumerate(self.uids, 1) if uid in touched]
        self._mailbox.trim_log()
        return Changes(expunged, expunged_uids, len(self.uids) if arrived else None,
                       recent if recent != told or arrived and recent else None, changed, keywords)

    def _drop_expunged(self) -> tuple[list[int], list[int]]:
        """Sequence numbers and UIDs, descending, of what leaves the view."""
        numbers, uids = [], []
        for uid in sorted(self._expunged, reverse=True):
            number = self.sequence(uid)
            if number is not None:
                numbers.append(number)
                uids.append(uid)
        if len(uids) < 50:
            for number in numbers:
                del self.uids[number - 1]
        else:
            gone = set(uids)
            self.uids = array("I", [uid for uid in self.uids if uid not in gone])
        self.recent.difference_update(uids)
        self._expunged.clear()
        return numbers, uids

    def _take_recent(self) -> None:
        """The first session that may change the mailbox gets \\Recent; others only look."""
        unclaimed = self._mailbox.unclaimed
        if not unclaimed:
            return
        if self._claims and not self.recent and len(self.uids) == len(self._mailbox.rows):
            self.recent, self._mailbox.unclaimed = unclaimed, UidSet()      # all that are there, and no others
        elif len(self.uids) == len(self._mailbox.rows):
            self.recent.update(unclaimed)
        elif len(unclaimed) * 8 < len(self.uids):
            self.recent.update(uid for uid in unclaimed if self.sequence(uid) is not None)
        else:
            self.recent.update(unclaimed.intersection(self.uids))
        if self._claims:
            self._mailbox.claim_recent()

    def sequence(self, uid: int) -> int | None:
        at = bisect_left(self.uids, uid)
        return at + 1 if at < len(self.uids) and self.uids[at] == uid else None

    def positions(self, ranges: Iterable[range], *, uid: bool) -> list[int]:
        found: list[int] = []
        last = -1
        for wanted in sorted(ranges, key=lambda one: one.start):
            if uid:
                start, stop = bisect_left(self.uids, wanted.start), bisect_left(self.uids, wanted.stop)
            else:
                start, stop = max(0, wanted.start - 1), min(len(self.uids), wanted.stop - 1)
            start = max(start, last + 1)
            if start < stop:
                found.extend(range(start, stop))
                last = stop - 1
        return found

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._mailbox.view_closed(self)
