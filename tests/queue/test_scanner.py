"""What the scans of the queue's folders find, and in which order it is taken in."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mailsuite.queue.scanner import Scanner
from tests.queue.support import World, until

MAIL = b"Subject: s\n\nbody\n"
LONGEST_S = 4000.0


class Taking:
    """In the place of the Manager: takes what it is given, as long as there is room."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.taken: list[tuple[str, str]] = []
        self.asked: list[bool] = []

    @property
    def has_room(self) -> bool:
        return len(self.taken) < self.room

    def take(self, queue_id: str, queue: str, *, flush: bool = False) -> bool:
        self.taken.append((queue, queue_id))
        self.asked.append(flush)
        return True


async def fill(world: World, queue: str, count: int, due_in_s: float = -1.0) -> list[str]:
    made = []
    for _ in range(count):
        queue_id = (await world.put(MAIL)).queue_id
        world.store.move(queue_id, "incoming", queue)
        os.utime(world.store.path(queue, queue_id), (time.time(), time.time() + due_in_s))
        made.append(queue_id)
    return made


def scanned(top: Path, fill_queues: Callable[[World], Awaitable[None]], *, everything: bool = False) -> Taking:
    async def run() -> Taking:
        world, taking = World(top), Taking()
        await fill_queues(world)
        scanner = Scanner(world.store, taking, LONGEST_S)       # type: ignore[arg-type]
        scanner.scan_deferred(everything=everything)
        await until(lambda: not scanner._scanning)
        await until(lambda: not scanner._fed)
        return taking

    return asyncio.run(run())


def test_incoming_and_deferred_take_turns(tmp_path: Path) -> None:
    async def run() -> list[str]:
        world, taking = World(tmp_path), Taking(room=16)
        scanner = Scanner(world.store, taking, LONGEST_S)       # type: ignore[arg-type]
        scanner._found_incoming([f"{number:010X}" for number in range(100)])
        scanner.flush([f"{number:010X}" for number in range(100, 200)])
        await until(lambda: not scanner._fed)
        return [queue for queue, _ in taking.taken]

    assert asyncio.run(run()) == ["incoming", "deferred"] * 8


@pytest.mark.parametrize(("due_in_s", "everything", "found"), [
    pytest.param(-1, False, True, id="due"),
    pytest.param(300, False, False, id="not yet due"),
    pytest.param(300, True, True, id="asked for"),
    pytest.param(LONGEST_S + 3600, False, True, id="the clock was put back: later than any back-off"),
    pytest.param(-400_000_000, False, True, id="from long ago"),
])
def test_what_is_due(tmp_path: Path, due_in_s: float, everything: bool, found: bool) -> None:
    async def one(world: World) -> None:
        await fill(world, "deferred", 1, due_in_s)

    taking = scanned(tmp_path, one, everything=everything)
    assert len(taking.taken) == found
    assert taking.asked == ([everything] if found else [])
