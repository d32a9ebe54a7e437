"""What anvil remembers, with a clock that is turned by hand."""

import re
from dataclasses import dataclass

import pytest

from mailsuite.anvil.client_key import ClientKey
from mailsuite.anvil.counts import Counts, Seen


@dataclass
class Turned:
    at: float = 1000.0

    def now(self) -> float:
        return self.at

    monotonic = now


def test_connections_and_rate_of_a_client() -> None:
    clock = Turned()
    counts = Counts(unit_s=60, clock=clock)
    assert [counts.connect(1, "smtp:a"), counts.connect(2, "smtp:a")] == [Seen(1, 1), Seen(2, 2)]
    counts.disconnect(1, "smtp:a")
    assert counts.connect(1, "smtp:a") == Seen(2, 3)
    clock.at += 61
    assert counts.seen("smtp:a") == Seen(2, 0)
    assert counts.connect(1, "smtp:a") == Seen(3, 1)
    assert counts.seen("smtp:b") == Seen(0, 0)


def test_what_a_dead_process_had_open_is_closed() -> None:
    counts = Counts(clock=Turned())
    for _ in range(3):
        counts.connect(1, "smtp:a")
    counts.connect(2, "smtp:a")
    counts.adopt(2, "smtp:b", 5)
    counts.gone(1)
    assert counts.seen("smtp:a").open == 1
    assert counts.seen("smtp:b").open == 5
    counts.disconnect(1, "smtp:a")                  # too late: not counted twice
    assert counts.seen("smtp:a").open == 1


def test_peek_does_not_count() -> None:
    counts = Counts(clock=Turned())
    assert [counts.peek("newtls", "x"), counts.add("newtls", "x"), counts.peek("newtls", "x")] == [0, 1, 1]


def test_clients_are_forgotten_when_nothing_of_them_counts() -> None:
    clock = Turned()
    counts = Counts(unit_s=60, clock=clock)
    counts.connect(1, "open")
    counts.connect(1, "gone")
    counts.disconnect(1, "gone")
    clock.at += 30
    counts.add("message", "fresh")
    clock.at += 31
    counts.sweep()
    assert len(counts) == 2
    assert counts.seen("open").open == 1


def test_memory_is_bounded_and_open_connections_are_kept() -> None:
    counts = Counts(clients_limit=1000, clock=Turned())
    counts.connect(1, "mine")
    for number in range(5000):
        counts.add("message", f"client{number}")
    assert len(counts) == 1000
    assert counts.seen("mine").open == 1


def test_statistics_as_postfix_logs_them() -> None:
    clock = Turned()
    counts = Counts(unit_s=60, clock=clock)
    for ident in ("smtp:192.0.2.1", "smtp:192.0.2.1", "smtp:192.0.2.2"):
        counts.connect(1, ident)
    counts.add("newtls", "smtp:192.0.2.2")
    lines = counts.report()
    assert [re.sub(r" at ... [ \d]\d \d\d:\d\d:\d\d$", " at TIME", line) for line in lines] == [
        "statistics: max connection rate 2/60s for (smtp:192.0.2.1) at TIME",
        "statistics: max connection count 2 for (smtp:192.0.2.1) at TIME",
        "statistics: max newtls rate 1/60s for (smtp:192.0.2.2) at TIME",
        "statistics: max cache size 2 at TIME"]
    assert counts.report() == []


@pytest.mark.parametrize(("four", "six", "address", "want"), [
    (32, 84, "192.0.2.9", "192.0.2.9"),
    (24, 84, "192.0.2.9", "192.0.2.0/24"),
    (32, 84, "2001:db8::1:2:3:4", "2001:db8:0:0:1::/84"),
    (32, 128, "2001:db8::1", "2001:db8::1"),
    (0, 64, "192.0.2.9", "0.0.0.0/0"),
    (24, 64, "unknown", "unknown"),
])
def test_what_counts_as_one_client(four: int, six: int, address: str, want: str) -> None:
    key = ClientKey(four, six)
    assert [key.of(address), key.of(address)] == [want, want]
