"""inotify: which folder or file changed, and how. One descriptor watches all that a process wants to know.

    inotify = Inotify()                             Raises OSError where the system has no more of them
    number = inotify.add("/home/anna/Maildir/new")  None: the folder is missing, or the limit of watches
    inotify.read() -> [Event(number, CREATED, "1700000000.M1P1.mx")]
    inotify.remove(number); inotify.close()

A path that is another one's file has that one's number: who adds it twice has to count. After an event GONE the number
means nothing any more; LOST says that some events are missing. Whoever gets no watch polls, every POLL_S seconds.
Source: inotify(7).
"""

import ctypes
import os
import struct
from contextlib import suppress
from functools import cache
from typing import NamedTuple

POLL_S = 30

CHANGED, MOVED_AWAY, CREATED, DELETED, FOLDER = 0x2, 0x40, 0x180, 0x200, 0x4000_0000     # CREATED: or moved here
GONE, LOST = 0x8000, 0x4000
NAMES = MOVED_AWAY | CREATED | DELETED
_MASK = CHANGED | NAMES
_HEAD = struct.Struct("iIII")


class Event(NamedTuple):
    """mask: bits of the above. name: in the folder; "" for the watched file itself."""

    number: int
    mask: int
    name: str


@cache
def _libc() -> "ctypes.CDLL | None":
    library = ctypes.CDLL(None, use_errno=True)
    return library if hasattr(library, "inotify_init1") else None


class Inotify:
    """add() and remove() may be called in any thread."""

    def __init__(self) -> None:
        self._library = _libc()
        if self._library is None:
            raise OSError("no inotify here")
        self.fd: int = self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def add(self, path: str) -> int | None:
        assert self._library is not None
        number: int = self._library.inotify_add_watch(self.fd, os.fsencode(path), _MASK)
        return number if number >= 0 else None

    def remove(self, number: int) -> None:
        assert self._library is not None
        self._library.inotify_rm_watch(self.fd, number)

    def read(self) -> list[Event]:
        """What happened since the last time, [] for nothing."""
        events: list[Event] = []
        with suppress(BlockingIOError, InterruptedError):
            while octets := os.read(self.fd, 65536):
                at = 0
                while at < len(octets):
                    number, mask, _, length = _HEAD.unpack_from(octets, at)
                    at += _HEAD.size
                    events.append(Event(number, mask, os.fsdecode(octets[at:at + length].rstrip(b"\0"))))
                    at += length
        return events

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
