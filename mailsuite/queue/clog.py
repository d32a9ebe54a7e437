"""Warns the administrator of a destination that takes up much of the active queue: other mail may wait for it.

    clog = ClogWarnings(settings)
    clog.threshold                              deliveries to one destination, under way and waiting; 0: no warnings
    clog.crowded(transport, destination)        there are more: says so, at most every qmgr_clog_warn_time

Wording as Postfix's qmgr(8), for programs that read logs.
"""

import time
from typing import TYPE_CHECKING, Any

from mailsuite.base.log import logger
from mailsuite.queue import params

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.scheduler import Destination, Transport

REMEMBERED = 100            # destinations whose last warning is known
log = logger("qmgr")


class ClogWarnings:
    """One per configuration."""

    def __init__(self, settings: "Settings") -> None:
        self._interval_s = settings[params.QMGR_CLOG_WARN_TIME]
        self._active_limit = settings[params.QMGR_MESSAGE_ACTIVE_LIMIT]
        on = self._interval_s and settings.text("helpful_warnings") != "no"
        self.threshold = max(1, self._active_limit // 5) if on else 0
        self._told: dict[tuple[str, str], float] = {}

    def crowded(self, transport: "Transport[Any]", destination: "Destination[Any]") -> None:
        name, now = (transport.name, destination.key), time.monotonic()
        told = self._told.pop(name, None)
        if told is not None and now - told < self._interval_s:
            self._told[name] = told
            return
        if len(self._told) >= REMEMBERED:
            del self._told[next(iter(self._told))]
        self._told[name] = now
        for line in self._lines(transport, destination):
            log.warning("%s", line)

    def _lines(self, transport: "Transport[Any]", destination: "Destination[Any]") -> list[str]:
        site = destination.key.partition("\n")[2] or destination.key
        waiting = destination.busy + len(destination.waiting or ())
        lines = [f"mail for {site} is using up {waiting} of {self._active_limit} active queue entries"]
        if destination.failed_cohorts:
            lines += [f"you may need to reduce {transport.name} connect and helo timeouts",
                      "so that Postfix quickly skips unavailable hosts",
                      "you may need to increase the main.cf minimal_backoff_time and maximal_backoff_time",
                      "so that Postfix wastes less time on undeliverable mail",
                      f"you may need to increase the master.cf {transport.name} process limit",
                      "please avoid flushing the whole queue when you have",
                      "lots of deferred mail, that is bad for performance"]
        elif transport.limits.most:
            lines += [f"you may need to increase the main.cf {transport.name}_destination_concurrency_limit from "
                      f"{transport.limits.most}", f"you may need a separate master.cf transport for {site}"]
        return [*lines, "to turn off these warnings specify: qmgr_clog_warn_time = 0"]
