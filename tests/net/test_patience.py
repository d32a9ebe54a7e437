"""net/patience.py: one timer for all that may be silent for long, one each for the others."""

import asyncio
from typing import cast

import pytest

from mailsuite.base.dialogue import Action, Session
from mailsuite.net import patience
from mailsuite.net.driver import Connection
from mailsuite.net.patience import Patience


class Waiting:
    """A connection, and its session."""

    over = busy = False

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.patience = Patience(cast(Connection, self), asyncio.get_running_loop())
        self.patience.begin(cast(Session, self))

    def timed_out(self) -> list[Action]:
        return []

    def perform(self, actions: list[Action]) -> None:
        if not self.ended.done():
            self.ended.set_result(asyncio.get_running_loop().time())
        self.patience.end()
        self.over = True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LOOK_S", 0.2)
    monkeypatch.setattr(patience, "TOGETHER_S", 0.02)


def test_each_is_told_at_its_time_and_not_before() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        all_of_them = [Waiting(timeout_s) for timeout_s in (0.5, 0.06, 0.2, 0.7, 0.5)]
        async with asyncio.timeout(30):
            ends = [await each.ended - begun for each in all_of_them]
        for each, end in zip(all_of_them, ends, strict=True):
            assert end >= each.timeout_s - 0.001

    asyncio.run(work())


def test_a_session_may_shorten_its_time() -> None:
    async def work() -> None:
        one = Waiting(1000.0)
        one.timeout_s = 0.3
        async with asyncio.timeout(30):
            await one.ended

    asyncio.run(work())


def test_who_leaves_is_not_looked_at_and_the_queue_goes_on() -> None:
    async def work() -> None:
        gone, stays = Waiting(0.4), Waiting(0.4)
        gone.patience.end()
        async with asyncio.timeout(30):
            await stays.ended
        assert not gone.ended.done()
        later = Waiting(0.3)                # the queue was empty meanwhile
        async with asyncio.timeout(30):
            await later.ended

    asyncio.run(work())


def test_one_that_fails_does_not_keep_the_others_waiting() -> None:
    class Failing(Waiting):
        def perform(self, actions: list[Action]) -> None:
            self.over = True
            raise RuntimeError("unforeseen")

    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        Failing(0.3)
        other = Waiting(0.3)
        async with asyncio.timeout(30):
            await other.ended

    asyncio.run(work())
