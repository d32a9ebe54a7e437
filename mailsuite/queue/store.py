"""The queue's files, which are durable before anybody is told so.

    store = QueueStore("/var/spool/postfix", hashed=("deferred", "defer"), depth=1)
    file = store.create()                     a nameless file with an id; nothing is left of it if we die
    file.writer.add(...); file.finish(facts, recipients)
    await store.commit(file, "incoming")      after file and name are on disk
    store.move(queue_id, "incoming", "active")         and what else can be done with files that are there: folders.py

A new file has no name (O_TMPFILE) until it is whole; then it gets its name by link(2), and is synced with it: one sync
for both where the file system promises that (`base/filesystems.py`), else one more of the folder. So a scan never sees
half a file, and a crash leaves none; what it leaves of messages that nobody was promised is delivered. Where the file
system has no O_TMPFILE, a file begins as ".new-..." and is renamed.
What waits for the disk never runs in the event loop: the kernel commits by itself where it can (ring_committer.py),
elsewhere a pool of SYNC_THREADS threads, which commits together what waits at the same time (committer.py).
Raises OSError untouched: ENOSPC is the caller's to name.
"""

import asyncio
import errno
import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, cast

from mailsuite.base.filesystems import syncs_new_names
from mailsuite.queue import ids, params
from mailsuite.queue.committer import Committer
from mailsuite.queue.folders import KEPT, QueueFolders
from mailsuite.queue.journal import FOLDER
from mailsuite.queue.journal_writer import JournalWriter, Pending
from mailsuite.queue.new_file import QueueFile as QueueFile
from mailsuite.queue.pool import SyncPool
from mailsuite.queue.ring_committer import RingCommitter

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

SYNC_THREADS = 4
SPARES = 16                  # nameless files kept ready
REFILL = 8                   # of these made at once
_NAMELESS = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC


class QueueStore(QueueFolders):
    """One per process. pool: where sync calls run. by_kernel False: commits by threads only."""

    def __init__(self, queue_directory: str, *, hashed: Sequence[str] = ("deferred", "defer"), depth: int = 1,
                 long_ids: bool = False, pool: SyncPool | None = None, by_kernel: bool = True) -> None:
        super().__init__(queue_directory, hashed=hashed, depth=depth)
        self.long_ids = long_ids
        self.pool = pool or SyncPool(SYNC_THREADS)
        self._committer = Committer(SYNC_THREADS, self._commit_in_thread)
        self._ring: RingCommitter | None = None
        self._tries_ring = by_kernel        # until it turns out that it has none
        self._folders: dict[str, int] = {}
        self._unnamed = True
        self._owner: tuple[int, int] | None = None
        self._spares: deque[tuple[int, int]] = deque()      # descriptor, inode number
        self._opening = 0
        self._count = 0
        self._number = secrets.randbits(ids.COUNTED)
        self.journal: JournalWriter | None = None

    def use_journal(self, *, size: int, most: int) -> None:
        """Small messages whose commit allows it go to the journal: at most so many segments of so many octets."""
        self.journal = JournalWriter(f"{self.directory}/{FOLDER}", self._sync_soon, self.pool, self._commit_as_file,
                                     size=size, most=most)

    # --- new files ----------------------------------------------------------------------------------------------

    def create(self, queue: str = "incoming") -> QueueFile:
        """A file without a name, in the folder's file system, mode 0600 (maildrop 0644). Raises OSError."""
        if queue == "incoming" and self.journal is not None and self.journal.in_use:
            self._number = (self._number + 1) % (1 << ids.COUNTED)
            queue_id = ids.counted_id(time.time(), self._number, long_ids=self.long_ids)
            return QueueFile(-1, queue_id, "", self._open_later)
        fd, temp, inode = self._new_file(queue)
        return QueueFile(fd, ids.new_id(time.time(), inode or os.fstat(fd).st_ino, long_ids=self.long_ids), temp)

    def create_copy(self, queue_id: str, image: bytes, queue: str) -> QueueFile:
        """A file for a message that has an id; image: all of its octets. `commit` has to follow. Raises OSError."""
        file = QueueFile(-1, queue_id, "", lambda: self._new_file(queue)[:2])
        file.writer.set_image(image)
        return file

    def free_id(self) -> str:
        """An id for a message whose own is another's, too."""
        while True:
            self._number = (self._number + 1) % (1 << ids.COUNTED)
            queue_id = ids.counted_id(time.time(), self._number, long_ids=self.long_ids)
            if self.find(queue_id, KEPT) is None:
                return queue_id

    def _open_later(self) -> tuple[int, str]:
        return self._new_file("incoming")[:2]

    def _new_file(self, queue: str) -> tuple[int, str, int]:
        """A descriptor, the name it has, its inode number where that is known. Raises OSError."""
        folder, temp = f"{self.directory}/{queue}", ""
        try:
            fd, inode = self._spares.popleft() if queue == "incoming" else (self._open_unnamed(folder), 0)
        except IndexError:
            fd, inode = self._open_unnamed(folder), 0
        if fd < 0:
            self._count += 1
            temp = f"{folder}/.new-{os.getpid()}-{self._count}"
            fd = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if queue == "maildrop":
            os.fchmod(fd, 0o644)        # it stays the submitter's, pickup reads it; nobody else may search maildrop/
        elif os.geteuid() == 0:
            self._give_away(fd, folder)
        return fd, temp, inode

    def _open_unnamed(self, folder: str) -> int:
        """-1: this file system cannot."""
        if self._unnamed:
            try:
                return os.open(folder, _NAMELESS, 0o600)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                    raise
                self._unnamed = False
        return -1

    def _open_spares(self, most: int) -> None:
        """Making an inode waits for the folder while it is synced: a thread does it beforehand, not the event loop."""
        for _ in range(min(most, SPARES - len(self._spares))):
            fd = self._open_unnamed(f"{self.directory}/incoming")
            if fd >= 0:
                self._spares.append((fd, os.fstat(fd).st_ino))

    def close(self) -> None:
        """Let go of what is kept open."""
        while self._spares:
            os.close(self._spares.popleft()[0])
        while self._folders:
            os.close(self._folders.popitem()[1])
        if self._ring is not None:
            self._ring.close()
            self._ring = None
        if self.journal is not None:
            self.journal.close()

    def __del__(self) -> None:
        """Whoever forgot to close it."""
        descriptors = [fd for fd, _ in getattr(self, "_spares", ())] + list(getattr(self, "_folders", {}).values())
        for fd in descriptors:
            with suppress(OSError):
                os.close(fd)

    def _give_away(self, fd: int, folder: str) -> None:
        """What root makes (a forward of local's) belongs to the queue's owner, who has to read it."""
        if self._owner is None:
            found = os.stat(folder)
            self._owner = (found.st_uid, found.st_gid)
        if self._owner[0] != 0:
            os.fchown(fd, *self._owner)

    async def commit(self, file: QueueFile, queue: str = "incoming") -> None:
        """Return when file and name are on disk. Raises OSError. A cancelled caller does not stop it."""
        await self.commit_soon(file, queue)

    def commit_soon(self, file: QueueFile, queue: str = "incoming", then: Callable[[], None] = lambda: None, *,
                    to_journal: bool = False) -> "asyncio.Future[None]":
        """Done when file and name are on disk; fails with OSError: then there is no such file. then: called first
        when it is on disk, also when the future was cancelled, which stops nothing. The rest as in commit_then."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: OSError | None) -> None:
            if error is None:
                then()
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self.commit_then(file, queue, done, to_journal=to_journal)
        return future

    def commit_then(self, file: QueueFile, queue: str, done: Callable[[OSError | None], None], *,
                    to_journal: bool = False) -> None:
        """The same without a future: `done` is called later, once, with None when file and name are on disk. The file
        is the store's from now on, and closed in any case. to_journal: a small one may go there, if qmgr is told
        where: `file.place`."""
        if (to_journal and (journal := self.journal) is not None and journal.in_use and file.writer.in_memory
                and journal.takes(file.writer.whole)):
            journal.commit(Pending(file, done))
        else:
            self._commit_file(file, queue, done)

    def _commit_as_file(self, pending: Pending) -> None:
        """The journal has no room for it."""
        self._commit_file(pending.file, "incoming", pending.done)

    def _sync_soon(self, fd: int, done: Callable[[int], None]) -> None:
        """fdatasync; `done` gets 0 or an errno in the event loop."""
        ring = self._ring_now()
        if ring is None or ring.full:
            future = self.pool.run(os.fdatasync, fd)
            future.add_done_callback(lambda ended: done(_errno_of(ended)))
            return
        ring.sync_data(fd, done)
        ring.submit()

    def _commit_file(self, file: QueueFile, queue: str, done: Callable[[OSError | None], None]) -> None:
        ring, loop = self._ring_now(), asyncio.get_running_loop()
        try:
            if ring is None or ring.full or not file.is_nameless:
                self._commit_by_threads(file, queue, done)
                return
        except OSError as error:            # no descriptor to be had
            file.close()
            loop.call_soon(done, error)
            return

        def committed(link_error: int, sync_error: int) -> None:
            error: OSError | None = None
            if link_error:                      # the folder is missing, or worse: the threads know what to do
                self._commit_by_threads(file, queue, done)
                return
            if sync_error:                      # not promised: the client will send it again
                with suppress(OSError):
                    os.unlink(path)
                error = OSError(sync_error, os.strerror(sync_error))
            file.close()
            done(error)

        try:
            path = self.path(queue, file.queue_id)
            file.complete()
            ring.commit(file.fd, path, committed)
            if len(self._spares) + self._opening <= SPARES - REFILL:
                self._opening += REFILL
                ring.open_files(REFILL, f"{self.directory}/incoming", _NAMELESS, 0o600, self._keep_spare)
            ring.submit()
        except OSError as error:
            file.close()
            loop.call_soon(done, error)

    def _commit_by_threads(self, file: QueueFile, queue: str, done: Callable[[OSError | None], None]) -> None:
        def ended(future: "asyncio.Future[None]") -> None:
            error = future.exception()
            done(error if error is None or isinstance(error, OSError) else OSError(errno.EIO, str(error)))

        self._committer.commit((file, queue)).add_done_callback(ended)

    def _ring_now(self) -> RingCommitter | None:
        """The running loop's; None where files and names need more than it can do."""
        ring = self._ring
        if ring is not None and ring.loop is asyncio.get_running_loop():
            return ring
        if ring is not None:                    # of a loop that is over
            ring.close()
            self._ring, self._opening = None, 0
        if self._tries_ring:
            self._ring = RingCommitter.open() if self._names_are_synced else None
            self._tries_ring = self._ring is not None
        return self._ring

    def _keep_spare(self, fd: int) -> None:
        self._opening -= 1
        if fd >= 0:                             # else whoever needs the next file is told
            self._spares.append((fd, os.fstat(fd).st_ino))

    def commit_now(self, file: QueueFile, queue: str) -> None:
        """As commit, blocking. Raises OSError."""
        for error in self._commit_batch([(file, queue)]):
            if error is not None:
                raise error

    def commit_all(self, items: Sequence[tuple[QueueFile, str]]) -> list[BaseException | None]:
        """Several, blocking: an exception or None for each."""
        return self._commit_batch(items)

    def _commit_batch(self, items: Sequence[tuple[QueueFile, str]]) -> list[BaseException | None]:
        """In a thread: all contents and names, then the syncs: of each file, and of each folder where it needs one."""
        errors: list[BaseException | None] = [None] * len(items)
        by_folder: dict[str, list[int]] = {}
        for number, (file, queue) in enumerate(items):
            try:
                path = self.path(queue, file.queue_id)
                self._write_and_name(file, path)
                by_folder.setdefault(os.path.dirname(path), []).append(number)
            except OSError as error:
                errors[number] = error
        for folder, numbers in by_folder.items():
            for number in numbers:
                try:
                    items[number][0].sync()
                except OSError as error:
                    errors[number] = error
            if not self._names_are_synced:
                try:
                    os.fsync(self._folder(folder))
                except OSError as error:
                    for number in numbers:
                        errors[number] = errors[number] or error
            for number in numbers:
                if errors[number] is not None:
                    # Not promised: the client will send it again. What a sync that failed has lost of a file is not
                    # known, and a second sync would say that all is well: it must go.
                    with suppress(OSError):
                        os.unlink(f"{folder}/{items[number][0].queue_id}")
        for file, _ in items:
            with suppress(OSError):
                file.close()
        return errors

    def _commit_in_thread(self, items: Sequence[tuple[QueueFile, str]]) -> list[BaseException | None]:
        errors = self._commit_batch(items)
        try:
            self._open_spares(len(items))
        except OSError:
            pass                        # whoever needs the next file is told
        return errors

    def _write_and_name(self, file: QueueFile, path: str) -> None:
        try:
            file.write_and_name(path)
        except FileNotFoundError:
            self.make_folder(os.path.dirname(path))
            file.write_and_name(path)

    @cached_property
    def _names_are_synced(self) -> bool:
        return syncs_new_names(self.directory)

    def _folder(self, path: str) -> int:
        """A descriptor of a folder, kept open."""
        fd = self._folders.get(path)
        if fd is None:
            fd = self._folders.setdefault(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        return fd

    def remove_soon(self, queue: str, queue_id: str, removed: Callable[[OSError | None], None]) -> None:
        """Unlink without waiting: freeing an inode waits for its neighbours that are being synced. `removed` is called
        in the event loop, with FileNotFoundError when it was not there. Raises ValueError for what is no queue id."""
        path = self.path(queue, queue_id)
        ring = self._ring_now()
        if ring is None or ring.full:
            future = self.pool.run(os.unlink, path)
            future.add_done_callback(lambda done: removed(cast("OSError | None", done.exception())))
            return
        ring.remove(path, lambda code: removed(OSError(code, os.strerror(code), path) if code else None))


def _errno_of(ended: "asyncio.Future[None]") -> int:
    error = ended.exception()
    return 0 if error is None else (error.errno or errno.EIO) if isinstance(error, OSError) else errno.EIO


def open_store(settings: "Settings", *, pool: SyncPool | None = None) -> QueueStore:
    """The store that the configuration names."""
    hashed = settings[params.HASH_QUEUE_NAMES]
    return QueueStore(settings[params.QUEUE_DIRECTORY], hashed=hashed,
                      depth=settings[params.HASH_QUEUE_DEPTH], long_ids=settings[params.ENABLE_LONG_QUEUE_IDS],
                      pool=pool)
