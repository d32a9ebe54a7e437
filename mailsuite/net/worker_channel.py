"""A worker's end of its connection to the parent (net/workers.py).

    def main(channel: WorkerChannel) -> None:              what runs in the worker, with its rights dropped
        while (request := channel.receive()) is not None: channel.answer(request.number, {...})

    main = serve_requests(function)                        the same for a blocking function
    main = serve_batches(function)                         for a pool with batch=...: takes and answers several at once
"""

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mailsuite.base.errors import MailError, PermanentError, TemporaryError
from mailsuite.net import packets
from mailsuite.net.privileges import Identity

log = logging.getLogger("mailsuite.net")


class Request(NamedTuple):
    """A request as the worker gets it. The receiver owns the descriptors and closes them.

    number 0: something it is told, which has no answer (WorkerPool.give).
    """

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
        requests = self.receive_batch()
        if requests is None:
            return None
        (request,) = requests
        return request

    def receive_batch(self) -> list[Request] | None:
        """The requests that came together; None as in `receive`. Raises OSError."""
        while True:
            found, fds = packets.receive(self._sock)
            if found is None:
                return None
            if requests := self._whole(found, fds):
                return requests

    def _whole(self, found: list[dict[str, Any]], fds: list[int]) -> list[Request]:
        """Requests with their descriptors. The kernel drops those for which we have no room (EMFILE): what has lost
        one fails for now."""
        requests, start = [], 0
        for packet in found:
            count = packet.get("f", len(fds))
            own = fds[start:start + count]
            start += count
            if len(own) == count:
                requests.append(Request(packet["n"], packet["m"], own))
            else:
                packets.close_all(own)
                self.fail(packet["n"], TemporaryError("too many open files", status="4.3.0"))
        return requests

    def answer(self, number: int, message: Mapping[str, Any]) -> None:
        """Answer a request. Raises OSError: the parent is gone (or does not read)."""
        packets.send(self._sock, {"n": number, "m": message}, [])

    def fail(self, number: int, error: BaseException) -> None:
        """Answer a request with what `ask` shall raise there."""
        packets.send(self._sock, _failed(number, error), [])

    def answer_batch(self, answers: Sequence[tuple[int, "Mapping[str, Any] | BaseException"]]) -> None:
        """Answer several requests at once. Raises OSError."""
        encoded = [packets.encode(_failed(number, answer) if isinstance(answer, BaseException)
                                  else {"n": number, "m": answer}) for number, answer in answers]
        packets.send_encoded(self._sock, packets.together(encoded) if len(encoded) != 1 else encoded[0], [])

    def report_busy(self, count: int) -> None:
        """Say how much is going on apart from open requests: while it is not 0, the worker is never idle.

        Say it before the answer to the request that began it.
        """
        packets.send(self._sock, {"busy": count}, [])

    def tell(self, what: object) -> None:
        """Say something unasked (WorkerPool's `told`). Raises OSError."""
        packets.send(self._sock, {"told": what}, [])

    def give(self, what: object, fds: Sequence[int]) -> None:
        """Say something unasked with descriptors beside it, which stay the caller's (`given`). Raises OSError."""
        packets.send(self._sock, {"told": what}, list(fds))


def _failed(number: int, error: BaseException) -> dict[str, Any]:
    if not isinstance(error, MailError):
        error = TemporaryError("internal error", status="4.3.0", detail=f"{type(error).__name__}: {error}")
    return {"n": number, "error": {"public": error.public, "status": error.status, "detail": error.detail,
                                   "permanent": isinstance(error, PermanentError)}}


Main = Callable[[WorkerChannel], None]
Batch = Sequence[tuple[dict[str, Any], list[int]]]
Answers = Callable[[Batch], Sequence[Mapping[str, Any] | BaseException]]


def serve_requests(function: Callable[[dict[str, Any], list[int]], Mapping[str, Any]]) -> Main:
    """A worker's main that answers one request after the other with a blocking function; closes the descriptors."""

    def main(channel: WorkerChannel) -> None:
        while (request := channel.receive()) is not None:
            try:
                answer = function(request.message, request.fds)
            except MailError as error:
                channel.fail(request.number, error)
            except Exception as error:
                log.exception("unforeseen in a worker")
                channel.fail(request.number, error)
            else:
                channel.answer(request.number, answer)
            finally:
                packets.close_all(request.fds)

    return main


def serve_batches(function: Answers) -> Main:
    """The same for a function of several requests: it returns as many answers, or exceptions in their place."""

    def main(channel: WorkerChannel) -> None:
        while (requests := channel.receive_batch()) is not None:
            answer_batch(channel, function, requests)

    return main


def answer_batch(channel: WorkerChannel, function: Answers, requests: Sequence[Request]) -> None:
    """One step of it. Raises OSError: the parent is gone."""
    try:
        answers = function([(request.message, request.fds) for request in requests])
    except Exception as error:
        if not isinstance(error, MailError):
            log.exception("unforeseen in a worker")
        answers = [error] * len(requests)
    finally:
        for request in requests:
            packets.close_all(request.fds)
    channel.answer_batch([(request.number, answer) for request, answer in zip(requests, answers, strict=True)])
