"""Taking connections of a listening socket in an event loop, without a busy loop when descriptors run out.

    watch = Accepting(listener.sock, take); watch.start(); ...; watch.stop()

    watch = accept_protocols(listener.sock, make)       make() -> asyncio.Protocol for each connection; started
    watch = accept_streams(listener.sock, connected)    await connected(reader, writer) for each connection; started

take(connection): a connected, non-blocking socket, which is its to close. When accept(2) fails for want of descriptors
or memory, the waiting connections stay in the kernel's backlog and are taken PAUSE_S later; a warning says so.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

AT_ONCE = 32            # connections between two looks at the event loop
PAUSE_S = 1.0

log = logging.getLogger("mailsuite.net")


class Accepting:
    """One listening socket; belongs to the running loop."""

    def __init__(self, sock: socket.socket, take: Callable[[socket.socket], None]) -> None:
        self._sock, self._take = sock, take
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None
        sock.setblocking(False)

    def start(self) -> None:
        self._later = None
        self._loop.add_reader(self._sock.fileno(), self.accept)

    def stop(self) -> None:
        """Take no more; may be called twice."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._loop.remove_reader(self._sock.fileno())

    def accept(self) -> None:
        """Take what waits."""
        for _ in range(AT_ONCE):
            try:
                connection, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("cannot accept a connection: %s", error)
                self._loop.remove_reader(self._sock.fileno())
                self._later = self._loop.call_later(PAUSE_S, self.start)
                return
            connection.setblocking(False)
            self._take(connection)


def accept_protocols(sock: socket.socket, make: Callable[[], asyncio.Protocol]) -> Accepting:
    """What loop.create_unix_server does, which spins when descriptors run out."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def connect(connection: socket.socket) -> None:
        try:
            await loop.connect_accepted_socket(make, connection)
        except OSError as error:
            log.warning("cannot serve a connection: %s", error)
            connection.close()

    def take(connection: socket.socket) -> None:
        task = loop.create_task(connect(connection))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    watch = Accepting(sock, take)
    watch.start()
    return watch


def accept_streams(sock: socket.socket,
                   connected: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Accepting:
    """What asyncio.start_unix_server does, likewise."""
    def make() -> asyncio.Protocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), connected)

    return accept_protocols(sock, make)
