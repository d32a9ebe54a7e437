"""How long a connection's peer may take: silence, and drips that never make a whole request.

    patience.begin(session); patience.last_octet = loop.time(); patience.end()

Nobody sets a timer anew with each octet: who may be silent for LOOK_S or longer stands in a queue of all connections of
the event loop, and is looked at LOOK_S after coming there. One timer does for all of them; whose time-out is due sooner
than that gets one. While a question is open the time is ours, not the peer's.
"""

import asyncio
from typing import TYPE_CHECKING

from mailsuite.base.dialogue import Pace, Session

if TYPE_CHECKING:
    from mailsuite.net.driver import Connection

LOOK_S = 5.0                # between two looks at most: a session may shorten its timeout_s
TOGETHER_S = 0.25           # whose look is due within this is looked at with the one before
_QUEUE = "mailsuite_patience"


class _Queue:
    """Who is looked at LOOK_S after coming: the order of their coming is that of the looks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.due: dict[Patience, float] = {}            # who leaves is just taken out
        self.waits = False

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "_Queue":
        # It lives on the loop itself, as a table of all loops would keep each for ever.
        queue: _Queue | None = getattr(loop, _QUEUE, None)
        if queue is None:
            queue = cls(loop)
            setattr(loop, _QUEUE, queue)
        return queue

    def wait(self) -> None:
        """Somebody came."""
        self.waits = True
        self._loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        now = self._loop.time() + TOGETHER_S
        try:
            while self.due:
                first = next(iter(self.due))
                if self.due[first] > now:
                    break
                del self.due[first]
                first.look()            # it may come again, at the end
        finally:
            self.waits = bool(self.due)
            if self.waits:
                first = next(iter(self.due))
                self._loop.call_later(max(TOGETHER_S, self.due[first] - self._loop.time()), self._look)


class Patience:
    """Of one connection. last_octet: from when the time counts, in the event loop's seconds."""

    __slots__ = ("_connection", "_loop", "_queue", "_requests", "_session", "_timer", "last_octet", "pace")

    def __init__(self, connection: "Connection", loop: asyncio.AbstractEventLoop) -> None:
        self._connection, self._loop = connection, loop
        self._queue: _Queue = getattr(loop, _QUEUE, None) or _Queue.of(loop)
        self._session: Session | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._requests = 0
        self.last_octet = 0.0
        self.pace: Pace | None = None

    def begin(self, session: Session) -> None:
        """The connection stands."""
        self.last_octet = self._loop.time()
        self._session = session
        self.pace = getattr(session, "pace", None)
        self._wait(session.timeout_s, self.last_octet)

    def _wait(self, due_s: float, now: float) -> None:
        """due_s: how long there is nothing to see."""
        if due_s >= LOOK_S:
            self._queue.due[self] = now + LOOK_S
            if not self._queue.waits:
                self._queue.wait()
        else:
            self._timer = self._loop.call_later(max(0.05, due_s), self.look)

    def keep_pace(self, size: int) -> None:
        """Time runs from the last whole request; content moves that on by what it is worth, never beyond now.

        size: the octets that came. For sessions with a `pace` only.
        """
        pace, now = self.pace, self._loop.time()
        assert pace is not None
        if pace.requests != self._requests:
            self._requests, self.last_octet = pace.requests, now
        elif pace.content:
            self.last_octet = min(now, self.last_octet + size / pace.min_rate)

    def end(self) -> None:
        """The connection is gone."""
        self._queue.due.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Whether the time is over."""
        connection, session = self._connection, self._session
        if connection.over or session is None:
            return
        due = self.last_octet + session.timeout_s
        now = self._loop.time()
        if now >= due and not connection.busy:
            connection.perform(session.timed_out())
            self.last_octet = now
            due = now + session.timeout_s
        self._wait(due - now if due > now else 1.0, now)
