"""Warm worker processes, forked on demand by a small parent, one set per identity (uid, gid, groups).

    pool = WorkerPool(serve_requests(deliver))            in the parent, inside its event loop
    answer = await pool.ask(Identity(1000, 1000), {"folder": ...}, [queue_fd])
    await pool.close()

The parent is root, or any user; then nobody's rights change and all identities share one worker per key. Give the
parent no other thread: a worker is a plain fork of it, so what it imported is shared memory. A worker closes every
descriptor that it inherited save its own socket and the log, drops its rights for good and runs `main(channel)`.
`serve_requests` makes a main of a blocking function; a main with an event loop of its own (IMAP) uses `channel` as
it likes: `channel.fileno()` is readable when `receive()` has something.

Requests and answers are JSON objects over SOCK_SEQPACKET, descriptors beside them; what is larger than a datagram
travels in a memfd. `key` picks one of several workers of an identity (the same key always meets the same process);
without it the least busy of at most `most_each` takes the request.

What can go wrong: a worker that dies fails what it had in hand with WorkerGone (a TemporaryError) and is forked anew
by the next request; a MailError of the worker's function is raised by `ask`, any other is logged there with its
traceback and is temporary. Limits: `most` workers in all (requests wait until one is idle and can go), `depth`
requests in one worker's hands, the others wait here; `backlog` of them at most. A worker that was idle for `idle_s`
seconds is told to go by the end of its socket.

Batches: a pool with `batch` > 1 sends what gathered while a worker was at work as one packet, up to so many requests
and descriptors, and the worker answers them together (`serve_batches`): under load they share its syncs and wake-ups,
a lone request waits for nobody.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from mailsuite.base.errors import MailError, PermanentError, TemporaryError
from mailsuite.net import packets
from mailsuite.net.privileges import Identity, become_worker
from mailsuite.net.spare import Spare, Spares, forked
from mailsuite.net.worker_channel import Main, Request, WorkerChannel, serve_batches, serve_requests

__all__ = ["Identity", "Main", "Request", "WorkerChannel", "WorkerGone", "WorkerPool", "serve_batches",
           "serve_requests"]

KILL_AFTER_S = 10.0              # how long a worker may take to exit after its socket was closed

log = logging.getLogger("mailsuite.net")


class WorkerGone(TemporaryError):
    """The worker died, or was never there, before it answered."""


Over = Callable[[dict[str, Any] | MailError], None]


@dataclass(eq=False)
class _Waiting:
    """A request on its way. fds are ours, closed once sent. over: gets the answer, or what `ask` raises."""

    number: int
    packet: bytes
    fds: list[int]
    over: "Over"
    alone: bool = True


@dataclass(eq=False)
class _Worker:
    identity: Identity
    key: str
    pid: int
    sock: socket.socket
    queue: deque[_Waiting] = field(default_factory=deque)
    in_hand: dict[int, _Waiting] = field(default_factory=dict)
    busy: int = 0
    writing: bool = False
    last_used: float = 0.0

    @property
    def load(self) -> int:
        return len(self.queue) + len(self.in_hand)

    @property
    def idle(self) -> bool:
        return not self.queue and not self.in_hand and not self.busy


class WorkerPool:
    """The parent's side; belongs to one event loop.

    main: runs in each worker. most: workers in all. most_each: workers per identity for requests without a key.
    depth: requests in one worker's hands (1 for a blocking main that should not hold what another could do).
    no_new_privileges: set-uid programs give a worker's children nothing; off where users' commands need them.
    batch: requests that travel and are answered together; 1: each alone. alone: requests that never travel with
    others. umask: of the workers. allow_root: uid 0 may be asked for; main must then run nothing but our own code.
    told: what a worker said unasked (WorkerChannel.tell), with its process id; None: it is gone. given: the same with
    descriptors, which are its own then; without it a worker has no business sending any.
    """

    def __init__(self, main: Main, *, name: str = "worker", most: int = 100, most_each: int = 1, depth: int = 4,
                 batch: int = 1, backlog: int = 20000, idle_s: float = 100.0, no_new_privileges: bool = True,
                 alone: Callable[[Mapping[str, Any]], bool] = lambda message: False,
                 umask: int = 0o077, allow_root: bool = False,
                 told: Callable[[int, Any], None] = lambda pid, what: None,
                 given: Callable[[int, Any, list[int]], None] | None = None) -> None:
        self._alone, self._told, self._given = alone, told, given
        self._main, self._name, self._most, self._most_each = main, name, most, most_each
        self._depth, self._backlog, self._idle_s = depth, backlog, idle_s
        self._batch = min(batch, packets.FDS_LIMIT)
        self._root = os.geteuid() == 0
        self._no_new_privileges, self._umask, self._allow_root = no_new_privileges, umask, allow_root
        self._workers: dict[tuple[Identity, str], list[_Worker]] = {}
        self._leaving: dict[int, float] = {}            # pid -> when to kill it
        self._room: deque[asyncio.Future[None]] = deque()   # who waits for a place
        self._next_number = 0
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._spares: Spares | None = None

    async def ask(self, identity: Identity, message: Mapping[str, Any], fds: Sequence[int] = (), *,
                  key: str = "", taken: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Have the identity's worker answer. The caller keeps its descriptors and may close them on return.

        taken: called as soon as the descriptors may be closed: long before an answer that is the end of a session.
        Raises WorkerGone, or the MailError that the worker's function raised.
        """
        if not self._root:
            identity = identity.effective()
        while True:
            worker = self._pick(identity, key)
            if worker is not None:
                break
            await self._wait_for_room()
        self._check_backlog(worker)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def over(answer: dict[str, Any] | MailError) -> None:
            if future.done():
                return
            if isinstance(answer, MailError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        item = self._item(message, [os.dup(fd) for fd in fds], over)
        taken()
        worker.queue.append(item)
        self._flush(worker)
        return await future

    def start(self, identity: Identity, message: Mapping[str, Any], fds: list[int], over: Over, *,
              key: str = "") -> int:
        """As `ask`, at once and without a task: the descriptors become the pool's, over(answer or MailError) is called
        at the end. Returns the worker's process id, or 0: there is no room now, ask. Raises WorkerGone."""
        worker = self._pick(identity if self._root else identity.effective(), key)
        if worker is None:
            return 0
        self._check_backlog(worker)
        worker.queue.append(self._item(message, fds, over))
        self._flush(worker)
        return worker.pid

    def give(self, pid: int, message: Mapping[str, Any], fds: Sequence[int] = ()) -> bool:
        """Tell a worker something that has no answer, at once; the descriptors stay the caller's. False: it does not
        hear it."""
        for group in self._workers.values():
            for worker in group:
                if worker.pid == pid:
                    try:
                        packets.send(worker.sock, {"n": 0, "f": len(fds), "m": message}, list(fds))
                    except OSError:
                        return False
                    return True
        return False

    async def room(self) -> None:
        """Wait until a worker has gone, after `start` returned 0."""
        await self._wait_for_room()

    def _check_backlog(self, worker: _Worker) -> None:
        if worker.load >= self._backlog:
            raise WorkerGone("too many deliveries wait", status="4.3.2", detail=f"{self._name}: backlog is full")

    def _item(self, message: Mapping[str, Any], fds: list[int], over: Over) -> _Waiting:
        self._next_number += 1
        octets = packets.encode({"n": self._next_number, "f": len(fds), "m": message})
        return _Waiting(self._next_number, octets, fds, over, self._batch == 1 or self._alone(message))

    @property
    def count(self) -> int:
        return sum(len(group) for group in self._workers.values())

    @property
    def full(self) -> bool:
        """A worker for somebody else takes the place of one that is there."""
        return self.count >= self._most

    def pids(self, identity: Identity | None = None) -> list[int]:
        """Of the workers that are there (those of one identity)."""
        return [worker.pid for (whose, _), group in self._workers.items() for worker in group
                if identity is None or whose == identity.effective()]

    async def close(self, *, wait_s: float = 5.0) -> None:
        """Tell all workers to go when what they have in hand is answered; kill what takes longer than wait_s."""
        self._closed = True
        self._let_spares_go()
        end = time.monotonic() + wait_s
        while any(worker.load for group in self._workers.values() for worker in group):
            if time.monotonic() >= end:
                break
            await asyncio.sleep(0.02)
        for worker in [worker for group in self._workers.values() for worker in group]:
            self._dismiss(worker)
        while self._leaving:
            self._reap()
            if not self._leaving:
                break
            if time.monotonic() >= end:
                self._leaving = dict.fromkeys(self._leaving, 0.0)
            await asyncio.sleep(0.01)
        if self._timer is not None:
            self._timer.cancel()

    # --- which worker ---------------------------------------------------------------------------------------------

    def _pick(self, identity: Identity, key: str) -> _Worker | None:
        """A worker for the request, forked if need be; None when there is no room for one."""
        if self._closed:
            raise WorkerGone("the service is stopping", status="4.3.2")
        if self._spares is not None:
            self._spares.asked()
        group = self._workers.get((identity, key), [])
        best = min(group, key=lambda worker: worker.load, default=None)
        if best is not None and (best.load == 0 or len(group) >= (1 if key else self._most_each)):
            return best
        if self.count < self._most or self._make_room():
            return self._fork(identity, key)
        return best

    def _make_room(self) -> bool:
        """Dismiss the worker that was idle longest."""
        idle = [worker for group in self._workers.values() for worker in group if worker.idle]
        if not idle:
            return False
        self._dismiss(min(idle, key=lambda worker: worker.last_used))
        return True

    async def _wait_for_room(self) -> None:
        if len(self._room) >= self._backlog:
            raise WorkerGone("too many deliveries wait", status="4.3.2", detail=f"{self._name}: no worker is free")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room.append(future)
        await future

    def _wake_one(self) -> None:
        while self._room:
            future = self._room.popleft()
            if not future.done():
                future.set_result(None)
                return

    # --- life and death -------------------------------------------------------------------------------------------

    def _fork(self, identity: Identity, key: str) -> _Worker:
        loop = asyncio.get_running_loop()
        made = self._adopted(identity, key)
        if made is None:
            try:
                made = forked(lambda sock: self._child(sock, identity, key), f"{self._name} for uid {identity.uid}")
            except OSError as error:
                raise WorkerGone("cannot fork", status="4.3.0", detail=f"{self._name}: fork: {error}") from error
        pid, ours = made
        worker = _Worker(identity, key, pid, ours, last_used=time.monotonic())
        self._workers.setdefault((identity, key), []).append(worker)
        loop.add_reader(ours.fileno(), self._readable, worker)
        if self._timer is None:
            self._timer = loop.call_later(min(1.0, self._idle_s), self._tick)
        return worker

    def _child(self, sock: socket.socket, identity: Identity, key: str) -> None:
        become_worker(identity, keep=[sock.fileno()], umask=self._umask,
                      no_new_privileges=self._no_new_privileges, allow_root=self._allow_root)
        self._main(WorkerChannel(sock, identity, key))

    def keep_spares(self, make: Callable[[], Main], number: int = 1) -> None:
        """From now on fork workers in advance (spare.py), which have called make() when somebody needs them."""
        self._spares = Spares(lambda: Spare.fork(make, f"{self._name}, spare", umask=self._umask,
                                                 no_new_privileges=self._no_new_privileges), number, self._name)
        self._spares.fill()

    def renew_spares(self) -> None:
        """What they would begin with has changed."""
        self._let_spares_go()
        if self._spares is not None and not self._closed:
            self._spares.fill()

    def _adopted(self, identity: Identity, key: str) -> tuple[int, socket.socket] | None:
        """A spare, if there is one, as a worker of this identity."""
        spare = self._spares.take() if self._spares is not None else None
        if spare is None:
            return None
        if spare.become(identity, key):
            return spare.pid, spare.sock
        self._let_go(spare)
        return None

    def _let_spares_go(self) -> None:
        for spare in self._spares.taken_away() if self._spares is not None else ():
            self._let_go(spare)

    def _let_go(self, spare: Spare) -> None:
        spare.sock.close()
        self._leaving[spare.pid] = time.monotonic() + KILL_AFTER_S

    def _dismiss(self, worker: _Worker) -> None:
        """Close the worker's socket: it ends when it reads that."""
        self._drop(worker)
        self._leaving[worker.pid] = time.monotonic() + KILL_AFTER_S

    def _drop(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(worker.sock.fileno())
        loop.remove_writer(worker.sock.fileno())
        worker.sock.close()
        group = self._workers[worker.identity, worker.key]
        group.remove(worker)
        if not group:
            del self._workers[worker.identity, worker.key]
        for item in [*worker.in_hand.values(), *worker.queue]:
            packets.close_all(item.fds)
            item.over(WorkerGone("delivery process died", status="4.3.0",
                                 detail=f"{self._name} {worker.pid} died"))
        worker.in_hand.clear()
        worker.queue.clear()
        self._told(worker.pid, None)
        self._wake_one()

    def _reap(self) -> None:
        now = time.monotonic()
        for pid, deadline in list(self._leaving.items()):
            try:
                done, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                done, status = pid, 0
            if done:
                del self._leaving[pid]
                if os.waitstatus_to_exitcode(status) != 0:
                    log.warning("%s %d ended with status %d", self._name, pid, os.waitstatus_to_exitcode(status))
            elif now >= deadline:
                os.kill(pid, signal.SIGKILL)

    def _tick(self) -> None:
        """Each second, while there is a worker: collect the dead, dismiss the idle."""
        self._timer = None
        limit = time.monotonic() - self._idle_s
        for worker in [worker for group in self._workers.values() for worker in group]:
            if worker.idle and worker.last_used <= limit:
                self._dismiss(worker)
        self._reap()
        if self._workers or self._leaving:
            self._timer = asyncio.get_running_loop().call_later(min(1.0, self._idle_s), self._tick)

    # --- octets ---------------------------------------------------------------------------------------------------

    def _flush(self, worker: _Worker) -> None:
        while worker.queue and len(worker.in_hand) < self._depth:
            first = worker.queue[0]
            items = [first] if first.alone else self._next_items(worker)
            try:
                if len(items) == 1:
                    packets.send_encoded(worker.sock, first.packet, first.fds)
                else:
                    packets.send_encoded(worker.sock, packets.together([item.packet for item in items]),
                                         [fd for item in items for fd in item.fds])
            except BlockingIOError:
                if not worker.writing:
                    worker.writing = True
                    asyncio.get_running_loop().add_writer(worker.sock.fileno(), self._writable, worker)
                return
            except OSError:
                return                      # its end is read in a moment
            for item in items:
                worker.queue.popleft()
                worker.in_hand[item.number] = item
                packets.close_all(item.fds)
                item.fds, item.packet = [], b""

    def _next_items(self, worker: _Worker) -> list[_Waiting]:
        """The first of the queue that fit into one packet, at least one."""
        items: list[_Waiting] = []
        octets = fds = 0
        for item in islice(worker.queue, self._batch):
            octets, fds = octets + len(item.packet), fds + len(item.fds)
            if items and (item.alone or octets > packets.INLINE_LIMIT or fds > packets.FDS_LIMIT):
                break
            items.append(item)
        return items

    def _writable(self, worker: _Worker) -> None:
        worker.writing = False
        asyncio.get_running_loop().remove_writer(worker.sock.fileno())
        self._flush(worker)

    def _readable(self, worker: _Worker) -> None:
        try:
            found, fds = packets.receive(worker.sock)       # the loop calls again while there is more
        except BlockingIOError:
            return
        except OSError:
            found, fds = None, []
        if fds and self._given is not None and found and len(found) == 1 and "told" in found[0]:
            self._given(worker.pid, found.pop()["told"], fds)
        else:
            packets.close_all(fds)
        if found is None:
            self._dismiss(worker)
            return
        worker.last_used = time.monotonic()
        for packet in found:
            self._take(worker, packet)
        self._flush(worker)
        if worker.idle:
            self._wake_one()

    def _take(self, worker: _Worker, packet: dict[str, Any]) -> None:
        if "busy" in packet:
            worker.busy = int(packet["busy"])
            return
        if "told" in packet:
            self._told(worker.pid, packet["told"])
            return
        item = worker.in_hand.pop(packet.get("n", 0), None)
        if item is not None:
            item.over(_error(packet["error"]) if "error" in packet else packet["m"])


def _error(told: Mapping[str, Any]) -> MailError:
    kind = PermanentError if told["permanent"] else TemporaryError
    return kind(told["public"], status=told["status"], detail=told["detail"])
