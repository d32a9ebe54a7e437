"""qmgr's end of straight deliveries (queue/straight.py): grants, links to workers, what is under way on them.

    straight = StraightLinks(ends)
    straight.learn(path, address, again)            an agent at the socket `path` has said so in a report
    straight.take(path, item, address, content)     False: ask the agent
    straight.give_up(path); straight.forget()

ends.delivered(seqs); ends.refused(seqs): ask the agent for these; ends.lost(seqs, worker): a worker died with
these in hand, which may have been delivered. Each number that was taken comes back in one of them, once.

What one turn of the event loop takes goes to the first worker that has nothing in hand, TOGETHER messages at most: they
share its wake-up and its syncs. At most WAITING_LIMIT messages wait for a group's workers; more go by the agent, which
may begin another worker. LINKS_LIMIT links, GRANTS_LIMIT grants.
"""

import asyncio
import errno
import logging
import os
import socket
from collections import deque
from typing import Protocol

from mailsuite.base import wire
from mailsuite.base.log import lines_together
from mailsuite.queue import straight
from mailsuite.queue.straight import Again, Item

WAITING_LIMIT = 2 * straight.TOGETHER
LINKS_LIMIT = 200
GRANTS_LIMIT = 10_000
DOOR_LIMIT = 4096               # octets of what comes through a door at once
DOOR_FDS = 16
DOOR_RETRY_S = 5.0              # after a door could not be opened
ANSWER_LIMIT = 16 * 1024
MARGIN_S = 0.1                  # before a grant's end: the worker looks at its clock later
log = logging.getLogger("mailsuite.qmgr")


class Ends(Protocol):
    """What becomes of deliveries."""

    def delivered(self, seqs: list[int]) -> None: ...

    def refused(self, seqs: list[int]) -> None: ...

    def lost(self, seqs: list[int], worker: int) -> None: ...


class _Granted:
    """A grant, under our number for it."""

    __slots__ = ("address", "again", "number", "path")

    def __init__(self, number: int, path: str, address: str, again: Again) -> None:
        self.number, self.path, self.address, self.again = number, path, address, again


class _Waiting:
    __slots__ = ("content", "granted", "item")

    def __init__(self, item: Item, granted: _Granted, content: bytes) -> None:
        self.item, self.granted, self.content = item, granted, content


class _Group:
    """The workers of one identity, and what waits for them."""

    def __init__(self) -> None:
        self.links: list[_Link] = []
        self.waiting: deque[_Waiting] = deque()
        self.flushes = False


class _Link:
    """One worker. known: numbers of grants whose token it has, with their ends."""

    def __init__(self, group: _Group, path: str, worker: int, sock: socket.socket) -> None:
        self.group, self.path, self.worker, self.sock = group, path, worker, sock
        self.in_hand: dict[int, _Waiting] = {}
        self.known: dict[int, float] = {}
        self.leaving = False


class StraightLinks:
    """One per qmgr and event loop."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._loop = asyncio.get_running_loop()
        self._doors: dict[str, socket.socket] = {}
        self._no_door: dict[str, float] = {}                    # path -> when to try again
        self._groups: dict[tuple[str, int], _Group] = {}
        self._links: set[_Link] = set()
        self._grants: dict[tuple[str, str], _Granted] = {}      # by socket and address, the oldest first
        self._last = 0

    # --- grants -----------------------------------------------------------------------------------------------------

    def learn(self, path: str, address: str, again: Again) -> None:
        """An agent's offer."""
        if path not in self._doors:
            self._open_door(path)
        if not again.group:
            return
        key = path, address
        self._grants.pop(key, None)
        now = self._loop.time()
        while self._grants:
            oldest = next(iter(self._grants))
            if self._grants[oldest].again.until > now and len(self._grants) < GRANTS_LIMIT:
                break
            del self._grants[oldest]
        self._last += 1
        self._grants[key] = _Granted(self._last, path, address, again)

    def forget(self) -> None:
        """Settings are new: what was granted before is not used any more."""
        self._grants.clear()

    def usable(self, path: str, address: str) -> bool:
        """Whether `take` is worth its preparations."""
        granted = self._grants.get((path, address))
        if granted is None:
            return False
        if granted.again.until < self._loop.time() + MARGIN_S:
            del self._grants[path, address]
            return False
        group = self._groups.get((path, granted.again.group))
        return group is not None and len(group.waiting) < WAITING_LIMIT and bool(group.links)

    def take(self, path: str, item: Item, address: str, content: bytes) -> bool:
        """Deliver straight, soon. item: without grant and token."""
        granted = self._grants.get((path, address))
        group = self._groups.get((path, granted.again.group)) if granted is not None else None
        if granted is None or group is None or not group.links:
            return False
        group.waiting.append(_Waiting(item, granted, content))
        if not group.flushes:
            group.flushes = True
            self._loop.call_soon(self._flush_group, group)
        return True

    # --- doors and links --------------------------------------------------------------------------------------------

    def _open_door(self, path: str) -> None:
        if self._no_door.get(path, 0.0) > self._loop.time():
            return
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.setblocking(False)
            sock.connect(path)
            sock.send(straight.DOOR + b"\n")
        except OSError:                         # its backlog is full, or it has just gone
            sock.close()
            self._no_door[path] = self._loop.time() + DOOR_RETRY_S
            return
        self._doors[path] = sock
        self._loop.add_reader(sock.fileno(), self._door_readable, path, sock)

    def _door_readable(self, path: str, sock: socket.socket) -> None:
        fds: list[int] = []
        try:
            octets, fds, _, _ = socket.recv_fds(sock, DOOR_LIMIT, DOOR_FDS, socket.MSG_CMSG_CLOEXEC)
            told = [straight.read_link(line) for line in octets.splitlines()]
            if not octets or len(told) != len(fds):
                raise ValueError("the door is closed")
        except BlockingIOError:
            return
        except (OSError, ValueError):
            for fd in fds:
                os.close(fd)
            self._close_door(path, sock)
            return
        for one, fd in zip(told, fds, strict=True):
            self._add_link(path, one, fd)

    def _close_door(self, path: str, sock: socket.socket) -> None:
        """Links go on: their workers say themselves when they want to end."""
        self._loop.remove_reader(sock.fileno())
        sock.close()
        if self._doors.get(path) is sock:
            del self._doors[path]

    def _add_link(self, path: str, told: straight.LinkTold, fd: int) -> None:
        if len(self._links) >= LINKS_LIMIT:
            os.close(fd)
            return
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        group = self._groups.setdefault((path, told.group), _Group())
        link = _Link(group, path, told.worker, sock)
        group.links.append(link)
        self._links.add(link)
        self._loop.add_reader(fd, self._readable, link)

    def _drop(self, link: _Link) -> None:
        """It is of no use any more; what its worker has in hand may have been delivered."""
        if link.sock.fileno() < 0:
            return
        self._loop.remove_reader(link.sock.fileno())
        link.sock.close()
        self._links.discard(link)
        self._retire(link)
        if link.in_hand:
            seqs = list(link.in_hand)
            link.in_hand.clear()
            self._ends.lost(seqs, link.worker)

    def _retire(self, link: _Link) -> None:
        """Nothing more is sent there; without other workers, what waits for its group goes by the agent."""
        group = link.group
        if link in group.links:
            group.links.remove(link)
        if not group.links:
            for key in [key for key, one in self._groups.items() if one is group]:
                del self._groups[key]
            if group.waiting:
                refused = [waiting.item.seq for waiting in group.waiting]
                group.waiting.clear()
                self._ends.refused(refused)

    def give_up(self, path: str) -> None:
        """Some worker of this agent has been silent for too long."""
        for link in list(self._links):
            if link.path == path and link.in_hand:
                log.warning("worker %d does not answer", link.worker)
                self._drop(link)

    def close(self) -> None:
        for path, sock in list(self._doors.items()):
            self._close_door(path, sock)
        for link in self._links:
            self._loop.remove_reader(link.sock.fileno())
            link.sock.close()
        self._links.clear()
        self._groups.clear()

    # --- packets ----------------------------------------------------------------------------------------------------

    def _flush_group(self, group: _Group) -> None:
        group.flushes = False
        for link in list(group.links):
            if not group.waiting:
                return
            if not link.in_hand:
                self._fill(link)

    def _fill(self, link: _Link) -> None:
        """As much as fits of what waits for its group."""
        chosen, parts = self._next(link)
        if not chosen:
            return
        try:
            link.sock.sendmsg(straight.packet(parts, [waiting.content for waiting in chosen]))
        except OSError as error:                # nothing was sent
            self._ends.refused([waiting.item.seq for waiting in chosen])
            if error.errno not in (errno.EAGAIN, errno.EMSGSIZE, errno.ENOBUFS, errno.ENOMEM):
                self._drop(link)
            return
        for waiting in chosen:
            link.known[waiting.granted.number] = waiting.granted.again.until
            waiting.content = b""
            link.in_hand[waiting.item.seq] = waiting

    def _next(self, link: _Link) -> tuple[list[_Waiting], list[bytes]]:
        self._forget_known(link)
        waiting = link.group.waiting
        chosen: list[_Waiting] = []
        parts: list[bytes] = []
        size = 64                           # of the packet, with its head
        while waiting and len(chosen) < straight.TOGETHER:
            first = waiting[0]
            item, granted = first.item, first.granted
            item.grant, item.token = granted.number, "" if granted.number in link.known else granted.again.token
            octets = wire.encode(item)
            size += len(octets) + 1 + len(first.content)
            if size > straight.PACKET_LIMIT:
                if chosen:
                    break
                waiting.popleft()           # too large by itself
                self._ends.refused([item.seq])
                size = 64
                continue
            chosen.append(waiting.popleft())
            parts.append(octets)
        return chosen, parts

    def _forget_known(self, link: _Link) -> None:
        now = self._loop.time()
        while link.known and link.known[oldest := next(iter(link.known))] < now:
            del link.known[oldest]

    def _readable(self, link: _Link) -> None:
        try:
            octets = link.sock.recv(ANSWER_LIMIT)
            answer = straight.read_answer(octets) if octets else None
        except BlockingIOError:
            return
        except (OSError, ValueError):
            answer = None
        if answer is None:
            self._drop(link)
            return
        delivered = self._answered(link, answer.delivered)
        refused = self._answered(link, answer.refused)
        if answer.bye and not link.leaving:
            link.leaving = True
            self._retire(link)
        if link.leaving and not link.in_hand:
            self._drop(link)
        elif not link.leaving and not link.in_hand and link.group.waiting:
            self._fill(link)
        if delivered:
            with lines_together():
                self._ends.delivered([waiting.item.seq for waiting in delivered])
        if refused:
            for waiting in refused:         # what stands in the way now, the agent tells
                self._grants.pop((waiting.granted.path, waiting.granted.address), None)
            self._ends.refused([waiting.item.seq for waiting in refused])

    def _answered(self, link: _Link, seqs: list[int]) -> list[_Waiting]:
        """Those of them that it has in hand: it has no say in others."""
        return [waiting for seq in seqs if (waiting := link.in_hand.pop(seq, None)) is not None]
