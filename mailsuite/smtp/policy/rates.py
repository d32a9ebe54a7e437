"""How often a client may come: connections at once, and events per time unit, counted in this process.

    rates = Rates(limits, unit_s=60, clock=...);  rates.connect("192.0.2.1");  rates.event("message", "192.0.2.1")

The interface that the suite's anvil takes over: the counts of several workers are then one.
Limits: CLIENTS_LIMIT clients are remembered; the oldest go first.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from mailsuite.base.clock import SYSTEM_CLOCK, Clock

CLIENTS_LIMIT = 100_000


@dataclass(slots=True)
class _Count:
    """Events of one client: in this time unit, by name; connections open now."""

    since: float = 0.0
    open: int = 0
    events: dict[str, int] = field(default_factory=dict)


class Rates:
    """limits: event -> most per unit ("connection", "message", "recipient", "tls", "auth"); 0 or absent: no limit."""

    def __init__(self, limits: Mapping[str, int], *, at_once: int = 0, unit_s: float = 60.0,
                 clock: Clock = SYSTEM_CLOCK) -> None:
        self.limits = {event: most for event, most in limits.items() if most}
        self.at_once, self._unit_s, self._clock = at_once, unit_s, clock
        self._clients: OrderedDict[str, _Count] = OrderedDict()

    @property
    def events(self) -> frozenset[str]:
        """Events that have a limit."""
        return frozenset(self.limits)

    def connect(self, address: str) -> int:
        """A connection begins; the number that this client has open now."""
        count = self._count(address)
        count.open += 1
        return count.open

    def open_now(self, address: str) -> int:
        """Connections that a client has open."""
        count = self._clients.get(address)
        return count.open if count is not None else 0

    def disconnect(self, address: str) -> None:
        count = self._clients.get(address)
        if count is not None:
            count.open = max(0, count.open - 1)

    def event(self, event: str, address: str) -> int:
        """Count an event; how often it happened in this time unit."""
        count = self._count(address)
        count.events[event] = count.events.get(event, 0) + 1
        return count.events[event]

    def exceeded(self, event: str, seen: int) -> bool:
        most = self.limits.get(event, 0)
        return 0 < most < seen

    def _count(self, address: str) -> _Count:
        now = self._clock.monotonic()
        count = self._clients.get(address)
        if count is None:
            while len(self._clients) >= CLIENTS_LIMIT:
                self._clients.popitem(last=False)
            count = self._clients[address] = _Count(now)
        elif now - count.since >= self._unit_s:
            count.since, count.events = now, {}
        self._clients.move_to_end(address)
        return count
