"""How long a connection's peer may take: silence, and drips that never make a whole request.

    patience.begin(session); patience.last_octet = loop.time(); patience.end()

One timer per connection looks when the earliest time-out can be due, instead of one set anew with each octet. While a
question is open the time is ours, not the peer's.
"""

import asyncio
from typing import TYPE_CHECKING

from mailsuite.base.dialogue import Pace, Session

if TYPE_CHECKING:
    from mailsuite.net.driver import Connection

LOOK_S = 5.0                # between two looks at most: a session may shorten its timeout_s


class Patience:
    """Of one connection. last_octet: from when the time counts, in the event loop's seconds."""

    __slots__ = ("_connection", "_loop", "_requests", "_session", "_timer", "last_octet", "pace")

    def __init__(self, connection: "Connection", loop: asyncio.AbstractEventLoop) -> None:
        self._connection, self._loop = connection, loop
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
        self._timer = self._loop.call_later(max(0.05, min(session.timeout_s, LOOK_S)), self._look)

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
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        connection, session = self._connection, self._session
        if connection.over or session is None:
            return
        due = self.last_octet + session.timeout_s
        now = self._loop.time()
        if now >= due and not connection.busy:
            connection.perform(session.timed_out())
            self.last_octet = now
            due = now + session.timeout_s
        self._timer = self._loop.call_later(max(0.05, min(due - now, LOOK_S) if due > now else 1.0), self._look)
