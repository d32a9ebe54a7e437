"""How much one account may send: a stolen password is noticed before 10,000 messages have gone out.

    limit = SendingLimit(settings)
    verdict = await limit.take("anna@example.test", now)        Excess.NONE, FIRST and HOLD, or REFUSE

smtpd_sasl_recipient_rate_limit recipients in smtpd_sasl_rate_time_unit are free. What is beyond is taken, and put on
hold until the postmaster, who is told once in that time, has looked at it (`postsuper -H ID` releases it, `postsuper
-d ID` deletes it); beyond ten times the limit it is refused for now. smtpd_sasl_recipient_rate_limit_maps gives some
accounts another limit (0: none). All smtpd processes count together, in a cache; when it cannot be used, nothing is
limited and a warning is logged. The time slides: what the account sent in the period before counts by the part that
still overlaps.
"""

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.maps.cache import Cache, CacheError
from mailsuite.maps.maps import MapSource, open_maps
from mailsuite.smtp import params

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

REFUSE_FACTOR = 10
log = logger("smtpd")


class Excess(Enum):
    NONE = "none"
    FIRST = "first"          # hold, and tell the postmaster
    HOLD = "hold"
    REFUSE = "refuse"


class Verdict(NamedTuple):
    excess: Excess
    sent: int                # recipients in the sliding period, this one included
    limit: int


class _Count(NamedTuple):
    """Recipients of the period that began at start, of the one before it, and when the postmaster was told."""

    start: int
    now: int
    before: int
    told: int

    def __str__(self) -> str:
        return ":".join(map(str, self))


def _count(value: str | None) -> _Count:
    try:
        return _Count(*map(int, (value or "").split(":")))
    except (ValueError, TypeError):
        return _Count(0, 0, 0, 0)


class SendingLimit:
    """One per process."""

    def __init__(self, settings: "Settings") -> None:
        self.limit, self.unit_s = settings[params.SMTPD_SASL_RECIPIENT_RATE_LIMIT], settings[
            params.SMTPD_SASL_RATE_TIME_UNIT]
        self._single = open_maps(settings[params.SMTPD_SASL_RECIPIENT_RATE_LIMIT_MAPS], MapSource(settings, "smtpd"))
        self._name = settings[params.SMTPD_SASL_RATE_MAP].rpartition(":")[2]
        self._cache: Cache | None = None

    @property
    def is_on(self) -> bool:
        return self.limit > 0 or not self._single.empty

    async def limit_of(self, account: str) -> int:
        """0: none."""
        if self._single.empty:
            return self.limit
        try:
            found = await self._single.find(account)
        except TemporaryError:
            return self.limit
        return int(found) if found is not None and found.isdigit() else self.limit

    async def take(self, account: str, now: float) -> Verdict:
        """Count one recipient of an account."""
        limit = await self.limit_of(account)
        if not limit:
            return Verdict(Excess.NONE, 0, 0)
        try:
            if self._cache is None:
                self._cache = Cache(self._name)
            return self.count(self._cache, account, limit, int(now))
        except (CacheError, OSError) as error:
            log.warning("accounts cannot be limited: %s", error.detail if isinstance(error, CacheError) else error)
            return Verdict(Excess.NONE, 0, limit)

    def count(self, cache: Cache, account: str, limit: int, now: int) -> Verdict:
        verdict = Verdict(Excess.NONE, 0, limit)

        def add(old: str | None) -> str:
            nonlocal verdict
            count = self._moved(_count(old), now)
            overlap = 1 - (now - count.start) / self.unit_s
            sent = count.now + 1 + int(count.before * overlap)
            excess = Excess.NONE
            if sent > limit * REFUSE_FACTOR:
                verdict = Verdict(Excess.REFUSE, sent, limit)
                return str(count)
            if sent > limit:
                excess = Excess.HOLD if count.told + self.unit_s > now else Excess.FIRST
            verdict = Verdict(excess, sent, limit)
            return str(count._replace(now=count.now + 1, told=now if excess is Excess.FIRST else count.told))

        cache.change(account.lower(), add)
        return verdict

    def _moved(self, count: _Count, now: int) -> _Count:
        """The periods as they stand now."""
        periods = (now - count.start) // self.unit_s
        if periods < 0:             # the clock was put back: what was counted ahead of it counts from now on
            return _Count(now, count.now, 0, min(count.told, now))
        if periods == 0:
            return count
        start = now - (now - count.start) % self.unit_s if count.start else now
        return _Count(start, 0, count.now if periods == 1 else 0, count.told)
