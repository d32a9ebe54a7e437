"""Scheduling limits of each transport, from main.cf (TRANSPORT_destination_..., default_destination_...) and master.cf.

    limits = TransportTable(settings)
    limits.of("smtp") -> TransportLimits          limits.path("smtp") -> ".../private/smtp", None: not in master.cf
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.base.log import logger
from mailsuite.config.mastercf import read_master_cf
from mailsuite.config.registry import integer, seconds
from mailsuite.queue import params
from mailsuite.queue.feedback import Feedback, parse_feedback
from mailsuite.queue.room import Pool
from mailsuite.queue.scheduler import TransportLimits
from mailsuite.queue.turns import SlotRules

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

log = logger("qmgr")


class TransportTable:
    """What the configuration says of transports; parsed once per transport."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._known: dict[str, TransportLimits] = {}
        self._pools: dict[str, Pool] = {}
        self._process_limit = _number("default_process_limit", settings.text("default_process_limit"), integer(), 100)
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

    def pool(self, transport: str) -> Pool:
        """Its share of recipients in memory."""
        found = self._pools.get(transport)
        if found is None:
            found = self._pools[transport] = self._read_pool(transport)
        return found

    def _read_pool(self, transport: str) -> Pool:
        values = [_number(f"{transport}_{suffix}", self._settings.transport_param(transport, suffix), parse, default)
                  for suffix, parse, default in (
                      ("recipient_limit", integer(least=1), 20000), ("extra_recipient_limit", integer(), 1000),
                      ("recipient_refill_limit", integer(least=1), 100),
                      ("recipient_refill_delay", seconds(least=1), 5))]
        return Pool(*values)

    def _read(self, transport: str) -> TransportLimits:
        def text(suffix: str) -> str:
            return self._settings.transport_param(transport, suffix)

        def whole(suffix: str, default: int) -> int:
            return _number(f"{transport}_{suffix}", text(suffix), integer(), default)

        def time_s(suffix: str) -> int:
            return _number(f"{transport}_{suffix}", text(suffix), seconds(), 0)

        initial = _number("initial_destination_concurrency", text("initial_destination_concurrency")
                          or self._settings.text("initial_destination_concurrency"), integer(least=1), 5)
        return TransportLimits(
            concurrency=whole("destination_concurrency_limit", 20),
            recipients=whole("destination_recipient_limit", 50), initial=initial,
            agents=self._services.get(transport, (True, self._process_limit))[1],
            positive=_feedback(transport, "positive", text("destination_concurrency_positive_feedback")),
            negative=_feedback(transport, "negative", text("destination_concurrency_negative_feedback")),
            cohorts=whole("destination_concurrency_failed_cohort_limit", 1),
            dead_s=self._settings[params.MINIMAL_BACKOFF_TIME],
            transport_dead_s=self._settings[params.TRANSPORT_RETRY_TIME],
            rate_s=time_s("destination_rate_delay"), transport_rate_s=time_s("transport_rate_delay"),
            slots=SlotRules(whole("delivery_slot_cost", 5), whole("delivery_slot_loan", 3),
                            min(100, whole("delivery_slot_discount", 50)), whole("minimum_delivery_slots", 3)))


def _number(name: str, text: str, parse: Callable[[str], int], default: int) -> int:
    try:
        return parse(text)
    except ConfigError as error:
        log.warning("%s: %s; %d is used", name, error, default)
        return default


def _feedback(transport: str, sign: str, text: str) -> Feedback:
    found = parse_feedback(text)
    if found is None:
        log.warning("%s_destination_concurrency_%s_feedback: ignoring malformed or unreasonable feedback: %s",
                    transport, sign, text)
        return Feedback()
    return found
