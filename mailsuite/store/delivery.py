"""Putting a message into an mbox file, and what that shares with Maildirs (maildir_delivery.py). Blocking, with the
rights of whoever calls.

    append_mbox("/var/mail/alice", "bob@example.test", header, blocks, locks=..., limit=51200000)

`header`: header lines to put in front (Return-Path, X-Original-To, Delivered-To), LF-ended. `blocks`: the message with
LF line ends, in blocks of any size. On return the message and its name are on disk; after an exception nothing of it is
visible and nothing is left behind.

mbox: "From " line, header, body with ">" before lines that begin with "From ", an empty line; locked all the while,
cut back to its old length when anything fails.

Raises DeliveryFailed: `status` is the enhanced status code that an errno stands for, `public` the reason in Postfix's
words; LockBusy is turned into it.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mailsuite.base.errors import MailError
from mailsuite.base.files import fsync_directory
from mailsuite.store.locks import LockBusy, MailboxLock

BLOCK = 64 * 1024
_STATUS = {errno.EAGAIN: "4.2.0", errno.ESTALE: "4.2.0", errno.ENOSPC: "4.3.0", errno.EFBIG: "5.2.2",
           errno.EDQUOT: "5.2.2"}
# Conditions of the machine, not of the mailbox: the mail waits (RFC 3463 section 3.4).
_MACHINE = {errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EINTR, errno.EROFS, errno.ENOLCK, errno.EEXIST,
            errno.EUCLEAN, errno.EBUSY, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN,
            errno.EDEADLK, errno.ENOBUFS}


class DeliveryFailed(MailError):
    """public: the reason; status begins with 4 (try again) or 5. error: the errno behind it, 0 if none."""

    def __init__(self, reason: str, *, status: str, error: int = 0) -> None:
        super().__init__(reason, status=status)
        self.error = error

    @classmethod
    def of(cls, what: str, error: OSError, default: str = "5.2.0") -> "DeliveryFailed":
        code = error.errno or 0
        status = _STATUS.get(code, "4.3.0" if code in _MACHINE else default)
        return cls(f"{what}: {os.strerror(code)}", status=status, error=code)

    @property
    def temporary(self) -> bool:
        return self.status.startswith("4")


def read_blocks(fd: int, offset: int, size: int) -> Iterator[bytes]:
    """`size` octets of a file from `offset`, in blocks. Raises DeliveryFailed: the file is shorter."""
    while size:
        block = os.pread(fd, min(size, BLOCK), offset)
        if not block:
            raise DeliveryFailed("queue file is too short", status="4.3.0")
        offset, size = offset + len(block), size - len(block)
        yield block


def make_folders(path: str, mode: int = 0o700) -> None:
    """Make a folder and its missing parents, all durable. Raises OSError."""
    parent = os.path.dirname(path.rstrip("/")) or "/"
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_folders(parent, mode)
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            return
    try:
        fsync_directory(parent)
    except PermissionError:
        pass                    # a parent that may be searched but not read; nothing more can be done


# --- writing ---------------------------------------------------------------------------------------------------------

def write_message(fd: int, header: bytes, blocks: Iterable[bytes]) -> None:
    """Header and blocks; a last line without an end gets one. Raises OSError, and what blocks raise."""
    waiting, last = [header] if header else [], header[-1:]
    size = len(header)
    for block in blocks:
        waiting.append(block)
        size, last = size + len(block), block[-1:]
        if size >= BLOCK:
            _write(fd, b"".join(waiting))
            waiting, size = [], 0
    if last != b"\n":
        waiting.append(b"\n")
    if waiting:
        _write(fd, b"".join(waiting))


def _write(fd: int, octets: bytes) -> None:
    done = os.write(fd, octets)
    while done < len(octets):
        octets = octets[done:]
        done = os.write(fd, octets)


# --- mbox -----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class MboxLocks:
    """How to lock an mbox file. may_fail: a dotlock that may not be made is done without."""

    methods: tuple[str, ...] = ("fcntl", "dotlock")
    wait_s: float = 20.0
    delay_s: float = 1.0
    stale_s: float = 500.0
    may_fail: bool = False


def from_line(sender: str, now: float) -> bytes:
    """"From sender  Sat Nov 21 04:00:00 2026": two blanks, local time; MAILER-DAEMON for the null sender."""
    return f"From {sender or 'MAILER-DAEMON'}  {time.asctime(time.localtime(now))}\n".encode(
        "utf-8", "surrogateescape")


def quote_from(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Put ">" before lines that begin with "From ", and an end behind a last line without one."""
    start = True                # the next octet begins a line
    held = b""
    for block in blocks:
        block = held + block
        if start and len(block) < 5 and b"From ".startswith(block):
            held = block
            continue
        held = b""
        if start and block.startswith(b"From "):
            block = b">" + block
        block = block.replace(b"\nFrom ", b"\n>From ")
        # What could be the beginning of "\nFrom " waits for the next block.
        cut = block.rfind(b"\n", max(0, len(block) - 5))
        start = False
        if cut >= 0 and b"\nFrom ".startswith(block[cut:]):
            held, block, start = block[cut + 1:], block[:cut + 1], True
        yield block
    if held:
        yield held
        start = False
    if not start:
        yield b"\n"


def append_mbox(path: str, sender: str, header: bytes, blocks: Iterable[bytes], *, locks: MboxLocks, limit: int = 0,
                check: Callable[[os.stat_result], None] | None = None, mode: int = 0o600,
                now: float | None = None, warn: Callable[[str], None] = lambda text: None) -> None:
    """Append one message. limit: octets that the file may have afterwards, 0: any number.

    check: looks at the open file (owner, kind) and raises DeliveryFailed. A path that is no regular file (/dev/null)
    is written to without locks. warn: told of a dotlock that was done without. Raises DeliveryFailed.
    """
    lock = MailboxLock(path, locks.methods, wait_s=locks.wait_s, delay_s=locks.delay_s, stale_s=locks.stale_s)
    regular = not os.path.exists(path) or os.path.isfile(path)
    try:
        if not regular:
            _append_open(path, lock, sender, header, blocks, 0, check, mode, now, locked=False)
            return
        with lock.dotlock(may_fail=locks.may_fail) as problem:
            if problem:
                warn(f"unable to create lock file {path}.lock: {problem}")
            _append_open(path, lock, sender, header, blocks, limit, check, mode, now, locked=True)
    except LockBusy as error:
        if error.what == "dotlock":
            reason = f"unable to create lock file {path}.lock: {os.strerror(errno.EEXIST)}"
        else:
            reason = f"unable to lock for exclusive access: {os.strerror(errno.EAGAIN)}"
        raise DeliveryFailed(reason, status="4.2.0", error=errno.EAGAIN) from error
    except OSError as error:
        raise DeliveryFailed.of(f"unable to create lock file {path}.lock", error) from error


def _append_open(path: str, lock: MailboxLock, sender: str, header: bytes, blocks: Iterable[bytes], limit: int,
                 check: Callable[[os.stat_result], None] | None, mode: int, now: float | None, *,
                 locked: bool) -> None:
    fd, created = _open_mbox(path, mode)
    try:
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            raise DeliveryFailed(f"file has {found.st_nlink} hard links", status="5.2.0")
        if check is not None:
            check(found)
        if locked and stat.S_ISREG(found.st_mode):
            try:
                lock.descriptor(fd)
            except OSError as error:
                raise DeliveryFailed.of("unable to lock for exclusive access", error) from error
        if created:             # its name first: what can still fail after the message is there makes a double
            try:
                fsync_directory(os.path.dirname(path) or ".")
            except OSError as error:
                raise DeliveryFailed.of(f"sync {os.path.dirname(path)}", error, "4.3.0") from error
        _append(fd, from_line(sender, time.time() if now is None else now) + header, blocks, limit)
    finally:
        os.close(fd)


def _open_mbox(path: str, mode: int) -> tuple[int, bool]:
    """Open for appending without following a link that somebody else put there; (fd, was it made now)."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        for _ in range(10):
            try:
                return os.open(path, flags), False
            except FileNotFoundError:
                pass
            try:
                return os.open(path, flags | os.O_CREAT | os.O_EXCL, mode), True
            except FileExistsError:
                pass            # another delivery was faster
            except OSError as error:
                raise DeliveryFailed.of("cannot create file exclusively", error) from error
        raise DeliveryFailed("file changes while it is being opened", status="4.2.0")
    except OSError as error:
        if error.errno == errno.ELOOP:
            return _open_link(path, flags & ~os.O_NOFOLLOW), False
        raise DeliveryFailed.of("cannot open file", error) from error


def _open_link(path: str, flags: int) -> int:
    """Follow a link that only root can have put there."""
    link, parent = os.lstat(path), os.stat(os.path.dirname(path) or ".")
    try:
        os.stat(path)
        if link.st_uid != 0 or parent.st_uid != 0 or parent.st_mode & 0o022:
            raise DeliveryFailed("file is a symbolic link", status="5.2.0")
        return os.open(path, flags)
    except OSError as error:
        raise DeliveryFailed.of("cannot open file", error) from error


def _append(fd: int, head: bytes, blocks: Iterable[bytes], limit: int) -> None:
    found = os.fstat(fd)
    regular, old = stat.S_ISREG(found.st_mode), found.st_size
    new = old + len(head) if regular else 0
    waiting, size = [head], len(head)
    try:
        for block in quote_from(blocks):
            waiting.append(block)
            size, new = size + len(block), new + len(block)
            if limit and regular and new + 1 > limit:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            if size >= BLOCK:
                _write(fd, b"".join(waiting))
                waiting, size = [], 0
        waiting.append(b"\n")
        _write(fd, b"".join(waiting))
        if regular:
            os.fsync(fd)
    except BaseException as error:
        if regular:
            try:
                os.ftruncate(fd, old)
            except OSError as failure:
                raise DeliveryFailed.of("error cutting back the mailbox", failure, "4.3.0") from error
        if isinstance(error, OSError):
            raise DeliveryFailed.of("error writing message", error) from error
        raise
