"""Logins that take turns share a core; others do not."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pytest

from mailsuite.base import turns
from mailsuite.base.turns import ANYWHERE, BACK_OFF_S, GAP_S, QUARREL_S, RELEASE_S, ROW, STINT, Stay, Turns, roam


class Machine:
    """Two cores, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cores: int = 2) -> None:
        self.cores, self.here, self.now = set(range(cores)), 1, 100.0
        self.kept: dict[int, set[int]] = {}             # by thread; 0: the one that asks
        self.refuses = False
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(self.cores))
        monkeypatch.setattr(os, "sched_setaffinity", self._keep)
        monkeypatch.setattr(turns, "_here", lambda: self.here)
        monkeypatch.setattr(turns, "monotonic", lambda: self.now)
        monkeypatch.setattr(turns, "_cores", frozenset(self.cores))

    def _keep(self, thread: int, cores: Iterable[int]) -> None:
        if self.refuses:
            raise OSError(22, "no such core")
        self.kept[thread] = set(cores)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def in_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def log_in(machine: Machine, who: Turns, times: int = 1, *, shared_s: float = 0.0004) -> int:
    """shared_s: how long one takes on the core that all share; 0.0005 elsewhere."""
    core = ANYWHERE
    for _ in range(times):
        who.come()
        machine.now += 0.001
        core = who.next()
        machine.now += 0.0005 if core == ANYWHERE else shared_s
        who.went()
    return core


def test_logins_one_by_one_share_the_core_of_the_login_process(machine: Machine) -> None:
    async def work() -> None:
        who = Turns(stay := Stay())
        assert log_in(machine, who, ROW) == ANYWHERE and not machine.kept
        assert log_in(machine, who) == 1 and machine.kept == {0: {1}}
        machine.here = 0                                # it stays where it began
        assert log_in(machine, who, 5) == 1 and stay.core == 1

    in_loop(work)


def test_two_at_a_time_end_it(machine: Machine) -> None:
    async def work() -> None:
        who = Turns(Stay())
        assert log_in(machine, who, ROW + 1) == 1
        who.come()                                      # somebody else is there
        assert log_in(machine, who) == ANYWHERE and machine.kept[0] == {0, 1}
        assert log_in(machine, who, ROW * 2) == ANYWHERE
        who.go()
        assert log_in(machine, who, ROW + 1) == 1

    in_loop(work)


def test_a_pause_ends_it(machine: Machine) -> None:
    async def work() -> None:
        who = Turns(Stay())
        assert log_in(machine, who, ROW + 1) == 1
        machine.now += GAP_S * 2
        assert log_in(machine, who) == ANYWHERE

    in_loop(work)


def test_a_core_that_others_want_is_left_to_them(machine: Machine) -> None:
    async def work() -> None:
        who = Turns(Stay())
        assert log_in(machine, who, ROW + ROW // 2, shared_s=0.0006) == 1
        assert log_in(machine, who, shared_s=0.0006) == ANYWHERE and machine.kept[0] == {0, 1}
        assert log_in(machine, who, ROW * 2) == ANYWHERE
        machine.now += BACK_OFF_S
        assert log_in(machine, who, ROW) == ANYWHERE                    # looks first how long it takes elsewhere
        assert log_in(machine, who) == 1

    in_loop(work)


def test_now_and_then_it_is_seen_how_long_logins_take_elsewhere(machine: Machine) -> None:
    async def work() -> None:
        who = Turns(Stay())
        assert log_in(machine, who, ROW + STINT) == 1
        assert log_in(machine, who, 2) == ANYWHERE
        assert log_in(machine, who, ROW) == 1

    in_loop(work)


@pytest.mark.parametrize("why", ["not wanted", "one core", "refused"])
def test_where_nothing_is_done(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    machine = Machine(monkeypatch, 1 if why == "one core" else 2)
    machine.here, machine.refuses = 0, why == "refused"

    async def work() -> None:
        who = Turns(Stay(), wanted=why != "not wanted")
        assert log_in(machine, who, ROW * 3) == ANYWHERE
        assert not machine.kept or machine.kept[0] == machine.cores

    in_loop(work)


def test_a_process_without_logins_is_free_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its threads, which inherited where it ran."""
    monkeypatch.setattr(turns, "RELEASE_S", 0.01)

    async def work() -> None:
        stay = Stay()
        stay.at(1)
        assert stay.core == 1 and machine.kept == {0: {1}}
        stay.at(1)
        for _ in range(5000):
            if stay.core == ANYWHERE:
                break
            await asyncio.sleep(0.01)
        assert stay.core == ANYWHERE and machine.kept[0] == {0, 1}
        assert machine.kept[threading.get_native_id()] == {0, 1}

    in_loop(work)


def test_two_login_processes_that_disagree_get_none(machine: Machine) -> None:
    async def work() -> None:
        stay = Stay()
        stay.at(0)
        stay.at(1)
        assert stay.core == ANYWHERE and machine.kept[0] == {0, 1}
        stay.at(0)
        assert stay.core == ANYWHERE
        machine.now += QUARREL_S * 2
        stay.at(0)
        assert stay.core == 0
        stay.at(7)                                      # no core of ours
        stay.at(7)
        assert stay.core == ANYWHERE

    in_loop(work)


def test_a_pools_threads_roam(machine: Machine) -> None:
    Stay()
    roam()
    assert machine.kept == {0: {0, 1}}


def test_the_core_of_this_process_is_known() -> None:
    assert turns._here() in os.sched_getaffinity(0) and RELEASE_S > GAP_S
