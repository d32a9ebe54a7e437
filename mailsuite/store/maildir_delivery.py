"""Putting messages into Maildirs: blocking, with the rights of whoever calls.

    path = deliver_maildir("/home/alice/Maildir", header, read_blocks(fd, offset, size), host="mx.example.test")
    ends = deliver_maildirs([Delivery(...), Delivery(...)])         several at once: a path or a DeliveryFailed for each

On return a message and its name are on disk; after an error nothing of it is visible and nothing is left behind.
Written and synced in tmp/, then renamed into new/ as TIME.VdevIinodeMusec.HOST, then new/ itself is synced
(sync_directory): a queue file may only go once the name cannot get lost. Postfix leaves that to the file system; it
costs one more journal commit, 4 to 19 % of the rate. Several deliveries go through these steps side by side, so each
folder is synced once for all of them. Missing folders are made with mode 0700.

`header` and `blocks` are those of store/delivery.py, as is what is raised: DeliveryFailed.
"""

import errno
import itertools
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailsuite.base.files import fsync_directory
from mailsuite.base.writeback import start_sync
from mailsuite.store.delivery import DeliveryFailed, make_folders, write_message

_SERIAL = itertools.count()


@dataclass(slots=True)
class Delivery:
    """One message for one Maildir. make: make missing folders. now: the time of its arrival, None: of writing it."""

    folder: str
    header: bytes
    blocks: Iterable[bytes]
    host: str
    mode: int = 0o600
    make: bool = True
    sync_directory: bool = True
    now: float | None = None


def deliver_maildir(folder: str, header: bytes, blocks: Iterable[bytes], *, host: str, mode: int = 0o600,
                    make: bool = True, sync_directory: bool = True, now: float | None = None) -> str:
    """Deliver one message; returns its path in new/. Raises DeliveryFailed."""
    (end,) = deliver_maildirs([Delivery(folder, header, blocks, host, mode, make, sync_directory, now)])
    if isinstance(end, DeliveryFailed):
        raise end
    return end


def deliver_maildirs(deliveries: Sequence[Delivery]) -> "list[str | DeliveryFailed]":
    """Deliver all; how each ended, in their order: its path in new/, or why it is not there."""
    arrivals = [_Arrival(delivery) for delivery in deliveries]
    try:
        for step in _STEPS if len(arrivals) > 1 else _STEPS_ALONE:
            for arrival in arrivals:
                if arrival.failure is None:
                    try:
                        step(arrival)
                    except DeliveryFailed as failure:
                        arrival.fail(failure)
        _sync_folders(arrivals)
    except BaseException as error:
        for arrival in arrivals:
            arrival.fail(arrival.failure or DeliveryFailed(str(error), status="4.3.0"))
        raise
    return [arrival.failure or arrival.path for arrival in arrivals]


def _sync_folders(arrivals: "list[_Arrival]") -> None:
    waiting: dict[str, list[_Arrival]] = {}
    for arrival in arrivals:
        if arrival.failure is None and arrival.delivery.sync_directory:
            waiting.setdefault(arrival.folder, []).append(arrival)
    for folder, shown in waiting.items():
        try:
            fsync_directory(f"{folder}/new")
        except OSError as error:
            for arrival in shown:
                arrival.fail(DeliveryFailed.of(f"sync {folder}/new", error, "4.3.0"))


class _Arrival:
    """One message between tmp/ and new/. path: where it is now, "": nowhere."""

    __slots__ = ("delivery", "failure", "fd", "folder", "now", "path")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery, self.folder = delivery, delivery.folder.rstrip("/")
        self.now = 0.0
        self.fd, self.path = -1, ""
        self.failure: DeliveryFailed | None = None

    def write(self) -> None:
        delivery = self.delivery
        self.now = time.time() if delivery.now is None else delivery.now
        temporary = (f"{self.folder}/tmp/{int(self.now)}.P{os.getpid()}Q{next(_SERIAL)}M{self._microseconds}"
                     f".{delivery.host}")
        self.fd = _create_in_tmp(self.folder, temporary, delivery.mode, delivery.make)
        self.path = temporary
        try:
            write_message(self.fd, delivery.header, delivery.blocks)
        except OSError as error:
            raise DeliveryFailed.of("error writing message", error) from error

    def start(self) -> None:
        start_sync(self.fd)

    def sync(self) -> None:
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise DeliveryFailed.of("error writing message", error) from error

    def show(self) -> None:
        """Under its final name, which tells the inode."""
        try:
            found = os.fstat(self.fd)
        except OSError as error:
            raise DeliveryFailed.of("error writing message", error) from error
        name = (f"{int(self.now)}.V{found.st_dev:x}I{found.st_ino:x}M{self._microseconds}.{self.delivery.host}")
        path = f"{self.folder}/new/{name}"
        _move_into_new(self.folder, self.path, path, self.delivery.make)
        self.path = path
        self._close()

    @property
    def _microseconds(self) -> int:
        return int(self.now % 1 * 1e6)

    def fail(self, failure: DeliveryFailed) -> None:
        """Leave nothing behind."""
        self.failure = failure
        path, self.path = self.path, ""
        if path:
            try:
                os.unlink(path)
            except OSError:
                pass
        self._close()

    def _close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError as error:        # after a good sync: of a file system that tells of a full quota only now
                if self.failure is None:
                    raise DeliveryFailed.of("error writing message", error) from error


# Of one message the sync itself begins at once; of several each would wait for the one before.
_STEPS_ALONE = _Arrival.write, _Arrival.sync, _Arrival.show
_STEPS = _Arrival.write, _Arrival.start, _Arrival.sync, _Arrival.show


def _create_in_tmp(folder: str, temporary: str, mode: int, make: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    for attempt in range(2):
        try:
            return os.open(temporary, flags, mode)
        except OSError as error:
            if error.errno != errno.ENOENT or attempt or not make:
                raise DeliveryFailed.of(f"create maildir file {temporary}", error) from error
        try:
            for name in ("tmp", "cur", "new"):
                make_folders(f"{folder}/{name}")
        except OSError as error:
            raise DeliveryFailed.of(f"create maildir file {temporary}", error) from error
    raise AssertionError("unreachable")


def _move_into_new(folder: str, temporary: str, path: str, make: bool) -> None:
    for attempt in range(2):
        try:
            # link would refuse to replace a file, but some file systems have none; the inode is in the name.
            os.rename(temporary, path)
            return
        except OSError as error:
            if error.errno != errno.ENOENT or attempt or not make:
                raise DeliveryFailed.of(f"link to {path}", error) from error
        try:
            make_folders(f"{folder}/new")
            make_folders(f"{folder}/cur")
        except OSError as error:
            raise DeliveryFailed.of(f"link to {path}", error) from error
