"""Which delivery goes next: transports, destinations, how many at once. No I/O and no clock of its own.

    scheduler = Scheduler(limits, send, suspended, wake)
    scheduler.add(Entry(...), now)            send(entry) is called as soon as there is room
    scheduler.ended(entry, Outcome.GOOD, now) the answer came: more may be sent
    scheduler.tick(now)                       at the time that wake(when) asked for

A destination is a transport with a nexthop, or with one recipient where the transport takes one recipient at a time
(then *_destination_concurrency_limit is per mailbox). It begins with initial_destination_concurrency deliveries at
once; each success adds positive feedback, each failure to reach the site takes away negative feedback (feedback.py);
after a cohort of failures without a success in between it is dead for minimal_backoff_time: what waits for it, and
what comes for it, is deferred with the same reason (`suspended`). A transport that cannot be reached is dead as a
whole for transport_retry_time.

What has to wait, for its destination or for a free agent of the transport, waits in the order of its messages, where
short messages may overtake long ones (turns.py); a message's destinations take turns. With a rate delay a destination
or a transport has one delivery at a time, and a pause after it.
All times are seconds of one monotonic clock. Memory: a destination is forgotten when it is idle and healthy, a dead
one when its time is up; `dead_limit` dead ones are remembered at most.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from heapq import heappop, heappush
from itertools import count
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from mailsuite.queue.feedback import Feedback
from mailsuite.queue.turns import Job, Line, SlotRules, Ticket

T = TypeVar("T")
DEAD_LIMIT = 20_000


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
    cohorts: failed cohorts after which a destination is dead; 0: it never is.
    dead_s, transport_dead_s: how long to leave a dead destination or transport alone.
    rate_s: the pause after a delivery to a destination. transport_rate_s: after any delivery of the transport.
    """

    concurrency: int = 20
    recipients: int = 50
    initial: int = 5
    agents: int = 100
    positive: Feedback = Feedback()
    negative: Feedback = Feedback()
    cohorts: float = 1.0
    dead_s: float = 300.0
    transport_dead_s: float = 60.0
    rate_s: float = 0.0
    transport_rate_s: float = 0.0
    slots: SlotRules = SlotRules()

    @property
    def most(self) -> int:
        """Deliveries at once to a destination, 0: any number."""
        return 1 if self.rate_s else self.concurrency

    @property
    def window(self) -> int:
        """Deliveries at once to begin with."""
        return max(1, min(self.initial, self.most) if self.most else self.initial)


class Entry(Struct, Generic[T], eq=False):
    """One delivery to be made: work is the caller's (a message and its recipients).

    job: the message, compared by identity. size: its deliveries through this transport in this round.
    """

    transport: str
    key: str                   # the destination within the transport
    nexthop: str
    work: T
    job: object = None
    size: int = 1


class Destination(Generic[T]):
    """Deliveries to one place. waiting: those that cannot be made now. ticket: its place among those that only wait
    for an agent. tickets: the places of entries in `waiting`."""

    __slots__ = ("busy", "dead_until", "failed_cohorts", "failure", "key", "paused", "reason", "success", "ticket",
                 "waiting", "window")

    def __init__(self, key: str, window: int) -> None:
        self.key, self.window = key, window
        self.busy = 0
        self.waiting: Line[Waiting[T]] | None = None
        self.success = self.failure = self.failed_cohorts = 0.0
        self.dead_until = 0.0
        self.reason = ""
        self.paused = False
        self.ticket: Ticket[Destination[T]] | None = None


@dataclass(slots=True, eq=False)
class Waiting(Generic[T]):
    """An entry that waits."""

    entry: Entry[T]
    job: "Job[Waiting[T]]"
    destination: Destination[T]
    ticket: "Ticket[Waiting[T]] | None" = None


class Transport(Generic[T]):
    """All destinations of one transport. ready: those that wait for a free agent. jobs: messages of which something
    waits."""

    __slots__ = ("busy", "dead_until", "destinations", "front", "jobs", "limits", "name", "paused", "ready", "reason",
                 "tail")

    def __init__(self, name: str, limits: TransportLimits) -> None:
        self.name, self.limits = name, limits
        self.busy = 0
        self.destinations: dict[str, Destination[T]] = {}
        self.ready: Line[Destination[T]] = Line()
        self.jobs: dict[object, Job[Waiting[T]]] = {}
        self.front, self.tail = -1, 0           # the ranks of the next job that overtakes, and of the next that comes
        self.dead_until = 0.0
        self.paused = False
        self.reason = ""

    @property
    def has_room(self) -> bool:
        return not self.paused and (not self.limits.agents or self.busy < self.limits.agents)


class Scheduler(Generic[T]):
    """send: make this delivery now. suspended: do not make it; reason says why (the text of the last failure).

    wake(when): `tick` is to be called at that time.
    """

    def __init__(self, limits: Limits, send: Callable[[Entry[T]], None],
                 suspended: Callable[[Entry[T], str], None], wake: Callable[[float], None] = lambda when: None, *,
                 dead_limit: int = DEAD_LIMIT) -> None:
        self._limits, self._send, self._suspended, self._wake = limits, send, suspended, wake
        self.dead_limit = dead_limit
        self.crowd = 0              # more deliveries to one destination than this, waiting and under way: `crowded`
        self.crowded: Callable[[Transport[T], Destination[T]], None] = lambda transport, destination: None
        self.transports: dict[str, Transport[T]] = {}
        self._pauses: list[tuple[float, int, Transport[T], Destination[T] | None]] = []
        self._number = count()
        self._dead = 0

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
            destination = transport.destinations[entry.key] = Destination(entry.key, transport.limits.window)
        elif destination.dead_until:
            if destination.dead_until > now:
                self._suspended(entry, destination.reason)
                return
            self._revive(transport, destination)
        if (destination.busy < destination.window and not destination.waiting and not destination.paused
                and transport.has_room):
            self._dispatch(transport, destination, entry)
        else:
            self._enqueue(transport, destination, entry)

    # --- what waits ---------------------------------------------------------------------------------------------

    def _enqueue(self, transport: Transport[T], destination: Destination[T], entry: Entry[T]) -> None:
        name = entry if entry.job is None else entry.job
        job = transport.jobs.get(name)
        if job is None:
            job = transport.jobs[name] = Job(transport.tail, entry.size)
            transport.tail += 1
        if destination.waiting is None:
            destination.waiting = Line()
        waiting = Waiting(entry, job, destination)
        job.waiting[waiting] = None
        waiting.ticket = destination.waiting.push(job.rank, job.size, waiting)
        self._line_up(transport, destination)
        if self.crowd and len(destination.waiting) + destination.busy > self.crowd:
            self.crowded(transport, destination)

    def _line_up(self, transport: Transport[T], destination: Destination[T]) -> None:
        """Give the destination its place among those that wait for an agent, if that is all it waits for."""
        line, ticket = destination.waiting, destination.ticket
        if not line or destination.busy >= destination.window or destination.paused:
            if ticket is not None:
                transport.ready.drop(ticket)
                destination.ticket = None
            return
        rank, size = line.first().rank, line.shortest().size
        if ticket is not None:
            if ticket.rank == rank and ticket.size == size:
                return
            transport.ready.drop(ticket)
        destination.ticket = transport.ready.push(rank, size, destination)

    def _serve(self, transport: Transport[T]) -> None:
        """Send what there is room for."""
        while transport.ready and transport.has_room:
            destination = self._choose(transport)
            line = destination.waiting
            assert line is not None and destination.ticket is not None
            ticket = line.first()
            waiting, job = ticket.item, ticket.item.job
            line.drop(ticket)
            transport.ready.drop(destination.ticket)
            destination.ticket = None
            job.served += 1
            self._left(transport, waiting)
            self._dispatch(transport, destination, waiting.entry)
            self._line_up(transport, destination)

    def _choose(self, transport: Transport[T]) -> Destination[T]:
        """The destination whose first entry is next."""
        destination = transport.ready.first().item
        slots = transport.limits.slots
        assert destination.waiting is not None
        job = destination.waiting.first().item.job
        if slots.cost and job.size > slots.minimum:
            shortest = transport.ready.shortest().item.waiting
            assert shortest is not None
            other = shortest.shortest().item.job
            if job.yields_to(other, slots):
                self._overtake(transport, job, other)
                return transport.ready.first().item
        return destination

    def _overtake(self, transport: Transport[T], job: Job[Waiting[T]], other: Job[Waiting[T]]) -> None:
        """`other` goes before all."""
        job.spent += len(other.waiting)
        other.rank = transport.front
        transport.front -= 1
        for waiting in other.waiting:
            destination = waiting.destination
            assert destination.waiting is not None and waiting.ticket is not None
            destination.waiting.drop(waiting.ticket)
            waiting.ticket = destination.waiting.push(other.rank, other.size, waiting)
            self._line_up(transport, destination)

    def _left(self, transport: Transport[T], waiting: Waiting[T]) -> None:
        """It waits no more."""
        job, entry = waiting.job, waiting.entry
        del job.waiting[waiting]
        if not job.waiting:
            del transport.jobs[entry if entry.job is None else entry.job]

    def _dispatch(self, transport: Transport[T], destination: Destination[T], entry: Entry[T]) -> None:
        destination.busy += 1
        transport.busy += 1
        if transport.limits.transport_rate_s:
            transport.paused = True         # until this one has ended, and a while longer
        self._send(entry)

    def _suspend_waiting(self, transport: Transport[T], destination: Destination[T], reason: str) -> None:
        if destination.ticket is not None:
            transport.ready.drop(destination.ticket)
            destination.ticket = None
        for waiting in destination.waiting.take_all() if destination.waiting else ():
            self._left(transport, waiting)
            self._suspended(waiting.entry, reason)

    # --- pauses -------------------------------------------------------------------------------------------------

    def _pause(self, until: float, transport: Transport[T], destination: Destination[T] | None) -> None:
        first = self._pauses[0][0] if self._pauses else None
        heappush(self._pauses, (until, next(self._number), transport, destination))
        if first is None or until < first:
            self._wake(until)

    def tick(self, now: float) -> None:
        """End the pauses whose time is up."""
        while self._pauses and self._pauses[0][0] <= now:
            _, _, transport, destination = heappop(self._pauses)
            if destination is None:
                transport.paused = False
            else:
                destination.paused = False
                self._line_up(transport, destination)
                self._forget_if_idle(transport, destination)
            self._serve(transport)
        if self._pauses:
            self._wake(self._pauses[0][0])

    # --- outcomes -----------------------------------------------------------------------------------------------

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
        if transport.limits.rate_s and not destination.dead_until:
            destination.paused = True
            self._pause(now + transport.limits.rate_s, transport, destination)
        if transport.limits.transport_rate_s:
            self._pause(now + transport.limits.transport_rate_s, transport, None)
        if destination.waiting:
            self._line_up(transport, destination)
        if transport.ready:
            self._serve(transport)
        self._forget_if_idle(transport, destination)

    def _forget_if_idle(self, transport: Transport[T], destination: Destination[T]) -> None:
        # One that was paused may be a former object of that name.
        if not (destination.busy or destination.waiting or destination.dead_until or destination.paused) and (
                transport.destinations.get(destination.key) is destination):
            del transport.destinations[destination.key]

    def _good(self, transport: Transport[T], destination: Destination[T]) -> None:
        limits, most = transport.limits, transport.limits.most
        destination.failed_cohorts = 0.0
        if destination.dead_until:
            self._revive(transport, destination)
        # It grows only as far as it is used: a window nobody fills says nothing about what the site can take.
        if (not most or destination.window < most) and destination.window < destination.busy + 1 + limits.initial:
            destination.success += limits.positive.at(destination.window)
            while destination.success >= 1.0:
                destination.window += 1
                destination.success -= 1.0
                destination.failure = 0.0
            if most and destination.window > most:
                destination.window = most

    def _down(self, transport: Transport[T], destination: Destination[T], now: float, reason: str) -> None:
        limits = transport.limits
        destination.reason = reason
        if destination.dead_until:
            return
        destination.failed_cohorts += 1.0 / destination.window
        if limits.cohorts and destination.failed_cohorts >= limits.cohorts and self._dead < self.dead_limit:
            destination.dead_until = now + limits.dead_s
            self._dead += 1
            self._suspend_waiting(transport, destination, reason)
            return
        destination.failure -= limits.negative.at(destination.window)
        while destination.failure < 0.0:
            destination.window = max(1, destination.window - 1)
            destination.failure += 1.0
            destination.success = 0.0

    def _revive(self, transport: Transport[T], destination: Destination[T]) -> None:
        self._dead -= 1
        destination.dead_until, destination.reason = 0.0, ""
        destination.window, destination.failed_cohorts = transport.limits.window, 0.0
        destination.success = destination.failure = 0.0

    def _no_agent(self, transport: Transport[T], now: float, reason: str) -> None:
        transport.dead_until = now + transport.limits.transport_dead_s
        transport.reason = reason
        for destination in list(transport.destinations.values()):
            self._suspend_waiting(transport, destination, reason)
            self._forget_if_idle(transport, destination)

    def forget_dead(self, now: float | None = None) -> None:
        """Forget destinations and transports whose time is up; None: all, somebody asked for a flush or reload."""
        for name, transport in list(self.transports.items()):
            if now is None or transport.dead_until <= now:
                transport.dead_until = 0.0
            for destination in list(transport.destinations.values()):
                if destination.dead_until and (now is None or destination.dead_until <= now):
                    self._revive(transport, destination)
                    self._forget_if_idle(transport, destination)
            if not (transport.destinations or transport.busy or transport.dead_until or transport.paused):
                del self.transports[name]

    def reload(self, limits: Limits) -> None:
        """Take new limits; dead ones get another chance."""
        self._limits = limits
        for name, transport in self.transports.items():
            transport.limits = limits.of(name)
            if not transport.limits.transport_rate_s:
                transport.paused = False
            for destination in transport.destinations.values():
                if transport.limits.most:
                    destination.window = min(destination.window, transport.limits.most)
        self.forget_dead()
        for transport in list(self.transports.values()):
            for destination in transport.destinations.values():
                self._line_up(transport, destination)
            self._serve(transport)
