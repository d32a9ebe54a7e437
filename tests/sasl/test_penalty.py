"""Brute force in figures: simulated attackers and owners, with a clock that runs ahead to the next event."""

import heapq
import itertools
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mailsuite.config.dovecot import DovecotSettings
from mailsuite.sasl.penalty import Outcome, Penalties, PenaltyRules, TooManyGuesses

CHECK_S = 0.01          # what a check of a password takes
FAILURE_S = 2.0         # auth_failure_delay
RETRY_S = 10.0          # after which an attacker tries again what was refused unchecked; two wait by then, 15 s each


@dataclass
class Turned:
    at: float = 0.0

    def now(self) -> float:
        return self.at

    monotonic = now


@dataclass
class World:
    """An auth service without sockets: attempts begin, wait, are judged and answered at their times."""

    password: str = "right"
    rules: PenaltyRules = PenaltyRules()
    clock: Turned = field(default_factory=Turned)
    looked_at: int = 0
    refused: int = 0
    worst_wait_s: float = 0.0

    def __post_init__(self) -> None:
        numbers = itertools.count()
        self.penalties = Penalties(self.rules, self.clock, unique=lambda: next(numbers).to_bytes(8, "big"))
        self._events: list[tuple[float, int, object]] = []
        self._count = itertools.count()

    def at(self, when: float, action: object) -> None:
        heapq.heappush(self._events, (when, next(self._count), action))

    def run(self) -> float:
        while self._events:
            self.clock.at, _, action = heapq.heappop(self._events)
            action()                    # type: ignore[operator]  # a function without arguments
        return self.clock.at

    def log_in(self, address: str, user: str, password: str | None, then: object) -> None:
        """One attempt now; then(outcome, seconds) at its answer. outcome None: refused unchecked."""
        began = self.clock.at
        try:
            place = self.penalties.admit(address, user, password.encode() if password else None)
        except TooManyGuesses:
            self.refused += 1
            self.at(began + 0.1, lambda: then(None, 0.1))       # type: ignore[operator]
            return
        self.worst_wait_s = max(self.worst_wait_s, place.wait_s)

        def judge() -> None:
            self.looked_at += 1
            outcome = Outcome.PASSED if password == self.password else Outcome.FAILED
            place.settle(outcome)
            delay = 0.0 if outcome is Outcome.PASSED else FAILURE_S
            self.at(self.clock.at + delay, lambda: then(outcome, self.clock.at - began))    # type: ignore[operator]

        self.at(began + place.wait_s + CHECK_S, judge)

    def attack(self, address: str, user: str, guesses: list[str], connections: int) -> None:
        """All guesses from one address, over some connections at once; what is refused is tried again."""
        left = list(reversed(guesses))

        def step() -> None:
            if left:
                guess = left.pop()

                def answered(outcome: Outcome | None, seconds: float) -> None:
                    if outcome is None:
                        left.append(guess)
                        self.at(self.clock.at + RETRY_S, step)
                    else:
                        step()

                self.log_in(address, user, guess, answered)

        for _ in range(connections):
            self.at(self.clock.at, step)


def once(world: World, address: str, user: str, password: str | None) -> tuple[Outcome | None, float]:
    """One attempt in a world where nothing else is going on."""
    said: list[tuple[Outcome | None, float]] = []
    world.log_in(address, user, password, lambda outcome, seconds: said.append((outcome, seconds)))
    world.run()
    return said[0]


@pytest.mark.parametrize("connections", [1, 12])
def test_ten_addresses_with_a_thousand_guesses_each(connections: int) -> None:
    """Connections side by side guess no faster than one; the owner comes and goes meanwhile."""
    world = World()
    home, shared = "203.0.113.7", "192.0.2.3"       # the second is an attacker's address too
    assert once(world, home, "anna", "right")[0] is Outcome.PASSED
    assert once(world, shared, "anna", "right")[0] is Outcome.PASSED
    began = world.clock.at
    for number in range(10):
        world.attack(f"192.0.2.{number}", "anna", [f"{number}-{guess}" for guess in range(1000)], connections)
    owner: list[tuple[Outcome | None, float]] = []
    elsewhere: list[tuple[Outcome | None, float]] = []
    for hour in range(1, 5):
        for address in (home, shared):
            world.at(began + hour * 3600.0, lambda address=address: world.log_in(
                address, "anna", "right", lambda *said: owner.append(said)))
        world.at(began + hour * 3600.0, lambda hour=hour: world.log_in(
            f"198.51.100.{hour}", "anna", "right", lambda *said: elsewhere.append(said)))
    took = world.run() - began
    assert world.looked_at == 10_000 + 2 + 12
    assert took > 990 * 15, f"a thousand guesses in {took:.0f} s"
    assert took < 1000 * 17.5 + 600
    assert [outcome for outcome, _ in owner] == [Outcome.PASSED] * 8
    assert max(seconds for _, seconds in owner) < 0.1
    assert all(outcome is Outcome.PASSED and seconds < 0.1 for outcome, seconds in elsewhere)
    assert world.worst_wait_s <= world.rules.max_wait_s
    assert connections == 1 or world.refused > 1000


def test_the_pauses_grow_as_dovecots() -> None:
    world = World()
    waits = []
    for number in range(7):
        place = world.penalties.admit("192.0.2.1", "anna", b"%d" % number)
        waits.append(place.wait_s)
        world.clock.at += place.wait_s
        place.settle(Outcome.FAILED)
    assert waits == [0, 2, 4, 8, 15, 15, 15]


def test_parallel_connections_queue_up() -> None:
    penalties = Penalties(PenaltyRules(), Turned())
    waits = [penalties.admit("192.0.2.1", "anna", b"%d" % number).wait_s for number in range(5)]
    assert waits == [0, 2, 6, 14, 29]
    with pytest.raises(TooManyGuesses):
        penalties.admit("192.0.2.1", "anna", b"next")
    assert penalties.admit("192.0.2.2", "anna", b"next").wait_s == 0


def test_one_password_on_many_connections_is_one_guess() -> None:
    penalties = Penalties(PenaltyRules(), Turned())
    assert [penalties.admit("192.0.2.1", "anna", b"same").wait_s for _ in range(20)] == [0] * 20


def test_a_phone_with_an_old_password_is_not_punished() -> None:
    world = World()
    for _ in range(200):
        world.clock.at += 10
        outcome, seconds = once(world, "192.0.2.1", "anna", "old")
        assert outcome is Outcome.FAILED and seconds < FAILURE_S + 0.1
    place = world.penalties.admit("192.0.2.1", "anna", b"right")
    assert place.wait_s <= 2
    assert world.penalties.admit("192.0.2.1", "ben", b"right").wait_s == 0


def test_one_password_tried_on_many_users_is_guessing() -> None:
    penalties = Penalties(PenaltyRules(), clock := Turned())
    waits = []
    for number in range(12):
        place = penalties.admit("192.0.2.1", f"user{number}", b"123456")
        waits.append(place.wait_s)
        clock.at += place.wait_s
        place.settle(Outcome.FAILED)
    assert waits == [0, 0, 0, 0, 0, 0, 2, 4, 8, 15, 15, 15]


def test_ipv6_counts_by_network() -> None:
    penalties = Penalties(PenaltyRules(), Turned())
    for number in range(3):
        penalties.admit(f"2001:db8::{number}", "anna", b"%d" % number).settle(Outcome.FAILED)
    assert penalties.admit("2001:db8::ffff", "anna", b"x").wait_s > 0
    assert penalties.admit("2001:db8:0:1::1", "anna", b"x").wait_s == 0


def test_wrong_passwords_are_forgotten_in_time() -> None:
    penalties = Penalties(PenaltyRules(), clock := Turned())
    for number in range(3):
        penalties.admit("192.0.2.1", "anna", b"%d" % number).settle(Outcome.FAILED)
    clock.at += 2 * 600 + 1
    place = penalties.admit("192.0.2.1", "anna", b"x")
    assert place.wait_s == 0 and penalties.rules.pause_s(1) == 2        # one is left, and its pause is over
    place.drop()
    clock.at += 600
    assert penalties.admit("192.0.2.1", "anna", b"y").wait_s == 0


def test_mechanisms_that_show_no_password() -> None:
    """SCRAM: each failure is a guess of its own; an owner's own lane is not that of the whole network."""
    penalties = Penalties(PenaltyRules(), clock := Turned())
    penalties.admit("192.0.2.1", "anna", None).settle(Outcome.PASSED)
    for number in range(20):
        place = penalties.admit("192.0.2.1", f"user{number}", None)
        clock.at += place.wait_s
        place.settle(Outcome.FAILED)
    assert penalties.admit("192.0.2.1", "anna", None).wait_s == 0
    assert penalties.admit("192.0.2.1", "ben", None).wait_s > 0


def test_a_client_that_goes_leaves_no_trace() -> None:
    penalties = Penalties(PenaltyRules(), clock := Turned())
    for number in range(100):
        place = penalties.admit("192.0.2.1", "anna", b"%d" % number)
        place.drop()
        place.drop()
        clock.at += 1
    assert penalties.admit("192.0.2.1", "anna", b"x").wait_s == 0


def test_memory_is_bounded() -> None:
    penalties = Penalties(PenaltyRules(memory=1000), Turned())
    for number in range(5000):
        penalties.admit(f"10.{number >> 8}.{number & 255}.1", f"u{number}", b"x").settle(
            Outcome.PASSED if number % 2 else Outcome.FAILED)
    assert len(penalties) <= 2000


def test_settings(tmp_path: Path) -> None:
    assert PenaltyRules.of(DovecotSettings.of("")) == PenaltyRules()
    rules = PenaltyRules.of(DovecotSettings.of(
        "auth_penalty_delay = 1 secs\nauth_penalty_max_delay = 1 mins\nauth_penalty_ipv6_prefix = 48\n"))
    assert (rules.delay_s, rules.max_delay_s, rules.network("2001:db8:1:2::9")) == (1.0, 60, "2001:db8:1::/48")
    assert not PenaltyRules.of(DovecotSettings.of("auth_penalty = no\n")).on
    off = "service anvil {\n unix_listener anvil-auth-penalty {\n  mode = 0\n }\n}\n"
    assert not PenaltyRules.of(DovecotSettings.of(off)).on
    assert Penalties(PenaltyRules(on=False), Turned()).admit("192.0.2.1", "a", None).wait_s == 0
