"""Brute force: who guesses passwords waits longer and longer, whatever protocol he uses.

    penalties = Penalties(PenaltyRules.of(dovecot));  lane = penalties.admit("192.0.2.9", "alice", b"secret")
    await asyncio.sleep(lane.wait_s);  ... check the password ...;  lane.settle(Outcome.FAILED)     or lane.drop()

Two lanes are queued in: one of (network, user), one of the network (for all users, after `allowance` wrong passwords).
In a lane attempts start one after the other; the pause grows with the different wrong passwords seen there: delay_s,
doubled up to max_delay_s. Attempts under way count as if they had failed, so opening connections side by side gains
nothing; who would wait longer than max_wait_s, or is one of more than `waiting` of his network, is refused unchecked.

  * The same wrong password again (a phone with an old one) is one guess, however often it comes. Mechanisms that do
    not show it (SCRAM, CRAM-MD5) know again a user's former passwords: those that proved right earlier.
  * The password with which a user last logged in from a network passes at once, and other users' guesses there (the
    network's lane) don't concern a user who logs in from there. So nobody locks out an owner where he usually is.
  * A lane forgets one wrong password each decay_s. Right ones clear the lane of that user.

Passwords are kept as keyed checksums, which say nothing outside of this process. Memory: `memory` lanes, and as many
users' last networks (NETWORKS_KEPT each), at most; the oldest go first. Requests without an address never wait.
"""

import hashlib
import ipaddress
import math
import os
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

from mailsuite.base.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

GUESSES_KEPT = 32               # wrong passwords that a lane knows again
NETWORKS_KEPT = 8               # of one user's successful logins
SECRETS_KEPT = 3                # of one user and mechanism that proved right; the last is the one in force
LEVEL_LIMIT = 12                # wrong passwords over the allowance that count; the pause is the longest by then
_KEY = os.urandom(32)
Guess = bytes


def guess_of(user: str, password: bytes) -> Guess:
    """What stands for a password here. One password tried on many users is many guesses."""
    octets = user.encode("utf-8", "surrogateescape") + b"\0" + password
    return hashlib.blake2b(octets, digest_size=8, key=_KEY).digest()


class Outcome(Enum):
    """PASSED: the password was right. FAILED: it was wrong."""

    PASSED = "passed"
    FAILED = "failed"


class TooManyGuesses(Exception):
    """Too many wait in this lane: refused without a look at the password."""


@dataclass(frozen=True)
class PenaltyRules:
    """The auth_penalty_* settings; see docs/limits.md."""

    on: bool = True
    delay_s: float = 2.0
    max_delay_s: float = 15.0
    max_wait_s: float = 30.0
    decay_s: float = 600.0
    allowance: int = 5
    waiting: int = 10
    ipv4_bits: int = 32
    ipv6_bits: int = 64
    known_s: float = 30 * 86400.0
    memory: int = 100_000

    @classmethod
    def of(cls, settings: "DovecotSettings") -> "PenaltyRules":
        """Dovecot's own switch holds too: `service anvil { unix_listener anvil-auth-penalty { mode = 0 } }`."""
        anvil = settings.section("service", "anvil")
        listeners = anvil.sections("unix_listener") if anvil is not None else []
        off = any(listener.name == "anvil-auth-penalty" and listener.number("mode") == 0 for listener in listeners)
        return cls(
            on=settings.flag("auth_penalty") and not off, delay_s=settings.time_s("auth_penalty_delay"),
            max_delay_s=settings.time_s("auth_penalty_max_delay"), max_wait_s=settings.time_s("auth_penalty_max_wait"),
            decay_s=max(1.0, settings.time_s("auth_penalty_decay")),
            allowance=settings.number("auth_penalty_network_allowance"),
            waiting=max(1, settings.number("auth_penalty_waiting")),
            ipv4_bits=min(32, settings.number("auth_penalty_ipv4_prefix")),
            ipv6_bits=min(128, settings.number("auth_penalty_ipv6_prefix")),
            known_s=settings.time_s("auth_penalty_known_time"),
            memory=max(1000, settings.number("auth_penalty_memory")))

    def network(self, address: str) -> str:
        """What counts as one place; an address that is none stands for itself."""
        return _network(address, self.ipv4_bits, self.ipv6_bits)

    def pause_s(self, level: int) -> float:
        """How long after the last attempt the next one starts."""
        return 0.0 if level <= 0 else min(self.max_delay_s, self.delay_s * 2.0 ** (min(level, 30) - 1))


@lru_cache(maxsize=4096)
def _network(address: str, ipv4_bits: int, ipv6_bits: int) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, ipv4_bits if parsed.version == 4 else ipv6_bits), strict=False))


@dataclass(slots=True)
class _Lane:
    """wrong: different wrong passwords. under_way: guesses being checked or waited for -> [their start, how many]."""

    wrong: int = 0
    decayed: float = 0.0
    last_start: float = -math.inf
    guesses: deque[Guess] = field(default_factory=lambda: deque(maxlen=GUESSES_KEPT))
    under_way: dict[Guess, list[float]] = field(default_factory=dict)

    def level(self, now: float, decay_s: float) -> int:
        if self.wrong:
            forgotten = int((now - self.decayed) / decay_s)
            if forgotten > 0:
                self.wrong = max(0, self.wrong - forgotten)
                self.decayed += forgotten * decay_s
        return self.wrong + len(self.under_way)

    def enter(self, guess: Guess, start: float) -> None:
        entry = self.under_way.setdefault(guess, [start, 0])
        entry[1] += 1
        self.last_start = max(self.last_start, start)

    def leave(self, guess: Guess) -> None:
        entry = self.under_way.get(guess)
        if entry is not None:
            entry[1] -= 1
            if entry[1] <= 0:
                del self.under_way[guess]

    def fail(self, guess: Guess, now: float, most: int) -> bool:
        """Whether this was a wrong password not seen lately."""
        if guess in self.guesses:
            return False
        self.guesses.append(guess)
        if not self.wrong:
            self.decayed = now
        self.wrong = min(most, self.wrong + 1)
        return True


class Place(Struct, eq=False):
    """An attempt's place in its lanes. wait_s: seconds until it may be looked at."""

    _penalties: "Penalties"
    network: str
    user: str
    guess: Guess
    wait_s: float
    _lanes: tuple[_Lane, ...]

    def settle(self, outcome: Outcome) -> int:
        """The attempt is over. Returns how many wrong passwords its place has now, 0 when nothing changed."""
        lanes, self._lanes = self._lanes, ()
        return self._penalties.settled(self, lanes, outcome)

    def drop(self) -> None:
        """It came to no end: the client is gone, or a database did not answer."""
        for lane in self._lanes:
            lane.leave(self.guess)
        self._lanes = ()


class Penalties:
    """One process's memory of guessing. unique: makes a stand-in for a password that is not known (SCRAM, CRAM-MD5)."""

    def __init__(self, rules: PenaltyRules, clock: Clock = SYSTEM_CLOCK,
                 unique: Callable[[], bytes] = lambda: os.urandom(8)) -> None:
        self.rules, self._clock, self._unique = rules, clock, unique
        self._lanes: OrderedDict[tuple[str, str], _Lane] = OrderedDict()
        self._known: OrderedDict[str, OrderedDict[str, tuple[float, Guess]]] = OrderedDict()
        self._secrets: OrderedDict[tuple[str, str], deque[bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lanes) + len(self._known)

    def wrong(self) -> list[tuple[str, int, float]]:
        """(network, different wrong passwords that are not forgotten, seconds since the last attempt) of each."""
        now, found = self._clock.monotonic(), []
        for (network, user), lane in self._lanes.items():
            lane.level(now, self.rules.decay_s)
            if not user and lane.wrong:
                found.append((network, lane.wrong, max(0.0, now - lane.last_start)))
        return found

    def admit(self, address: str, user: str, secret: bytes | None) -> Place:
        """A place for an attempt. secret: the password, or what is equal for equal ones; None: the mechanism does not
        show it. Raises TooManyGuesses."""
        rules = self.rules
        if not rules.on or not address:
            return Place(self, "", user, b"", 0.0, ())
        guess = guess_of(user, self._unique() if secret is None else secret)
        now, network = self._clock.monotonic(), _network(address, rules.ipv4_bits, rules.ipv6_bits)
        last = self._last_login(user, network, now)
        if last is not None and last == guess:
            return Place(self, network, user, guess, 0.0, ())
        own, whole = self._lane(network, user), self._lane(network, "")
        start = self._start(own, guess, now, 0)
        if last is None:
            start = max(start, self._start(whole, guess, now, rules.allowance))
        if start > now and (start - now > rules.max_wait_s or self._in_queue(whole, now) >= rules.waiting):
            raise TooManyGuesses(network)
        own.enter(guess, start)
        whole.enter(guess, start)
        return Place(self, network, user, guess, start - now, (own, whole))

    def settled(self, place: Place, lanes: tuple[_Lane, ...], outcome: Outcome) -> int:
        """A Place is over; its own settle calls this."""
        if not place.network:
            return 0
        now, wrong = self._clock.monotonic(), 0
        for lane in lanes:
            lane.leave(place.guess)
        if outcome is Outcome.PASSED:
            self._remember(place, now)
            if self._lanes:
                self._lanes.pop((place.network, place.user), None)
            return 0
        for lane in lanes:
            if lane.fail(place.guess, now, LEVEL_LIMIT + self.rules.allowance):
                wrong = max(wrong, lane.wrong)
        return wrong

    def _start(self, lane: _Lane, guess: Guess, now: float, allowance: int) -> float:
        """When an attempt may begin in a lane."""
        rules = self.rules
        if (same := lane.under_way.get(guess)) is not None:
            return max(now, same[0])            # one guess on several connections
        if guess in lane.guesses:
            return now + (rules.delay_s if len(lane.under_way) > 1 else 0.0)
        return max(now, lane.last_start + rules.pause_s(lane.level(now, rules.decay_s) - allowance))

    @staticmethod
    def _in_queue(lane: _Lane, now: float) -> int:
        return sum(int(count) for start, count in lane.under_way.values() if start > now)

    def _lane(self, network: str, user: str) -> _Lane:
        key = network, user
        lane = self._lanes.get(key)
        if lane is None:
            while len(self._lanes) >= self.rules.memory:
                self._lanes.popitem(last=False)
            lane = self._lanes[key] = _Lane()
        else:
            self._lanes.move_to_end(key)
        return lane

    # --- what challenge mechanisms prove ----------------------------------------------------------------------------

    def keep_secret(self, user: str, mechanism: str, secret: bytes) -> None:
        """A secret that a user has just proved to know."""
        key = user, mechanism
        kept = self._secrets.get(key)
        if kept is None:
            while len(self._secrets) >= self.rules.memory:
                self._secrets.popitem(last=False)
            kept = self._secrets[key] = deque(maxlen=SECRETS_KEPT)
        self._secrets.move_to_end(key)
        if secret in kept:
            kept.remove(secret)
        kept.append(secret)

    def former_secrets(self, user: str, mechanism: str) -> list[bytes]:
        """Those that a wrong proof may have been made with."""
        return list(self._secrets.get((user, mechanism), ()))

    # --- owners -----------------------------------------------------------------------------------------------------

    def _last_login(self, user: str, network: str, now: float) -> Guess | None:
        """With what this user last logged in from there; None: not lately."""
        networks = self._known.get(user)
        found = networks.get(network) if networks is not None else None
        return found[1] if found is not None and now - found[0] < self.rules.known_s else None

    def _remember(self, place: Place, now: float) -> None:
        networks = self._known.get(place.user)
        if networks is None:
            while len(self._known) >= self.rules.memory:
                self._known.popitem(last=False)
            networks = self._known[place.user] = OrderedDict()
        self._known.move_to_end(place.user)
        networks[place.network] = now, place.guess
        networks.move_to_end(place.network)
        if len(networks) > NETWORKS_KEPT:
            networks.popitem(last=False)
