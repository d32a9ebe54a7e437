"""One channel of a login process for hand-overs: to the access service, or to a user's worker.

    link = HandOverLink(sock, "what it is", answered, lost)
    link.ask(asked, fd)                 a packet with the client's descriptor, which stays the caller's
    answered(link, packet, fds, asked)  the answer; the descriptors are the callee's
    lost(link, why, [asked, ...])       the other end is gone, and who waited

A SOCK_SEQPACKET socket; login_channel.py and worker_logins.py have the other ends.
Limits: ANSWER_TIMEOUT_S for an answer, WAITING_LIMIT hand-overs under way.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from mailsuite.access.handover import HandOver
from mailsuite.access.login_questions import HandedOver, Refused
from mailsuite.base.turns import ANYWHERE, Stay
from mailsuite.net import packets

ANSWER_TIMEOUT_S = 60.0
LOOK_EVERY_S = 5.0               # how often that is looked at
WAITING_LIMIT = 5000

Then = Callable[[HandedOver | Refused], None]


class Ticket(Struct, frozen=True):
    """What proves the login: who asked the auth service, which request, the connection's cookie; and its grant
    (sasl/grant.py), "" where it gave none."""

    client_pid: int
    request_id: int
    cookie: str
    grant: str = ""


class Asked(Struct, eq=False):
    """A hand-over under way. fd: a duplicate of the client's descriptor, -1 where none is kept. again: a worker did not
    take it."""

    handover: HandOver
    ticket: Ticket
    then: Then
    fd: int = -1
    again: bool = False

    def end(self, result: HandedOver | Refused) -> None:
        """It is over."""
        if self.fd >= 0:
            self.drop()
        self.then(result)

    def drop(self) -> None:
        """The duplicate is needed no more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


Answered = Callable[["HandOverLink", Mapping[str, Any], list[int], Asked], None]
GivenBack = Callable[[Mapping[str, Any], int], None]
Lost = Callable[["HandOverLink", str, list[Asked]], None]


class HandOverLink:
    """Reads from its making until `close`, or the end of the other side."""

    def __init__(self, sock: socket.socket, name: str, answered: Answered, lost: Lost,
                 given_back: GivenBack | None = None, stay: Stay | None = None) -> None:
        """given_back: takes connections that come back (way_back.py): the message, and the descriptor. stay: the other
        end is told to which core this process keeps."""
        self._stay = stay
        self._given_back = given_back
        self.name, self.retired = name, False       # retired: no longer asked; it closes after the last answer
        self._sock, self._answered, self._lost = sock, answered, lost
        self._last = 0
        self.waiting: dict[int, tuple[float, Asked]] = {}          # by number: until when, and who
        self._unsent: deque[tuple[bytes, int]] = deque()            # packets, and duplicates of their descriptors
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    @property
    def open(self) -> bool:
        return self._sock.fileno() >= 0

    def ask(self, asked: Asked, fd: int) -> None:
        """Hand over. What cannot be sent is told by `lost`, later."""
        self._last += 1
        self.waiting[self._last] = self._loop.time() + ANSWER_TIMEOUT_S, asked
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)
        ticket = asked.ticket
        message = {"n": self._last, "h": asked.handover.to_message(), "g": ticket.grant,
                   "t": [ticket.client_pid, ticket.request_id, ticket.cookie]}
        if self._stay is not None and self._stay.core != ANYWHERE:
            message["core"] = self._stay.core
        packet = packets.encode(message)
        try:
            if self._unsent:
                raise BlockingIOError
            packets.send_encoded(self._sock, packet, [fd])
        except BlockingIOError:
            if not self._unsent:
                self._loop.add_writer(self._sock.fileno(), self._writable)
            self._unsent.append((packet, os.dup(fd)))       # the client's may be closed meanwhile
        except OSError as error:
            self._loop.call_soon(self.close, str(error))

    def close(self, why: str = "closed") -> None:
        """May be called twice."""
        if not self.open:
            return
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        if self._timer is not None:
            self._timer.cancel()
        while self._unsent:
            os.close(self._unsent.popleft()[1])
        waiting, self.waiting = self.waiting, {}
        self._lost(self, why, [asked for _, asked in waiting.values()])

    def _readable(self) -> None:
        try:
            found, fds = packets.receive(self._sock)            # the loop calls again while there is more
        except BlockingIOError:
            return
        except OSError as error:
            self.close(str(error))
            return
        if found is None or len(found) != 1 and fds:
            packets.close_all(fds)
            self.close("connection lost")
            return
        for packet in found:                # a worker may answer several at once
            self._take(packet, fds)

    def _take(self, packet: Mapping[str, Any], fds: list[int]) -> None:
        if "back" in packet and len(fds) == 1 and self._given_back is not None:
            self._given_back(packet["back"], fds[0])
            return
        waiting = self.waiting.pop(packet.get("n", 0), None)
        if waiting is None:
            packets.close_all(fds)
        else:
            self._answered(self, packet, fds, waiting[1])

    def _writable(self) -> None:
        try:
            while self._unsent:
                packet, fd = self._unsent[0]
                packets.send_encoded(self._sock, packet, [fd])
                self._unsent.popleft()
                os.close(fd)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(str(error))
            return
        self._loop.remove_writer(self._sock.fileno())

    def _look(self) -> None:
        """Who waits too long is told; the oldest stand first."""
        self._timer = None
        now = self._loop.time()
        late = []
        for number, (end, asked) in list(self.waiting.items()):
            if end > now:
                break
            del self.waiting[number]
            late.append(asked)
        if late:
            self._lost(self, "no answer", late)
        if self.waiting and self._timer is None and self.open:
            self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)
