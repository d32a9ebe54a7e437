"""Commits in batches: a few threads take what has gathered, and one sync of the folder serves a whole batch.

    committer = Committer(4, commit_batch)
    await committer.commit(item)            raises what commit_batch returned for the item

commit_batch(items) runs in a thread and returns an exception or None for each item. A thread takes its share of what
waits, so a lone message waits for nobody, and under load fewer calls change between the threads and the event loop
(each such change costs more than the call itself).
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
_Waiting = tuple[asyncio.Future[None], Callable[[], None], T]
BATCH = 32                  # items of one batch at most


class Committer(Generic[T]):
    """One per process and event loop; threads start with the first item."""

    def __init__(self, threads: int, commit_batch: Callable[[Sequence[T]], Sequence[BaseException | None]]) -> None:
        self.threads = threads
        self._commit_batch = commit_batch
        self._waiting: SimpleQueue[_Waiting[T]] = SimpleQueue()
        self._started = 0
        self._under_way = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def commit(self, item: T, then: Callable[[], None] = lambda: None,
               future: "asyncio.Future[None] | None" = None) -> "asyncio.Future[None]":
        """The future belongs to the running loop. then: called first when the item is on disk, also when the future
        was cancelled."""
        self._loop = asyncio.get_running_loop()
        if future is None:
            future = self._loop.create_future()
        self._under_way += 1
        self._waiting.put((future, then, item))
        if self._started < min(self.threads, self._under_way):
            threading.Thread(target=self._work, daemon=True, name=f"commit-{self._started}").start()
            self._started += 1
        return future

    def _work(self) -> None:
        while True:
            batch = [self._waiting.get()]
            share = min(BATCH, self._waiting.qsize() // self.threads + 1)
            try:
                while len(batch) < share:
                    batch.append(self._waiting.get_nowait())
            except Empty:
                pass
            try:
                errors = self._commit_batch([item for _, _, item in batch])
            except BaseException as error:
                errors = [error] * len(batch)
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._hand_back, batch, errors)
            except RuntimeError:
                return              # the loop is closed: nobody waits any more

    def _hand_back(self, batch: Sequence[_Waiting[T]], errors: Sequence[BaseException | None]) -> None:
        self._under_way -= len(batch)
        for (future, then, _), error in zip(batch, errors, strict=True):
            if error is None:
                then()
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(None)
