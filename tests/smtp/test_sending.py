"""smtp/policy/sending.py: what one account may send."""

import asyncio
from pathlib import Path

import pytest

from mailsuite.config.settings import Settings
from mailsuite.smtp.policy.sending import Excess, SendingLimit, Verdict

NOW = 1_795_247_546
NONE, FIRST, HOLD, REFUSE = Excess.NONE, Excess.FIRST, Excess.HOLD, Excess.REFUSE


def limit_of(tmp_path: Path, **values: str) -> SendingLimit:
    return SendingLimit(Settings.of({"data_directory": str(tmp_path), "smtpd_sasl_recipient_rate_limit": "5",
                                     "smtpd_sasl_rate_time_unit": "1h", **values}))


def take(limit: SendingLimit, times: int, now: int = NOW, account: str = "anna") -> list[Excess]:
    async def all_of_them() -> list[Verdict]:
        return [await limit.take(account, now) for _ in range(times)]
    return [verdict.excess for verdict in asyncio.run(all_of_them())]


def test_beyond_the_limit_mail_is_held_and_then_refused(tmp_path: Path) -> None:
    limit = limit_of(tmp_path)
    assert take(limit, 8) == [NONE] * 5 + [FIRST, HOLD, HOLD]
    assert take(limit, 44) == [HOLD] * 42 + [REFUSE] * 2
    assert take(limit, 1, account="ben") == [NONE]


def test_time_slides(tmp_path: Path) -> None:
    limit = limit_of(tmp_path)
    assert take(limit, 5) == [NONE] * 5
    assert take(limit, 1, NOW + 3600) == [FIRST]            # all five still count
    assert take(limit, 2, NOW + 5400) == [NONE, NONE]       # half of them
    assert take(limit, 5, NOW + 3 * 3600) == [NONE] * 5


def test_the_postmaster_is_told_once_in_a_period(tmp_path: Path) -> None:
    limit = limit_of(tmp_path)
    assert take(limit, 7)[-2:] == [FIRST, HOLD]
    assert take(limit, 7, NOW + 3601).count(FIRST) == 1


@pytest.mark.parametrize(("account", "want"), [("anna", 5), ("boss", 0), ("list", 500), ("odd", 5)])
def test_single_accounts(tmp_path: Path, account: str, want: int) -> None:
    limit = limit_of(tmp_path, smtpd_sasl_recipient_rate_limit_maps="inline:{boss=0, list=500, odd=many}")
    assert asyncio.run(limit.limit_of(account)) == want


def test_processes_count_together(tmp_path: Path) -> None:
    first = limit_of(tmp_path)
    take(first, 4)
    cache = first._cache
    assert cache is not None
    cache.close()
    assert take(limit_of(tmp_path), 2) == [NONE, FIRST]


def test_what_cannot_be_counted_is_not_limited(tmp_path: Path) -> None:
    limit = limit_of(tmp_path, smtpd_sasl_rate_map="btree:/nonexistent/folder/rates")
    assert take(limit, 9) == [NONE] * 9


def test_off_by_default() -> None:
    assert not SendingLimit(Settings.of({})).is_on


def test_a_clock_that_was_ahead_holds_nobody_up(tmp_path: Path) -> None:
    limit = limit_of(tmp_path)
    ahead = NOW + 30 * 24 * 3600
    assert take(limit, 3, ahead - 3600) + take(limit, 1, ahead) == [NONE] * 4
    assert take(limit, 5) == [NONE] * 4 + [FIRST]            # the one that was counted last still counts
    assert take(limit, 5, NOW + 3 * 3600) == [NONE] * 5
