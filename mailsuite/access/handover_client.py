"""Gives logged-in connections to those who serve them: the login process's end.

    access = AccessChannel("/run/dovecot/imap")                 one per process; connects when first asked
    result = await access.ask(handover, ticket, fd)             HandedOver | Refused
    access.start(handover, ticket, fd, then)                    the same without a coroutine, while `access.connected`

The access service says for a first login which worker has users of such rights, and gives a link to it; for ROUTE_S
logins of these rights (sasl/grant.py) and that share of their users go straight to the worker. It may also take a
connection itself. A worker that does not take one sends it back, and the access service is asked once more.
What cannot be handed over is Refused(FAILED), and the reason is in the log.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from mailsuite.access.handover import GRANT, HandOver, share_of
from mailsuite.access.handover_link import WAITING_LIMIT, Asked, HandOverLink, Then, Ticket
from mailsuite.access.login_questions import HandedOver, Refused, Why
from mailsuite.base.turns import Stay
from mailsuite.net import packets
from mailsuite.sasl.grant import rights_in

__all__ = ["AccessChannel", "Ticket", "ask_access"]

ANSWER_LIMIT = 65536
ROUTE_S = 20.0                   # how long a link is used before the access service is asked again
LINKS_LIMIT = 256                # links of one process

log = logging.getLogger("mailsuite.dovecot.access")


class AccessChannel:
    """The channels of one login process."""

    def __init__(self, path: str, stay: Stay | None = None) -> None:
        """stay: where this process runs, which workers follow."""
        self.path, self._stay = path, stay or Stay()
        # Takes connections that come back: the HandOver's message, and the descriptor, which becomes its own.
        self.take_back: Callable[[Mapping[str, Any], int], None] | None = None
        self._access: HandOverLink | None = None
        self._workers: dict[str, int] = {}                          # by rights: how many share their users
        self._links: dict[tuple[str, int], HandOverLink] = {}       # by rights and share
        self._connecting = asyncio.Lock()

    @property
    def connected(self) -> bool:
        return self._access is not None

    async def connect(self) -> None:
        """Before the first is asked, so that it need not wait. A service that is away is asked then."""
        with contextlib.suppress(OSError):
            await self._connect()

    async def ask(self, handover: HandOver, ticket: Ticket, fd: int) -> HandedOver | Refused:
        """Hand over; the caller's descriptor stays the caller's."""
        try:
            await self._connect()
        except OSError as error:
            log.error("cannot hand over a connection to %s: %s", self.path, error)
            return Refused(Why.FAILED)
        future: asyncio.Future[HandedOver | Refused] = asyncio.get_running_loop().create_future()
        self.start(handover, ticket, fd, lambda result: None if future.done() else future.set_result(result))
        return await future

    def start(self, handover: HandOver, ticket: Ticket, fd: int, then: Then) -> None:
        """As `ask`: then(result) is called later."""
        asked = Asked(handover, ticket, then)
        link = self._link(asked)
        if link is not None:
            link.ask(asked, fd)
        else:
            self._ask_access(asked, fd)

    def close(self) -> None:
        """What waits for an answer fails."""
        for link in (self._access, *self._links.values()):
            if link is not None:
                link.close()

    def _link(self, asked: Asked) -> HandOverLink | None:
        rights = rights_in(asked.ticket.grant)
        workers = self._workers.get(rights)
        if not workers:
            return None
        link = self._links.get((rights, share_of(asked.handover.user, workers)))
        return link if link is not None and len(link.waiting) < WAITING_LIMIT else None

    # --- the access service ---------------------------------------------------------------------------------------

    def _ask_access(self, asked: Asked, fd: int) -> None:
        access = self._access
        if access is None or len(access.waiting) >= WAITING_LIMIT:
            why = "connection lost" if access is None else "too many are under way"
            log.error("cannot hand over a connection to %s: %s", self.path, why)
            asyncio.get_running_loop().call_soon(asked.end, Refused(Why.FAILED))
            return
        if asked.ticket.grant and asked.fd < 0:
            asked.fd = os.dup(fd)           # a worker may have to get it, and the client's may be closed by then
        access.ask(asked, fd)

    def _answered(self, access: HandOverLink, packet: Mapping[str, Any], fds: list[int], asked: Asked) -> None:
        workers, share = packet.get("workers"), packet.get("share")
        if not isinstance(workers, int) or workers < 1 or len(fds) != 1 or asked.fd < 0:
            packets.close_all(fds)
            asked.end(_result(packet))
            return
        link = HandOverLink(socket.socket(fileno=fds[0]), "the user's worker", self._answered_by_worker, self._lost,
                            stay=self._stay)
        if share == share_of(asked.handover.user, workers):
            self._add((rights_in(asked.ticket.grant), share), workers, link)
        else:                               # a user database calls the user by another name
            link.retired = True
        link.ask(asked, asked.fd)
        asked.drop()

    async def _connect(self) -> None:
        async with self._connecting:
            if self._access is not None:
                return
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as entrance:
                    await _enter(entrance, self.path)
                    socket.send_fds(entrance, [b'{"channel":true}\n'], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
            self._access = HandOverLink(ours, self.path, self._answered, self._lost, self.take_back)

    def _lost(self, link: HandOverLink, why: str, waiting: list[Asked]) -> None:
        """All who waited are told; the next hand-over finds another way."""
        if link is self._access and not link.open:
            self._access = None
        elif not link.open:
            self._forget(link)
        if waiting:
            log.error("cannot hand over %d connections to %s: %s", len(waiting), link.name, why)
        for asked in waiting:
            asked.end(Refused(Why.FAILED))

    # --- workers --------------------------------------------------------------------------------------------------

    def _answered_by_worker(self, link: HandOverLink, packet: Mapping[str, Any], fds: list[int], asked: Asked) -> None:
        if "again" in packet and len(fds) == 1 and not asked.again:
            asked.again, asked.fd = True, fds[0]
            if packet["again"] == GRANT:    # the keys have changed
                self._retire(link)
            self._ask_access(asked, asked.fd)
        else:
            if fds:
                packets.close_all(fds)
            asked.end(_result(packet))
        if link.retired and not link.waiting:
            link.close()

    def _add(self, place: tuple[str, int], workers: int, link: HandOverLink) -> None:
        if (before := self._links.get(place)) is not None:
            self._retire(before)
        elif len(self._links) >= LINKS_LIMIT:
            self._retire(next(iter(self._links.values())))
        self._workers[place[0]], self._links[place] = workers, link
        asyncio.get_running_loop().call_later(ROUTE_S, self._retire, link)

    def _retire(self, link: HandOverLink) -> None:
        """It is not used any more; who waits for an answer still gets it."""
        self._forget(link)
        link.retired = True
        if not link.waiting:
            link.close()

    def _forget(self, link: HandOverLink) -> None:
        for place in [place for place, each in self._links.items() if each is link]:
            del self._links[place]
            if not any(rights == place[0] for rights, _ in self._links):
                self._workers.pop(place[0], None)


def _result(packet: Mapping[str, object]) -> HandedOver | Refused:
    pid = packet.get("pid")
    if isinstance(pid, int):
        return HandedOver(pid)
    try:
        return Refused(Why(packet.get("refused")), str(packet.get("text", "")))
    except ValueError:
        return Refused(Why.FAILED)


async def ask_access(path: str, message: Mapping[str, object], fd: int, *, timeout_s: float) -> dict[str, object]:
    """Ask the access service for something else, a descriptor beside the message: one connection and one JSON line
    each way. Raises OSError (a time-out too), ValueError when it does not answer."""
    async with asyncio.timeout(timeout_s):
        return await _ask(path, json.dumps(message, separators=(",", ":")).encode() + b"\n", fd)


async def _ask(path: str, octets: bytes, fd: int) -> dict[str, object]:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        await _enter(sock, path)
        sent = socket.send_fds(sock, [octets], [fd])
        if sent < len(octets):
            await loop.sock_sendall(sock, octets[sent:])
        received = b""
        while not received.endswith(b"\n"):
            block = await loop.sock_recv(sock, 65536)
            if not block or len(received) > ANSWER_LIMIT:
                raise ValueError("no answer")
            received += block
    answer = json.loads(received)
    if not isinstance(answer, dict):
        raise ValueError("no answer")
    return answer


async def _enter(sock: socket.socket, path: str) -> None:
    """Connect; a Unix socket does at once, or its backlog is full. Raises OSError."""
    sock.setblocking(False)
    for pause_s in (0.01, 0.05, 0.2, 1.0, None):
        try:
            sock.connect(path)
            return
        except BlockingIOError:
            if pause_s is None:
                raise
            await asyncio.sleep(pause_s)
