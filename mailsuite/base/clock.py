"""Time as an argument, so that tests can turn it."""

import time
from typing import Protocol


class Clock(Protocol):
    """now: seconds since the epoch. monotonic: seconds that never go back, for intervals."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()
