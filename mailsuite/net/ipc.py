"""Messages between our own processes: one JSON object a line, over a Unix stream socket; descriptors beside them.

    link = await connect("/var/spool/postfix/private/virtual")
    link.send({"id": ...}); message = await link.receive()        None at the end
    await serve_unix(listener, on_link)                           one task per connection

A line has at most LINE_LIMIT octets. Both ends are ours, but the far end may run with fewer rights: what it says is
checked by whoever acts on it. Raises TemporaryError when the other process is not there.
"""

import array
import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mailsuite.base.errors import TemporaryError

LINE_LIMIT = 64 * 1024 * 1024
log = logging.getLogger("mailsuite.net")


class Link:
    """One end of a connection between two of our processes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, message: Mapping[str, Any]) -> None:
        """Never raises: to an end that is gone nothing can be said, and `receive` tells that it is gone."""
        if self._writer.transport.is_closing():
            return
        self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    async def drain(self) -> None:
        await self._writer.drain()

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None when the other end is gone."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        if not line.endswith(b"\n"):
            return None
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def close(self) -> None:
        self._writer.close()


async def connect(path: str) -> Link:
    """Raises TemporaryError when nobody listens at path."""
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
    except OSError as error:
        raise TemporaryError("mail system is not ready", detail=f"connect to {path}: {error}") from error
    return Link(reader, writer)


async def serve_unix(sock: socket.socket, on_link: Callable[[Link], Awaitable[None]]) -> asyncio.AbstractServer:
    """Accept links on a bound socket; an exception of on_link is logged and ends that link only."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer)
        try:
            await on_link(link)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("unforeseen in a link between processes")
        finally:
            link.close()

    return await asyncio.start_unix_server(run, sock=sock, limit=LINE_LIMIT)


def send_with_fds(sock: socket.socket, message: Mapping[str, Any], fds: list[int]) -> None:
    """One datagram (SOCK_SEQPACKET or SOCK_DGRAM) with descriptors; blocking. Raises OSError."""
    socket.send_fds(sock, [json.dumps(message, separators=(",", ":")).encode()], fds)


def receive_with_fds(sock: socket.socket, size: int = 1 << 20) -> tuple[dict[str, Any] | None, list[int]]:
    """The next datagram and its descriptors (close-on-exec); (None, []) at the end. Raises OSError."""
    octets, ancillary, _, _ = sock.recvmsg(size, socket.CMSG_SPACE(4 * 16), socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    if not octets:
        return None, list(fds)
    message = json.loads(octets)
    assert isinstance(message, dict)
    return message, list(fds)
