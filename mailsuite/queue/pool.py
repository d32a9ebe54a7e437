"""A few threads for calls that wait for the disk.

    pool = SyncPool(4)
    result = await pool.run(function, argument)      raises what the function raised

Cheaper than run_in_executor where calls are short and many: finished calls are handed back to the event loop in one
wake-up. One pool per process and event loop; `close` ends the threads.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar, cast

T = TypeVar("T")


class SyncPool:
    """threads are started by the first call."""

    def __init__(self, threads: int = 4) -> None:
        self.threads = threads
        self._calls: SimpleQueue[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = (
            SimpleQueue())
        self._ended: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._started: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._woken = False
        self._waiting = 0

    def run(self, function: Callable[..., T], *arguments: Any) -> "asyncio.Future[T]":
        """Call in a thread; the future belongs to the running loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._woken = loop, False
        self._waiting += 1
        if len(self._started) < self.threads and self._waiting > len(self._started):
            thread = threading.Thread(target=self._work, daemon=True, name=f"sync-{len(self._started)}")
            self._started.append(thread)
            thread.start()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put((future, function, arguments))
        return future

    def close(self) -> None:
        """End the threads after what was asked for so far."""
        for _ in self._started:
            self._calls.put(None)
        for thread in self._started:
            thread.join()
        self._started.clear()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function, arguments = call
            result: Any = None
            error: BaseException | None = None
            try:
                result = function(*arguments)
            except BaseException as raised:
                error = raised
            with self._lock:
                self._ended.append((future, result, error))
                wake, self._woken = not self._woken, True
            if wake:
                try:
                    cast(asyncio.AbstractEventLoop, self._loop).call_soon_threadsafe(self._hand_back)
                except RuntimeError:
                    return              # the loop is closed: nobody waits any more
            # A thread that waits for its next call must not keep what the last one was about.
            del call, future, function, arguments, result, error

    def _hand_back(self) -> None:
        with self._lock:
            ended, self._ended = self._ended, deque()
            self._woken = False
        self._waiting -= len(ended)
        for future, result, error in ended:
            if future.cancelled():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
