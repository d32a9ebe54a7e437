"""One mbox file as a mailbox: reading, flags, expunging, appending, copying. What is there: sync.py.

What is in memory and index may be newer than the file: flags, UIDs and \\Recent are written at CHECK, EXPUNGE and when
the last session leaves (mbox_lazy_writes), in place where the headers have room.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Literal

from mailsuite.message.crlf import BlockConverter, to_crlf
from mailsuite.store.api import Append, CopyResult, MessageGone, NoPermission, StoreError
from mailsuite.store.flags import KEYWORD_SHIFT
from mailsuite.store.mailbox import BaseMailbox, Change
from mailsuite.store.mbox.append import MboxAppend, copy_messages
from mailsuite.store.mbox.file import OpenFile
from mailsuite.store.mbox.headers import Wanted, strip_state
from mailsuite.store.mbox.identity import MD5_FIELDS, header_md5
from mailsuite.store.mbox.parse import Span, parse_from_line
from mailsuite.store.mbox.rewrite import rewrite
from mailsuite.store.mbox.sync import ScannedMbox, stamp_of
from mailsuite.store.mbox.window import WINDOW


class MboxMailbox(ScannedMbox):
    """Made by UserStore.open()."""

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """The file stays open and locked, so nobody moves messages meanwhile."""
        self.look()
        with self.file.reading() as opened:
            if opened is not None and stamp_of(opened[1]) == self._stamp:
                self._held = opened[0]
            try:
                yield
            finally:
                self._held = None

    def _octets(self, uid: int, until: Literal["header", "body", "end"] = "end") -> tuple[Span, bytes]:
        """The message's span and its octets from the From line on, until its header begins, its body, or it ends."""
        return self._part(uid, lambda span: slice(span.start, getattr(span, until)))

    def _part(self, uid: int, of: Callable[[Span], slice]) -> tuple[Span, bytes]:
        """The message's span and what `of` says of it, wherever in the file it is by now."""
        if self._held is not None:
            span = self.spans.get(uid)
            if span is None or self.rows.position(uid) is None:
                raise MessageGone
            return span, self._held[of(span)]
        for again in (True, False):
            self.look()
            span = self.spans.get(uid)
            if span is None or self.rows.position(uid) is None:
                raise MessageGone
            with self.file.reading() as opened:
                if opened is None:
                    raise MessageGone
                data, info = opened
                if stamp_of(info) == self._stamp or not again:
                    return span, data[of(span)]
        raise MessageGone

    def read_stored(self, uid: int) -> bytes:
        span, octets = self._octets(uid)
        header = octets[span.header - span.start: span.body - span.start]
        return strip_state(header) + octets[span.body - span.start:]

    def blocks(self, uid: int) -> Iterator[bytes]:
        with self.lock:
            span, octets = self._octets(uid, "body")
        return self._blocks(uid, strip_state(octets[span.header - span.start:]), span.end - span.body)

    def _blocks(self, uid: int, header: bytes, size: int) -> Iterator[bytes]:
        """Locked for a block at a time: who reads slowly keeps nobody from delivering. What other programs do meanwhile
        moves the message, and that is followed; who takes it away cuts it short. Raises StoreError."""
        wire = BlockConverter(to_crlf)
        yield wire.feed(header)
        for at in range(0, size, WINDOW):
            try:
                with self.lock:
                    span, octets = self._part(uid, partial(_body_slice, at=at))
            except MessageGone:
                raise StoreError("the message was expunged while it was read") from None
            if span.end - span.body != size:
                raise StoreError("the message changed while it was read")
            yield wire.feed(octets)
        yield wire.end()

    def read_headers(self, uids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        with self.bulk():
            for uid in uids:
                with suppress(MessageGone):
                    span, octets = self._octets(uid, "body")
                    yield uid, strip_state(octets[span.header - span.start:])

    def from_line(self, uid: int) -> bytes:
        """With its line end."""
        return self._octets(uid, "header")[1]

    def stored_date(self, uid: int) -> int:
        parsed = parse_from_line(self.from_line(uid))
        return parsed[1] if parsed else 0

    def take_uid_validity(self, uid_validity: int) -> bool:
        if self.spans or self.pseudo is not None or self._base:
            return False
        self.uid_validity = uid_validity        # the first message carries it into the file
        self.index.set_uid_validity(uid_validity)
        return True

    # --- changing ---------------------------------------------------------------------------------------------------

    def apply_flags(self, changes: list[Change]) -> list[Change]:
        self._may_write = True
        self._dirty.update(self.rows.uids[at] for at, _ in changes)
        return changes

    def flags_changed(self) -> None:
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
        if not self._may_write or not self.writable or self.deleted or not len(self.rows) and self.pseudo is None:
            return
        if self._base == self.base_text() and not self._stale():
            return
        self.look()
        if self.deleted:            # another program took the file away: it is not made again
            return
        with self.locked() as file:
            rewrite(self, file, self._stale(), frozenset())
            self.written(file)

    def _stale(self) -> set[int]:
        """Messages whose state headers are not what they should be."""
        fresh = set(self.rows.uids).difference(self.old, self.unclaimed)
        return fresh | self._dirty | set(self._digests)

    def locked(self, *, make: bool = False) -> "_Locked":
        return _Locked(self, make)

    def read_locked(self, file: OpenFile) -> None:
        """Look again, thoroughly, under the write locks: offsets have to be right."""
        self.distrust()
        self._read(file.data(), os.fstat(file.fd), whole=True)

    def written(self, file: OpenFile) -> None:
        """The file shows what memory holds; spans have been brought up to date."""
        self._dirty.clear()
        self._digests.clear()
        self.old = set(self.rows.uids).difference(self.unclaimed)
        self._base = self.base_text() if len(self.rows) or self.pseudo is not None else b""
        self.note_end(file.data(), os.fstat(file.fd))
        self._settled = True
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

    def begin_append(self, *, sender: str = "", delivery: bool = False) -> Append:
        return MboxAppend(self, sender or self.sender, delivery=delivery)

    def stored_octets(self, uid: int) -> int:
        span = self.spans.get(uid)
        return span.end - span.header if span is not None else 0

    def copy_into(self, uids: Sequence[int], target: BaseMailbox) -> CopyResult:
        assert isinstance(target, MboxMailbox)
        return copy_messages(self, uids, target)

    def note_write(self) -> None:
        self._may_write = True

    def appended(self, file: OpenFile, gap: bytes) -> None:
        """Messages were put at the end; what stood there before got `gap` behind it."""
        if not self._base and self.rows.uids and self.spans[self.rows.uids[0]].start == 0:
            self._base = self.base_text()
        self.note_end(file.data(), os.fstat(file.fd))
        self._settled = True

    def watch_paths(self) -> list[str]:
        return [self.path] if os.path.exists(self.path) else [os.path.dirname(self.path)]

    def identities(self, uids: Sequence[int], kind: str) -> list[str] | None:
        if kind == "content":
            headers = self.header_fields(uids, (), negate=True)
            return ["" if header is None else f"{header_md5(header, whole=True)}.{size}"
                    for header, size in zip(headers, self.sizes(uids), strict=True)]
        if kind not in ("guid", "header_md5"):
            return None
        whole = self.options.header_md5_all
        headers = self.header_fields(uids, () if whole else MD5_FIELDS, negate=whole)
        return ["" if header is None else header_md5(header, whole=whole) for header in headers]


def _body_slice(span: Span, at: int) -> slice:
    """WINDOW octets of the body, from there on: what one read gives."""
    return slice(span.body + at, min(span.body + at + WINDOW, span.end))


class _Locked:
    """The write locks, and a look under them. Raises NoPermission when the file can't be written."""

    def __init__(self, mailbox: MboxMailbox, make: bool) -> None:
        self._mailbox = mailbox
        self._context = mailbox.file.writing(make=make)

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
