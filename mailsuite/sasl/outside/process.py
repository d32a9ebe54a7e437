"""This end of the process that asks servers: questions go out with numbers, answers come back in any order.

Messages are JSON behind their length in four octets, MESSAGE_LIMIT at most. The process is started by the first
question, and anew by the next when it has died: what it had in hand fails, as does what takes ANSWER_TIMEOUT_S.
"""

import asyncio
import contextlib
import json
import os
import struct
import sys
from collections.abc import Callable
from typing import Any

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.sasl.outside import Message

ANSWER_TIMEOUT_S = 150.0         # drivers have shorter limits of their own; no mail client waits longer
END_TIMEOUT_S = 5.0              # from the end of its output to the end of the process
MESSAGE_LIMIT = 64 * 2**20       # octets; a list of all users is the largest
WAITING_LIMIT = 2000             # questions without an answer
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

log = access_logger("auth")


class Gone(TemporaryError):
    """The process died before it answered."""

    def __init__(self) -> None:
        super().__init__("internal error", detail="the process that asks databases ended")


def packed(message: Message) -> bytes:
    octets = json.dumps(message).encode("ascii")
    return struct.pack("!I", len(octets)) + octets


async def unpacked(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next message; None at the end. Raises ValueError for what is none."""
    try:
        size = struct.unpack("!I", await reader.readexactly(4))[0]
        if size > MESSAGE_LIMIT:
            raise ValueError("message is too long")
        message = json.loads(await reader.readexactly(size))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    if not isinstance(message, dict):
        raise ValueError("not a message")
    return message


class _Peer:
    """One life of the process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process, self.alive = process, True
        self.waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.specs: dict[str, int] = {}
        self.number = 0
        self.reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        ended = False
        try:
            while (message := await unpacked(self.process.stdout)) is not None:
                if "log" in message:
                    log.error("%s", " ".join(str(message["log"]).split()))
                elif (future := self.waiting.pop(message.get("id", 0), None)) is not None and not future.done():
                    future.set_result(message)
            ended = True
        except ValueError:
            log.error("the process that asks databases speaks nonsense")
        finally:
            self.alive = False
            for future in self.waiting.values():
                if not future.done():
                    future.set_exception(Gone())
            self.waiting.clear()
            await self._end(END_TIMEOUT_S if ended else 0.0)

    async def _end(self, wait_s: float) -> None:
        """The end of its output is its own end; else it is killed."""
        try:
            async with asyncio.timeout(wait_s):
                await self.process.wait()
        except (TimeoutError, asyncio.CancelledError):
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()

    def say(self, message: Message) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(packed(message))

    def source(self, kind: str, spec: Message) -> int:
        """The number that stands for a spec, which is told once."""
        key = json.dumps([kind, spec], sort_keys=True)
        if key not in self.specs:
            self.specs[key] = len(self.specs)
            self.say({"open": self.specs[key], "kind": kind, "spec": spec})
        return self.specs[key]

    def finish(self) -> None:
        """No more questions: it ends when those under way are answered."""
        if self.process.stdin is not None:
            self.process.stdin.close()


class Outside:
    """See above. account: whose rights the process has; of no meaning without root."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._peer: _Peer | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    async def ask(self, kind: str, spec: Message, question: Message) -> dict[str, Any]:
        peer = await self._running()
        if len(peer.waiting) >= WAITING_LIMIT:
            raise TemporaryError("internal error", detail="too many questions wait for databases")
        peer.number += 1
        number = peer.number
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        peer.waiting[number] = future
        try:
            peer.say({"id": number, "to": peer.source(kind, spec), "question": question})
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                answer = await future
        except (OSError, RuntimeError) as error:       # uvloop raises RuntimeError once the pipe is gone
            raise Gone from error
        except TimeoutError as error:
            raise TemporaryError("internal error", detail="no answer from the process that asks databases") from error
        finally:
            peer.waiting.pop(number, None)
            if self._closed and not peer.waiting:
                peer.finish()
        if "failed" in answer:
            raise TemporaryError("internal error", detail=str(answer["failed"]))
        found: dict[str, Any] = answer["answer"]
        return found

    async def _running(self) -> _Peer:
        async with self._starting:
            if self._peer is None or not self._peer.alive:
                self._peer = await self._start()
            return self._peer

    async def _start(self) -> _Peer:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "mailsuite.sasl.outside", stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, cwd="/", limit=2**20,
                env={"PATH": os.defpath, "PYTHONPATH": _ROOT, "LANG": "C.UTF-8"})
        except OSError as error:
            raise TemporaryError("internal error", detail=f"cannot ask databases: {error}") from error
        peer = _Peer(process)
        peer.say({"account": self._account})
        return peer

    def close(self) -> None:
        self._closed = True
        if self._peer is not None and self._peer.alive and not self._peer.waiting:
            self._peer.finish()


class Inside:
    """The same in this process: for files."""

    def __init__(self, make: Callable[[str, Message], Any]) -> None:
        self._make = make
        self._sources: dict[str, Any] = {}

    async def ask(self, kind: str, spec: Message, question: Message) -> dict[str, Any]:
        key = json.dumps([kind, spec], sort_keys=True)
        if key not in self._sources:
            self._sources[key] = self._make(kind, spec)
        answer: dict[str, Any] = await self._sources[key].answer(question)
        return answer

    def close(self) -> None:
        for source in self._sources.values():
            source.close()
        self._sources.clear()
