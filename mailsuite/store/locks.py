"""Locks on mbox files that other programs honour: dotlock, fcntl, flock.

    lock = MailboxLock("/var/mail/alice", parse_methods("fcntl, dotlock"), wait_s=20, stale_s=500)
    with lock.dotlock():                            NAME.lock, before the file is opened; nothing when not configured
        fd = os.open(...)
        lock.descriptor(fd)                         fcntl and flock, in the configured order; gone with the descriptor

    with lock.held(fd): ...                         all of them, for a file that is open already

A dotlock is made with O_EXCL, holds "pid:host" and is taken from another when it is older than stale_s seconds, or when
its process ran on this machine and is dead. fcntl locks belong to the process: one that has the file open twice
loses them with the first close.
Raises LockBusy after wait_s seconds, OSError when the lock cannot be made at all (a folder that is not writable).
Order for who takes more than one: dotlock, then fcntl and flock as configured.
"""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.privilege import privileged_group

METHODS = ("fcntl", "flock", "dotlock")


class LockBusy(TemporaryError):
    """Another program holds the lock. what: "dotlock" or "descriptor"."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__("mailbox is busy", status="4.2.0", detail=f"{what} of {path} is held by another program")
        self.path, self.what = path, what


def parse_methods(text: str) -> tuple[str, ...]:
    """"fcntl, dotlock" as Postfix and Dovecot write it (`flock_delay` of neither). Raises ConfigError."""
    methods = tuple(text.replace(",", " ").lower().split())
    for method in methods:
        if method not in METHODS:
            raise ConfigError(f"unknown mailbox locking method: {method}")
    return methods


class MailboxLock:
    """The locks of one mailbox file. wait_s: how long to try. delay_s: between two tries."""

    def __init__(self, path: str, methods: tuple[str, ...], *, wait_s: float = 20.0, delay_s: float = 1.0,
                 stale_s: float = 500.0, sleep: Callable[[float], None] = time.sleep,
                 privileged: bool = False) -> None:
        self.path, self.methods = path, methods
        self._wait_s, self._delay_s, self._stale_s, self._sleep = wait_s, delay_s, stale_s, sleep
        self._privileged = privileged       # the dotlock may need mail_privileged_group

    @contextmanager
    def dotlock(self, *, may_fail: bool = False) -> Iterator[str]:
        """Hold PATH.lock, when the methods name it. may_fail: go on where it cannot be made; gives the reason then."""
        name = self.path + ".lock"
        if "dotlock" not in self.methods:
            yield ""
            return
        try:
            self._make(name)
        except OSError as error:
            if not may_fail:
                raise
            yield os.strerror(error.errno or 0)
            return
        try:
            yield ""
        finally:
            try:
                with privileged_group(self._privileged):
                    os.unlink(name)
            except FileNotFoundError:
                pass                    # somebody thought it stale

    def descriptor(self, fd: int, *, shared: bool = False) -> None:
        """Take the fcntl and flock locks on an open file; closing it gives them back. Raises LockBusy, OSError."""
        kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        for method in self.methods:
            if method == "fcntl":
                self._retry(lambda: fcntl.lockf(fd, kind))
            elif method == "flock":
                self._retry(lambda: fcntl.flock(fd, kind))

    def release(self, fd: int) -> None:
        """Give back what `descriptor` took, for a file that stays open."""
        for method in reversed(self.methods):
            if method == "fcntl":
                fcntl.lockf(fd, fcntl.LOCK_UN)
            elif method == "flock":
                fcntl.flock(fd, fcntl.LOCK_UN)

    @contextmanager
    def held(self, fd: int, *, shared: bool = False, may_fail: bool = False) -> Iterator[None]:
        """All configured locks around a file that is open already."""
        with self.dotlock(may_fail=may_fail):
            self.descriptor(fd, shared=shared)
            try:
                yield
            finally:
                self.release(fd)

    def _retry(self, take: Callable[[], object]) -> None:
        end = time.monotonic() + self._wait_s
        while True:
            try:
                take()
                return
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            if time.monotonic() >= end:
                raise LockBusy(self.path, "descriptor")
            self._sleep(self._delay_s)

    def _make(self, name: str) -> None:
        end = time.monotonic() + self._wait_s
        while True:
            try:
                with privileged_group(self._privileged):
                    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            except FileExistsError:
                if self._remove_stale(name):
                    continue
            else:
                try:
                    # Whose it is helps others to see that he died; on a full disk the lock holds without.
                    os.write(fd, f"{os.getpid()}:{socket.gethostname()}".encode())
                except OSError:
                    pass
                finally:
                    os.close(fd)
                return
            if time.monotonic() >= end:
                raise LockBusy(self.path, "dotlock")
            self._sleep(self._delay_s)

    def _remove_stale(self, name: str) -> bool:
        """Take away a lock file that nobody can be using. True: try again at once."""
        try:
            before = os.lstat(name)
            if time.time() - before.st_mtime < self._stale_s and not _owner_is_dead(name):
                return False
            # Between the look and the unlink another waiter may have replaced it by a fresh one.
            if os.lstat(name).st_ino == before.st_ino:
                os.unlink(name)
        except FileNotFoundError:
            pass
        return True


def _owner_is_dead(name: str) -> bool:
    """Whether the file names a process of this machine that is gone."""
    try:
        with open(name, "rb") as file:
            pid, _, host = file.read(300).partition(b":")
        if host.decode("utf-8", "replace").strip() != socket.gethostname() or not pid.isdigit():
            return False
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
