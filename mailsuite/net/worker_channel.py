"""A worker's end of its connection to the parent (net/workers.py).

    def main(channel: WorkerChannel) -> None:              what runs in the worker, with its rights dropped
        while (request := channel.receive()) is not None: channel.answer(request.number, {...})

    main = serve_requests(function)                        the same for a blocking function
"""

import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mailsuite.base.errors import MailError, PermanentError, TemporaryError
from mailsuite.net import packets
from mailsuite.net.privileges import Identity

log = logging.getLogger("mailsuite.net")


class Request(NamedTuple):
    """A request as the worker gets it. The receiver owns the descriptors and closes them."""

    number: int
    message: dict[str, Any]
    fds: list[int]


class WorkerChannel:
    """The worker's end. Blocking, unless the socket was made non-blocking by `set_blocking(False)`."""

    def __init__(self, sock: socket.socket, identity: Identity, key: str = "") -> None:
        self._sock, self.identity, self.key = sock, identity, key

    def fileno(self) -> int:
        return self._sock.fileno()

    def set_blocking(self, blocking: bool) -> None:
        self._sock.setblocking(blocking)

    def receive(self) -> Request | None:
        """The next request; None when the parent wants this worker to end. Raises BlockingIOError, OSError."""
        packet, fds = packets.receive(self._sock)
        if packet is None:
            return None
        return Request(packet["n"], packet["m"], fds)

    def answer(self, number: int, message: Mapping[str, Any]) -> None:
        """Answer a request. Raises OSError: the parent is gone (or does not read)."""
        packets.send(self._sock, {"n": number, "m": message}, [])

    def fail(self, number: int, error: BaseException) -> None:
        """Answer a request with what `ask` shall raise there."""
        if not isinstance(error, MailError):
            error = TemporaryError("internal error", status="4.3.0", detail=f"{type(error).__name__}: {error}")
        packets.send(self._sock, {"n": number, "error": {
            "public": error.public, "status": error.status, "detail": error.detail,
            "permanent": isinstance(error, PermanentError)}}, [])

    def report_busy(self, count: int) -> None:
        """Say how much is going on apart from open requests: while it is not 0, the worker is never idle.

        Say it before the answer to the request that began it.
        """
        packets.send(self._sock, {"busy": count}, [])


Main = Callable[[WorkerChannel], None]


def serve_requests(function: Callable[[dict[str, Any], list[int]], Mapping[str, Any]]) -> Main:
    """A worker's main that answers one request after the other with a blocking function; closes the descriptors."""

    def main(channel: WorkerChannel) -> None:
        while (request := channel.receive()) is not None:
            try:
                channel.answer(request.number, function(request.message, request.fds))
            except MailError as error:
                channel.fail(request.number, error)
            except Exception as error:
                log.exception("unforeseen in a worker")
                channel.fail(request.number, error)
            finally:
                for fd in request.fds:
                    os.close(fd)

    return main
