"""base/huge_pages.py: who is busy, and what becomes of a process's memory."""

import subprocess
import sys
import threading

import pytest

from mailsuite.base import huge_pages
from mailsuite.base.huge_pages import PERIOD_S, Busy

GATHERS = """
import re
from mailsuite.base import huge_pages
kept = [bytes([n % 256]) * 5000 for n in range(4000)] + [str(n) for n in range(200_000)]
def huge():
    return int(re.search(r"AnonHugePages: +([0-9]+) kB", open("/proc/self/smaps_rollup").read())[1])
places = len(huge_pages._places())
found = huge_pages.gather()
assert places and found <= min(places, huge_pages.HUGE_PAGES_LIMIT), (places, found)
assert found == 0 or huge() >= 2048, (found, huge())
assert all(one == bytes([n % 256]) * 5000 for n, one in enumerate(kept[:4000]))
assert kept[4000:] == [str(n) for n in range(200_000)]
print("as before")
"""


def test_memory_is_as_it_was_wherever_the_kernel_has_put_it() -> None:
    done = subprocess.run([sys.executable, "-c", GATHERS], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "as before\n", done.stderr


@pytest.fixture
def gathered(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Released for each time that memory would have been gathered."""
    calls = threading.Semaphore(0)
    monkeypatch.setattr(huge_pages, "gather", lambda pause_s: calls.release())
    return calls


def test_who_is_busy_gathers_once(gathered: threading.Semaphore) -> None:
    busy = Busy(3)
    for _ in range(2):
        busy.count()
    assert not gathered.acquire(blocking=False)
    for _ in range(20):
        busy.count()
    assert gathered.acquire(timeout=30)
    assert not gathered.acquire(blocking=False)


def test_who_has_little_to_do_never_does(gathered: threading.Semaphore, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("mailsuite.base.huge_pages.time.monotonic", lambda: now)
    busy = Busy(3)
    for _ in range(12):                     # three within the time would be enough
        now += PERIOD_S * 0.6
        busy.count()
    never = Busy(0)
    for _ in range(1000):
        never.count()
    assert not gathered.acquire(blocking=False)


def test_memory_is_left_alone_where_nothing_is_known_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("builtins.open", away)
    assert huge_pages.gather() == 0
