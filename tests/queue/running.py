"""A qmgr with its sockets in a temporary queue, and delivery agents that do as they are told."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from mailsuite.queue.notify import Notifier
from mailsuite.queue.server import QueueManager
from tests.queue.support import FakeAgent, World, context_for

MAIL = b"Date: Sat, 21 Nov 2026 05:00:00 +0000\nFrom: a@far.test\nMessage-Id: <1@far.test>\nSubject: s\n\nbody\n"
SENT = {"status": "sent", "dsn": "2.0.0", "reason": "ok", "relay": "local"}
LATER = {"status": "deferred", "dsn": "4.2.0", "reason": "busy", "relay": "x"}
NEVER = {"status": "bounced", "dsn": "5.1.1", "reason": "no such user", "relay": "x"}


class Running(World):
    """A world with a qmgr in it."""

    def __init__(self, top: Path, answers: dict[str, dict[str, Any]], **values: str) -> None:
        super().__init__(top, **{"relayhost": "[192.0.2.9]", "notify_classes": "", **values})
        self.answers = dict(answers)
        self.agents = {name: FakeAgent(f"{self.store.directory}/private/{name}", self._answer)
                       for name in ("local", "smtp")}
        self.manager: QueueManager | None = None
        self._task: asyncio.Task[None] | None = None

    def _answer(self, address: str) -> dict[str, Any]:
        return self.answers.get(address, SENT)

    async def start(self) -> None:
        self.context = context_for(self.settings, "qmgr")
        self.manager = QueueManager(self.context)
        self._task = asyncio.get_running_loop().create_task(self.manager.run())
        self.cleanup.notifier = Notifier(f"{self.store.directory}/public/qmgr")

    async def stop(self) -> None:
        assert self._task is not None
        self.context.stopping.set()
        await self._task
        os.unlink(f"{self.store.directory}/public/qmgr")

    def where(self) -> dict[str, list[str]]:
        """Queues that are not empty. Looked at there and back: what moves meanwhile is seen one way."""
        queues = ("incoming", "active", "deferred", "hold", "corrupt")
        for order in (queues, queues[::-1]):
            if there := {queue: found for queue in order if (found := sorted(self.store.scan(queue)))}:
                return there
        return {}

    def quiet(self) -> bool:
        return not {"incoming", "active"} & self.where().keys()


@contextlib.asynccontextmanager
async def running(top: Path, answers: dict[str, dict[str, Any]], **values: str) -> AsyncIterator[Running]:
    world = Running(top, answers, **values)
    for agent in world.agents.values():
        await agent.start()
    await world.start()
    try:
        yield world
    finally:
        await world.stop()
        for agent in world.agents.values():
            agent.stop()


def play(top: Path, story: Callable[[Running], Awaitable[None]], answers: dict[str, dict[str, Any]] | None = None,
         **values: str) -> None:
    async def run() -> None:
        async with running(top, answers or {}, **values) as world:
            await story(world)

    asyncio.run(run())


async def ask(world: Running, request: dict[str, Any]) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(f"{world.store.directory}/public/qmgr")
    writer.write(json.dumps({**request, "answer": True}).encode() + b"\n")
    answer: dict[str, Any] = json.loads(await reader.readline())
    writer.close()
    return answer
