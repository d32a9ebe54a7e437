"""The queue file: one message, its envelope and its recipients, readable while it is being delivered.

    writer = Writer(fd); writer.add(octets); numbered = writer.finish(facts, recipients); writer.complete()
    stored = read(fd)            Stored(envelope, recipients, offset, size...); raises Damaged
    mark_done(fd, number)        in place: this recipient needs no delivery any more

Layout, all text in UTF-8 (surrogateescape), numbers in decimal, padded with zeros:

    octets 0-127    "MSQ1 " offset(12) " " size(12) " " tail(12) " " length(10) " " crc(8, hex), blanks, LF
    offset          the content, as delivered: header, empty line, body; LF ends; `size` octets without a gap
    tail            `length` octets of lines:
        E{...}      the envelope as JSON, Envelope.facts(): one line, the first
        R-[...]     a recipient: JSON list address, original, orcpt, notify.
                    "-" becomes "x" when it is done; the octet's offset in the file is the recipient's number

The head is written last, so a file whose writer died has none and is recognised (`Unfinished`). crc is the CRC-32 of
the tail with every recipient at "-". A head or tail that does not fit is `Damaged`: qmgr moves it to corrupt/.
Recipients found after the content (bcc, milters) cost nothing: the tail comes after it. Where somebody may change the
header of a whole message (inspection.py), a hole of RESERVE octets before the content lets it grow without a copy of
the body. Limits: TAIL_LIMIT octets of envelope, which is some 400,000 recipients.
"""

import errno
import os
import re
import zlib
from collections.abc import Callable, Iterable
from typing import IO

from msgspec import Struct
from msgspec.structs import replace

from mailsuite.base import wire
from mailsuite.base.errors import TemporaryError
from mailsuite.queue.envelope import Envelope, Recipient

HEAD = 128
TAIL_LIMIT = 64 * 1024 * 1024
EXPIRE = 0o010                   # this bit of the file's mode: postsuper -e wants it returned
BLOCK = 64 * 1024                # content waits in memory until there is this much
RESERVE = 32 * 1024 - HEAD       # room for a header that grows

_MAGIC = b"MSQ1 "
_HEAD = re.compile(rb"MSQ1 (\d{12}) (\d{12}) (\d{12}) (\d{10}) ([0-9a-f]{8}) *\n")
_DONE = re.compile(rb"^Rx", re.M)


class Damaged(TemporaryError):
    """Not a whole queue file; detail says what is wrong."""


class Unfinished(Damaged):
    """A file whose writer died, or still writes."""


class Stored(Struct):
    """What a queue file holds. recipients: those still to be delivered; done: how many are not."""

    envelope: Envelope
    recipients: list[Recipient]
    done: int
    offset: int
    size: int

    @property
    def shown_size(self) -> int:
        """Octets as they would be sent by SMTP, with CR LF: what Postfix logs and lists."""
        return self.size + self.envelope.lines


class Writer:
    """Writes one file from its start: add the content, finish, complete. A small message is one write call, made by
    complete (in a thread). Between the last octet and finish the content may be read and changed.
    fd: a descriptor, or what opens one when it is first needed: a small message that goes to the journal needs none.
    reserve: octets left free before the content, set before the first `add`. Raises OSError."""

    __slots__ = ("_file", "_flushed", "_flushed_lines", "_head", "_waiting", "_waiting_size", "reserve", "size",
                 "start", "whole")

    def __init__(self, fd: int | Callable[[], int]) -> None:
        self._file = fd
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._flushed, self._flushed_lines = False, 0
        self._head = b""
        self.start, self.reserve = HEAD, 0
        self.size = self.whole = 0      # octets of content so far; of the file without holes, once it is finished

    @property
    def _fd(self) -> int:
        if not isinstance(self._file, int):
            self._file = self._file()
        return self._file

    def add(self, octets: bytes) -> None:
        self._waiting.append(octets)
        self._waiting_size += len(octets)
        self.size += len(octets)
        if self._waiting_size >= BLOCK:
            if not self._flushed:
                self.start += self.reserve
                os.lseek(self._fd, self.start, os.SEEK_SET)
            self._flush()

    def _flush(self) -> None:
        octets = b"".join(self._waiting)
        write_all(self._fd, octets)
        self._flushed_lines += octets.count(b"\n")
        self._waiting.clear()
        self._waiting_size, self._flushed = 0, True

    @property
    def lines(self) -> int:
        """Line ends of the content, each of which is two octets in SMTP. Before `finish` only."""
        lines = self._flushed_lines
        for octets in self._waiting:
            lines += octets.count(b"\n")
        return lines

    def finish(self, facts: bytes, recipients: list[Recipient]) -> list[Recipient]:
        """The content is over: make head and tail; return the recipients with their numbers. Writes nothing."""
        end = self.start + self.size
        tail, numbered = make_tail(facts, recipients, end)
        self._head = make_head(self.start, self.size, end, tail)
        self.whole = HEAD + self.size + len(tail)
        self._waiting.append(tail)
        return numbered

    def complete(self) -> None:
        """Write what is left. The file is whole then, and not synced."""
        if self._flushed:
            self._flush()
            os.pwrite(self._fd, self._head, 0)
        else:
            self._waiting.insert(0, self._head)
            self._flush()

    def set_image(self, image: bytes) -> None:
        """Make it the file that has these octets; in the place of all else."""
        self._waiting, self.whole = [image], len(image)

    @property
    def in_memory(self) -> bool:
        """Nothing of it is in the file yet."""
        return not self._flushed

    def image(self) -> tuple[bytes, bytes]:
        """What the file would hold, once it is finished and while it is in memory: head and content, tail."""
        return b"".join([self._head, *self._waiting[:-1]]), self._waiting[-1]

    # --- the content as it stands, before finish ----------------------------------------------------------------

    def read(self, at: int, size: int) -> bytes:
        """Octets at..at+size of the content, fewer at its end. Blocks no longer than the page cache does."""
        if self._flushed:
            self._settle()
            return os.pread(self._fd, max(0, min(size, self.size - at)), self.start + at)
        if len(self._waiting) > 1:
            self._waiting = [b"".join(self._waiting)]
        return self._waiting[0][at:at + size] if self._waiting else b""

    def share(self) -> IO[bytes] | None:
        """The file for a reader who may outlive us, closed with the last reference; None: all is in memory."""
        if not self._flushed:
            return None
        self._settle()
        return open(os.dup(self._fd), "rb", buffering=0)

    def _settle(self) -> None:
        """What waits in memory goes behind what is in the file."""
        if self._waiting:
            self._flush()

    def replace_start(self, old_size: int, new: bytes) -> None:
        """Put `new` in the place of the first old_size octets. Cheap while it fits the reserve; else the kernel copies
        the rest behind it."""
        if not self._flushed:
            self._waiting = [new, self.read(old_size, self.size)]
            self._waiting_size = sum(map(len, self._waiting))
            self.size = self._waiting_size
            return
        old = self.read(0, old_size)            # all is in the file then, and counted
        self._flushed_lines += new.count(b"\n") - old.count(b"\n")
        rest_at, rest_size = self.start + old_size, self.size - old_size
        if len(new) <= rest_at - HEAD:
            self.start = rest_at - len(new)
            os.pwrite(self._fd, new, self.start)
        else:
            self.start = rest_at + rest_size + RESERVE       # so that the next change is cheap again
            os.pwrite(self._fd, new, self.start)
            copy_within(self._fd, rest_at, self.start + len(new), rest_size)
        self.size = len(new) + rest_size
        os.lseek(self._fd, self.start + self.size, os.SEEK_SET)

    def replace_rest(self, keep: int, blocks: Iterable[bytes]) -> None:
        """Put blocks in the place of all that follows the first `keep` octets."""
        if not self._flushed:
            kept = self.read(0, keep)
            self._waiting, self._waiting_size, self.size = [], 0, 0
            self.add(kept)
        else:
            self._flushed_lines = self.read(0, keep).count(b"\n")
            os.ftruncate(self._fd, self.start + keep)
            os.lseek(self._fd, self.start + keep, os.SEEK_SET)
            self.size = keep
        for block in blocks:
            self.add(block)


def copy_within(fd: int, source: int, target: int, size: int) -> None:
    """Copy octets to a later place that does not overlap, by the kernel where it can. Raises OSError."""
    by_kernel = True
    while size > 0:
        done = 0
        if by_kernel:
            try:
                done = os.copy_file_range(fd, fd, size, source, target)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF):
                    raise
            by_kernel = done > 0
        if not done:
            block = os.pread(fd, min(size, 1 << 20), source)
            if not block:
                raise OSError(errno.EIO, "the content ends early")
            done = os.pwrite(fd, block, target)
        source, target, size = source + done, target + done, size - done


def write_all(fd: int, octets: bytes) -> None:
    """os.write until all is written. Raises OSError."""
    written = os.write(fd, octets)
    while written < len(octets):
        written += os.write(fd, memoryview(octets)[written:])


def make_head(offset: int, size: int, tail_start: int, tail: bytes) -> bytes:
    text = b"MSQ1 %012d %012d %012d %010d %08x" % (offset, size, tail_start, len(tail), zlib.crc32(tail))
    return text.ljust(HEAD - 1) + b"\n"


def make_tail(facts: bytes, recipients: list[Recipient], start: int) -> tuple[bytes, list[Recipient]]:
    """The tail that begins at offset start, and the recipients with their numbers. facts: Envelope's."""
    lines = [b"E%b\n" % facts]
    at = start + len(lines[0])
    numbered = []
    for recipient in recipients:
        line = b"R-%b\n" % wire.encode((recipient.address, recipient.original, recipient.orcpt, recipient.notify))
        numbered.append(Recipient(recipient.address, recipient.original, recipient.orcpt, recipient.notify, at + 1))
        lines.append(line)
        at += len(line)
    return b"".join(lines), numbered


def read(fd: int, *, with_done: bool = False) -> Stored:
    """Read envelope and recipients. with_done: finished recipients too (their number is then negated).

    Raises Damaged or Unfinished; OSError.
    """
    offset, size, start, tail = read_tail(fd)
    try:
        return _parse(start, tail, offset, size, with_done)
    except (ValueError, TypeError, KeyError) as error:
        raise Damaged("queue file damaged", detail=f"envelope: {error}") from error


def read_head(fd: int) -> tuple[int, int, int, int, int]:
    """Content offset, content size, tail offset, tail length, CRC of the tail. Raises Damaged, Unfinished, OSError."""
    head = os.pread(fd, HEAD, 0)
    match = _HEAD.fullmatch(head)
    if match is None:
        if head.strip(b"\0") == b"" or len(head) < HEAD:
            raise Unfinished("queue file unfinished", detail="the file has no head")
        raise Damaged("queue file damaged", detail="the head is not one of a queue file")
    offset, size, start, length = (int(group) for group in match.group(1, 2, 3, 4))
    return offset, size, start, length, int(match[5], 16)


def read_tail(fd: int) -> tuple[int, int, int, bytes]:
    """Content offset, content size, tail offset, tail. Raises Damaged, Unfinished, OSError."""
    offset, size, start, length, crc = read_head(fd)
    if offset < HEAD or start < offset + size or length > TAIL_LIMIT:
        raise Damaged("queue file damaged", detail="numbers of the head contradict each other")
    tail = os.pread(fd, length, start)
    if len(tail) != length:
        raise Damaged("queue file damaged", detail="the file is shorter than its head says")
    if zlib.crc32(_DONE.sub(b"R-", tail)) != crc:
        raise Damaged("queue file damaged", detail="checksum of the envelope is wrong")
    return offset, size, start, tail


def image_parts(image: bytes) -> tuple[bytes, bytes]:
    """Head and content, and the tail, of a whole file in memory without holes. Raises Damaged."""
    match = _HEAD.fullmatch(image[:HEAD])
    if match is None:
        raise Damaged("queue file damaged", detail="the head is not one of a queue file")
    start, length = int(match[3]), int(match[4])
    if int(match[1]) + int(match[2]) > start or start + length != len(image):
        raise Damaged("queue file damaged", detail="numbers of the head contradict each other")
    tail = image[start:]
    if zlib.crc32(_DONE.sub(b"R-", tail)) != int(match[5], 16):
        raise Damaged("queue file damaged", detail="checksum of the envelope is wrong")
    return image[:start], tail


def same_message(one: bytes, other: bytes) -> bool:
    """Whether two whole files differ at most in who is done. Raises Damaged."""
    (body, tail), (other_body, other_tail) = image_parts(one), image_parts(other)
    return body == other_body and _DONE.sub(b"R-", tail) == _DONE.sub(b"R-", other_tail)


def _parse(start: int, tail: bytes, offset: int, size: int, with_done: bool) -> Stored:
    envelope: Envelope | None = None
    recipients: list[Recipient] = []
    done, at = 0, start
    for line in tail.split(b"\n")[:-1]:
        if line[:1] == b"E":
            envelope = Envelope.of_facts(line[1:])
        elif line[:1] == b"R":
            finished = line[1:2] == b"x"
            done += finished
            if not finished or with_done:
                recipients.append(replace(read_recipient(line[2:]), number=-(at + 1) if finished else at + 1))
        at += len(line) + 1
    if envelope is None:
        raise ValueError("no envelope line")
    return Stored(envelope, recipients, done, offset, size)


read_recipient = wire.Reader(Recipient)


def mark_done(fd: int, numbers: list[int]) -> None:
    """Mark recipients as finished. Raises ValueError for a number that names none, OSError."""
    for number in numbers:
        if os.pread(fd, 2, number - 1) not in (b"R-", b"Rx"):
            raise ValueError(f"no recipient at {number}")
        os.pwrite(fd, b"x", number)
