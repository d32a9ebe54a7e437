"""Tells qmgr what is new, over its socket public/qmgr: a connection that is kept and made again after a loss.

    notifier = Notifier(f"{queue_directory}/public/qmgr")
    notifier.tell(QueueNotice("new", "4F3A21", ...))             never blocks, never raises
    notifier.behind                                         qmgr says that mail comes faster than it goes
    notifier.journal                                        qmgr is there, and takes mail from the journal

A notice is a hint: what is lost is found by qmgr's scan of incoming/. At most BACKLOG octets wait for a slow qmgr.
`gathers`: the first one goes at once; where one follows upon the other (BUSY_S), what GATHER_S brings goes together.
qmgr is then woken once for several messages, and so is everybody behind it.
"""

import asyncio
import json
import socket

from msgspec import Struct

from mailsuite.base import wire
from mailsuite.queue.envelope import Envelope, Recipient
from mailsuite.queue.journal import Place

BACKLOG = 1 << 20
RETRY_S = 1.0
BUSY_S = 0.015              # since the last notices went: there is much mail
GATHER_S = 0.010


class QueueNotice(Struct, omit_defaults=True):
    """A line for qmgr; see `queue/requests.py`. op "new": where the content of a file in incoming/ is, and all that its
    tail says; at: it is in the journal instead, there."""

    op: str
    id: str = ""
    offset: int = 0
    size: int = 0
    facts: Envelope | None = None
    to: list[Recipient] = []
    at: Place | None = None
    site: str | None = None
    answer: bool = False


_JOURNAL = wire.encode(QueueNotice("journal")) + b"\n"


class Notifier:
    """One per process, for its event loop's thread. gathers: wait a moment for the next ones when there is much mail;
    who does so has to call `close` at its end."""

    def __init__(self, path: str, *, gathers: bool = False, journal: bool = False) -> None:
        """journal: ask qmgr whether it takes mail from there."""
        self.path, self._gathers, self._asks_journal = path, gathers, journal
        self._waiting = bytearray()
        self._socket: socket.socket | None = None
        self._writing = False
        self._gathering: asyncio.TimerHandle | None = None
        self._told_at = -BUSY_S
        self._next_try = 0.0
        self._heard = b""
        self.behind = self.journal = False

    def tell(self, notice: QueueNotice) -> None:
        """Send now, or soon, or as soon as the socket takes it; dropped when nobody listens."""
        line = wire.encode(notice) + b"\n"
        if self._socket is None and not self._connect():
            return
        if len(self._waiting) + len(line) > BACKLOG:
            return
        self._waiting += line
        if self._writing or self._gathering is not None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._gathers and now - self._told_at < BUSY_S:
            self._gathering = loop.call_later(GATHER_S, self._gathered)
        else:
            self._told_at = now
            self._flush()

    def _gathered(self) -> None:
        self._gathering = None
        self._told_at = asyncio.get_running_loop().time()
        if not self._writing:
            self._flush()

    def close(self) -> None:
        """Drop the connection; a later tell makes a new one. What is still gathering goes before."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
            if self._socket is not None and not self._writing:
                self._flush(again=False)
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            if self._writing:
                loop.remove_writer(self._socket.fileno())
                self._writing = False
            loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._heard, self.behind, self.journal = b"", False, False
        self._waiting.clear()

    def _connect(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now < self._next_try:
            return False
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        made.setblocking(False)
        try:
            made.connect(self.path)
        except OSError:
            made.close()
            self._next_try = now + RETRY_S
            return False
        self._socket = made
        asyncio.get_running_loop().add_reader(made.fileno(), self._listen)
        if self._asks_journal:
            self._waiting += _JOURNAL
        return True

    def _listen(self) -> None:
        """qmgr says whether it is behind; or it has gone, which the next tell will find."""
        assert self._socket is not None
        try:
            octets = self._socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._heard, self.behind, self.journal = b"", False, False
            return
        *lines, self._heard = (self._heard + octets)[-4096:].split(b"\n")
        for line in lines:
            try:
                said = json.loads(line)
                self.behind = bool(said.get("behind", self.behind))
                self.journal = bool(said.get("journal", self.journal))
            except (ValueError, AttributeError):
                pass                # an answer that we did not ask for

    def _flush(self, *, again: bool = True) -> None:
        assert self._socket is not None
        try:
            while self._waiting:
                sent = self._socket.send(self._waiting)
                del self._waiting[:sent]
        except BlockingIOError:
            if not self._writing:
                self._writing = True
                asyncio.get_running_loop().add_writer(self._socket.fileno(), self._flush)
            return
        except OSError:
            # qmgr was restarted: the new one may have scanned before this message came, so it is told again.
            waiting = bytes(self._waiting)
            self.close()
            if again and self._connect():
                self._waiting += waiting
                self._flush(again=False)
            return
        if self._writing:
            self._writing = False
            asyncio.get_running_loop().remove_writer(self._socket.fileno())
