"""Ends a process whose event loop is stuck, so that the master starts another: qmgr_daemon_timeout.

    watchdog = Watchdog(settings[params.QMGR_DAEMON_TIMEOUT])
    watchdog.start(); watchdog.stop()           in the event loop's thread

A thread looks CHECKS times per timeout whether the event loop came round. A process that was stopped for a while
(SIGSTOP, a suspended machine) gets the time to come round first. What it was doing is in the log.
"""

import asyncio
import os
import sys
import threading
import traceback

from mailsuite.base.log import logger

CHECKS = 4
log = logger("qmgr")


class Watchdog:
    """end: what is done to a stuck process."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._came_round = False
        self._stopped = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._thread_id = threading.get_ident()

    def start(self) -> None:
        self._thread_id = threading.get_ident()
        self._come_round()
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()

    def stop(self) -> None:
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()

    def _come_round(self) -> None:
        self._came_round = True
        self._timer = asyncio.get_running_loop().call_later(self.timeout_s / CHECKS / 2, self._come_round)

    def _watch(self) -> None:
        missed = 0
        while not self._stopped.wait(self.timeout_s / CHECKS):
            missed = 0 if self._came_round else missed + 1
            self._came_round = False
            if missed >= CHECKS:
                frame = sys._current_frames().get(self._thread_id)
                for line in traceback.format_stack(frame) if frame is not None else ():
                    log.error("%s", " ".join(line.split()))
                log.critical("watchdog timeout: stuck for %g seconds", self.timeout_s)
                self.end()
                return

    def end(self) -> None:
        os._exit(1)
