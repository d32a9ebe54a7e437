"""Any process is killed at any instant under load: what was accepted is never lost. The long run is `make faults`."""

from collections.abc import Callable

import pytest

from tests.faults import kills

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("kills")]

KILLS = 30


def test_nothing_that_was_accepted_is_lost(record_property: Callable[[str, object], None]) -> None:
    outcome = kills.run(KILLS, 20260101, limit_s=150)
    record_property("doubles", len(outcome.account.doubles))
    print(outcome.describe())
    assert not outcome.faults(), outcome.faults()
