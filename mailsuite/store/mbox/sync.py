"""Looking at an mbox file: which messages are in it, which UID each has, what other programs did.

look() reads only what was appended when nothing before it seems to have moved; a thorough look, before a session begins
and before anything is written, reads the whole file. Messages are known again by X-UID or by a digest of their header.
"""

import hashlib
import os
import struct
import time
from collections.abc import Sequence

from mailsuite.store.api import NotPossible, StoreError
from mailsuite.store.dovecot_log import NOTHING, Known, read_log
from mailsuite.store.flags import MAX_KEYWORDS, is_keyword
from mailsuite.store.index import Index
from mailsuite.store.mailbox import BaseMailbox, Change
from mailsuite.store.mbox.file import MboxFile
from mailsuite.store.mbox.headers import strip_state
from mailsuite.store.mbox.parse import Data, Span, State, read_state, scan
from mailsuite.store.options import StoreOptions
from mailsuite.store.uid_validity import new_uid_validity

TICK_NS = 50_000_000        # see maildir/scan.py

HEAD = 65536                # octets of a header that are compared

Stamp = tuple[int, int, int, int]

_STATE = struct.Struct("<II")


def stamp_of(info: os.stat_result) -> Stamp:
    """What is another after each change. Programs put back a file's time (mutt does, in whole seconds), but not the
    time of its inode."""
    return info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


class ScannedMbox(BaseMailbox):
    """path: of the file; one that isn't there is an empty mailbox. control: the folder where UIDVALIDITY values are
    counted. journal: see file.py. dovecot_log: of Dovecot's index."""

    def __init__(self, name: str, path: str, index: Index, options: StoreOptions, journal: str | None,
                 sender: str, control: str, dovecot_log: str = "") -> None:
        super().__init__(name, index, options)
        self.path, self.sender, self.control, self.dovecot_log = path, sender, control, dovecot_log
        self.file = MboxFile(path, options, journal, privileged=name == "INBOX")
        self.spans: dict[int, Span] = {}
        self._digests: dict[int, bytes] = {}            # of messages whose X-UID is not in the file yet
        self._dirty: set[int] = set()                   # flags are newer than the file's
        self.old: set[int] = set()                      # those with O in Status
        self._stamp: Stamp | None = None
        self._settled = self._opened = False
        self._base = b""                                # X-IMAPbase as it is in the file
        self._doubtful = False
        self._floor = 1                                 # UIDs from here on were not known to us before this look
        self._state_of = (0, 0)                         # next UID and number of digests that the index has
        self._held: Data | None = None                  # the file, while bulk() has it open
        self._last = b""                                # see _last_head
        self.pseudo: Span | None = None                 # it holds X-IMAPbase's text in its X-IMAP
        self._looked = False                            # messages that come now are new
        self._log_stamp: tuple[int, int, int] | None = None
        self.end = 0
        self._may_write = False                         # only looked at: the file stays as it is
        self.writable = os.access(path, os.W_OK) or not os.path.exists(path)

    # --- looking ----------------------------------------------------------------------------------------------------

    def look(self) -> None:
        if self._opened and self._settled and self._stamp == self._stat():
            return
        with self.file.reading() as opened:
            if opened is None:
                if self._opened and self._stamp is not None:
                    self.vanish()
                else:
                    self._take_over(b"", [], 0)
                self._stamp = None
                return
            data, info = opened
            self._read(data, info)

    def _stat(self) -> Stamp | None:
        try:
            info = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(str(error)) from error
        return stamp_of(info)

    def _read(self, data: Data, info: os.stat_result, *, whole: bool = False) -> None:
        """Take over the file's content; the caller holds a lock on it. whole: also if it only grew."""
        stamp = stamp_of(info)
        self._settled = time.time_ns() - info.st_ctime_ns > TICK_NS
        if self._opened and stamp == self._stamp:
            return
        start = self.end if not whole and self._grew_only(data, info) else 0
        try:
            found = list(scan(data, start))
        except ValueError as error:
            if start == 0:
                raise NotPossible("Mailbox isn't a valid mbox file") from error
            self.end = 0            # it did not only grow
            self._read(data, info)
            return
        self._doubtful = start > 0
        self._take_over(data, found, start)
        self.note_end(data, info)

    def note_end(self, data: Data, info: os.stat_result) -> None:
        """Memory shows the whole file."""
        self._stamp, self.end = stamp_of(info), info.st_size
        self._last = self._last_head(data)

    def _base_stands(self, data: Data) -> bool:
        """Is X-IMAPbase where it was, and does it tell of no UIDs that we don't know? Another program may have given
        some to messages that are gone again."""
        span = self.pseudo if self.pseudo is not None else self.spans[self.rows.uids[0]]
        if data[span.start: span.start + 5] != b"From ":
            return False
        base = read_state(data[span.header - 1: span.body]).base
        return base is None or base[0] == self.uid_validity and base[1] < self.uid_next

    def _last_head(self, data: Data) -> bytes:
        """From line and header of the last message: another one where it was means that messages moved."""
        if not len(self.rows):
            return b""
        span = self.spans[self.rows.uids[-1]]
        return hashlib.blake2b(data[span.start: min(span.body, span.start + HEAD)], digest_size=8).digest()

    def doubt(self) -> None:
        """Only what was appended has been read: another program may have changed headers before it as well."""
        if not self.options.very_dirty_syncs:
            self.distrust()

    def distrust(self) -> None:
        """The next look reads all of the file, if the last one did not."""
        if self._doubtful:
            self._stamp, self._doubtful, self.end = (0, 0, 0, 0), False, 0

    def _grew_only(self, data: Data, info: os.stat_result) -> bool:
        """Something was appended, and the last message we know is where it was."""
        if not self._opened or not self.end or not self.options.dirty_syncs:
            return False
        if self._stamp is None or info.st_ino != self._stamp[0]:
            return False
        if len(data) <= self.end or not self.spans or data[self.end: self.end + 5] != b"From ":
            return False
        span = self.spans[self.rows.uids[-1]] if self.rows.uids else None
        return span is not None and span.next == self.end and self._last_head(data) == self._last \
            and self._base_stands(data)

    def _take_over(self, data: Data, found: list[tuple[Span, State]], start: int) -> None:
        if start == 0:
            self._begin(found)
            self.pseudo = None
            if found and found[0][1].pseudo:
                self.pseudo = found[0][0]
                found = found[1:]
        else:
            self._floor = self.uid_next
        known = self._known() if start == 0 else {}
        last = self.rows.uids[-1] if start and self.rows.uids else 0
        by_digest = {digest: uid for uid, digest in sorted(self._digests.items(), reverse=True)} if start == 0 else {}
        spans: dict[int, Span] = self.spans if start else {}
        order: list[tuple[int, State]] = []
        for span, state in found:
            uid = state.uid if state.uid is not None and last < state.uid < self.uid_next else None
            if uid is not None and uid < self._floor and uid not in known:
                uid = None          # one that was given before, to another message
            digest = b""
            if uid is None:
                digest = _digest(data, span)
                uid = by_digest.pop(digest, None)
                if uid is None or uid <= last:
                    uid = self.uid_next
                    self.uid_next += 1
                self._digests[uid] = digest
            else:
                self._digests.pop(uid, None)
            spans[uid] = span
            order.append((uid, state))
            last = uid
        self.spans = spans
        self._update_rows(order, known, whole=start == 0)
        self._looked = True

    def _begin(self, found: list[tuple[Span, State]]) -> None:
        """UIDVALIDITY, next UID and keywords, from the first message or from the index."""
        base = found[0][1].base if found else None
        first = not self._opened
        if base is not None and not first and not self.spans and not found[0][1].pseudo and self.uid_next > 1:
            base = None             # mail that came into an emptied mailbox doesn't tell what the mailbox is
        theirs = self._ask_dovecot()
        if first:
            self._open_index(base[0] if base else None, theirs.uid_validity)
        self._floor = self.uid_next
        if theirs.uid_validity in (0, base[0] if base else self.index.uid_validity):
            self.uid_next = max(self.uid_next, theirs.next_uid)
        self.highest_modseq = max(self.highest_modseq, theirs.modseq)
        if base is not None:
            if not first and self.uid_validity and base[0] != self.uid_validity:
                self.vanish()
                return
            self.uid_validity = base[0]
            self.uid_next = max(self.uid_next, base[1] + 1)
            for keyword in filter(is_keyword, map(_text, base[2][:MAX_KEYWORDS])):
                self.table.add(keyword)
            self._base = b"%d %010d%b" % (base[0], base[1], b"".join([b" " + word for word in base[2]]))
        else:
            self._base = b""
            self.uid_validity = self.uid_validity or self.index.uid_validity or new_uid_validity(self.control)
        if first:
            self.index.set_uid_validity(self.uid_validity)
        self._opened = True

    def _open_index(self, told: int | None, dovecots: int) -> None:
        """told: UIDVALIDITY in the file. Where it has none, the last who made the mailbox knows."""
        self.index = self._database.mailbox(self.name, told)
        if told is None and dovecots > self.index.uid_validity:
            self.index = self._database.mailbox(self.name, dovecots)
        self.highest_modseq = self.index.highest_modseq
        if len(self.index.state) >= _STATE.size:
            self.uid_next = max(self.uid_next, _STATE.unpack_from(self.index.state)[1])

    def _ask_dovecot(self) -> Known:
        """What Dovecot's log says since we last asked; nothing when it is as it was."""
        try:
            info = os.stat(self.dovecot_log)
        except OSError:
            return NOTHING
        stamp = (info.st_ino, info.st_size, info.st_mtime_ns)
        if stamp == self._log_stamp:
            return NOTHING
        self._log_stamp = stamp
        return read_log(self.dovecot_log, uids=True)

    def _known(self) -> dict[int, tuple[int, int, bool]]:
        """uid -> (flags, modseq, newer than the file's)."""
        if len(self.rows) or self.spans:
            return {uid: (bits, modseq, uid in self._dirty) for uid, bits, modseq in
                    zip(self.rows.uids, self.rows.flags, self.rows.modseqs, strict=True)}
        known = self.index.load_all()
        self._dirty = {uid for uid, row in known.items() if row[2]}
        state = self.index.state[_STATE.size:]
        for at in range(0, len(state) - 11, 12):
            self._digests[int.from_bytes(state[at: at + 4], "little")] = state[at + 4: at + 12]
        return known

    def _file_bits(self, state: State) -> int:
        bits = state.bits
        for name in filter(is_keyword, map(_text, state.keywords)):
            bits |= self.table.bit(name) if self.table.full else self.table.add(name)
        return bits

    def _update_rows(self, order: list[tuple[int, State]], known: dict[int, tuple[int, int, bool]], *,
                     whole: bool) -> None:
        rows = self.rows
        opening = whole and not len(rows)
        changes: list[Change] = []
        gone: list[int] = []
        if whole and not opening:
            present = {uid for uid, _ in order}
            gone = [uid for uid in rows.uids if uid not in present]
        new: list[tuple[int, int, int]] = []
        last_old = 0
        for uid, state in order:
            if state.old:
                self.old.add(uid)
                last_old = uid
            at = rows.position(uid)
            if at is not None:
                bits = rows.flags[at] if uid in self._dirty else self._file_bits(state)
                if bits != rows.flags[at]:
                    changes.append((at, bits))
                continue
            flags, modseq, dirty = known.get(uid, (-1, 0, False))
            bits = flags if dirty else self._file_bits(state)
            new.append((uid, bits, modseq if bits == flags and modseq else 0))
        self.set_flags(changes)
        self.forget_messages()
        self.drop_rows(gone)
        self._forget_uids(gone)
        self._add(new, last_old)
        stale = [uid for uid in known if opening and uid not in self.spans]
        if stale:
            self._forget_uids(stale)
            self.save_rows([], stale)

    def _forget_uids(self, uids: Sequence[int]) -> None:
        self._dirty.difference_update(uids)
        self.old.difference_update(uids)
        for uid in uids:
            self._digests.pop(uid, None)

    def _add(self, new: list[tuple[int, int, int]], last_old: int) -> None:
        if not new:
            return
        if any(not modseq for _, _, modseq in new) and (self._looked or self.index.known):
            self.highest_modseq += 1
        first, changed = len(self.rows), []
        for uid, bits, modseq in new:
            if not modseq:
                changed.append(len(self.rows))
            self.rows.append(uid, bits, modseq or self.highest_modseq, b"")
        fresh = [uid for uid, _, _ in new if uid > last_old and uid not in self.old]
        seen_before = self.index.first_recent if self.index.known and first == 0 else 0
        self.unclaimed.update(uid for uid in fresh if uid >= seen_before)
        if changed:
            self._save(changed)

    def _save(self, positions: Sequence[int]) -> None:
        self.save_rows(positions, [])

    def save_rows(self, positions: Sequence[int], removed: Sequence[int]) -> None:
        rows = self.rows
        state = None
        if (self.uid_next, len(self._digests)) != self._state_of:
            self._state_of = (self.uid_next, len(self._digests))
            state = _STATE.pack(self.uid_validity, self.uid_next) + b"".join(
                [uid.to_bytes(4, "little") + digest for uid, digest in self._digests.items()])
        self.index.save([(rows.uids[at], rows.flags[at], rows.modseqs[at]) for at in positions], removed,
                        highest_modseq=self.highest_modseq, first_recent=self.unclaimed.first or self.uid_next,
                        state=state, dirty=self._dirty)


def _text(keyword: bytes) -> str:
    return keyword.decode("utf-8", "surrogateescape")


def _digest(data: Data, span: Span) -> bytes:
    """What stays of a message while programs write state headers into it."""
    text = data[span.start: span.header] + strip_state(data[span.header: span.body])
    return hashlib.blake2b(text, digest_size=8).digest()
