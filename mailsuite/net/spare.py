"""Processes forked by a parent, at once or in advance: the mechanics below net/workers.py.

    pid, sock = forked(run)                     a child that calls run(its end of the socket) and ends
    spare = Spare.fork(make, umask=0o077)       a child that has run make() already, and waits to be told whose it is
    spare.become(identity, key) -> bool         from here on it is a worker like any other; False: it is gone
    spares = Spares(fork, 2, "access"); spares.fill(); spares.take()        some of them, whose places are filled again

A fork and its first steps take milliseconds: page tables are copied, and each page when it is first touched. A spare
has that behind it when somebody needs a worker. Until then it has its parent's rights, reads nothing but the parent's
one packet, and owns no descriptor but that socket and the log; it gives the rights up before it sees what anybody else
sent. make() returns what then runs, as WorkerPool's main.
"""

import asyncio
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import NoReturn

from mailsuite.base.errors import MailError
from mailsuite.net import packets
from mailsuite.net.privileges import Identity, drop_for_good, leave_parent
from mailsuite.net.worker_channel import Main, WorkerChannel

AFTER_S = 0.1                   # how long nobody has asked for anything when the place of a spare is filled
AT_LATEST_S = 2.0               # it does not stay empty for longer than that

log = logging.getLogger("mailsuite.net")


def forked(run: Callable[[socket.socket], None], name: str) -> tuple[int, socket.socket]:
    """The child's process id and our end of the socket, non-blocking. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # A signal between fork and the child's own settings would be written to the parent's wake-up pipe.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _run(run, theirs, name)
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
    ours.setblocking(False)
    return pid, ours


def _run(run: Callable[[socket.socket], None], sock: socket.socket, name: str) -> NoReturn:
    status = 1
    try:
        run(sock)
        status = 0
    except (BrokenPipeError, ConnectionResetError):
        status = 0                          # the parent is gone
    except BaseException:
        log.exception("%s ends", name)
    finally:
        os._exit(status)


class Spare:
    """The parent's end of one."""

    def __init__(self, pid: int, sock: socket.socket) -> None:
        self.pid, self.sock = pid, sock

    @classmethod
    def fork(cls, make: Callable[[], Main], name: str, *, umask: int = 0o077,
             no_new_privileges: bool = True) -> "Spare":
        """Raises OSError."""
        def wait(sock: socket.socket) -> None:
            leave_parent(keep=[sock.fileno()], umask=umask)
            main = make()
            found, _ = packets.receive(sock)
            if found is None:
                return
            message = found[0]
            identity = Identity(**{**message["become"], "groups": tuple(message["become"]["groups"])})
            drop_for_good(identity, no_new_privileges=no_new_privileges)
            main(WorkerChannel(sock, identity, message["key"]))

        return cls(*forked(wait, name))

    def become(self, identity: Identity, key: str) -> bool:
        """The socket is the caller's then, also when it is gone."""
        try:
            packets.send(self.sock, {"become": asdict(identity), "key": key}, [])
        except (OSError, MailError):
            return False
        return True


class Spares:
    """Those of one pool; belongs to its event loop. fork: makes one, may raise OSError."""

    def __init__(self, fork: Callable[[], Spare], number: int, name: str) -> None:
        self._fork, self._number, self._name = fork, number, name
        self._waiting: deque[Spare] = deque()
        self._asked = 0.0                       # when somebody wanted something, by the loop's clock
        self._timer: asyncio.TimerHandle | None = None

    def __iter__(self) -> Iterator[Spare]:
        return iter(self._waiting)

    def fill(self) -> None:
        """Have as many as there should be, as far as that can be done."""
        try:
            while len(self._waiting) < self._number:
                self._waiting.append(self._fork())
        except OSError as error:
            log.warning("%s: fork: %s", self._name, error)      # a worker is forked when it is needed

    def asked(self) -> None:
        """Somebody wants something of the pool: no time to fork for later."""
        self._asked = asyncio.get_running_loop().time()

    def take(self) -> Spare | None:
        """One of them, if there is one. Its place is filled when the rush is over: until then that would take the
        processor from those who ask."""
        if self._timer is None:
            self._fill_later(AFTER_S, asyncio.get_running_loop().time() + AT_LATEST_S)
        return self._waiting.popleft() if self._waiting else None

    def _fill_later(self, wait_s: float, latest: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._fill_when_quiet, latest)

    def _fill_when_quiet(self, latest: float) -> None:
        quiet_in = min(self._asked + AFTER_S, latest) - asyncio.get_running_loop().time()
        if quiet_in > 0:
            self._fill_later(quiet_in, latest)
        else:
            self._timer = None
            self.fill()

    def taken_away(self) -> list[Spare]:
        """All of them; none comes by itself any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gone = list(self._waiting)
        self._waiting.clear()
        return gone
