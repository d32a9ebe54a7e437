"""The journal: small messages that smtpd has accepted and qmgr delivers at once never become files.

    segment = Segment.create(folder, 8 << 20)       Segment.open(folder, name)
    octets = record(segment.secret, place, queue_id, body, tail)        what smtpd writes at place.block
    image = segment.read(place, queue_id)           the message as a queue file has it; raises Gone, Damaged
    segment.set_left(place); segment.set_free(place); segment.is_open(place)
    for found in segment.records(): ...             after a crash
    fd = copy_out(path, place, queue_id)            for a delivery agent: a sealed copy in memory

A queue file costs an inode, a name, a rename, an unlink and two commits of the file system's own journal, for a message
that mostly is gone in milliseconds. Here smtpd appends messages to a preallocated file that it overwrites in place, so
that fdatasync has data to write and nothing else, and one call covers all messages that gathered during the one before
(journal_writer.py). qmgr is told where a message is, keeps it in memory, and sets a mark when it is done
(journal_reader.py, journaled.py). Whatever else becomes of a message than being delivered at once, it first becomes an
ordinary queue file: the rest of the queue knows nothing of the journal.

`journal/` has segments NAME and their marks NAME.marks. A name is 32 hexadecimal digits, drawn at random. It is a
secret: each record repeats it, so that no content of a message, which its sender chose, can pass for a record.

Segment: blocks of BLOCK octets, the first one not used. A record begins at a block and fills whole blocks, so no write
touches a neighbour. It is a header and the image of a queue file (file.py, offsets relative to the image):

    magic(8) secret(16) generation(4) block(4) size of the image(4) queue id(40) crc(4) check(4), host order
    crc: CRC-32 of all before, and of the image without its tail, which has a CRC of its own
    check: CRC-32 of all before: a header that is damaged says nothing, least of all which generation is the newest

A segment belongs to the smtpd that holds its flock(2); its death gives it back. It is written from front to end, then
once more with the next generation when every record has been freed. Records of an older generation than the newest
found are therefore done with, whatever their marks say.

Marks: one number of 32 bits a block, mapped into memory by smtpd and qmgr, never synced: 2 * generation says that
the record there has left the journal (it is delivered, or a file), 2 * generation + 1 also that nobody reads it any
more: its blocks are free. A number of another generation means nothing. Number 0 has RETIRED: a sync of the segment
failed, nobody writes to it any more, it is removed when all is free. Marks that a power loss took make mail come
twice, as a lost unlink does; a kill of any process loses none.
Who reads a record looks at its header again afterwards: it is written before what follows it, so when it still is
there all of the record was.
"""

import errno
import fcntl
import mmap
import os
import secrets
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from msgspec import Struct

from mailsuite.base.errors import TemporaryError
from mailsuite.base.files import fsync_directory
from mailsuite.queue.file import Damaged, image_parts

FOLDER = "journal"
BLOCK = 4096
MARKS = ".marks"
RETIRED = 1
STALE_S = 600.0                     # a segment that is still unfinished then has no maker any more
LAST_GENERATION = (1 << 31) - 2
RECORD_LIMIT = 128 * 1024           # octets of a message with its envelope; what is larger is worth a file
_FIELDS = struct.Struct("=8s16sIII40s")
_CHECKS = struct.Struct("=II")
_MAGIC = b"MSJREC1\n"
_NAME_SIZE = 32
_CHUNK = 1 << 20
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
HEADER = _FIELDS.size + _CHECKS.size


class Gone(TemporaryError):
    """There is no such record (any more)."""


class Place(Struct, frozen=True, array_like=True):
    """Where a record is: the name of its segment, its first block, the generation, octets of the image."""

    segment: str
    block: int
    generation: int
    size: int


class Found(Struct, frozen=True):
    """A record that a walk came upon, which has not left the journal."""

    place: Place
    queue_id: str


def blocks_of(size: int) -> int:
    """How many blocks an image of so many octets takes."""
    return -(-(HEADER + size) // BLOCK)


def record(secret: bytes, place: Place, queue_id: str, body: bytes, tail: bytes) -> bytes:
    """A record with its padding. body, tail: the image. Raises ValueError for an id that is too long."""
    name = queue_id.encode("ascii")
    if len(name) > 40:
        raise ValueError(f"queue id too long: {queue_id}")
    fields = _FIELDS.pack(_MAGIC, secret, place.generation, place.block, place.size, name)
    return b"".join((_header(fields, body), body, tail, bytes(-(HEADER + place.size) % BLOCK)))


def _header(fields: bytes, body: bytes) -> bytes:
    begun = zlib.crc32(fields)
    crc = zlib.crc32(body, begun)
    return fields + _CHECKS.pack(crc, zlib.crc32(crc.to_bytes(4, sys.byteorder), begun))


def _is_sound(header: bytes) -> bool:
    """Whether a header is as it was written."""
    return len(header) == HEADER and zlib.crc32(header[:-4]) == _CHECKS.unpack_from(header, _FIELDS.size)[1]


def is_name(text: str) -> bool:
    """Whether a file of the folder is a segment."""
    return len(text) == _NAME_SIZE and all(char in "0123456789abcdef" for char in text)


def names(folder: str) -> list[str]:
    """The segments that are there; none where there is no folder. Raises OSError."""
    try:
        return sorted(name for name in os.listdir(folder) if is_name(name))
    except FileNotFoundError:
        return []


class Segment:
    """An open segment. name, secret; blocks: how many, the first of which is not used."""

    def __init__(self, name: str, path: str, fd: int, marks_fd: int) -> None:
        """Takes both descriptors. Raises OSError, ValueError: a file of a wrong size."""
        self.name, self.path, self.fd, self.marks_fd = name, path, fd, marks_fd
        self.secret = bytes.fromhex(name)
        try:
            self.blocks = os.fstat(fd).st_size // BLOCK
            size = 4 * self.blocks
            if os.fstat(marks_fd).st_size < size:       # lost with a power failure: the records are taken in again
                os.pwrite(marks_fd, bytes(size), 0)
            self._map = mmap.mmap(marks_fd, size)
        except BaseException:
            os.close(fd)
            os.close(marks_fd)
            raise
        self.marks = memoryview(self._map).cast("I")

    @classmethod
    def open(cls, folder: str, name: str) -> "Segment":
        """Raises OSError, ValueError."""
        path = f"{folder}/{name}"
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            marks_fd = os.open(path + MARKS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            os.close(fd)
            raise
        return cls(name, path, fd, marks_fd)

    @classmethod
    def create(cls, folder: str, size: int) -> "Segment":
        """A new one that is locked and on disk, in octets a multiple of BLOCK. Raises OSError; nothing is left then."""
        name = secrets.token_hex(_NAME_SIZE // 2)
        path, new = f"{folder}/{name}", f"{folder}/.new-{name}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        made: list[int] = []
        try:
            for each, octets in ((path + MARKS, 4 * (size // BLOCK)), (new, size)):
                made.append(fd := os.open(each, flags, 0o600))
                # Real zeros: what is only reserved would change the file's map with its first write, and a hole could
                # not be filled on a full disk.
                for at in range(0, octets, _CHUNK):
                    os.pwrite(fd, bytes(min(_CHUNK, octets - at)), at)
                if os.fstat(fd).st_size != octets:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), each)
                os.fsync(fd)
            fcntl.flock(made[1], fcntl.LOCK_EX)
            os.rename(new, path)
            fsync_directory(folder)
        except OSError:
            for fd in made:
                os.close(fd)
            for each in (path + MARKS, new, path):
                _unlink(each)
            raise
        return cls(name, path, made[1], made[0])

    def close(self) -> None:
        """Let go, also of the lock. May be called twice."""
        if self.fd >= 0:
            self.marks.release()
            self._map.close()
            os.close(self.fd)
            os.close(self.marks_fd)
            self.fd = -1

    def __del__(self) -> None:
        """Whoever forgot to close it, and qmgr, which does not know who still looks at it."""
        if getattr(self, "fd", -1) >= 0 and hasattr(self, "marks"):
            with suppress(BufferError):
                self.close()

    def lock(self) -> bool:
        """False: another process writes to it, or it has been removed."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return self.exists

    @property
    def exists(self) -> bool:
        return os.fstat(self.fd).st_nlink > 0

    @contextmanager
    def kept_from_others(self) -> Iterator[bool]:
        """Whether nobody writes to it any more; nobody begins to meanwhile. For who does not write to it himself."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(self.fd, fcntl.LOCK_UN)

    def remove(self) -> None:
        """Raises OSError. Who has it open may go on reading."""
        _unlink(self.path)
        _unlink(self.path + MARKS)

    # --- marks ------------------------------------------------------------------------------------------------------

    def is_open(self, place: Place) -> bool:
        """Nobody has taken the record out of the journal."""
        return not self._has_left(place.block, place.generation)

    def _has_left(self, block: int, generation: int) -> bool:
        return bool(self.marks[block] >> 1 == generation)

    def set_left(self, place: Place) -> None:
        """It is on disk elsewhere; somebody may still read it here."""
        self.marks[place.block] = 2 * place.generation

    def set_free(self, place: Place) -> None:
        """It is not needed any more."""
        self.marks[place.block] = 2 * place.generation + 1

    def is_free(self, block: int, generation: int) -> bool:
        """Whether the record of that generation at a block may be overwritten."""
        return bool(self.marks[block] == 2 * generation + 1)

    @property
    def retired(self) -> bool:
        return self.marks[0] == RETIRED

    def retire(self) -> None:
        """Nobody shall write to it again."""
        self.marks[0] = RETIRED

    # --- records ----------------------------------------------------------------------------------------------------

    def read(self, place: Place, queue_id: str) -> bytes:
        """The image of a message, all of it checked. Raises Gone, Damaged, OSError."""
        return read_record(self.fd, self.secret, place, queue_id)

    def headers(self) -> list[tuple[Place, str]]:
        """Every record of the newest generation that has a header, in the order they were written; whole or not.

        Blocks. A damaged block hides its own record only: the next one is looked for at the next block.
        """
        found: list[tuple[Place, str]] = []
        newest, block = 0, 1
        start = _MAGIC + self.secret
        for at in range(0, self.blocks * BLOCK, _CHUNK):
            octets = os.pread(self.fd, min(_CHUNK, self.blocks * BLOCK - at), at)
            while (inside := block * BLOCK - at) < len(octets):
                block += 1
                if not octets.startswith(start, inside):
                    continue
                _, _, generation, own, size, name = _FIELDS.unpack_from(octets, inside)
                if own != block - 1 or not 0 < size <= RECORD_LIMIT or generation < newest or not _is_sound(
                        octets[inside:inside + HEADER]):
                    continue
                if generation > newest:
                    found, newest = [], generation
                found.append((Place(self.name, own, generation, size), name.rstrip(b"\0").decode("ascii", "replace")))
        return found

    def records(self) -> list[Found]:
        """Those that have not left. Blocks."""
        return [Found(place, queue_id) for place, queue_id in self.headers() if self.is_open(place)]

    def mark_done(self, place: Place, numbers: list[int]) -> None:
        """As file.mark_done, durable on return: these recipients need no delivery. Blocks.

        Raises OSError, ValueError."""
        start = place.block * BLOCK + HEADER
        for number in numbers:
            if not 0 < number < place.size or os.pread(self.fd, 2, start + number - 1) not in (b"R-", b"Rx"):
                raise ValueError(f"no recipient at {number}")
            os.pwrite(self.fd, b"x", start + number)
        os.fdatasync(self.fd)


def read_record(fd: int, secret: bytes, place: Place, queue_id: str) -> bytes:
    """The image of a record; all of it is checked. Raises Gone, Damaged, OSError."""
    octets = os.pread(fd, HEADER + place.size, place.block * BLOCK)
    _check_there(fd, secret, place, queue_id)
    image = octets[HEADER:]
    if len(image) != place.size:
        raise Gone("message not in the journal", detail=f"{queue_id}: the segment ends")
    body, _ = image_parts(image)
    if octets[:HEADER] != _header(octets[:_FIELDS.size], body):
        raise Damaged("queue file damaged", detail="checksum of a record of the journal is wrong")
    return image


def _check_there(fd: int, secret: bytes, place: Place, queue_id: str) -> None:
    """What was read before was the record's. Raises Gone."""
    header = os.pread(fd, HEADER, place.block * BLOCK)
    wanted = _FIELDS.pack(_MAGIC, secret, place.generation, place.block, place.size, queue_id.encode("ascii"))
    if header[:_FIELDS.size] != wanted or not _is_sound(header):
        raise Gone("message not in the journal", detail=f"{queue_id}: another record is there")


def copy_out(path: str, place: Place, queue_id: str) -> int:
    """A descriptor of a copy in memory that nobody can change: who gets it sees no other message of the segment.

    The kernel copies: no content is left in the memory of a parent whose workers have other users' rights.
    Raises FileNotFoundError: the message has gone; OSError. Both without the path, whose last part is a secret: whoever
    asks logs what is raised.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or errno.EIO)) from None
    try:
        copy = os.memfd_create("message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            at, left = place.block * BLOCK + HEADER, place.size
            while left and (done := os.sendfile(copy, fd, at, left)):
                at, left = at + done, left - done
            _check_there(fd, bytes.fromhex(place.segment), place, queue_id)
            fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _SEALS)
        except BaseException:
            os.close(copy)
            raise
    except Gone as error:
        raise FileNotFoundError(errno.ENOENT, error.detail) from error
    finally:
        os.close(fd)
    return copy


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def finished(segment: Segment) -> int:
    """The generation that a new owner would write: 0 when a record is still needed. Blocks."""
    headers = segment.headers()
    if not all(segment.is_free(place.block, place.generation) for place, _ in headers):
        return 0
    return headers[0][0].generation + 1 if headers else 1


def tidy(folder: str, now: float) -> None:
    """Remove what a crash left of segments that were being made or removed. Raises OSError."""
    try:
        there = set(os.listdir(folder))
    except FileNotFoundError:
        return
    for name in there:
        if name.startswith(".new-") or (name.endswith(MARKS) and name.removesuffix(MARKS) not in there):
            path = f"{folder}/{name}"
            try:
                if os.lstat(path).st_mtime < now - STALE_S:     # else somebody is about to use it
                    os.unlink(path)
            except FileNotFoundError:
                pass


def opened(folder: str) -> Iterator[Segment]:
    """Each segment, for as long as the caller looks at it. Raises OSError."""
    for name in names(folder):
        try:
            segment = Segment.open(folder, name)
        except (FileNotFoundError, ValueError):
            continue
        try:
            yield segment
        finally:
            segment.close()
