"""Messages between our own processes: one JSON object a line, over a Unix stream socket; descriptors beside them.

    link = await connect("/var/spool/postfix/private/virtual")
    link.send({"id": ...}); message = await link.receive()        None at the end
    entrance = serve_unix(listener, on_link); entrance.stop()     one task per connection

A line has at most LINE_LIMIT octets. Both ends are ours, but the far end may run with fewer rights: what it says is
checked by whoever acts on it. Raises TemporaryError when the other process is not there.
"""

import array
import asyncio
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from mailsuite.base import wire
from mailsuite.base.errors import TemporaryError
from mailsuite.net.accepting import Accepting, accept_protocols

LINE_LIMIT = 64 * 1024 * 1024
LINES_WAITING = 1000                # messages read ahead of who takes them
log = logging.getLogger("mailsuite.net")


class Link(asyncio.Protocol):
    """One end of a connection between two of our processes."""

    def __init__(self, opened: "Callable[[Link], None] | None" = None) -> None:
        self._opened = opened
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self._rest: list[bytes] = []            # of a line that is not complete
        self._rest_size = 0
        self._lines: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = self._ended = False

    def send(self, message: Mapping[str, Any]) -> None:
        """Never raises: to an end that is gone nothing can be said, and `receive` tells that it is gone.

        What is sent in one turn of the event loop travels together: each write wakes the other process.
        """
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(wire.encode(message))

    def _flush(self) -> None:
        lines, self._outgoing = self._outgoing, []
        if lines and self._transport is not None and not self._transport.is_closing():
            lines.append(b"")
            self._transport.write(b"\n".join(lines))

    async def drain(self) -> None:
        """Wait until the far end has read most of what was sent, or is gone."""
        self._flush()
        await self._writable.wait()

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None when the other end is gone, or talks nonsense."""
        while not self._lines:
            if self._ended:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        line = self._lines.popleft()
        if self._paused and len(self._lines) < LINES_WAITING // 2:
            self._paused = False
            if self._transport is not None:
                self._transport.resume_reading()
        message = wire.decode(line)
        assert isinstance(message, dict)
        return message

    def close(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.close()

    # --- the event loop's calls -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._opened is not None:
            self._opened(self)

    def data_received(self, octets: bytes) -> None:
        first, *lines = octets.split(b"\n")
        if not lines:
            self._rest.append(octets)
            self._rest_size += len(octets)
            if self._rest_size > LINE_LIMIT:
                self._end()
                self.close()
            return
        self._lines.append(b"".join([*self._rest, first]) if self._rest else first)
        *whole, last = lines
        self._lines.extend(whole)
        self._rest, self._rest_size = [last] if last else [], len(last)
        if len(self._lines) > LINES_WAITING and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        self._end()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def connect(path: str) -> Link:
    """Raises TemporaryError when nobody listens at path."""
    try:
        _, link = await asyncio.get_running_loop().create_unix_connection(Link, path)
    except OSError as error:
        raise TemporaryError("mail system is not ready", detail=f"connect to {path}: {error}") from error
    return link


def serve_unix(sock: socket.socket, on_link: Callable[[Link], Awaitable[None]]) -> Accepting:
    """Accept links on a bound socket, until `stop`; an exception of on_link is logged and ends that link only."""
    tasks: set[asyncio.Task[None]] = set()

    async def run(link: Link) -> None:
        try:
            await on_link(link)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("unforeseen in a link between processes")
        finally:
            link.close()

    def opened(link: Link) -> None:
        task = asyncio.get_running_loop().create_task(run(link))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return accept_protocols(sock, lambda: Link(opened))


def receive_with_fds(sock: socket.socket, size: int = 1 << 20) -> tuple[dict[str, Any] | None, list[int]]:
    """The next datagram and its descriptors (close-on-exec); (None, []) at the end. Raises OSError."""
    octets, ancillary, _, _ = sock.recvmsg(size, socket.CMSG_SPACE(4 * 16), socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    if not octets:
        return None, list(fds)
    message = wire.decode(octets)
    assert isinstance(message, dict)
    return message, list(fds)
