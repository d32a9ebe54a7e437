"""The memory of a busy process in huge pages (2 MB instead of 4 KB).

    busy = Busy(500)                one per process; 0: never
    busy.count()                    with each piece of work, from the event loop
    gather() -> int                 now: how many huge pages there are then

The objects of a Python program lie scattered over its whole memory, and for each page of 4 KB that a processor has not
seen lately it must look up where that is: up to eight accesses to memory on a virtual machine. Where several processes
take turns for a tenth of a millisecond each, that is a tenth to a sixth of their time. But a huge page is a process's
own, while most of 512 small ones may still be shared with the master that forked it: some 18 MB more for each process.
So only who is busy gathers: `count` starts it, in a thread, once there were so many calls within PERIOD_S.
A kernel that cannot do it changes nothing. Source: madvise(2), MADV_COLLAPSE (Linux 6.1).
Limits: HUGE_PAGES_LIMIT for one process.
"""

import contextlib
import ctypes
import re
import threading
import time

from mailsuite.base.turns import roam

PERIOD_S = 60.0
HUGE_PAGES_LIMIT = 64
_SIZE = 2 << 20
_PAUSE_S = 0.002                 # between two: who works beside waits for the kernel no longer than for one
_COLLAPSE = 25
# Private memory that may be written and belongs to no file: the heap, and what was mapped for arenas and large objects.
_OURS = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) rw.p 0+ 00:00 0 +(?:\[heap\])?$", re.M)

_madvise = ctypes.CDLL(None).madvise            # without the interpreter's lock
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Busy:
    """Counts a process's work."""

    def __init__(self, enough: int) -> None:
        self._enough, self._count, self._since = enough, 0, time.monotonic()

    def count(self) -> None:
        """One more."""
        self._count += 1
        if self._count == self._enough:
            now = time.monotonic()
            if now - self._since > PERIOD_S:
                self._count, self._since = 0, now
            else:
                threading.Thread(target=_gather_slowly, name="huge pages", daemon=True).start()


def _gather_slowly() -> None:
    roam()
    gather(_PAUSE_S)


def gather(pause_s: float = 0.0) -> int:
    """Have the kernel put all that it can of this process's memory into huge pages."""
    found = 0
    for address in _places()[:HUGE_PAGES_LIMIT]:
        found += _madvise(address, _SIZE, _COLLAPSE) == 0
        if pause_s:
            time.sleep(pause_s)
    return found


def _places() -> list[int]:
    """Where huge pages fit: addresses."""
    maps = b""
    with contextlib.suppress(OSError), open("/proc/self/maps", "rb") as file:
        maps = file.read()
    places: list[int] = []
    for begin, end in _OURS.findall(maps):
        first = (int(begin, 16) + _SIZE - 1) // _SIZE * _SIZE
        places += range(first, int(end, 16) - _SIZE + 1, _SIZE)
    return places
