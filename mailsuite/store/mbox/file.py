"""Access to one mbox file: locks, reading, and rewriting so that a crash loses nothing.

    file = MboxFile(path, options, journal="/home/alice/mail/.imap/...")
    with file.reading() as data: ...            the file under the read locks; None for one that isn't there
    with file.writing() as open_file: ...       under the write locks; open_file.fd, open_file.data(). make: a file that
                                                isn't there is made, else it is a FileNotFoundError
        open_file.overwrite(offset, octets)     in place, same length
        open_file.replace_tail(offset, pieces)  everything from offset on
        open_file.append(octets)

replace_tail() first writes what is to come into the journal and syncs it, then the mailbox; after a crash the next
opening finishes the work. What other programs appended in between is kept. Locks: mbox_read_locks, mbox_write_locks; a
dotlock that can't be made in the folder is left out. The file is opened without following a symbolic link in its last
part. Raises MailboxInUse, NoPermission, StoreError.
"""

import json
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from mailsuite.base.files import fsync_directory
from mailsuite.base.privilege import privileged_group
from mailsuite.store.api import MailboxInUse, NoPermission, NotPossible, StoreError
from mailsuite.store.locks import LockBusy, MailboxLock
from mailsuite.store.mbox.parse import Data
from mailsuite.store.mbox.window import FileData
from mailsuite.store.options import StoreOptions

BLOCK = 1 << 20
HEAD = 512
_MAGIC = b"mailsuite mbox journal 1\n"


@contextmanager
def file_errors() -> Iterator[None]:
    try:
        yield
    except LockBusy as error:
        raise MailboxInUse(error.detail) from error
    except PermissionError as error:
        raise NoPermission(str(error)) from error
    except OSError as error:
        raise StoreError(str(error)) from error


class OpenFile:
    """A locked, writable mbox."""

    def __init__(self, fd: int, journal: str | None, sync: bool) -> None:
        self.fd, self._journal, self._sync = fd, journal, sync

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def data(self) -> Data:
        return FileData(self.fd)

    def overwrite(self, offset: int, octets: bytes) -> None:
        _write_all(self.fd, octets, offset)

    def append(self, pieces: Iterable[bytes]) -> None:
        """At the end; cut back to the old length when anything fails."""
        start = at = self.size()
        try:
            for piece in pieces:
                _write_all(self.fd, piece, at)
                at += len(piece)
            self.sync()
        except BaseException:
            with suppress(OSError):
                os.ftruncate(self.fd, start)
            raise

    def replace_tail(self, offset: int, pieces: Iterable[bytes]) -> None:
        """pieces may read from data(): they are written to the journal before the file changes."""
        old_size = self.size()
        if self._journal is None:
            tail = b"".join(pieces)
            self._put(offset, old_size, len(tail), iter([tail]))
            return
        fd = os.open(self._journal, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                size = self._write_journal(fd, offset, old_size, pieces)
            except BaseException:
                # The mailbox is untouched: what was not promised must not be done by the next opening, nor fill a disk.
                os.unlink(self._journal)
                raise
            self._put(offset, old_size, size, _read_blocks(fd, HEAD, size))
        finally:
            os.close(fd)
        os.unlink(self._journal)

    def _write_journal(self, fd: int, offset: int, old_size: int, pieces: Iterable[bytes]) -> int:
        """What is to come, durable; returns its size. Raises OSError."""
        assert self._journal is not None
        size = 0
        for piece in pieces:
            _write_all(fd, piece, HEAD + size)
            size += len(piece)
        cut = _crc(self.fd, offset + size, old_size)
        head = {"offset": offset, "size": size, "old_size": old_size, "cut": cut, "inode": os.fstat(self.fd).st_ino}
        if self._sync:
            os.fsync(fd)
        _write_all(fd, (_MAGIC + json.dumps(head).encode()).ljust(HEAD - 1) + b"\n", 0)
        if self._sync:
            os.fsync(fd)
            fsync_directory(os.path.dirname(self._journal))
        return size

    def _put(self, offset: int, old_size: int, size: int, blocks: Iterator[bytes]) -> None:
        if offset + size > old_size:        # room first: the file then has its new length all the while
            os.posix_fallocate(self.fd, old_size, offset + size - old_size)
        at = offset
        for block in blocks:
            _write_all(self.fd, block, at)
            at += len(block)
        self.sync()
        if at < old_size:
            os.ftruncate(self.fd, at)
            self.sync()

    def sync(self) -> None:
        if self._sync:
            os.fsync(self.fd)

    def recover(self) -> None:
        """Finish what a crash interrupted."""
        if self._journal is None or not os.path.exists(self._journal):
            return
        fd = os.open(self._journal, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            head = _journal_head(fd)
            if head is not None and head["inode"] == os.fstat(self.fd).st_ino:
                self._redo(fd, head)
        finally:
            os.close(fd)
        os.unlink(self._journal)

    def _redo(self, fd: int, head: dict[str, int]) -> None:
        offset, size, old_size = head["offset"], head["size"], head["old_size"]
        new_size, now = offset + size, self.size()
        if now < min(new_size, old_size):
            return              # not the file it was: somebody else made it anew
        # What other programs appended lies behind the length the file had when the crash came.
        if new_size < old_size:
            was_cut = now < old_size or _crc(self.fd, new_size, old_size) != head["cut"]
            base = new_size if was_cut else old_size
        else:
            base = new_size if now >= new_size and self._has_room(fd, head) else old_size
        appended = os.pread(self.fd, now - base, base).lstrip(b"\0") if now > base else b""
        at = offset
        for block in _read_blocks(fd, HEAD, size):
            _write_all(self.fd, block, at)
            at += len(block)
        _write_all(self.fd, appended, at)
        os.ftruncate(self.fd, at + len(appended))
        self.sync()


    def _has_room(self, journal: int, head: dict[str, int]) -> bool:
        """Was the file made longer already? Then what was added is the new content, as far as it came, and NULs."""
        at, end = head["old_size"], head["offset"] + head["size"]
        while at < end:
            want = min(BLOCK, end - at)
            there, new = os.pread(self.fd, want, at), os.pread(journal, want, HEAD + at - head["offset"])
            if there != new:
                same = len(os.path.commonprefix([there, new]))
                rest = there[same:] + os.pread(self.fd, max(0, end - at - want), at + want)
                return not rest.strip(b"\0")
            at += want
        return True


def _journal_head(fd: int) -> dict[str, int] | None:
    head = os.pread(fd, HEAD, 0)
    if not head.startswith(_MAGIC) or not head.endswith(b"\n"):
        return None             # the crash came before the mailbox was touched
    try:
        values = json.loads(head[len(_MAGIC):])
    except ValueError:
        return None
    return values if isinstance(values, dict) and os.fstat(fd).st_size >= HEAD + values["size"] else None


def _write_all(fd: int, octets: bytes, offset: int) -> None:
    view = memoryview(octets)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _read_blocks(fd: int, offset: int, size: int) -> Iterator[bytes]:
    while size > 0:
        block = os.pread(fd, min(size, BLOCK), offset)
        if not block:
            raise OSError("the journal is too short")
        yield block
        offset, size = offset + len(block), size - len(block)


def _crc(fd: int, start: int, end: int) -> int:
    crc = 0
    while start < end and (block := os.pread(fd, min(BLOCK, end - start), start)):
        crc, start = zlib.crc32(block, crc), start + len(block)
    return crc


class MboxFile:
    """One path and the locks on it."""

    def __init__(self, path: str, options: StoreOptions, journal: str | None, *, privileged: bool = False) -> None:
        self._privileged = privileged       # the user's INBOX may lie in a folder of mail_privileged_group
        self.path, self._options, self._journal = path, options, journal

    def _lock(self, methods: tuple[str, ...]) -> MailboxLock:
        return MailboxLock(self.path, methods, wait_s=self._options.lock_timeout_s, delay_s=0.05,
                           stale_s=self._options.dotlock_change_timeout_s, privileged=self._privileged)

    @contextmanager
    def reading(self) -> Iterator[tuple[Data, os.stat_result] | None]:
        """None: there is no such file."""
        if self._journal is not None and os.path.exists(self._journal):
            with suppress(NoPermission), self.writing():
                pass
        lock = self._lock(self._options.read_locks)
        with file_errors(), lock.dotlock(may_fail=True):
            try:
                fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            except (FileNotFoundError, NotADirectoryError):
                yield None
                return
            try:
                kind = os.fstat(fd).st_mode
                if stat.S_ISDIR(kind):          # a folder took the deleted file's name
                    yield None
                    return
                if not stat.S_ISREG(kind):
                    raise NotPossible("Mailbox isn't a valid mbox file")
                lock.descriptor(fd, shared=True)
                yield FileData(fd), os.fstat(fd)
            finally:
                os.close(fd)

    def _open(self, make: bool) -> int:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            return os.open(self.path, flags)
        except FileNotFoundError:
            if not make:
                raise
        with privileged_group(self._privileged):
            return os.open(self.path, flags | os.O_CREAT, 0o600)

    @contextmanager
    def writing(self, *, make: bool = False) -> Iterator[OpenFile]:
        lock = self._lock(self._options.write_locks)
        with file_errors(), lock.dotlock(may_fail=True):
            fd = self._open(make)
            try:
                lock.descriptor(fd)
                file = OpenFile(fd, self._journal, self._options.fsync != "never")
                file.recover()
                yield file
            finally:
                os.close(fd)
