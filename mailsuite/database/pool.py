"""Connections to the hosts of one database: which host to ask, when to leave one alone, threads that wait.

    pool = Pool(driver, PoolOptions(connections=4, timeout_s=10, retry_s=60, idle_s=60), warn=log.warning)
    pool.run(work)              in the calling thread, blocking
    await pool.ask(work)        in one of at most `connections` threads; the event loop never waits
    pool.close()                connections that are not in use end at once, the others after their look-up

work(connection, deadline) -> result. It runs a second time when a connection that had been kept open turns out dead, so
it must not change anything that a repetition would spoil.

A host that could not be reached or fell silent is left alone for retry_s; each such failure is told once, through
`warn`. Hosts with an open connection come first, those on a Unix socket before others, else by chance (or in the given
order, for a driver that says `in_order`). A thread keeps its connections, and ends with them after idle_s without work.
Raises Unavailable (nobody to ask), QueryError (the server refused), from both.
A child of fork() starts with no connections: what its parent opened is left as it is.
"""

import asyncio
import contextlib
import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from mailsuite.database.errors import Broken, QueryError, Unavailable, Unreachable

T = TypeVar("T")


class Deadline:
    """A moment until which something may take."""

    __slots__ = ("at",)

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, more than 0. Raises Broken when there are none."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise Broken("Connection timed out", timed_out=True, cause="Connection timed out")
        return left


class Place(Protocol):
    """Where a server listens."""

    @property
    def name(self) -> str:
        """As it was written in the configuration, for messages."""
    @property
    def local(self) -> bool:
        """A Unix socket or a file: preferred."""


class Connection(Protocol):
    def close(self) -> None:
        """Never raises."""


C = TypeVar("C", bound=Connection)
C_co = TypeVar("C_co", bound=Connection, covariant=True)


class Driver(Protocol[C_co]):
    """One kind of server. in_order: places are tried as they are listed."""

    @property
    def in_order(self) -> bool: ...

    @property
    def places(self) -> Sequence[Place]: ...

    def connect(self, place: Any, deadline: Deadline) -> C_co:
        """Raises Unreachable, with the whole log line."""

    def broken(self, place: Any, error: Broken) -> str:
        """The log line for a connection that broke in the middle."""


@dataclass(frozen=True)
class PoolOptions:
    """connections: threads at most, each with one connection to a host. timeout_s: for one host, to connect and answer.

    retry_s: how long a failed host is left alone. idle_s: how long a connection is kept without work.
    """

    connections: int = 4
    timeout_s: float = 10.0
    retry_s: float = 60.0
    idle_s: float = 60.0


class _Host:
    """A place and what is known of it. Changed under the pool's lock."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.active = False             # answered last time
        self.not_before = 0.0


class _Lane(Generic[C]):
    """The connections of one thread."""

    def __init__(self) -> None:
        self.open: dict[_Host, tuple[C, float]] = {}

    def take(self, host: _Host, idle_s: float) -> C | None:
        """An open connection that is not too old."""
        found = self.open.pop(host, None)
        if found is None:
            return None
        connection, used = found
        if time.monotonic() - used > idle_s:
            connection.close()
            return None
        return connection

    def keep(self, host: _Host, connection: C) -> None:
        self.open[host] = connection, time.monotonic()

    def close(self) -> None:
        for connection, _ in self.open.values():
            connection.close()
        self.open.clear()


@dataclass(eq=False)
class _Job:
    """A question on its way through a thread."""

    work: Callable[[Any, Deadline], Any]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"

    def finish(self, result: Any, error: BaseException | None) -> None:
        def done() -> None:
            if self.future.done():
                return
            if error is None:
                self.future.set_result(result)
            else:
                self.future.set_exception(error)
        with contextlib.suppress(RuntimeError):         # the loop is closed: nobody waits
            self.loop.call_soon_threadsafe(done)


_POOLS: "weakref.WeakSet[Pool[Any]]" = weakref.WeakSet()
_INHERITED: list[Any] = []          # connections of a parent: to close them would end the parent's


def _after_fork() -> None:
    for pool in list(_POOLS):
        pool._forget()


os.register_at_fork(after_in_child=_after_fork)


class Pool(Generic[C]):
    """See above. warn: told what went wrong with a host, one line each, from any thread.

    total_s: how long `ask` waits altogether, for work with deadlines of its own; 0: as the hosts and timeout_s make it.
    """

    def __init__(self, driver: Driver[C], options: PoolOptions, *, warn: Callable[[str], None],
                 total_s: float = 0.0) -> None:
        self.driver, self.options, self._warn, self._total_s = driver, options, warn, total_s
        self._hosts = [_Host(place) for place in driver.places]
        self._random = random.Random()
        self._lanes: list[_Lane[C]] = []
        self._begin()
        _POOLS.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._threads = self._waiting = 0
        self._own: _Lane[C] | None = None
        self._closed = False

    def _forget(self) -> None:
        """In a child of fork."""
        _INHERITED.extend(lane.open for lane in self._lanes)
        self._lanes = []
        closed = self._closed
        self._begin()
        self._closed = closed

    @property
    def limit_s(self) -> float:
        """How long a look-up may take altogether, the wait for a free thread included."""
        return max(self._total_s, self.options.timeout_s * (len(self._hosts) + 1))

    # -- asking ----------------------------------------------------------------------------------------------------

    def run(self, work: Callable[[C, Deadline], T]) -> T:
        """Ask in this thread; one call at a time."""
        if self._own is None:
            self._own = self._new_lane()
        return self._ask_hosts(self._own, work)

    async def ask(self, work: Callable[[C, Deadline], T]) -> T:
        """Ask in a thread of the pool."""
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future())
        self._start(job)
        try:
            async with asyncio.timeout(self.limit_s):
                result: T = await job.future
                return result
        except TimeoutError as error:
            raise Unavailable(cause="Connection timed out") from error

    def _ask_hosts(self, lane: _Lane[C], work: Callable[[C, Deadline], T]) -> T:
        cause, lost = "", False
        for host in self._candidates():
            try:
                return self._ask_host(lane, host, work)
            except (Unreachable, Broken) as error:
                cause, lost = error.cause, isinstance(error, Broken) and not error.timed_out
                with self._changed:
                    host.active, host.not_before = False, time.monotonic() + self.options.retry_s
                self._warn(str(error) if isinstance(error, Unreachable) else self.driver.broken(host.place, error))
        raise Unavailable(cause=cause, lost=lost)

    def _ask_host(self, lane: _Lane[C], host: _Host, work: Callable[[C, Deadline], T]) -> T:
        deadline = Deadline(self.options.timeout_s)
        connection = lane.take(host, self.options.idle_s)
        if connection is not None:
            try:
                return self._over(lane, host, connection, work, deadline)
            except Broken as error:
                if error.timed_out:
                    raise
                # It was closed while nobody used it, or the server was restarted: that is no failure yet.
        connection = self.driver.connect(host.place, deadline)
        with self._changed:
            host.active, host.not_before = True, 0.0
        return self._over(lane, host, connection, work, deadline)

    def _over(self, lane: _Lane[C], host: _Host, connection: C, work: Callable[[C, Deadline], T],
              deadline: Deadline) -> T:
        try:
            result = work(connection, deadline)
        except QueryError:
            lane.keep(host, connection)
            raise
        except BaseException:
            connection.close()
            raise
        lane.keep(host, connection)
        return result

    def _candidates(self) -> list[_Host]:
        """Hosts to ask now, best first."""
        now = time.monotonic()
        with self._changed:
            hosts = [host for host in self._hosts if host.not_before <= now]
            if not self.driver.in_order:
                self._random.shuffle(hosts)
                hosts.sort(key=lambda host: (not host.active, not host.place.local))
        return hosts

    # -- threads ---------------------------------------------------------------------------------------------------

    def _new_lane(self) -> _Lane[C]:
        lane: _Lane[C] = _Lane()
        self._lanes.append(lane)
        return lane

    def _start(self, job: _Job) -> None:
        with self._changed:
            self._jobs.append(job)
            if self._waiting >= len(self._jobs):
                self._changed.notify()
            elif self._threads < self.options.connections:
                self._threads += 1
                threading.Thread(target=self._work, args=(self._changed,), daemon=True, name="database").start()

    def _work(self, changed: threading.Condition) -> None:
        """A thread's life."""
        lane = self._new_lane()
        try:
            while (job := self._next(changed)) is not None:
                if job.future.cancelled():
                    continue
                try:
                    result, error = self._ask_hosts(lane, job.work), None
                except BaseException as raised:         # it belongs to who waits for the result
                    result, error = None, raised
                job.finish(result, error)
                del job, result, error
        finally:
            lane.close()
            with changed:
                if lane in self._lanes:
                    self._lanes.remove(lane)

    def _next(self, changed: threading.Condition) -> _Job | None:
        """The next job; None: this thread is not needed any more."""
        with changed:
            end = time.monotonic() + self.options.idle_s
            while not self._jobs:
                left = end - time.monotonic()
                if self._closed or left <= 0:
                    self._threads -= 1
                    return None
                self._waiting += 1
                changed.wait(left)
                self._waiting -= 1
            return self._jobs.popleft()

    def close(self) -> None:
        """Threads end when they have no more work; what this thread opened is closed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._own is not None:
            self._own.close()
