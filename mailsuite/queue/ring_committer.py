"""Commits and removals by the kernel alone: io_uring links and syncs, no thread of ours waits for the disk.

    committer = RingCommitter.open()                     for the running loop; None: threads have to do it
    committer.commit(fd, path, done)                     done(link_error, sync_error) in the event loop; 0 or an errno
    committer.open_files(8, path, flags, mode, opened)   opened(descriptor), or a negative errno, for each
    committer.sync_data(fd, done)                        fdatasync: done(0 or an errno)
    committer.remove(path, removed)                      removed(0 or an errno)
    committer.submit()                                   begins all that: one system call
    committer.full                                       no room now
"""

import asyncio
import errno
import os
from collections.abc import Callable

from mailsuite.base.uring import Ring, link, open_file, sync, sync_data, unlink

ENTRIES = 128           # operations between two submits; twice as many may be under way
_MOST = 16              # what one message needs at most: link, sync, a few files for the next ones

Committed = Callable[[int, int], None]
Opened = Callable[[int], None]


class RingCommitter:
    """One per event loop."""

    def __init__(self, ring: Ring, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._ring, self._pid = ring, os.getpid()
        self._token = 0
        self._under_way = 0
        self._submits_soon = False
        self._commits: dict[int, _Commit] = {}
        self._others: dict[int, tuple[Opened, int]] = {}        # whom to call, how often
        loop.add_reader(ring.fd, self._hand_back)

    @classmethod
    def open(cls) -> "RingCommitter | None":
        """Belongs to the running loop."""
        ring = Ring.open(ENTRIES)
        return cls(ring, asyncio.get_running_loop()) if ring is not None else None

    @property
    def full(self) -> bool:
        """Whether another message has to go another way."""
        return self._under_way + _MOST > self._ring.room

    def commit(self, fd: int, path: str, done: Committed) -> None:
        """Link, then sync. `submit` has to follow."""
        self._token += 1
        self._commits[self._token] = _Commit(done)
        self._under_way += 2
        self._ring.chain(self._token, (link(fd, path), sync(fd)))

    def sync_data(self, fd: int, done: Callable[[int], None]) -> None:
        """fdatasync; `done` gets 0 or an errno. `submit` has to follow."""
        self._token += 1
        self._others[self._token] = (lambda result: done(-result)), 1
        self._under_way += 1
        self._ring.chain(self._token, (sync_data(fd),))

    def open_files(self, number: int, path: str, flags: int, mode: int, opened: Opened) -> None:
        """`opened` is called for each. `submit` has to follow."""
        self._token += 1
        self._others[self._token] = opened, number
        self._under_way += number
        self._ring.chain(self._token, [open_file(path, flags, mode)] * number)

    def remove(self, path: str, removed: Callable[[int], None]) -> None:
        """`removed` gets 0 or an errno. What one turn of the event loop removes begins together, at its end."""
        self._token += 1
        self._others[self._token] = (lambda result: removed(-result)), 1
        self._under_way += 1
        if self._ring.waiting >= self._ring.entries - _MOST:        # what is put without a submit has a limit
            self.submit()
        self._ring.chain(self._token, (unlink(path),))
        if not self._submits_soon:
            self._submits_soon = True
            self.loop.call_soon(self._submit_removals)

    def _submit_removals(self) -> None:
        self._submits_soon = False
        if self._ring.fd >= 0:
            self.submit()

    def submit(self) -> None:
        """Begin; what cannot be begun ends with EAGAIN."""
        if refused := self._ring.submit():
            self.loop.call_soon(self._refuse, refused)

    def close(self) -> None:
        """What is under way ends unheard."""
        if not self.loop.is_closed() and self._ring.fd >= 0 and self._pid == os.getpid():
            self.loop.remove_reader(self._ring.fd)      # after a fork it is the parent's loop that would forget it
        self._ring.close()

    def _hand_back(self) -> None:
        for token, step, result in self._ring.ended():
            self._end(token, step, result)

    def _refuse(self, refused: list[tuple[int, int]]) -> None:
        for token, step in refused:
            self._end(token, step, -errno.EAGAIN)

    def _end(self, token: int, step: int, result: int) -> None:
        self._under_way -= 1
        commit = self._commits.get(token)
        if commit is not None:
            commit.left -= 1
            commit.errors[step] = -result
            if not commit.left:
                del self._commits[token]
                commit.done(*commit.errors)
            return
        told, left = self._others[token]
        if left > 1:
            self._others[token] = told, left - 1
        else:
            del self._others[token]
        told(result)


class _Commit:
    """One that is under way; an operation that was never begun may end before the one that it should follow."""

    __slots__ = ("done", "errors", "left")

    def __init__(self, done: Committed) -> None:
        self.done, self.errors, self.left = done, [0, 0], 2
