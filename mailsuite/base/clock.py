"""Time as an argument, so that tests can turn it."""

import time
from typing import Protocol


class Clock(Protocol):
    """now: seconds since the epoch. monotonic: seconds that never go back, for intervals."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    # The functions themselves: clocks are read on every hot path.
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


SYSTEM_CLOCK = SystemClock()
