"""Who is next: limits, feedback, dead destinations, turns, pauses."""

from random import Random
from typing import Any

import pytest

from mailsuite.queue.feedback import Feedback, parse_feedback
from mailsuite.queue.scheduler import Entry, Outcome, Scheduler, TransportLimits
from mailsuite.queue.turns import SlotRules


class Fixed:
    """The same limits for every transport."""

    def __init__(self, limits: TransportLimits) -> None:
        self.limits = limits

    def of(self, transport: str) -> TransportLimits:
        return self.limits


class Bench:
    """A scheduler and what it did. wakes: when it wants to be called."""

    def __init__(self, dead_limit: int = 100, **limits: Any) -> None:
        self.sent: list[Entry[int]] = []
        self.suspended: list[tuple[int, str]] = []
        self.wakes: list[float] = []
        self.scheduler: Scheduler[int] = Scheduler(
            Fixed(TransportLimits(**limits)), self.sent.append,
            lambda entry, reason: self.suspended.append((entry.work, reason)), self.wakes.append,
            dead_limit=dead_limit)

    def add(self, count: int, key: str = "d", now: float = 0.0, *, job: object = None, keys: int = 1) -> None:
        """Deliveries to one destination (or spread over several); of one message where job is given."""
        for number in range(count):
            name = key if keys == 1 else f"{key}{number % keys}"
            self.scheduler.add(Entry("t", name, name, number, job, count if job is not None else 1), now)

    def end(self, count: int, outcome: Outcome = Outcome.GOOD, now: float = 0.0) -> None:
        for entry in self.sent[:count]:
            self.scheduler.ended(entry, outcome, now, "4.4.1 away")
        del self.sent[:count]

    def order(self) -> list[object]:
        """The jobs of all deliveries as they are made, one ending after the other."""
        made = []
        while self.sent:
            made.append(self.sent[0].job)
            self.end(1)
        return made


def test_a_destination_begins_with_the_initial_concurrency() -> None:
    bench = Bench(initial=3)
    bench.add(10)
    assert len(bench.sent) == 3


def test_success_opens_the_window_up_to_the_limit() -> None:
    bench = Bench(initial=2, concurrency=4)
    bench.add(100)
    most = 0
    for _ in range(80):
        bench.end(1)
        most = max(most, len(bench.sent))
    assert most == 4


def test_all_is_sent_and_then_forgotten() -> None:
    bench = Bench()
    bench.add(50)
    total = 0
    while bench.sent:
        total += 1
        bench.end(1)
    assert total == 50
    bench.scheduler.forget_dead(0.0)
    assert bench.scheduler.transports == {}


def test_agents_are_shared_fairly() -> None:
    bench = Bench(agents=2, initial=5)
    bench.add(4, "a")
    bench.add(4, "b")
    assert [entry.key for entry in bench.sent] == ["a", "a"]
    bench.end(1)
    assert [entry.key for entry in bench.sent] == ["a", "a"]
    order = []
    while bench.sent:
        order.append(bench.sent[0].key)
        bench.end(1)
    assert sorted(order) == ["a"] * 3 + ["b"] * 4


def test_a_failed_cohort_makes_a_destination_dead() -> None:
    bench = Bench(initial=1, dead_s=300)
    bench.add(3)
    bench.end(1, Outcome.SITE_DOWN)
    assert bench.suspended == [(1, "4.4.1 away"), (2, "4.4.1 away")]
    bench.add(1, now=299)
    assert len(bench.suspended) == 3 and not bench.sent
    bench.add(1, now=301)
    assert len(bench.sent) == 1


def test_one_failure_among_five_only_narrows_the_window() -> None:
    bench = Bench(initial=5)
    bench.add(20)
    bench.end(1, Outcome.SITE_DOWN)
    assert not bench.suspended and len(bench.sent) == 4


def test_a_flush_forgets_the_dead() -> None:
    bench = Bench(initial=1)
    bench.add(1)
    bench.end(1, Outcome.SITE_DOWN)
    bench.scheduler.forget_dead()
    bench.add(1)
    assert len(bench.sent) == 1


def test_without_an_agent_the_transport_waits() -> None:
    bench = Bench(initial=1, transport_dead_s=60)
    bench.add(2, "a")
    bench.add(2, "b")
    bench.end(1, Outcome.NO_AGENT)
    assert sorted(bench.suspended) == [(1, "4.4.1 away"), (1, "4.4.1 away")]
    bench.add(1, "c", now=30)
    assert len(bench.suspended) == 3
    bench.add(1, "c", now=61)
    assert bench.sent[-1].key == "c"


@pytest.mark.parametrize(("text", "at"), [
    pytest.param("1", {1: 1.0, 16: 1.0}, id="constant"),
    pytest.param("0", {1: 0.0}, id="none"),
    pytest.param("0.25", {9: 0.25}, id="real"),
    pytest.param(" 1 / 4 ", {9: 0.25}, id="fraction"),
    pytest.param("1/concurrency", {1: 1.0, 4: 0.25}, id="by concurrency"),
    pytest.param("0.5 / sqrt_concurrency", {16: 0.125}, id="by its root"),
    *(pytest.param(bad, None, id=f"refused: {bad}") for bad in ("", "x", "2", "-1", "1/0", "1/foo", "3/2", "1 2"))])
def test_forms_of_feedback(text: str, at: dict[int, float] | None) -> None:
    feedback = parse_feedback(text)
    assert feedback == at if at is None else feedback is not None and {n: feedback.at(n) for n in at} == at


def test_feedback_by_concurrency_opens_the_window_after_a_whole_cohort() -> None:
    bench = Bench(initial=4, positive=Feedback(1.0, "concurrency"))
    bench.add(40)
    bench.end(3)
    assert len(bench.sent) == 4
    bench.end(1)
    assert len(bench.sent) == 5


def test_negative_feedback_acts_at_its_start() -> None:
    bench = Bench(initial=10, concurrency=20, negative=Feedback(1.0, "concurrency"), cohorts=10)
    bench.add(60)
    bench.end(1, Outcome.SITE_DOWN)
    assert len(bench.sent) == 9
    bench.end(8, Outcome.SITE_DOWN)
    assert len(bench.sent) == 9
    bench.end(2, Outcome.SITE_DOWN)
    assert len(bench.sent) == 8


def test_without_cohorts_a_destination_never_dies() -> None:
    bench = Bench(initial=2, cohorts=0)
    bench.add(20)
    bench.end(18, Outcome.SITE_DOWN)
    while bench.sent:
        bench.end(1, Outcome.SITE_DOWN)
    assert not bench.suspended


def test_no_more_dead_destinations_are_remembered_than_allowed() -> None:
    bench = Bench(initial=1, dead_limit=2)
    for key in "abc":
        bench.add(2, key)
    bench.end(3, Outcome.SITE_DOWN)
    assert len(bench.suspended) == 2 and [entry.key for entry in bench.sent] == ["c"]


# --- turns ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("keys", [pytest.param(1, id="one destination"), pytest.param(500, id="many destinations")])
def test_a_long_message_does_not_keep_a_short_one_waiting(keys: int) -> None:
    bench = Bench(initial=5, concurrency=5, agents=10)
    bench.add(1000, "d", job="list", keys=keys)
    bench.add(1, "d", job="letter")
    assert bench.order().index("letter") < 20


def test_a_short_one_with_several_deliveries_waits_until_they_are_earned() -> None:
    bench = Bench(initial=1, concurrency=1, slots=SlotRules(cost=5, loan=0, discount=0))
    bench.add(1000, job="list")
    bench.add(4, job="letter")
    order = bench.order()
    assert [at for at, job in enumerate(order) if job == "letter"] == list(range(21, 25))


@pytest.mark.parametrize("cost", [2, 5])
def test_short_messages_slow_a_long_one_down_by_a_part_only(cost: int) -> None:
    bench = Bench(initial=1, concurrency=1, slots=SlotRules(cost=cost))
    bench.add(500, job="list")
    order: list[object] = []
    while order.count("list") < 500:
        order.append(bench.sent[0].job)
        bench.add(1, job=f"letter {len(order)}")
        bench.end(1)
    assert 500 // cost <= len(order) - 500 <= 500 // cost + 4


@pytest.mark.parametrize("slots", [
    pytest.param(SlotRules(cost=0), id="switched off"),
    pytest.param(SlotRules(minimum=500), id="below the minimum")])
def test_nobody_overtakes(slots: SlotRules) -> None:
    bench = Bench(initial=1, concurrency=1, slots=slots)
    bench.add(100, job="list")
    bench.add(1, job="letter")
    assert bench.order()[-1] == "letter"


def test_messages_of_one_size_go_in_the_order_they_came() -> None:
    bench = Bench(initial=1, concurrency=1)
    for job in range(50):
        bench.add(3, job=job)
    assert bench.order() == [job for job in range(50) for _ in range(3)]


def test_destinations_of_a_message_take_turns() -> None:
    bench = Bench(agents=1, initial=5)
    bench.add(9, "d", job="list", keys=3)
    keys = []
    while bench.sent:
        keys.append(bench.sent[0].key)
        bench.end(1)
    assert keys[1:4] != [keys[1]] * 3 and sorted(keys) == ["d0"] * 3 + ["d1"] * 3 + ["d2"] * 3


def test_a_stuck_destination_leaves_the_agents_to_others() -> None:
    bench = Bench(agents=100, initial=5, concurrency=20)
    for job in range(5000):
        bench.add(1, "stuck", job=job)
    assert len(bench.sent) == 5
    bench.add(1, "live", job="letter")
    assert bench.sent[-1].key == "live"


# --- pauses -----------------------------------------------------------------------------------------------------------

def test_a_destination_with_a_rate_delay_rests_after_each_delivery() -> None:
    bench = Bench(rate_s=3.0, initial=5)
    bench.add(3, "a")
    bench.add(1, "b")
    assert [entry.key for entry in bench.sent] == ["a", "b"]
    bench.end(1, now=2.0)
    assert [entry.key for entry in bench.sent] == ["b"] and bench.wakes == [5.0]
    bench.scheduler.tick(4.9)
    assert len(bench.sent) == 1
    bench.scheduler.tick(5.0)
    assert [entry.key for entry in bench.sent] == ["b", "a"]


def test_what_comes_in_a_pause_waits_for_its_end() -> None:
    bench = Bench(rate_s=3.0)
    bench.add(1)
    bench.end(1, now=1.0)
    bench.add(1, now=2.0)
    assert not bench.sent
    bench.scheduler.tick(4.0)
    bench.end(1, now=4.0)
    bench.scheduler.tick(7.0)
    bench.scheduler.forget_dead(7.0)
    assert bench.scheduler.transports == {}


def test_a_transport_with_a_rate_delay_makes_one_delivery_at_a_time() -> None:
    bench = Bench(transport_rate_s=3.0)
    bench.add(1, "a")
    bench.add(1, "b")
    assert len(bench.sent) == 1
    bench.end(1, now=2.0)
    bench.scheduler.tick(4.0)
    assert not bench.sent
    bench.scheduler.tick(5.0)
    assert [entry.key for entry in bench.sent] == ["b"]


def test_a_reload_that_ends_a_rate_delay_lets_all_go() -> None:
    bench = Bench(transport_rate_s=3.0)
    bench.add(3)
    bench.scheduler.reload(Fixed(TransportLimits()))
    assert len(bench.sent) == 3


@pytest.mark.parametrize("seed", range(50))
def test_nothing_is_lost_or_doubled(seed: int) -> None:
    chance = Random(seed)
    bench = Bench(initial=chance.randint(1, 5), concurrency=chance.randint(0, 8), agents=chance.randint(0, 6),
                  dead_s=5.0, transport_dead_s=3.0, rate_s=chance.choice([0.0, 0.0, 1.0]),
                  transport_rate_s=chance.choice([0.0, 0.0, 0.5]), slots=SlotRules(chance.choice([0, 2, 5])))
    added = ended = 0
    now = 0.0
    for _ in range(400):
        now += chance.random()
        bench.scheduler.tick(now)
        if chance.random() < 0.5:
            count = chance.choice([1, 1, 1, 30])
            bench.add(count, chance.choice("abcd"), now, job=object(), keys=chance.choice([1, 1, 3]))
            added += count
        elif bench.sent:
            chance.shuffle(bench.sent)
            bench.end(1, chance.choice([Outcome.GOOD] * 6 + [Outcome.SITE_DOWN] * 3 + [Outcome.NO_AGENT]), now)
            ended += 1
    while bench.sent or bench.scheduler._pauses:
        now += 1.0
        bench.scheduler.tick(now)
        ended += len(bench.sent)
        bench.end(len(bench.sent), Outcome.GOOD, now)
    bench.scheduler.forget_dead()
    assert bench.scheduler.transports == {}
    assert added == ended + len(bench.suspended)
