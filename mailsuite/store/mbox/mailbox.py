"""One mbox file as a mailbox: see store/mailbox.py for what is shared, store/api.py for what it means.

What is in memory and index may be newer than the file: flags, UIDs and \\Recent are written at CHECK, EXPUNGE and when
the last session leaves (mbox_lazy_writes), in place where the headers have room. look() reads only what was appended
when nothing before it moved; else the whole file, and messages are known again by X-UID or by a digest of their header.
"""

import hashlib
import os
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mailsuite.store.api import Append, CopyResult, MessageGone, NoPermission, NotPossible, StoreError
from mailsuite.store.flags import KEYWORD_SHIFT
from mailsuite.store.index import Index
from mailsuite.store.mailbox import BaseMailbox, Change
from mailsuite.store.mbox.append import MboxAppend, copy_messages
from mailsuite.store.mbox.file import MboxFile, OpenFile
from mailsuite.store.mbox.headers import Wanted, strip_state
from mailsuite.store.mbox.parse import Data, Span, State, parse_from_line, scan
from mailsuite.store.mbox.rewrite import rewrite
from mailsuite.store.options import StoreOptions

TICK_NS = 50_000_000
MAX_UID = 0xFFFFFFFF

_STATE = struct.Struct("<II")


class MboxMailbox(BaseMailbox):
    """path: of the file; one that isn't there is an empty mailbox. journal: see file.py."""

    def __init__(self, name: str, path: str, index: Index, options: StoreOptions, journal: str | None,
                 sender: str) -> None:
        super().__init__(name, index, options)
        self.path, self.sender = path, sender
        self.file = MboxFile(path, options, journal)
        self.spans: dict[int, Span] = {}
        self._digests: dict[int, bytes] = {}            # of messages whose X-UID is not in the file yet
        self._dirty: set[int] = set()                   # flags are newer than the file's
        self.old: set[int] = set()                      # those with O in Status
        self._stamp: tuple[int, int, int] | None = None
        self._settled = self._opened = False
        self._base = b""                                # X-IMAPbase as it is in the file
        self._doubtful = False
        self._state_of = (0, 0)                         # next UID and number of digests that the index has
        self._held: Data | None = None                  # the file, while bulk() has it open
        self._first_start = 0                           # behind a pseudo message
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

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            info = os.stat(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(str(error)) from error
        return info.st_ino, info.st_size, info.st_mtime_ns

    def _read(self, data: Data, info: os.stat_result) -> None:
        """Take over the file's content; the caller holds a lock on it."""
        stamp = (info.st_ino, info.st_size, info.st_mtime_ns)
        self._settled = time.time_ns() - info.st_mtime_ns > TICK_NS
        if self._opened and stamp == self._stamp:
            return
        start = self.end if self._grew_only(data, info) else 0
        self._doubtful = start > 0
        try:
            found = list(scan(data, start))
        except ValueError as error:
            raise NotPossible("Mailbox isn't a valid mbox file") from error
        self._take_over(data, found, start)
        self._stamp, self.end = stamp, len(data)

    def doubt(self) -> None:
        """Only what was appended has been read: another program may have changed headers before it as well."""
        if self._doubtful:
            self._stamp, self._doubtful, self.end = (0, 0, 0), False, 0

    def _grew_only(self, data: Data, info: os.stat_result) -> bool:
        """Something was appended, and the last message we know is where it was."""
        if not self._opened or not self.end or self._stamp is None or info.st_ino != self._stamp[0] or len(data) <= self.end \
                or not self.spans or data[self.end: self.end + 5] != b"From ":
            return False
        span = self.spans[self.rows.uids[-1]] if self.rows.uids else None
        return span is not None and span.next == self.end and data[span.start: span.start + 5] == b"From " \
            and data[self._first_start: self._first_start + 5] == b"From "

    def _take_over(self, data: Data, found: list[tuple[Span, State]], start: int) -> None:
        if start == 0:
            self._begin(found)
            if found and found[0][1].pseudo:
                found = found[1:]
            self._first_start = found[0][0].start if found else 0
        known = self._known() if start == 0 else {}
        last = self.rows.uids[-1] if start and self.rows.uids else 0
        by_digest = {digest: uid for uid, digest in sorted(self._digests.items(), reverse=True)} if start == 0 else {}
        spans: dict[int, Span] = self.spans if start else {}
        order: list[tuple[int, State]] = []
        for span, state in found:
            uid = state.uid if state.uid is not None and last < state.uid < self.uid_next else None
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

    def _begin(self, found: list[tuple[Span, State]]) -> None:
        """UIDVALIDITY, next UID and keywords, from the first message or from the index."""
        base = found[0][1].base if found else None
        first = not self._opened
        if first:
            self.index = self._database.mailbox(self.name, base[0] if base else None)
            self.highest_modseq = self.index.highest_modseq
            if len(self.index.state) >= _STATE.size:
                self.uid_next = max(self.uid_next, _STATE.unpack_from(self.index.state)[1])
        if base is not None:
            if not first and self.uid_validity and base[0] != self.uid_validity:
                self.vanish()
                return
            self.uid_validity = base[0]
            self.uid_next = max(self.uid_next, base[1] + 1)
            for keyword in base[2]:
                self.table.add(keyword.decode("utf-8", "surrogateescape"))
            self._base = b"%d %010d%b" % (base[0], base[1], b"".join([b" " + word for word in base[2]]))
        else:
            self._base = b""
            self.uid_validity = self.uid_validity or self.index.uid_validity or int(time.time())
        if first:
            self.index.set_uid_validity(self.uid_validity)
        self._opened = True

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
        for keyword in state.keywords:
            bits |= self.table.add(keyword.decode("utf-8", "surrogateescape"))
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
        if any(not modseq for _, _, modseq in new) and (len(self.rows) or self.index.known):
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
                        highest_modseq=self.highest_modseq, first_recent=min(self.unclaimed, default=self.uid_next),
                        state=state, dirty=self._dirty)

    # --- reading ----------------------------------------------------------------------------------------------------

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """The file stays open and locked, so nobody moves messages meanwhile."""
        self.look()
        with self.file.reading() as opened:
            if opened is not None and (opened[1].st_ino, opened[1].st_size, opened[1].st_mtime_ns) == self._stamp:
                self._held = opened[0]
            try:
                yield
            finally:
                self._held = None

    def _octets(self, uid: int, *, head: bool = False) -> tuple[Span, bytes]:
        """The message's span and its octets from the From line on; head: only that line."""
        if self._held is not None:
            span = self.spans.get(uid)
            if span is None or self.rows.position(uid) is None:
                raise MessageGone
            return span, self._held[span.start: span.header if head else span.end]
        for again in (True, False):
            self.look()
            span = self.spans.get(uid)
            if span is None or self.rows.position(uid) is None:
                raise MessageGone
            with self.file.reading() as opened:
                if opened is None:
                    raise MessageGone
                data, info = opened
                if (info.st_ino, info.st_size, info.st_mtime_ns) == self._stamp or not again:
                    return span, data[span.start: span.header if head else span.end]
        raise MessageGone

    def read_stored(self, uid: int) -> bytes:
        span, octets = self._octets(uid)
        header = octets[span.header - span.start: span.body - span.start]
        return strip_state(header) + octets[span.body - span.start:]

    def from_line(self, uid: int) -> bytes:
        """With its line end."""
        return self._octets(uid, head=True)[1]

    def stored_date(self, uid: int) -> int:
        parsed = parse_from_line(self.from_line(uid))
        return parsed[1] if parsed else 0

    def stored_size(self, uid: int) -> int | None:
        return None

    # --- changing ---------------------------------------------------------------------------------------------------

    def apply_flags(self, changes: list[Change]) -> list[Change]:
        self._may_write = True
        self._dirty.update(self.rows.uids[at] for at, _ in changes)
        return changes

    def store_flush(self) -> None:
        """mbox_lazy_writes = no."""
        if not self.options.lazy_writes:
            self.flush()

    def claimed(self) -> None:
        self._may_write = True

    def wanted(self, uid: int, *, first: bool) -> Wanted:
        """The state that the file should show of a message."""
        at = self.rows.position(uid)
        assert at is not None
        bits = self.rows.flags[at]
        keywords = [name.encode("utf-8", "surrogateescape") for number, name in enumerate(self.table.keywords)
                    if bits >> (KEYWORD_SHIFT + number) & 1]
        return Wanted(uid, bits, uid not in self.unclaimed, tuple(keywords), self.base_text() if first else None)

    def base_text(self) -> bytes:
        words = "".join([" " + name for name in self.table.keywords]).encode("utf-8", "surrogateescape")
        return b"%d %010d%b" % (self.uid_validity, self.uid_next - 1, words)

    def flush(self) -> None:
        if not self._may_write or not self.writable or self.deleted or not len(self.rows):
            return
        if self._base == self.base_text() and not self._stale():
            return
        with self.locked() as file:
            rewrite(self, file, self._stale(), frozenset())
            self.written(file)

    def _stale(self) -> set[int]:
        """Messages whose state headers are not what they should be."""
        fresh = {uid for uid in self.rows.uids if uid not in self.old and uid not in self.unclaimed}
        return fresh | self._dirty | set(self._digests)

    def locked(self) -> "_Locked":
        return _Locked(self)

    def read_locked(self, file: OpenFile) -> None:
        """Look again, thoroughly, under the write locks: offsets have to be right."""
        self.doubt()
        with file.data() as data:
            self._read(data, os.fstat(file.fd))

    def written(self, file: OpenFile) -> None:
        """The file shows what memory holds; spans have been brought up to date."""
        self._dirty.clear()
        self._digests.clear()
        self.old = set(self.rows.uids).difference(self.unclaimed)
        self._base = self.base_text() if len(self.rows) else b""
        info = os.fstat(file.fd)
        self._stamp, self.end = (info.st_ino, info.st_size, info.st_mtime_ns), info.st_size
        self._settled = True
        self._first_start = self.spans[self.rows.uids[0]].start if len(self.rows) else 0
        self.forget_messages()
        self.save_rows(range(len(self.rows)), [])

    def take_out(self, uids: list[int]) -> list[int]:
        self._may_write = True
        with self.locked() as file:
            gone = set(uids).intersection(self.spans)
            if gone:
                rewrite(self, file, self._stale(), gone)
            for uid in gone:
                self.spans.pop(uid, None)
            result = self.drop_rows([*gone, *[uid for uid in uids if uid not in gone]])
            self._forget_uids(result)
            self.written(file)
        return result

    def begin_append(self) -> Append:
        return MboxAppend(self)

    def copy_into(self, uids: Sequence[int], target: BaseMailbox) -> CopyResult:
        assert isinstance(target, MboxMailbox)
        return copy_messages(self, uids, target)

    def note_write(self) -> None:
        self._may_write = True

    def appended(self, file: OpenFile, gap: bytes) -> None:
        """Messages were put at the end; what stood there before got `gap` behind it."""
        info = os.fstat(file.fd)
        if not self._base and self.rows.uids and self.spans[self.rows.uids[0]].start == 0:
            self._base = self.base_text()
        self._stamp, self.end = (info.st_ino, info.st_size, info.st_mtime_ns), info.st_size
        self._settled = True

    def watch_paths(self) -> list[str]:
        return [self.path] if os.path.exists(self.path) else [os.path.dirname(self.path)]

    def identities(self, uids: Sequence[int], kind: str) -> list[str] | None:
        if kind not in ("guid", "header_md5"):
            return None
        found = []
        with self.lock:
            for uid in uids:
                try:
                    header = self.message(uid).header
                    found.append(hashlib.md5(header, usedforsecurity=False).hexdigest())
                except MessageGone:
                    found.append("")
        return found


class _Locked:
    """The write locks, and a look under them. Raises NoPermission when the file can't be written."""

    def __init__(self, mailbox: MboxMailbox) -> None:
        self._mailbox = mailbox
        self._context = mailbox.file.writing(make=True)

    def __enter__(self) -> OpenFile:
        file = self._context.__enter__()
        try:
            self._mailbox.read_locked(file)
            if self._mailbox.deleted:
                raise NoPermission("the mailbox was replaced")
        except BaseException as error:
            self._context.__exit__(type(error), error, error.__traceback__)
            raise
        return file

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(*error)          # type: ignore[arg-type]


def _digest(data: Data, span: Span) -> bytes:
    """What stays of a message while programs write state headers into it."""
    text = data[span.start: span.header] + strip_state(data[span.header: span.body])
    return hashlib.blake2b(text, digest_size=8).digest()
