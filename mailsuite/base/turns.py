"""Processes that take turns keep to one core for as long as they do.

    turns = Turns(stay)             a login process's; stay: of the same process
    turns.come(), turns.go()        a connection begins, and ends without a login
    core = turns.next()             somebody logs in: the core for all who have a part in it, ANYWHERE (-1) for none
    turns.went()                    that login, or another, was handed over, and the connection with it
    stay = Stay(); stay.at(core)    auth's, a worker's, the login process's own: with each login

A login makes three processes run one after the other, each for a tenth of a millisecond. The kernel likes to wake each
on a core that is idle, which takes as long as its work does, on a virtual machine longer, and finds the caches of that
core cold. Where logins follow each other closely and there is never a second one, no two of these processes have
anything to do at the same time; then they share a core, the one on which the login process runs at that moment. With
the first login that comes beside another, or after RELEASE_S without any, each runs where there is room again.
Two login processes that want different cores at the same time get none. Where other programs want that core as well,
logins may take longer there than before: then they are left where they are for BACK_OFF_S.
Only the calling thread keeps to the core; threads that pools begin meanwhile call `roam` first, others are free again
with it.
With one core nothing is done. Source: sched_setaffinity(2).
"""

import asyncio
import os
from time import monotonic

ANYWHERE = -1
ROW = 32                         # logins in a row, each alone...
STINT = 2000                     # logins on one core, after which it is seen again how long they take elsewhere
BACK_OFF_S = 2.0                 # how long nothing is done where sharing made logins slower
GAP_S = 0.02                     # ...and no longer than this after the one before
RELEASE_S = 0.05                 # how long without a login a process keeps to the core, at most twice that
QUARREL_S = 0.5                  # how long two login processes that wanted different cores get none

_cores = frozenset(os.sched_getaffinity(0))     # of this process; renewed by each Stay


def roam() -> None:
    """This thread may run wherever the process may."""
    _keep_to(_cores)


class Stay:
    """Where this process runs. Belongs to the event loop, and its thread."""

    def __init__(self) -> None:
        global _cores
        self._all = _cores = frozenset(os.sched_getaffinity(0))
        self.core, self._seen = ANYWHERE, False         # core: to which it keeps
        self._quarrel = 0.0                     # until when nobody is heard
        self._timer: asyncio.TimerHandle | None = None

    def at(self, core: int) -> None:
        """With each login; core: as Turns.next said it, of whichever process."""
        if core == self.core:
            self._seen = True
            return
        if core == ANYWHERE:
            self._release()
        elif self.core != ANYWHERE:
            self._quarrel = monotonic() + QUARREL_S
            self._release()
        elif core in self._all and len(self._all) > 1 and monotonic() >= self._quarrel and _keep_to({core}):
            self.core, self._seen = core, True
            self._timer = asyncio.get_running_loop().call_later(RELEASE_S, self._look)

    def _look(self) -> None:
        if self._seen:
            self._seen = False
            self._timer = asyncio.get_running_loop().call_later(RELEASE_S, self._look)
        else:
            self._release()

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.core = ANYWHERE
        _keep_to(self._all)
        try:
            threads = [int(name) for name in os.listdir("/proc/self/task")]
        except OSError:
            return
        for thread in threads:                  # those that were begun meanwhile
            _keep_to(self._all, thread)


class Turns:
    """Finds out whether logins take turns."""

    def __init__(self, stay: Stay, *, wanted: bool = True) -> None:
        """wanted: cpu_affinity."""
        self._stay, self._wanted = stay, wanted
        self._there = self._row = 0             # connections that have not logged in; logins in a row
        self._last = self._until = 0.0
        self._roaming, self._shared = _Mean(), _Mean()

    def come(self) -> None:
        """A connection begins."""
        self._there += 1

    def go(self) -> None:
        """It is over."""
        self._there -= 1

    def next(self) -> int:
        """A login begins, on a connection that has come."""
        now = monotonic()
        if not self._wanted or self._there > 1 or now - self._last > GAP_S:
            self._row = 0
        else:
            self._row += 1
        self._last = now
        core = ANYWHERE
        if self._row >= ROW and now >= self._until:
            if self._is_slower():
                self._until = now + BACK_OFF_S
            elif self._row > ROW + STINT:
                self._row = 0
            else:
                core = self._stay.core if self._stay.core != ANYWHERE else _here()
        if self._row == 0 and (self._roaming.count or self._shared.count):
            self._roaming, self._shared = _Mean(), _Mean()
        self._stay.at(core)
        return self._stay.core

    def went(self) -> None:
        """A connection has been handed over: the login that began last, unless there were others."""
        if self._row > 0 and self._there <= 1:
            (self._roaming if self._stay.core == ANYWHERE else self._shared).add(monotonic() - self._last)
        self._there -= 1

    def _is_slower(self) -> bool:
        """A core with others on it: half of ROW tells."""
        slower = self._shared.count >= ROW // 2 and self._shared.value > self._roaming.value > 0
        if slower:
            self._shared = _Mean()
        return slower


class _Mean:
    """Of the last ROW values or so."""

    def __init__(self) -> None:
        self.count, self.value = 0, 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.value += (value - self.value) / min(self.count, ROW)


def _here() -> int:
    """The core that runs this process's first thread."""
    try:
        with open("/proc/self/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[36])
    except (OSError, ValueError, IndexError):
        return ANYWHERE


def _keep_to(cores: frozenset[int] | set[int], thread: int = 0) -> bool:
    try:
        os.sched_setaffinity(thread, cores)
    except OSError:                             # somebody took a core away: it only costs time
        return False
    return True
