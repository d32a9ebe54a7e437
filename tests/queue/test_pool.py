"""queue/pool.py: threads for calls that wait for the disk."""

import asyncio
import gc
import time
import weakref

from mailsuite.queue.pool import SyncPool


class Thing:
    """What a call is about."""


def test_an_idle_thread_keeps_nothing_of_its_last_call() -> None:
    pool = SyncPool(1)

    async def call() -> "weakref.ref[Thing]":
        thing = Thing()
        assert await pool.run(type, thing) is Thing
        return weakref.ref(thing)

    last = asyncio.run(call())
    end = time.monotonic() + 20
    while last() is not None and time.monotonic() < end:
        gc.collect()
        time.sleep(0.001)               # the thread goes on a moment after the answer is there
    assert last() is None
    pool.close()
