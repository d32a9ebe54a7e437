"""Asks the verify service, and tells it what became of its probes.

    verifier = VerifyClient("/var/spool/postfix/private/verify")
    answer = await verifier.ask("a@b.test", wait_s=6)        Answer(Status.OK, "250 2.1.5 Ok"); TODO: not known in time
    verifier.update("a@b.test", Status.BOUNCE, "unknown user")       never blocks, never raises

One connection per process, made again after a loss. Raises TemporaryError when the service cannot be asked.
"""

import asyncio
from typing import TYPE_CHECKING

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.net.ipc import Link, connect
from mailsuite.verify import params
from mailsuite.verify.book import Answer, Status

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

ANSWER_S = 10.0             # beyond the time the service was asked to wait
log = logger("verify")


def service_path(settings: "Settings") -> str:
    """The service's socket."""
    return f"{settings.text('queue_directory')}/private/{settings[params.ADDRESS_VERIFY_SERVICE_NAME]}"


class VerifyClient:
    """One per process and event loop."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._link: Link | None = None
        self._connecting = asyncio.Lock()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._sequence = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, address: str, *, wait_s: float) -> Answer:
        link = await self._connected()
        self._sequence += 1
        number = self._sequence
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            link.send({"op": "query", "seq": number, "address": address, "wait_s": wait_s})
            return await asyncio.wait_for(future, wait_s + ANSWER_S)
        except TimeoutError as error:
            raise TemporaryError("address verification is not available", detail=f"{self.path}: no answer") from error
        finally:
            self._waiting.pop(number, None)

    def update(self, address: str, status: Status, text: str) -> None:
        self._start(self._update(address, status, text))

    async def _update(self, address: str, status: Status, text: str) -> None:
        try:
            link = await self._connected()
            link.send({"op": "update", "address": address, "status": status.value, "text": text})
            await link.drain()
        except (TemporaryError, OSError) as error:
            log.warning("cannot tell what became of a probe: %s", getattr(error, "detail", "") or error)

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self) -> Link:
        """Raises TemporaryError."""
        async with self._connecting:
            if self._link is None:
                self._link = await connect(self.path)
                self._start(self._read(self._link))
            return self._link

    async def _read(self, link: Link) -> None:
        try:
            while (said := await link.receive()) is not None:
                future = self._waiting.get(said["seq"])
                if future is not None and not future.done():
                    future.set_result(Answer(Status(said["status"]), said["text"]))
        finally:
            self._lose(link)

    def _lose(self, link: Link) -> None:
        link.close()
        if self._link is link:
            self._link = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(TemporaryError("address verification is not available",
                                                    detail=f"{self.path}: connection lost"))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._link is not None:
            self._lose(self._link)
