"""Notices of change for IDLE: inotify where the system has it, else the clock.

    watch = Watch(mailbox.watch_paths())
    loop.add_reader(watch.fileno(), noticed)        noticed(): watch.clear(), then mailbox.refresh() in a thread
    watch.close()

When watch.fileno() is None (no inotify, or too many watches), poll with refresh() every POLL_S seconds. A notice says
only that something may have changed; several changes may give one notice.
"""

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import cache

POLL_S = 30

_IN_MODIFY, _IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x2, 0x40, 0x80, 0x100, 0x200
_MASK = _IN_MODIFY | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE


@cache
def _libc() -> "ctypes.CDLL | None":
    library = ctypes.CDLL(None, use_errno=True)
    return library if hasattr(library, "inotify_init1") else None


class Watch:
    """An inotify descriptor on some files and folders."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._fd = -1
        library = _libc()
        if library is None:
            return
        fd = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            return
        watched = [library.inotify_add_watch(fd, os.fsencode(path), _MASK) for path in paths]
        if any(number < 0 for number in watched) or not watched:
            os.close(fd)        # a folder that is missing or the limit of watches: polling sees all
            return
        self._fd = fd

    def fileno(self) -> int | None:
        """A descriptor that becomes readable at a change; None: there is none, poll."""
        return self._fd if self._fd >= 0 else None

    def clear(self) -> bool:
        """Take what was noticed; True when there was something."""
        noticed = False
        with suppress(BlockingIOError, InterruptedError):
            while self._fd >= 0 and os.read(self._fd, 65536):
                noticed = True
        return noticed

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
