"""Which delivery goes next: transports, destinations, how many at once. No I/O and no clock of its own.

    scheduler = Scheduler(limits, send, suspended)
    scheduler.add(Entry(...))                 send(entry) is called as soon as there is room
    scheduler.ended(entry, Outcome.GOOD, now) the answer came: more may be sent; now: of time.monotonic, nobody sets it

A destination is a transport with a nexthop, or with one recipient where the transport takes one recipient at a time
(then *_destination_concurrency_limit is per mailbox). It begins with initial_destination_concurrency deliveries at
once; each success adds positive feedback, each failure to reach the site takes away negative feedback (both 1 as
Postfix defaults them); after a cohort of failures without a success in between it is dead for
minimal_backoff_time: what waits for it, and what comes for it, is deferred with the same reason (`suspended`).
A transport that cannot be reached is dead as a whole for transport_retry_time.
Memory: a destination is forgotten when it is idle and healthy, a dead one when its time is up.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Outcome(Enum):
    """GOOD: the site was reached, whatever it said. SITE_DOWN: it was not. NO_AGENT: no delivery agent answered."""

    GOOD = "good"
    SITE_DOWN = "site down"
    NO_AGENT = "no agent"


class Limits(Protocol):
    """What the configuration says of a transport."""

    def of(self, transport: str) -> "TransportLimits": ...


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """concurrency: deliveries at once to a destination, 0: any number. recipients: of one delivery, 0: any number.

    initial: concurrency to begin with. agents: deliveries at once through the transport, 0: any number.
    cohorts: failed cohorts after which a destination is dead; 0: after the first failure.
    dead_s, transport_dead_s: how long to leave a dead destination or transport alone.
    """

    concurrency: int = 20
    recipients: int = 50
    initial: int = 5
    agents: int = 100
    positive: float = 1.0
    negative: float = 1.0
    cohorts: float = 1.0
    dead_s: float = 300.0
    transport_dead_s: float = 60.0


@dataclass(slots=True, eq=False)
class Entry(Generic[T]):
    """One delivery to be made: work is the caller's (a message and its recipients)."""

    transport: str
    key: str                   # the destination within the transport
    nexthop: str
    work: T


class Destination(Generic[T]):
    """Deliveries to one place."""

    __slots__ = ("busy", "dead_until", "failed_cohorts", "failure", "key", "queued_for_agent", "reason", "success",
                 "waiting", "window")

    def __init__(self, key: str, window: int) -> None:
        self.key, self.window = key, window
        self.busy = 0
        self.waiting: deque[Entry[T]] = deque()
        self.success = self.failure = self.failed_cohorts = 0.0
        self.dead_until = 0.0
        self.reason = ""
        self.queued_for_agent = False


class Transport(Generic[T]):
    """All destinations of one transport."""

    __slots__ = ("busy", "dead_until", "destinations", "limits", "name", "ready", "reason")

    def __init__(self, name: str, limits: TransportLimits) -> None:
        self.name, self.limits = name, limits
        self.busy = 0
        self.destinations: dict[str, Destination[T]] = {}
        self.ready: deque[Destination[T]] = deque()      # those that only wait for a free agent
        self.dead_until = 0.0
        self.reason = ""


class Scheduler(Generic[T]):
    """send: make this delivery now. suspended: do not make it; reason says why (the text of the last failure)."""

    def __init__(self, limits: Limits, send: Callable[[Entry[T]], None],
                 suspended: Callable[[Entry[T], str], None]) -> None:
        self._limits, self._send, self._suspended = limits, send, suspended
        self.transports: dict[str, Transport[T]] = {}

    def transport(self, name: str) -> Transport[T]:
        found = self.transports.get(name)
        if found is None:
            found = self.transports[name] = Transport(name, self._limits.of(name))
        return found

    def add(self, entry: Entry[T], now: float) -> None:
        """Send it, keep it, or suspend it."""
        transport = self.transport(entry.transport)
        if transport.dead_until > now:
            self._suspended(entry, transport.reason)
            return
        destination = transport.destinations.get(entry.key)
        if destination is None:
            initial = transport.limits.initial
            if transport.limits.concurrency:
                initial = min(initial, transport.limits.concurrency)
            destination = transport.destinations[entry.key] = Destination(entry.key, initial)
        elif destination.dead_until > now:
            self._suspended(entry, destination.reason)
            return
        elif destination.dead_until:
            _revive(destination)
        destination.waiting.append(entry)
        self._run(transport, destination)

    def _run(self, transport: Transport[T], destination: Destination[T]) -> None:
        agents = transport.limits.agents
        while destination.waiting and destination.busy < max(1, destination.window):
            if agents and transport.busy >= agents:
                if not destination.queued_for_agent:
                    destination.queued_for_agent = True
                    transport.ready.append(destination)
                return
            destination.busy += 1
            transport.busy += 1
            self._send(destination.waiting.popleft())

    def ended(self, entry: Entry[T], outcome: Outcome, now: float, reason: str = "") -> None:
        """A delivery that was sent has ended."""
        transport = self.transport(entry.transport)
        destination = transport.destinations[entry.key]
        destination.busy -= 1
        transport.busy -= 1
        if outcome is Outcome.GOOD:
            self._good(transport, destination)
        elif outcome is Outcome.SITE_DOWN:
            self._down(transport, destination, now, reason)
        else:
            self._no_agent(transport, now, reason)
        if transport.dead_until <= now and destination.dead_until <= now:
            self._run(transport, destination)
        self._forget_if_idle(transport, destination)
        while transport.ready and (not transport.limits.agents or transport.busy < transport.limits.agents):
            waiting = transport.ready.popleft()
            waiting.queued_for_agent = False
            self._run(transport, waiting)
            self._forget_if_idle(transport, waiting)

    def _forget_if_idle(self, transport: Transport[T], destination: Destination[T]) -> None:
        # One that waited for an agent may be a former object of that name.
        if not destination.busy and not destination.waiting and not destination.dead_until and (
                transport.destinations.get(destination.key) is destination):
            del transport.destinations[destination.key]

    def _good(self, transport: Transport[T], destination: Destination[T]) -> None:
        limits = transport.limits
        destination.failed_cohorts = 0.0
        if destination.dead_until:
            _revive(destination)
        # It grows only as far as it is used: a window nobody fills says nothing about what the site can take.
        if (not limits.concurrency or destination.window < limits.concurrency) and (
                destination.window < destination.busy + 1 + limits.initial):
            destination.success += limits.positive
            while destination.success >= 1.0:
                destination.window += 1
                destination.success -= 1.0
                destination.failure = 0.0
            if limits.concurrency and destination.window > limits.concurrency:
                destination.window = limits.concurrency

    def _down(self, transport: Transport[T], destination: Destination[T], now: float, reason: str) -> None:
        limits = transport.limits
        destination.reason = reason
        if destination.dead_until:
            return
        destination.failed_cohorts += 1.0 / max(1, destination.window)
        if destination.failed_cohorts >= limits.cohorts:
            destination.dead_until = now + limits.dead_s
            self._suspend_waiting(destination, reason)
            return
        destination.failure -= limits.negative
        while destination.failure < 0.0:
            destination.window = max(1, destination.window - 1)
            destination.failure += 1.0
            destination.success = 0.0

    def _no_agent(self, transport: Transport[T], now: float, reason: str) -> None:
        transport.dead_until = now + transport.limits.transport_dead_s
        transport.reason = reason
        for destination in list(transport.destinations.values()):
            self._suspend_waiting(destination, reason)
            self._forget_if_idle(transport, destination)

    def _suspend_waiting(self, destination: Destination[T], reason: str) -> None:
        waiting, destination.waiting = destination.waiting, deque()
        for entry in waiting:
            self._suspended(entry, reason)

    def forget_dead(self, now: float | None = None) -> None:
        """Forget destinations and transports whose time is up; None: all, somebody asked for a flush or reload."""
        for name, transport in list(self.transports.items()):
            if now is None or transport.dead_until <= now:
                transport.dead_until = 0.0
            for destination in list(transport.destinations.values()):
                if destination.dead_until and (now is None or destination.dead_until <= now):
                    _revive(destination)
                    self._forget_if_idle(transport, destination)
            if not transport.destinations and not transport.busy and not transport.dead_until:
                del self.transports[name]

    def reload(self, limits: Limits) -> None:
        """Take new limits; dead ones get another chance."""
        self._limits = limits
        for name, transport in self.transports.items():
            transport.limits = limits.of(name)
        self.forget_dead()


def _revive(destination: Destination[T]) -> None:
    destination.dead_until, destination.reason = 0.0, ""
    destination.window, destination.failed_cohorts = 1, 0.0
    destination.success = destination.failure = 0.0
