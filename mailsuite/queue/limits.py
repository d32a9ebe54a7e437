"""Scheduling limits of each transport, from main.cf (TRANSPORT_destination_..., default_destination_...) and master.cf.

    limits = TransportTable(settings)
    limits.of("smtp") -> TransportLimits          limits.path("smtp") -> ".../private/smtp", None: not in master.cf
"""

import os
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigErrors
from mailsuite.base.log import logger
from mailsuite.config.mastercf import read_master_cf
from mailsuite.queue import params
from mailsuite.queue.scheduler import TransportLimits

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

log = logger("qmgr")


class TransportTable:
    """What the configuration says of transports; parsed once per transport."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._known: dict[str, TransportLimits] = {}
        self._process_limit = _whole(settings.text("default_process_limit"), 100)
        self._services = self._read_services()
        self._directory = settings[params.QUEUE_DIRECTORY]

    def _read_services(self) -> dict[str, tuple[bool, int]]:
        """Unix-domain services: name to (private, processes)."""
        try:
            entries = read_master_cf(os.path.join(self._settings.config_directory, "master.cf"))
        except (ConfigErrors, OSError) as error:
            log.warning("cannot read master.cf: %s", error)
            return {}
        return {entry.name: (entry.private, self._process_limit if entry.maxproc is None else entry.maxproc)
                for entry in entries if entry.type == "unix"}

    def path(self, transport: str) -> str:
        """The transport's socket; for one that master.cf does not know, the place where it would be."""
        private, _ = self._services.get(transport, (True, 0))
        return f"{self._directory}/{'private' if private else 'public'}/{transport}"

    def of(self, transport: str) -> TransportLimits:
        found = self._known.get(transport)
        if found is None:
            found = self._known[transport] = self._read(transport)
        return found

    def _read(self, transport: str) -> TransportLimits:
        def text(suffix: str) -> str:
            return self._settings.transport_param(transport, suffix)

        initial = _whole(self._settings.transport_param(transport, "initial_destination_concurrency")
                         or self._settings.text("initial_destination_concurrency"), 5)
        return TransportLimits(
            concurrency=_whole(text("destination_concurrency_limit"), 20),
            recipients=_whole(text("destination_recipient_limit"), 50), initial=max(1, initial),
            agents=self._services.get(transport, (True, self._process_limit))[1],
            positive=_feedback(text("destination_concurrency_positive_feedback")),
            negative=_feedback(text("destination_concurrency_negative_feedback")),
            cohorts=_whole(text("destination_concurrency_failed_cohort_limit"), 1),
            dead_s=self._settings[params.MINIMAL_BACKOFF_TIME],
            transport_dead_s=self._settings[params.TRANSPORT_RETRY_TIME])


def _whole(text: str, default: int) -> int:
    try:
        return int(text)
    except ValueError:
        return default


def _feedback(text: str) -> float:
    """A number, "1", or "N / concurrency" and "N / sqrt_concurrency", which are taken as their value at 1."""
    try:
        return min(1.0, max(0.0, float(text.partition("/")[0])))
    except ValueError:
        return 1.0
