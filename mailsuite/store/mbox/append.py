"""Messages on their way into an mbox file: collected in a temporary file, appended under the write locks.

See store/api.Append. Each gets a From line, its state headers and a Content-Length, so that "From " lines in its body
need no quoting. The file is synced before commit() returns and cut back when something fails.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from mailsuite.message.crlf import BlockConverter
from mailsuite.store.api import CopyResult, MessageGone, Refused
from mailsuite.store.events import hearing
from mailsuite.store.flags import KEYWORD_SHIFT
from mailsuite.store.mbox.file import BLOCK, OpenFile, file_errors
from mailsuite.store.mbox.headers import Wanted, saved_header
from mailsuite.store.mbox.parse import Span

if TYPE_CHECKING:
    from mailsuite.store.mbox.mailbox import MboxMailbox

MEMORY = 1 << 20        # larger messages wait in a file
MAX_HEADER = 16 << 20


class _Waiting(NamedTuple):
    """A message in the temporary file: offset and size, LF line ends."""

    offset: int
    size: int
    flags: Sequence[str]
    date: float | None
    uid: int


class MboxAppend:
    """Nothing is shared until commit()."""

    def __init__(self, mailbox: "MboxMailbox", sender: str, *, delivery: bool = False) -> None:
        self._mailbox, self._sender, self._delivery = mailbox, sender, delivery
        self._temp: BinaryIO = tempfile.SpooledTemporaryFile(MEMORY)        # type: ignore[assignment]  # noqa: SIM115
        self._start = self._end = 0
        self._convert: BlockConverter | None = None
        self._ready: list[_Waiting] = []

    def write(self, octets: bytes) -> None:
        if self._convert is None:
            self._convert = BlockConverter()
        self._put(self._convert.feed(octets))

    def _put(self, octets: bytes) -> None:
        with file_errors():
            self._temp.write(octets)
        self._end += len(octets)

    def finish(self, flags: Sequence[str], date: float | None, *, uid: int = 0) -> None:
        if self._convert is None:
            raise Refused("Can't save a zero byte message")
        self._put(self._convert.end())
        self._ready.append(_Waiting(self._start, self._end - self._start, flags, date, uid))
        self._start, self._convert = self._end, None

    def commit(self, *, replacing: str = "") -> tuple[int, list[int]]:
        mailbox = self._mailbox
        messages = [Incoming(message.flags, _from_line(self._sender, message.date),
                             _Blocks(self._temp, message.offset, message.size), message.uid)
                    for message in self._ready]
        sizes = [message.size for message in self._ready]
        if not replacing:
            mailbox.make_room(sizes, delivery=self._delivery)
        with mailbox.lock:
            mailbox.look()
            mailbox.admit(sizes, delivery=self._delivery, moved_from=replacing)
            uids = put_messages(mailbox, messages)
            mailbox.counted(mailbox.quota_sizes(uids))
            if (events := hearing()) is not None:
                events.saved(mailbox, uids)
        self.abort()
        mailbox.tell()
        return mailbox.uid_validity, uids

    def abort(self) -> None:
        self._ready = []
        self._temp.close()


def _from_line(sender: str, date: float | None) -> bytes:
    stamp = time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(date if date is not None else time.time()))
    return f"From {sender}  {stamp}\n".encode("utf-8", "surrogateescape")


class _Blocks:
    """Part of a file: its header and the rest in blocks."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file, self._offset, self.size = file, offset, size

    def read(self, at: int, size: int) -> bytes:
        with file_errors():
            self._file.seek(self._offset + at)
            return self._file.read(min(size, self.size - at))

    def header(self) -> bytes:
        """Up to and with the empty line; all when there is none."""
        head = self.read(0, 65536)
        if _header_end(head) is None and len(head) < self.size:
            head = self.read(0, MAX_HEADER)
        return head[: _header_end(head) or len(head)]


def _header_end(octets: bytes) -> int | None:
    if octets.startswith(b"\n"):
        return 1
    end = octets.find(b"\n\n")
    return None if end < 0 else end + 2


class Incoming(NamedTuple):
    """A message to be put into a file."""

    flags: Sequence[str]
    from_line: bytes
    content: _Blocks
    uid: int = 0            # the one it should get, if that can be


def put_messages(mailbox: "MboxMailbox", messages: Sequence[Incoming]) -> list[int]:
    """Append messages under the write locks; returns their UIDs."""
    mailbox.note_write()
    with mailbox.locked(make=True) as file:
        all_bits = [mailbox.flag_bits(message.flags) for message in messages]
        spans: list[Span] = []
        uids: list[int] = []
        for message in messages:
            uids.append(max(mailbox.uid_next, message.uid))
            mailbox.uid_next = uids[-1] + 1
        gap = _gap(file)
        file.append(_pieces(mailbox, messages, all_bits, uids, file.size(), gap, spans))
        mailbox.highest_modseq += 1
        first = len(mailbox.rows)
        for uid, bits, span in zip(uids, all_bits, spans, strict=True):
            mailbox.rows.append(uid, bits, mailbox.highest_modseq, b"")
            mailbox.spans[uid] = span
            mailbox.unclaimed.add(uid)
        mailbox.save_rows(range(first, len(mailbox.rows)), [])
        mailbox.appended(file, gap)
    return uids


def _gap(file: OpenFile) -> bytes:
    """What has to come between the file's end and a From line."""
    size = file.size()
    tail = os.pread(file.fd, 2, max(0, size - 2))
    return b"" if size == 0 or tail == b"\n\n" else b"\n" if tail.endswith(b"\n") else b"\n\n"


def _pieces(mailbox: "MboxMailbox", messages: Sequence[Incoming], all_bits: list[int], uids: list[int], at: int,
            gap: bytes, spans: list[Span]) -> Iterator[bytes]:
    yield gap
    at += len(gap)
    for message, bits, uid in zip(messages, all_bits, uids, strict=True):
        content = message.content
        header = content.header()
        keywords = tuple(name.encode("utf-8", "surrogateescape") for number, name in enumerate(mailbox.table.keywords)
                         if bits >> (KEYWORD_SHIFT + number) & 1)
        is_first = at == 0
        last = content.read(max(0, content.size - 1), 1)
        body = content.size - len(header)
        missing = b"" if body and last == b"\n" else b"\n"      # an empty body becomes an empty line
        new = saved_header(header, Wanted(uid, bits, False, keywords, mailbox.base_text() if is_first else None),
                           body + len(missing))
        yield message.from_line + new
        for start in range(len(header), content.size, BLOCK):
            yield content.read(start, BLOCK)
        yield missing + b"\n"
        start = at + len(message.from_line)
        end = start + len(new) + body + len(missing)
        spans.append(Span(at, start, start + len(new), end, end + 1))
        at = end + 1


def copy_messages(source: "MboxMailbox", uids: Sequence[int], target: "MboxMailbox") -> CopyResult:
    """Both locks are held. All or nothing: the target is cut back when a message is gone."""
    messages = []
    temp: BinaryIO = tempfile.SpooledTemporaryFile(MEMORY)                  # type: ignore[assignment]  # noqa: SIM115
    with temp:
        for uid in uids:
            names = source.flags(uid)
            if names is None:
                raise MessageGone
            octets = source.read_stored(uid)
            offset = temp.tell()
            temp.write(octets)
            messages.append((names, source.from_line(uid), offset, len(octets)))
        incoming = [Incoming(names, from_line, _Blocks(temp, offset, size))
                    for names, from_line, offset, size in messages]
        new = put_messages(target, incoming)
    return CopyResult(target.uid_validity, list(uids), new)
