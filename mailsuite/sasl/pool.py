"""Threads for slow hashes and blocking lookups, so that one login never delays another.

    verified = await pool.run(schemes.verify, scheme, stored, password, user)

The hashes of schemes.py leave the interpreter free while they run. At most THREADS run, WAITING_LIMIT wait; more are
refused for now.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from mailsuite.base.errors import TemporaryError
from mailsuite.base.turns import roam

WAITING_LIMIT = 2000

P = ParamSpec("P")
T = TypeVar("T")


class HashPool:
    """One pool of an auth service."""

    def __init__(self, threads: int = 0) -> None:
        self._executor = ThreadPoolExecutor(threads or max(2, len(os.sched_getaffinity(0))), "hash",
                                            initializer=roam)
        self._waiting = 0

    async def run(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        if self._waiting >= WAITING_LIMIT:
            raise TemporaryError("too many authentications at once")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, lambda: function(*arguments, **named))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
