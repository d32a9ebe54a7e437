"""How much work a function does, counted, not timed: lines of our code that it runs.

    assert_linear(lambda n: parse(b"(" * n))        twice the input, at most a little more than twice the lines

What a regular expression does inside is not counted; for that an input of LONG repetitions has to end at all.
"""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

LONG = 50_000


def lines_run(call: Callable[[], object], limit: int = 20_000_000) -> int:
    """Lines of mailsuite's modules that a call runs."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if "/mailsuite/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            count += 1
            assert count < limit, "this does not end"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def assert_linear(call: Callable[[int], object], *, small: int = 400) -> None:
    """call(n) works on an input of n repetitions."""
    call(small)                         # what is cached or imported at the first call does not count
    once, twice = lines_run(lambda: call(small)), lines_run(lambda: call(2 * small))
    assert twice <= 2.3 * once + 200, (once, twice)
    call(LONG)
