"""smtpd's end of the journal: what commits at the same time is written by one call and made durable by one sync.

    writer = JournalWriter(folder, sync, pool, by_file, size=8 << 20, most=16)
    writer.in_use                                   there is a segment; if not, one is made ready meanwhile
    writer.commit(pending)                          pending.done(None) when the record is on disk

sync(fd, done): fdatasync without waiting, done(0 or an errno) in the event loop. by_file(pending): commits it as a
file, which is what happens to all that there is no room for. At most SYNCS syncs are under way; what comes meanwhile
goes together with the next one. A message is promised only by a sync that began after it was written.

A failed sync: what the disk has of the records that waited for it is not known, nor of those of a sync that was under
way with it. All of them are refused, marked as free (so that no recovery delivers them), and the segment is written
to no more. Each sync under way has a descriptor of its own: the kernel tells each descriptor once of an error.
Limits: `most` segments of `size` octets in the folder, of all processes together; BATCH records a sync.
"""

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailsuite.base.log import logger
from mailsuite.queue import journal
from mailsuite.queue.journal import BLOCK, LAST_GENERATION, RECORD_LIMIT, Place, Segment, blocks_of, record
from mailsuite.queue.pool import SyncPool

if TYPE_CHECKING:
    from mailsuite.queue.store import QueueFile

SYNCS = 2
BATCH = 256
RETRY_S = 1.0               # before another segment is looked for
ROOM = 4                    # so many times a segment's size has to be free on the disk before one is made
log = logger("cleanup")


class Pending:
    """A finished message on its way to the disk. done: called once, with None when it is there."""

    __slots__ = ("blocks", "done", "file")

    def __init__(self, file: "QueueFile", done: Callable[[OSError | None], None]) -> None:
        self.file, self.done = file, done
        self.blocks = blocks_of(file.writer.whole)

    def end(self, error: OSError | None) -> None:
        """The file is closed, whoever waits is told."""
        self.file.close()
        self.done(error)


class _Own:
    """A segment that we write to. used: blocks at which the records of this generation begin. idle_fds: for the next
    syncs."""

    def __init__(self, segment: Segment, generation: int) -> None:
        """Raises OSError."""
        self.segment, self.generation = segment, generation
        self.next = 1
        self.used: list[int] = []
        self._looked_at = 0
        self.failed = False
        self.in_flight = 0
        self.idle_fds = [segment.fd]
        while len(self.idle_fds) < SYNCS:
            self.idle_fds.append(os.open(segment.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))
        self._fds = self.idle_fds[1:]

    def has_room(self, blocks: int) -> bool:
        return self.next + blocks <= self.segment.blocks

    @property
    def half_full(self) -> bool:
        return self.next * 2 > self.segment.blocks

    @property
    def is_free(self) -> bool:
        """Nothing of what was written is needed any more."""
        while self._looked_at < len(self.used):
            if not self.segment.is_free(self.used[self._looked_at], self.generation):
                return False
            self._looked_at += 1
        return not self.in_flight

    @property
    def reusable(self) -> bool:
        return self.is_free and not self.failed and self.generation < LAST_GENERATION

    def begin_again(self) -> None:
        self.generation += 1
        self.next, self._looked_at = 1, 0
        self.used.clear()

    def close(self) -> None:
        """Give it to others."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []
        self.segment.close()


class JournalWriter:
    """One per process and event loop."""

    def __init__(self, folder: str, sync: Callable[[int, Callable[[int], None]], None], pool: SyncPool,
                 by_file: Callable[[Pending], None], *, size: int, most: int) -> None:
        self.folder, self._size, self._most = folder, size // BLOCK * BLOCK, most
        self._sync, self._pool, self._by_file = sync, pool, by_file
        self._current: _Own | None = None
        self._spare: _Own | None = None
        self._full: list[_Own] = []
        self._waiting: deque[Pending] = deque()
        self._under_way = 0
        self._begins_soon = self._was_alone = False     # was_alone: the last record had a sync of its own
        self._preparing: asyncio.Future[_Own | None] | None = None
        self._look_at = 0.0             # no other segment is looked for before
        self._complained = False

    @property
    def in_use(self) -> bool:
        """Whether a message can be committed here now."""
        if self._current is None and self._spare is None:
            self._prepare()
            return False
        return True

    def takes(self, octets: int) -> bool:
        """Whether a message of so many octets with its envelope is small enough."""
        return octets <= min(RECORD_LIMIT, self._size // 4)

    def commit(self, pending: Pending) -> None:
        """Begin with it, or as soon as a sync is over. `done` is not called from within."""
        self._waiting.append(pending)
        if self._begins_soon or self._under_way >= SYNCS:
            return
        if self._was_alone and not self._under_way:     # one client: a turn of the loop would bring nothing more
            self._begin()
        else:
            self._begins_soon = True                # what this turn of the loop brings goes together
            asyncio.get_running_loop().call_soon(self._begin)

    def close(self) -> None:
        """Others may have the segments. What is under way ends unheard."""
        for own in (*self._full, self._current, self._spare):
            if own is not None:
                own.close()
        self._full, self._current, self._spare = [], None, None

    # --- writing ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._begins_soon = False
        while self._waiting and self._under_way < SYNCS:
            own = self._current
            if own is None or not own.has_room(self._waiting[0].blocks):
                if not self._advance():
                    self._all_by_file()
                    return
                continue
            self._write(own)
            if own.half_full and self._spare is None and not any(other.reusable for other in self._full):
                self._prepare()

    def _write(self, own: _Own) -> None:
        """As many of those that wait as there is room for."""
        batch: list[Pending] = []
        records: list[bytes] = []
        first, segment = own.next, own.segment
        while self._waiting and own.has_room(self._waiting[0].blocks) and len(batch) < BATCH:
            pending = self._waiting.popleft()
            file = pending.file
            file.place = Place(segment.name, own.next, own.generation, file.writer.whole)
            records.append(record(segment.secret, file.place, file.queue_id, *file.writer.image()))
            batch.append(pending)
            own.used.append(own.next)
            own.next += pending.blocks
        self._was_alone = len(batch) == 1
        own.in_flight += 1
        self._under_way += 1
        fd = own.idle_fds.pop()

        def ended(code: int) -> None:
            own.idle_fds.append(fd)
            self._ended(own, batch, code)

        try:
            written = os.pwritev(segment.fd, records, first * BLOCK)
            code = 0 if written == (own.next - first) * BLOCK else errno.ENOSPC
        except OSError as error:
            code = error.errno or errno.EIO
        if code:
            asyncio.get_running_loop().call_soon(ended, code)
        else:
            self._sync(fd, ended)

    def _ended(self, own: _Own, batch: list[Pending], code: int) -> None:
        own.in_flight -= 1
        self._under_way -= 1
        if code and not own.failed:
            own.failed = True
            own.segment.retire()
            log.error("cannot write to the journal: %s; it is not used again", os.strerror(code))
        if own.failed:
            self._refuse(own, batch, code or errno.EIO)
        else:
            for pending in batch:
                pending.end(None)
        if self._waiting and not self._begins_soon:
            self._begin()

    def _refuse(self, own: _Own, batch: list[Pending], code: int) -> None:
        for pending in batch:
            assert pending.file.place is not None
            own.segment.set_free(pending.file.place)
            pending.file.place = None
            pending.end(OSError(code, os.strerror(code)))
        if self._current is own:
            self._current = None
        if own in self._full:
            self._full.remove(own)
        if not own.in_flight:
            own.close()                 # qmgr may need other records of it: it removes it

    def _all_by_file(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for pending in waiting:
            self._by_file(pending)

    # --- segments ---------------------------------------------------------------------------------------------------

    def _advance(self) -> bool:
        """Go on with another segment. False: there is none now."""
        if self._current is not None:
            self._full.append(self._current)
            self._current = None
        for own in self._full:
            if own.reusable:
                self._full.remove(own)
                own.begin_again()
                self._current = own
                return True
        if self._spare is None:
            self._prepare()
            return False
        self._current, self._spare = self._spare, None
        return True

    def _prepare(self) -> None:
        """Look for a segment that nobody needs, or make one, in a thread."""
        loop = asyncio.get_running_loop()
        if self._preparing is None and loop.time() >= self._look_at:
            self._preparing = self._pool.run(self._find)
            self._preparing.add_done_callback(self._found)

    def _found(self, done: "asyncio.Future[_Own | None]") -> None:
        self._preparing = None
        if done.cancelled():
            return
        error = done.exception()
        if error is not None:
            if not self._complained:
                why = error.strerror if isinstance(error, OSError) else str(error)      # without the segment's name
                log.warning("cannot make a segment of the journal: %s; mail is committed as files", why)
            self._complained = True
        elif (own := done.result()) is not None:
            self._spare, self._complained = own, False
            return
        self._look_at = asyncio.get_running_loop().time() + RETRY_S

    def _find(self) -> _Own | None:
        """In a thread. None: there are as many as there may be, or the disk has no room. Raises OSError."""
        there = journal.names(self.folder)
        for name in there:
            try:
                segment = Segment.open(self.folder, name)
            except FileNotFoundError:
                continue
            generation = journal.finished(segment) if segment.lock() else 0
            if generation and segment.retired:
                segment.remove()
            elif 0 < generation < LAST_GENERATION:
                return _Own(segment, generation)
            segment.close()
        disk = os.statvfs(self.folder)
        if len(there) >= self._most or disk.f_bavail * disk.f_frsize < ROOM * self._size:
            return None
        return _Own(Segment.create(self.folder, self._size), 1)
