"""What anvil remembers: connections open, and events per time unit, of each (service, client).

    counts = Counts(unit_s=60, clients_limit=100000, clock=...)
    counts.connect(link, "smtp:192.0.2.1") -> Seen(open, rate)      counts.disconnect(link, ident)
    counts.add("message", ident) -> rate in this time unit          counts.peek("newtls", ident)
    counts.gone(link)                                               its process is dead: what it had open is closed
    counts.report() -> lines of statistics, as Postfix's anvil logs them

An ident is "service:client". A rate counts from a client's first event of a time unit on; then it begins anew.
Limits: clients_limit idents; beyond it those without connections that were not heard of longest are forgotten.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

from mailsuite.base.clock import SYSTEM_CLOCK, Clock

EVENTS = ("connection", "message", "recipient", "newtls", "auth")
Link = int


class Seen(NamedTuple):
    """open: connections at once. rate: connections in this time unit."""

    open: int
    rate: int


@dataclass(slots=True)
class _Client:
    since: float
    touched: float
    open: int = 0
    rates: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Highest:
    """value 0: nothing since the last report. at: seconds since the epoch."""

    value: int = 0
    ident: str = ""
    at: float = 0.0

    def see(self, value: int, ident: str, now: float) -> None:
        if value > self.value:
            self.value, self.ident, self.at = value, ident, now


class Counts:
    """One process's memory of all clients."""

    def __init__(self, *, unit_s: float = 60.0, clients_limit: int = 100_000, clock: Clock = SYSTEM_CLOCK) -> None:
        self.unit_s, self.clients_limit, self._clock = unit_s, clients_limit, clock
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._links: dict[Link, dict[str, int]] = {}
        self._highest = {event: _Highest() for event in EVENTS}
        self._highest_open, self._highest_size = _Highest(), _Highest()

    def __len__(self) -> int:
        return len(self._clients)

    def connect(self, link: Link, ident: str) -> Seen:
        """A connection began in the process behind link."""
        client = self._open(link, ident, 1)
        return Seen(client.open, self._count("connection", ident, client))

    def adopt(self, link: Link, ident: str, number: int) -> None:
        """Connections that were open before this link was: open, but nothing new."""
        self._open(link, ident, number)

    def disconnect(self, link: Link, ident: str) -> None:
        """A connection ended."""
        own = self._links.get(link, {})
        if ident in own:
            self._close(ident, 1)
            own[ident] -= 1
            if not own[ident]:
                del own[ident]

    def gone(self, link: Link) -> None:
        """The process behind link is gone, with all its connections."""
        for ident, number in self._links.pop(link, {}).items():
            self._close(ident, number)

    def add(self, event: str, ident: str) -> int:
        """One more event; how many there are in this time unit."""
        return self._count(event, ident, self._client(ident))

    def peek(self, event: str, ident: str) -> int:
        """As add, without counting."""
        client = self._clients.get(ident)
        if client is None or self._clock.monotonic() - client.since > self.unit_s:
            return 0
        return client.rates.get(event, 0)

    def seen(self, ident: str) -> Seen:
        """What a client has now."""
        client = self._clients.get(ident)
        return Seen(client.open if client is not None else 0, self.peek("connection", ident))

    def sweep(self) -> None:
        """Forget clients of which nothing counts any more; call it once in a time unit or so."""
        limit = self._clock.monotonic() - self.unit_s
        for _ in range(len(self._clients)):
            ident, client = next(iter(self._clients.items()))
            if client.touched > limit:
                return
            if client.open:
                self._clients.move_to_end(ident)
            else:
                del self._clients[ident]

    def report(self) -> list[str]:
        """The highest values since the last report, each with its client and time; then they begin anew."""
        lines = []
        for event in EVENTS:
            most = self._highest[event]
            if most.value:
                lines.append(f"statistics: max {event} rate {most.value}/{self.unit_s:.0f}s for ({most.ident}) "
                             f"at {_time(most.at)}")
            if event == "connection" and self._highest_open.value:
                most = self._highest_open
                lines.append(f"statistics: max connection count {most.value} for ({most.ident}) at {_time(most.at)}")
        if self._highest_size.value:
            lines.append(f"statistics: max cache size {self._highest_size.value} at {_time(self._highest_size.at)}")
        self._highest = {event: _Highest() for event in EVENTS}
        self._highest_open, self._highest_size = _Highest(), _Highest()
        return lines

    # --- one client -------------------------------------------------------------------------------------------------

    def _client(self, ident: str) -> _Client:
        now = self._clock.monotonic()
        client = self._clients.get(ident)
        if client is None:
            if len(self._clients) >= self.clients_limit:
                self._make_room()
            client = self._clients[ident] = _Client(now, now)
            self._highest_size.see(len(self._clients), "", self._clock.now())
        else:
            self._clients.move_to_end(ident)
            client.touched = now
            if now - client.since > self.unit_s:
                client.since = now
                client.rates.clear()
        return client

    def _make_room(self) -> None:
        for _ in range(64):                     # who has connections is not forgotten, unless that is everybody
            ident, client = next(iter(self._clients.items()))
            if not client.open:
                break
            self._clients.move_to_end(ident)
        self._clients.popitem(last=False)

    def _open(self, link: Link, ident: str, number: int) -> _Client:
        client = self._client(ident)
        client.open += number
        own = self._links.setdefault(link, {})
        own[ident] = own.get(ident, 0) + number
        self._highest_open.see(client.open, ident, self._clock.now())
        return client

    def _close(self, ident: str, number: int) -> None:
        client = self._clients.get(ident)
        if client is not None:
            client.open = max(0, client.open - number)
            client.touched = self._clock.monotonic()
            self._clients.move_to_end(ident)

    def _count(self, event: str, ident: str, client: _Client) -> int:
        rate = client.rates.get(event, 0) + 1
        client.rates[event] = rate
        most = self._highest[event]
        if rate > most.value:
            most.see(rate, ident, self._clock.now())
        return rate


def _time(when: float) -> str:
    return time.strftime("%b %e %H:%M:%S", time.localtime(when))
