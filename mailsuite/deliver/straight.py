"""An agent's part in straight deliveries (queue/straight.py): to whom qmgr may deliver unasked, and by which worker.

    straight = StraightGrants(pool, time_s=1)           told: WorkerPool's
    straight.opened(sock)                               qmgr's door
    straight.again(identity, pid, grant_of) -> Again | None         after a delivery by worker pid that went well
    straight.renew(time_s)                              new settings: what was granted is worth nothing any more

Grants are good for `time_s` (delivery_straight_time; 0: there are none): so long a table may say something else.
"""

import socket
import time
from collections.abc import Callable

from mailsuite.base import wire
from mailsuite.net.privileges import Identity
from mailsuite.net.workers import WorkerPool
from mailsuite.queue import straight
from mailsuite.queue.straight import Again, Grant, LinkTold

LEAVE = {"op": "leave"}


class _Group:
    """An identity. linked: workers that qmgr has a link to."""

    def __init__(self, number: int) -> None:
        self.number, self.key = number, straight.new_key()
        self.linked: set[int] = set()


class StraightGrants:
    """One per agent."""

    def __init__(self, pool: WorkerPool, time_s: float) -> None:
        self._pool, self._time_s = pool, time_s
        self._door: socket.socket | None = None
        self._groups: dict[Identity, _Group] = {}
        self._last = 0

    def opened(self, door: socket.socket) -> None:
        """qmgr takes links there; the socket is ours now. An older door is that of a qmgr that has gone."""
        self.close()
        self._door = door

    def closed(self, door: socket.socket) -> None:
        """The other end is gone."""
        if self._door is door:
            self.close()

    def close(self) -> None:
        if self._door is not None:
            self._door.close()
            self._door = None
        self._end_links()

    def renew(self, time_s: float) -> None:
        self._time_s = time_s
        self._end_links()

    def _end_links(self) -> None:
        """Workers tell qmgr that they want no more; keys are made anew."""
        for group in self._groups.values():
            for pid in group.linked:
                self._pool.give(pid, LEAVE)
        self._groups.clear()

    def again(self, identity: Identity, pid: int, grant_of: Callable[[float], Grant]) -> Again | None:
        """What to tell qmgr. grant_of(until): the grant."""
        if not self._time_s:
            return None
        if self._door is None:
            return Again(0)
        group = self._groups.get(identity)
        if group is None:
            self._last += 1
            group = _Group(self._last)
        if pid not in group.linked and not self._link(group, pid):
            return None
        self._groups[identity] = group
        until = time.monotonic() + self._time_s
        return Again(group.number, until, straight.seal(group.key, grant_of(until)))

    def _link(self, group: _Group, pid: int) -> bool:
        """Give worker and qmgr the ends of a new link."""
        assert self._door is not None
        if self._pool.full:                     # workers come and go here: a link would be gone before it pays
            return False
        try:
            theirs, qmgrs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            return False
        with theirs, qmgrs:
            told = {"op": "link", "key": group.key.hex(), "group": group.number}
            if not self._pool.give(pid, told, [theirs.fileno()]):
                return False
            try:
                socket.send_fds(self._door, [wire.encode(LinkTold(group.number, pid)) + b"\n"], [qmgrs.fileno()])
            except OSError:                     # the worker reads the end of its end
                return False
        group.linked.add(pid)
        return True

    def told(self, pid: int, what: object) -> None:
        """A worker's word: {"unlinked": group}, or None when it has gone."""
        number = what.get("unlinked") if isinstance(what, dict) else None
        for identity, group in list(self._groups.items()):
            if pid in group.linked and number in (None, group.number):
                group.linked.discard(pid)
                if not group.linked:
                    del self._groups[identity]
