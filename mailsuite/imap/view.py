"""One session's picture of the mailbox it has selected, and what it tells its client about changes.

    selected = Selected(mailbox, view)
    selected.sync(expunges=True) -> octets        untagged replies, in Dovecot's order:
        FLAGS and PERMANENTFLAGS (new keywords), FETCH (flags of others, and own ones unless silent), EXPUNGE, EXISTS,
        RECENT

When it may be called: between a command's own replies and its tagged line, and in IDLE. Numbers of messages that are
gone are kept (expunges=False) in FETCH, STORE and SEARCH, because the client counts on them (RFC 3501 section 7.4.1);
the UID forms of these commands may tell them.
Blocks: run it in a thread.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mailsuite.base.errors import PeerError
from mailsuite.imap import numbers
from mailsuite.imap.fetch_items import Item
from mailsuite.imap.reply import uid_required
from mailsuite.imap.syntax import Argument, Atom
from mailsuite.imap.updates import Update
from mailsuite.store.api import Changes, Column, Mailbox, View

SYSTEM_FLAGS = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
_RIGHT_OF = {"\\Deleted": "t", "\\Seen": "s"}         # RFC 4314 section 2.1; w for all others
MAX_MENTIONED = 100
BLOCK = 64 * 1024         # octets of output that are handed over at once


class Fresh(NamedTuple):
    """Items to fetch of messages that are new, and what is said behind that."""

    uids: Sequence[int]
    items: Sequence[Item]
    late: bytes = b""


class Selected:
    """mailbox and view: the store's. modseqs: tell MODSEQ with flags (CONDSTORE). vanished: QRESYNC is on.

    rev2: nothing is \\Recent, and every FETCH names the UID (RFC 9051). uid_only: no message number is said, and none
    is taken (RFC 9586).
    """

    def __init__(self, mailbox: Mailbox, view: View, *, name: str, rev2: bool = False, uid_only: bool = False) -> None:
        self.mailbox, self.view, self.name = mailbox, view, name
        self.rev2, self.uid_only = rev2, uid_only
        self.powerless = not view.read_only and not mailbox.may_write()     # STORE is answered, and does nothing
        self.read_only = view.read_only or self.powerless
        self.modseqs = self.vanished = False
        self.progress: tuple[bytes, bytes] | None = None       # of a long search: messages looked at, and of how many
        self.gone = False                      # the mailbox was deleted under the session
        self.known_modseq = 0                  # the highest that the client may believe itself at (QRESYNC)
        self.exists, self.uid_next = len(view.uids), mailbox.uid_next
        self.recent = len(view.recent)
        self.saved: list[int] = []             # UIDs of the last SEARCH RETURN (SAVE)
        self.updates: list[Update] = []        # searches that the client wants to be told about
        self.items: tuple[Item, ...] = ()      # what NOTIFY wants to see of new messages
        self.own_uids: set[int] = set()        # messages that this session put here: their maker knows them
        self.fresh: list[Fresh] = []           # after sync(): what is to be said of new messages
        self._mentioned: list[str] = []        # keywords that no message has, and this client spoke of
        self._told: set[str] = set()           # keywords that the client has seen in FLAGS, in lower case

    # --- message sets ---------------------------------------------------------------------------------------------

    def positions(self, argument: Argument | None, *, uid: bool) -> list[range]:
        """Positions of a set in this view. Raises PeerError in Dovecot's words."""
        what = "Invalid uidset" if uid else "Invalid messageset"
        if not isinstance(argument, Atom):
            raise PeerError("Invalid arguments")
        if argument == b"$":
            return self.ranges_of_uids(self.saved)
        if self.uid_only and not uid:
            raise uid_required()
        try:
            ranges = numbers.parse_set(argument)
            if uid:
                return numbers.positions_of_uids(ranges, self.view.uids)
            return numbers.positions_of_numbers(ranges, len(self.view.uids))
        except ValueError:
            raise PeerError(what) from None

    def ranges_of_uids(self, uids: Sequence[int]) -> list[range]:
        """Positions of those of the UIDs that this view still has."""
        return numbers.positions_of_uids(numbers.merge([(uid, uid) for uid in uids]), self.view.uids) if uids else []

    def uids_at(self, ranges: Iterable[range]) -> list[int]:
        uids = self.view.uids
        found: list[int] = []
        for each in ranges:
            found += uids[each.start:each.stop]
        return found

    def opening(self, uid: int) -> bytes:
        """How a FETCH reply of a message that this view has begins."""
        return b"* %d UIDFETCH (" % uid if self.uid_only else b"* %d FETCH (" % (self.view.sequence(uid) or 0)

    # --- replies --------------------------------------------------------------------------------------------------

    def flags_lines(self) -> bytes:
        """FLAGS and PERMANENTFLAGS."""
        keywords = self._keywords()
        self._told.update(name.lower() for name in keywords)
        names = " ".join((*SYSTEM_FLAGS, *keywords)).encode()
        lines = b"* FLAGS (%b)\r\n" % names
        if self.read_only:
            return lines + b"* OK [PERMANENTFLAGS ()] Read-only mailbox.\r\n"
        permitted = [flag for flag in SYSTEM_FLAGS if self.mailbox.may(_RIGHT_OF.get(flag, "w"))]
        if self.mailbox.may("w"):
            permitted += [*keywords, *(["\\*"] if self.mailbox.permanent_keywords else [])]
        return lines + b"* OK [PERMANENTFLAGS (%b)] Flags permitted.\r\n" % " ".join(permitted).encode()

    def _keywords(self) -> list[str]:
        """The mailbox's, and those that only this client spoke of."""
        keywords = self.mailbox.keywords
        if not self._mentioned:
            return keywords
        known = {name.lower() for name in keywords}
        return [*keywords, *(name for name in self._mentioned if name.lower() not in known)]

    def mention(self, keywords: Iterable[str]) -> None:
        """The client spoke of keywords: from the next sync on they are among its FLAGS, as with Dovecot."""
        known = {name.lower() for name in (*self.mailbox.keywords, *self._mentioned)}
        for name in keywords:
            if not name.startswith("\\") and name.lower() not in known and len(self._mentioned) < MAX_MENTIONED:
                known.add(name.lower())
                self._mentioned.append(name)

    def flags_text(self, uids: Sequence[int]) -> list[bytes]:
        """FLAGS of messages as they stand between the parentheses, \\Recent included."""
        column = self.mailbox.columns(uids, [Column.FLAGS])[0]
        return self.with_recent(uids, column)

    def with_recent(self, uids: Sequence[int], column: Sequence[bytes | None]) -> list[bytes]:
        recent = self.view.recent
        if not recent or self.rev2:
            return [flags or b"" for flags in column]
        if recent.covers(uids):
            return [b"%b \\Recent" % flags if flags else b"\\Recent" for flags in column]
        here = recent.intersection(uids)
        return [(b"%b \\Recent" % flags if flags else b"\\Recent") if uid in here else flags or b""
                for uid, flags in zip(uids, column, strict=True)]

    def sync(self, *, expunges: bool, refresh: bool = True, uid: bool = False, recent: bool | None = None,
             flags: bool = True) -> bytes:
        """Take over what happened and say it. uid: the FETCHes of a UID command name the UID.

        recent: say that there are more recent messages; by default with refresh only, as Dovecot does.
        flags: say which flags have changed. What `fresh` holds afterwards is to be said, too.
        """
        before, last = self.exists, self.view.uids[-1] if self.view.uids else 0
        self.fresh = []
        changes = self.view.sync(expunges=expunges, refresh=refresh)
        if changes.gone:
            self.gone = True
            return b""
        out: list[bytes] = []
        if any(name.lower() not in self._told for name in self._keywords()):
            out.append(self.flags_lines())
        if changes.flags and flags:
            out += self._flag_lines(changes, uid or self.vanished or self.rev2)
        if changes.expunged:
            before -= len(changes.expunged)
            if self.updates:
                known = dict(zip(changes.expunged_uids, changes.expunged, strict=True))
                out += [update.without(changes.expunged_uids, known.get) for update in self.updates]
            if self.vanished or self.uid_only:
                out.append(b"* VANISHED %b\r\n" % numbers.format_set(sorted(changes.expunged_uids)))
            else:
                out += [b"* %d EXPUNGE\r\n" % number for number in changes.expunged]
        self.exists, self.uid_next = len(self.view.uids), self.mailbox.uid_next
        if self.exists != before:
            out.append(b"* %d EXISTS\r\n" % self.exists)
        count = len(self.view.recent)
        if not self.rev2 and (count < self.recent or (count > self.recent and (refresh if recent is None else recent))):
            self.recent = count
            out.append(b"* %d RECENT\r\n" % count)
        self._find_fresh(last, [update.news(self.view.sequence) for update in self.updates])
        return b"".join(out)

    def _find_fresh(self, last: int, told: Sequence[bytes]) -> None:
        """What NOTIFY and searches that are kept up to date want to see of messages that are new (RFC 5465 sections 5.2
        and 7). told: of each search, what has changed."""
        new = self.view.uids[bisect_right(self.view.uids, last):]
        if self.items and (others := [uid for uid in new if uid not in self.own_uids]):
            self.fresh.append(Fresh(others, self.items))
        for update, line in zip(self.updates, told, strict=True):
            held = [uid for uid in new if update.holds(uid)] if update.items else []
            if held or line:
                self.fresh.append(Fresh(held, update.items, line))
        self.own_uids.clear()

    def _flag_lines(self, changes: Changes, uid: bool) -> list[bytes]:
        """FETCHes come before the EXPUNGEs, so with the numbers of before."""
        all_uids = self.view.uids
        uids = [all_uids[number - 1] for number in changes.flags]
        template, values = b"* %d FETCH (", [_numbers_before(changes.flags, changes.expunged)]
        if self.uid_only:
            template, values = b"* %d UIDFETCH (", [uids]
        elif uid:
            template, values = template + b"UID %d ", [*values, uids]
        if self.modseqs:
            # Of one that is expunged already the own one is forgotten.
            modseqs = [modseq or self.view.modseq for modseq in self.mailbox.modseqs(uids)]
            self.known_modseq = max(self.known_modseq, *modseqs)
            template, values = template + b"MODSEQ (%d) ", [*values, modseqs]
        flags = self.flags_text(uids)
        return list(map((template + b"FLAGS (%b))\r\n").__mod__, zip(*values, flags, strict=True)))

    def told_modseqs(self) -> None:
        """The client was told MODSEQs, and may believe itself at the highest while an expunge waits."""
        if self.view.modseq < (highest := self.mailbox.highest_modseq):
            self.known_modseq = max(self.known_modseq, highest)

    def close(self) -> None:
        self.view.close()


def _numbers_before(after: Sequence[int], expunged: Sequence[int]) -> list[int]:
    """Sequence numbers as they were before the expunges. after: ascending. expunged: descending, numbers of before."""
    if not expunged:
        return list(after)
    gone = sorted(expunged)
    result, passed = [], 0
    for number in after:
        while passed < len(gone) and gone[passed] <= number + passed:
            passed += 1
        result.append(number + passed)
    return result
