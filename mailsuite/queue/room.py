"""How many recipients may be in memory: of all messages, and of each transport.

    room = Room(settings, table)
    most = room.left(message)               that message may have read now
    room.take(message, 20)                  they were read;   room.assign(transport, 5): where some of them go
    room.give(message, transport)           one has its outcome
    room.reads_in(message, now)             seconds until the next portion of a large message should be read

Limits: qmgr_message_recipient_limit for all, *_recipient_limit for those of one transport; a message that has none of a
full transport yet may have *_extra_recipient_limit of it, so that it can overtake. Each message has
qmgr_message_recipient_minimum of its own. More are read when there is room for *_recipient_refill_limit of them, or for
fewer after *_recipient_refill_delay, but once a second at most: reading means the whole envelope. Source: postconf(5),
qmgr(8).
"""

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from mailsuite.queue import params

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.active import Message
    from mailsuite.queue.limits import TransportTable

LEAST_PAUSE_S = 1.0


class Pool(NamedTuple):
    """A transport's. refill, refill_s: see above."""

    limit: int = 20000
    extra: int = 1000
    refill: int = 100
    refill_s: float = 5.0


class Room:
    """One per queue manager."""

    def __init__(self, settings: "Settings", table: "TransportTable") -> None:
        self.total = 0
        self._by_transport: Counter[str] = Counter()
        self.configure(settings, table)

    def configure(self, settings: "Settings", table: "TransportTable") -> None:
        """New limits; what is in memory stays."""
        self.limit, self._table = settings[params.QMGR_MESSAGE_RECIPIENT_LIMIT], table
        self._minimum = settings[params.QMGR_MESSAGE_RECIPIENT_MINIMUM]

    @property
    def is_full(self) -> bool:
        return self.total >= self.limit

    def left(self, message: "Message") -> int:
        """More recipients that a message may have in memory."""
        most = self.limit - self.total
        for transport in message.transports:
            pool, used = self._table.pool(transport), self._by_transport[transport]
            most = min(most, pool.extra if used >= pool.limit and not message.open else pool.limit - used)
        return max(most, self._minimum - message.open, 0)

    def take(self, message: "Message", count: int) -> None:
        """So many recipients were read."""
        message.open += count
        self.total += count

    def assign(self, transport: str, count: int) -> None:
        """So many of them go to a transport."""
        self._by_transport[transport] += count

    def give(self, message: "Message", transport: str) -> None:
        """One recipient's round is over. transport: "" where it never had one."""
        message.open -= 1
        self.total -= 1
        if transport:
            self._by_transport[transport] -= 1
            if not self._by_transport[transport]:
                del self._by_transport[transport]

    def forget(self, message: "Message") -> None:
        """The message is gone, with what was left of it."""
        self.total -= message.open
        message.open = 0

    def reads_in(self, message: "Message", now: float) -> float | None:
        """When the next recipients of a large message should be read, in seconds; None: there is no room for them.

        now: of the monotonic clock.
        """
        if not message.open:
            return 0.0
        left = self.left(message)
        if not left:
            return None
        pools = [self._table.pool(transport) for transport in message.transports] or [Pool()]
        pause = LEAST_PAUSE_S if left >= min(pool.refill for pool in pools) else min(pool.refill_s for pool in pools)
        return max(0.0, message.filled_at + pause - now)
