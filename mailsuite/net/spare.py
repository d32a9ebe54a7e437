"""Processes forked by a parent, at once or in advance: the mechanics below net/workers.py.

    pid, sock = forked(run)                     a child that calls run(its end of the socket) and ends
    spare = Spare.fork(make, umask=0o077)       a child that has run make() already, and waits to be told whose it is
    spare.become(identity, key) -> bool         from here on it is a worker like any other; False: it is gone

A fork and its first steps take milliseconds: page tables are copied, and each page when it is first touched. A spare
has that behind it when somebody needs a worker. Until then it has its parent's rights, reads nothing but the parent's
one packet, and owns no descriptor but that socket and the log; it gives the rights up before it sees what anybody else
sent. make() returns what then runs, as WorkerPool's main.
"""

import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import asdict
from typing import NoReturn

from mailsuite.base.errors import MailError
from mailsuite.net import packets
from mailsuite.net.privileges import Identity, drop_for_good, leave_parent
from mailsuite.net.worker_channel import Main, WorkerChannel

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
