"""Hand-overs of one login process, at the access service's or a worker's end (handover_link.py has the other).

    channel = LoginChannel(sock, take)          take(Entry), from the event loop, for each connection that comes
    entry.accepted(pid)  /  entry.refused(Why.LIMIT, "text")        the answer; entry.fds are the taker's
    entry.accepted(pid, late=True)      the same, within LATE_S, together with others
    entry.routed(sock, workers, share)  give it, and others like it, to the worker at the other end of sock

A packet is {"n": 7, "h": HandOver, "t": [client pid, request, cookie], "g": grant} with the client's descriptor (and
"core", where the login process keeps to one: base/turns.py). Its answer is {"n": 7, "pid": 123}, {"n": 7, "refused":
"limit", "text": "..."}, from a worker {"n": 7, "again": "grant"} with the descriptor, or from the access service, with
another one, {"n": 7, "workers": 2, "share": 0}: how many share the users of these rights, and which this is.
{"back": HandOver} with a descriptor brings a connection back that goes on without a user (way_back.py).
The channel ends with the login process.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from mailsuite.access.login_questions import Why
from mailsuite.net import packets

LATE_S = 0.02                    # how long an answer that nobody hurries for may wait for others...
LATE_MOST = 200                  # ...or for so many
UNSENT_LIMIT = 10_000            # answers that a login process does not read; more end its channel

log = logging.getLogger("mailsuite.dovecot.access")


class Entry:
    """One hand-over: its packet, the descriptors that came beside it, and the way back."""

    __slots__ = ("_channel", "_number", "fds", "packet")

    def __init__(self, channel: "LoginChannel", packet: Mapping[str, Any], fds: list[int]) -> None:
        self._channel, self._number = channel, packet.get("n", 0)
        self.packet, self.fds = packet, fds

    def accepted(self, pid: int, *, late: bool = False) -> None:
        """It belongs to process pid now. late: all that hangs on it is a line in the log and a descriptor."""
        (self._channel.answer_late if late else self._channel.answer)({"n": self._number, "pid": pid})

    def refused(self, why: Why, text: str = "") -> None:
        """The connection stays the login's; what came of its descriptors is closed."""
        packets.close_all(self.fds)
        self.fds = []
        self._channel.answer({"n": self._number, "refused": why.value, "text": text})

    def routed(self, link: socket.socket, workers: int, share: int) -> None:
        """A worker takes it at the other end of link, which is closed here, as are the descriptors."""
        packets.close_all(self.fds)
        self.fds = []
        self._channel.answer({"n": self._number, "workers": workers, "share": share}, link.detach())

    def again(self, why: str) -> None:
        """A worker sends it back, with the client's descriptor: the access service has to be asked."""
        fds, self.fds = self.fds, []
        self._channel.answer({"n": self._number, "again": why}, fds[0] if fds else -1)


class LoginChannel:
    """Reads from its making to the end of the channel, which closes the socket, and calls `closed`."""

    def __init__(self, sock: socket.socket, take: Callable[[Entry], None],
                 closed: Callable[[], None] = lambda: None) -> None:
        self._sock, self._take, self._on_close = sock, take, closed
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._late: list[Mapping[str, Any]] = []
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            found, fds = packets.receive(self._sock)        # the loop calls again while there is more
        except BlockingIOError:
            return
        except OSError:
            found, fds = None, []
        if found is None or len(found) != 1:
            packets.close_all(fds)
            self.close()
            return
        self._take(Entry(self, found[0], fds))

    def answer_late(self, message: Mapping[str, Any]) -> None:
        """As `answer`, together with others: the login process need not wake for each."""
        late = self._late
        if not late:
            self._loop.call_later(LATE_S, self.flush)
        late.append(message)
        if len(late) >= LATE_MOST:
            self.flush()

    def flush(self) -> None:
        """Say now what could wait."""
        late, self._late = self._late, []
        if late:
            self._send(packets.encode(late if len(late) > 1 else late[0]), [])

    def answer(self, message: Mapping[str, Any], fd: int = -1) -> None:
        """Who is gone needs none. fd is closed here."""
        self._send(packets.encode(message), [fd] if fd >= 0 else [])

    def _send(self, octets: bytes, fds: list[int]) -> None:
        try:
            if self._sock.fileno() < 0:
                pass
            elif self._unsent:
                raise BlockingIOError
            else:
                packets.send_encoded(self._sock, octets, fds)
        except BlockingIOError:
            if not self._unsent:
                self._loop.add_writer(self._sock.fileno(), self._writable)
            self._unsent.append((octets, fds))
            if len(self._unsent) > UNSENT_LIMIT:
                log.error("a login process does not read its answers")
                self.close()
            return
        except OSError:
            self.close()
        packets.close_all(fds)

    def _writable(self) -> None:
        try:
            while self._unsent:
                octets, fds = self._unsent[0]
                packets.send_encoded(self._sock, octets, fds)
                self._unsent.popleft()
                packets.close_all(fds)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._loop.remove_writer(self._sock.fileno())

    def close(self) -> None:
        """May be called twice."""
        self.flush()
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()
            for _, fds in self._unsent:
                packets.close_all(fds)
            self._unsent.clear()
            self._on_close()
