"""Which processes share a core's caches."""

import os
from collections.abc import Iterator

import pytest

from mailsuite.master.affinity import cores_for, keep_to
from mailsuite.master.services import COMMANDS


@pytest.fixture
def everywhere() -> Iterator[set[int]]:
    """Where the test may run; it is given back."""
    before = os.sched_getaffinity(0)
    yield before
    os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("command", "worker", "available", "want"), [
    pytest.param("smtpd", 0, {0, 1}, {0}, id="smtpd has the first of two"),
    pytest.param("qmgr", 0, {0, 1}, {1}, id="the queue has the other one"),
    pytest.param("virtual", 0, {0, 1}, {1}, id="so have deliveries"),
    pytest.param("smtpd", 2, {0, 1, 2, 3}, {2}, id="each smtpd process has its own"),
    pytest.param("qmgr", 0, {0, 1, 2, 3}, {2, 3}, id="the upper half of four"),
    pytest.param("virtual", 0, {4, 9, 17}, {9, 17}, id="of those that we were given"),
    pytest.param("smtpd", 5, {4, 9}, {9}, id="more processes than cores"),
    pytest.param("local", 0, {0, 1}, set(), id="commands of users run anywhere"),
    pytest.param("smtp", 0, {0, 1}, set(), id="so does all else"),
    pytest.param("smtpd", 0, {3}, set(), id="one core: nothing to choose"),
])
def test_cores(command: str, worker: int, available: set[int], want: set[int]) -> None:
    assert cores_for(COMMANDS[command], worker, available) == want


def test_a_process_keeps_to_its_cores(everywhere: set[int]) -> None:
    one = {max(everywhere)}
    keep_to(one)
    assert os.sched_getaffinity(0) == one
    keep_to(frozenset())
    assert os.sched_getaffinity(0) == one


def test_a_core_that_is_not_there_is_no_error(everywhere: set[int]) -> None:
    keep_to({4095})
    assert os.sched_getaffinity(0) == everywhere
