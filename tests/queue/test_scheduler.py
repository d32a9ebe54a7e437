"""Who is next: limits, feedback, dead destinations."""

import pytest

from mailsuite.queue.scheduler import Entry, Outcome, Scheduler, TransportLimits


class Fixed:
    """The same limits for every transport."""

    def __init__(self, limits: TransportLimits) -> None:
        self.limits = limits

    def of(self, transport: str) -> TransportLimits:
        return self.limits


class Bench:
    """A scheduler and what it did."""

    def __init__(self, **limits: float) -> None:
        self.sent: list[Entry[int]] = []
        self.suspended: list[tuple[int, str]] = []
        self.scheduler: Scheduler[int] = Scheduler(
            Fixed(TransportLimits(**limits)), self.sent.append,        # type: ignore[arg-type]
            lambda entry, reason: self.suspended.append((entry.work, reason)))

    def add(self, count: int, key: str = "d", now: float = 0.0) -> None:
        for number in range(count):
            self.scheduler.add(Entry("t", key, key, number), now)

    def end(self, count: int, outcome: Outcome = Outcome.GOOD, now: float = 0.0) -> None:
        for entry in self.sent[:count]:
            self.scheduler.ended(entry, outcome, now, "4.4.1 away")
        del self.sent[:count]


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


@pytest.mark.parametrize("seed", range(50))
def test_nothing_is_lost_or_doubled(seed: int) -> None:
    from random import Random
    chance = Random(seed)
    bench = Bench(initial=chance.randint(1, 5), concurrency=chance.randint(0, 8), agents=chance.randint(0, 6),
                  dead_s=5.0, transport_dead_s=3.0)
    added = ended = 0
    now = 0.0
    for _ in range(400):
        now += chance.random()
        if chance.random() < 0.5:
            bench.add(1, chance.choice("abcd"), now)
            added += 1
        elif bench.sent:
            chance.shuffle(bench.sent)
            bench.end(1, chance.choice([Outcome.GOOD] * 6 + [Outcome.SITE_DOWN] * 3 + [Outcome.NO_AGENT]), now)
            ended += 1
    while bench.sent:
        bench.end(1, Outcome.GOOD, now)
        ended += 1
    assert added == ended + len(bench.suspended)
