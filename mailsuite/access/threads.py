"""A few threads for calls that block: files, index, locks.

    job = pool().start(call)
    result = await job.future            what call returned or raised
    await job.ended()                    the thread is through with it, also after job.future was cancelled

Lighter than concurrent.futures: a command costs two switches of threads, and they should be most of its price.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import cache
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from mailsuite.base.turns import roam

T = TypeVar("T")
POOL_SIZE = 8           # one slow mailbox must not hold up the others
SEARCH_POOL_SIZE = 4    # nor searches in large ones


class Job(Generic[T]):
    """A call on its way through a thread."""

    __slots__ = ("_call", "_loop", "_waiter", "future", "over")

    def __init__(self, call: Callable[[], T], loop: asyncio.AbstractEventLoop) -> None:
        self._call, self._loop = call, loop
        self.future: asyncio.Future[T] = loop.create_future()
        self.over = False
        self._waiter: asyncio.Future[None] | None = None

    def run(self) -> None:
        """In the thread."""
        try:
            result, error = self._call(), None
        except BaseException as raised:     # it belongs to who waits for the result
            result, error = None, raised
        with contextlib.suppress(RuntimeError):         # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._finish, result, error)

    def _finish(self, result: Any, error: BaseException | None) -> None:
        self.over = True
        if not self.future.done():
            if error is None:
                self.future.set_result(result)
            else:
                self.future.set_exception(error)
        if self._waiter is not None:
            self._waiter.set_result(None)

    async def ended(self) -> None:
        """Wait until the thread is through."""
        if not self.over:
            if self._waiter is None:
                self._waiter = self._loop.create_future()
            await asyncio.shield(self._waiter)


class Pool:
    """Threads are started one by one, when all others are busy."""

    def __init__(self, size: int) -> None:
        self._size, self._jobs = size, SimpleQueue[Job[Any]]()
        self._started = self._idle = 0
        self._lock = threading.Lock()

    def start(self, call: Callable[[], T]) -> Job[T]:
        """Run a call in a thread; from the event loop."""
        job = Job(call, asyncio.get_running_loop())
        if self._idle == 0 and self._started < self._size:
            self._started += 1
            threading.Thread(target=self._work, name=f"mail-{self._started}", daemon=True).start()
        self._jobs.put(job)
        return job

    @property
    def busy(self) -> bool:
        """Is a thread at work?"""
        return self._idle < self._started

    def _work(self) -> None:
        roam()
        while True:
            with self._lock:
                self._idle += 1
            job = self._jobs.get()
            with self._lock:
                self._idle -= 1
            job.run()
            del job


@cache
def pool() -> Pool:
    """The process's; made after the fork, by the first who asks."""
    return Pool(POOL_SIZE)


@cache
def search_pool() -> Pool:
    """For commands that may look into many messages."""
    return Pool(SEARCH_POOL_SIZE)
