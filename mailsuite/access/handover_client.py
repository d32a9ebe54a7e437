"""Gives logged-in connections to the access service: the login process's end.

    access = AccessChannel("/run/dovecot/imap")                 one per process; connects when first asked
    result = await access.ask(handover, ticket, fd)             HandedOver | Refused
    access.start(handover, ticket, fd, then)                    the same without a coroutine, while `access.connected`

All hand-overs of a process go through one SOCK_SEQPACKET channel, a packet each with the client's descriptor beside it;
login_channel.py has the other end. The channel is made by sending one half of a pair over the access service's socket.
What cannot be handed over is Refused(FAILED), and the reason is in the log.
Limits: ANSWER_TIMEOUT_S for an answer, WAITING_LIMIT hand-overs under way.
"""

import asyncio
import json
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mailsuite.access.handover import HandOver
from mailsuite.access.login import HandedOver, Refused, Why
from mailsuite.net import packets

ANSWER_TIMEOUT_S = 60.0
LOOK_EVERY_S = 5.0               # how often that is looked at
ANSWER_LIMIT = 65536
WAITING_LIMIT = 5000

log = logging.getLogger("mailsuite.dovecot.access")

Then = Callable[[HandedOver | Refused], None]


@dataclass(frozen=True, slots=True)
class Ticket:
    """What proves the login: who asked the auth service, which request, the connection's cookie; and its grant
    (sasl/grant.py), "" where it gave none."""

    client_pid: int
    request_id: int
    cookie: str
    grant: str = ""


class AccessChannel:
    """The channel of one login process."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._sock: socket.socket | None = None
        self._last = 0
        self._waiting: dict[int, tuple[float, Then]] = {}           # until when, and who
        self._unsent: deque[tuple[bytes, int]] = deque()            # packets, and duplicates of their descriptors
        self._timer: asyncio.TimerHandle | None = None
        self._connecting = asyncio.Lock()

    @property
    def connected(self) -> bool:
        return self._sock is not None

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
        loop = asyncio.get_running_loop()
        if self._sock is None or len(self._waiting) >= WAITING_LIMIT:
            log.error("cannot hand over a connection to %s: %s", self.path,
                      "connection lost" if self._sock is None else "too many are under way")
            loop.call_soon(then, Refused(Why.FAILED))
            return
        self._last += 1
        self._waiting[self._last] = loop.time() + ANSWER_TIMEOUT_S, then
        if self._timer is None:
            self._timer = loop.call_later(LOOK_EVERY_S, self._look)
        packet = packets.encode({"n": self._last, "h": handover.to_message(), "g": ticket.grant,
                                 "t": [ticket.client_pid, ticket.request_id, ticket.cookie]})
        try:
            if self._unsent:
                raise BlockingIOError
            packets.send_encoded(self._sock, packet, [fd])
        except BlockingIOError:
            if not self._unsent:
                loop.add_writer(self._sock.fileno(), self._writable)
            self._unsent.append((packet, os.dup(fd)))       # the client's may be closed meanwhile
        except OSError as error:
            loop.call_soon(self._lose, self._sock, str(error))

    def close(self) -> None:
        """What waits for an answer fails."""
        if self._sock is not None:
            self._lose(self._sock, "closed")

    # --- the channel ------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        async with self._connecting:
            if self._sock is not None:
                return
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as entrance:
                    await _enter(entrance, self.path)
                    socket.send_fds(entrance, [b'{"channel":true}\n'], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
            ours.setblocking(False)
            self._sock = ours
            asyncio.get_running_loop().add_reader(ours.fileno(), self._readable, ours)

    def _readable(self, sock: socket.socket) -> None:
        if sock is not self._sock:
            return
        try:
            found, fds = packets.receive(sock)              # the loop calls again while there is more
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(sock, str(error))
            return
        packets.close_all(fds)
        if found is None:
            self._lose(sock, "the access service is gone")
            return
        for packet in found:
            waiting = self._waiting.pop(packet.get("n", 0), None)
            if waiting is not None:
                waiting[1](_result(packet))

    def _writable(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            while self._unsent:
                packet, fd = self._unsent[0]
                packets.send_encoded(sock, packet, [fd])
                self._unsent.popleft()
                os.close(fd)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(sock, str(error))
            return
        asyncio.get_running_loop().remove_writer(sock.fileno())

    def _lose(self, sock: socket.socket, why: str) -> None:
        """All who wait are told; the next hand-over connects anew."""
        if sock is not self._sock:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(sock.fileno())
        loop.remove_writer(sock.fileno())
        self._sock = None
        sock.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._unsent:
            os.close(self._unsent.popleft()[1])
        waiting, self._waiting = self._waiting, {}
        if waiting:
            log.error("cannot hand over %d connections to %s: %s", len(waiting), self.path, why)
        for _, then in waiting.values():
            then(Refused(Why.FAILED))

    def _look(self) -> None:
        """Who waits too long is told; the oldest stand first."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for number, (end, then) in list(self._waiting.items()):
            if end > now:
                break
            del self._waiting[number]
            log.error("cannot hand over a connection to %s: no answer", self.path)
            then(Refused(Why.FAILED))
        if self._waiting:
            self._timer = loop.call_later(LOOK_EVERY_S, self._look)


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
