"""The watchdog of qmgr."""

import asyncio
import threading
import time

import pytest

from mailsuite.queue.watchdog import Watchdog


class Noted(Watchdog):
    """Notes that the process would end."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(timeout_s)
        self.ended = threading.Event()

    def end(self) -> None:
        self.ended.set()


def test_a_stuck_loop_is_ended_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> bool:
        watchdog = Noted(0.1)
        watchdog.start()
        ended = watchdog.ended.wait(60)         # blocks the event loop
        watchdog.stop()
        return ended

    assert asyncio.run(run())
    assert "watchdog timeout: stuck for 0.1 seconds" in caplog.messages
    assert any("in run ended = watchdog.ended.wait" in line for line in caplog.messages)


def test_a_live_loop_is_not() -> None:
    async def run() -> bool:
        watchdog = Noted(60.0)
        watchdog.start()
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            await asyncio.sleep(0)
        watchdog.stop()
        return watchdog.ended.is_set()

    assert not asyncio.run(run())
