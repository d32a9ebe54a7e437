"""The auth cache: what databases said of users, kept for a while (auth_cache_size, _ttl, _negative_ttl).

    cache = AuthCache(CacheRules.of(settings))
    key = cache.key(request, "passdb", number, entry.cache_key)      None: not to be kept
    found = await cache.find(request, key, ask)                      ask() when it is not known
    found = await cache.check(request, key, password, ask)           of databases that check passwords themselves
    cache.doubt(request)                                             a password did not fit: ask next time
    cache.flush(["alice"]) -> 1         cache.report() -> lines for the log

Kept under the section's number and its cache key, a text with all %-variables that the answer depends on, expanded for
the request (Dovecot's way): user, service, addresses, mechanism and password count where a query uses them.

  * An old password is good for auth_cache_ttl at most. A password that does not fit what the cache says is compared
    with what the database says now, so a changed one is good at once, and nobody is locked out.
  * That there is no such user is kept for auth_cache_negative_ttl.
  * Databases that check passwords themselves (PAM, LDAP by bind) are asked for each password but the one that was
    right last; that one is kept as a keyed checksum, of use in this process only.

Memory: `size` octets of keys and values, counted with NODE_OCTETS for each; what was not used for longest goes first.
"""

import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from mailsuite.base.clock import SYSTEM_CLOCK, Clock
from mailsuite.base.secret import Secret
from mailsuite.sasl.request import AuthRequest

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

NODE_OCTETS = 300                # what a node takes besides its texts
_KEY = os.urandom(32)

Key = tuple[str, int, bytes]
T = TypeVar("T")


@dataclass(frozen=True)
class CacheRules:
    """auth_cache_size (octets; 0: nothing is kept), auth_cache_ttl, auth_cache_negative_ttl."""

    size_octets: int = 0
    ttl_s: float = 3600.0
    negative_ttl_s: float = 3600.0

    @classmethod
    def of(cls, settings: "DovecotSettings") -> "CacheRules":
        return cls(settings.size("auth_cache_size"), settings.time_s("auth_cache_ttl"),
                   settings.time_s("auth_cache_negative_ttl"))


@dataclass
class _Node:
    """value None: there is no such user. users: the names under which it was asked for."""

    value: Any
    made: float
    octets: int
    users: set[str]
    password: bytes = field(default=b"", repr=False)


@dataclass
class Counts:
    """Since the last report."""

    hits: int = 0
    asked: int = 0
    positive: int = 0
    positive_octets: int = 0
    negative: int = 0
    negative_octets: int = 0


class AuthCache:
    """One auth service's."""

    def __init__(self, rules: CacheRules, clock: Clock = SYSTEM_CLOCK) -> None:
        self.rules, self._clock = rules, clock
        self._nodes: OrderedDict[Key, _Node] = OrderedDict()
        self._octets = 0
        self.counts = Counts()

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def on(self) -> bool:
        return self.rules.size_octets > 0

    def key(self, request: AuthRequest, kind: str, number: int, template: str) -> Key | None:
        """Where an answer is kept; None when it must not be. The values are not: a password may be among them."""
        if not template or not self.on:
            return None
        values = request.expand(template).encode("utf-8", "surrogateescape")
        return kind, number, hashlib.blake2b(values, key=_KEY, digest_size=32).digest()

    async def find(self, request: AuthRequest, key: Key | None, ask: Callable[[], Awaitable[T | None]]) -> T | None:
        """What is known, or what ask() says now."""
        if key is None:
            return await ask()
        node = self._usable(key)
        if node is not None:
            request.from_cache += (key,)
            value: T | None = node.value
            return value
        value = await ask()
        self._keep(request, key, value)
        return value

    def doubt(self, request: AuthRequest) -> bool:
        """A password did not fit what the cache said: forget that. False when the cache had no part in it."""
        doubted, request.from_cache = request.from_cache, ()
        for key in doubted:
            self._drop(key)
        return bool(doubted)

    # --- databases that check passwords themselves ------------------------------------------------------------------

    async def check(self, request: AuthRequest, key: Key | None, password: Secret,
                       ask: Callable[[], Awaitable[T | None]]) -> T | None:
        """What is known after a good password; ask() is what the database says to this one, or raises."""
        if key is None:
            return await ask()
        digest = _digest(key, password)
        node = self._usable(key)
        if node is not None and (node.value is None or hmac.compare_digest(node.password, digest)):
            value: T | None = node.value
            return value
        value = await ask()
        self._keep(request, key, value, digest)
        return value

    # --- nodes --------------------------------------------------------------------------------------------------------

    def _usable(self, key: Key) -> _Node | None:
        self.counts.asked += 1
        node = self._nodes.get(key)
        if node is None:
            return None
        ttl_s = self.rules.negative_ttl_s if node.value is None else self.rules.ttl_s
        if self._clock.monotonic() - node.made >= ttl_s:
            self._drop(key)
            return None
        self._nodes.move_to_end(key)
        self.counts.hits += 1
        return node

    def _keep(self, request: AuthRequest, key: Key, value: Any, password: bytes = b"") -> None:
        if (self.rules.negative_ttl_s if value is None else self.rules.ttl_s) <= 0:
            return
        self._drop(key)
        octets = NODE_OCTETS + len(key[2]) + len(password) + len(repr(value))
        if octets > self.rules.size_octets:
            return
        users = {name for name in (request.user, request.original_user) if name}
        self._nodes[key] = _Node(value, self._clock.monotonic(), octets, users, password)
        self._octets += octets
        if value is None:
            self.counts.negative += 1
            self.counts.negative_octets += octets
        else:
            self.counts.positive += 1
            self.counts.positive_octets += octets
        while self._octets > self.rules.size_octets:
            self._drop(next(iter(self._nodes)))

    def _drop(self, key: Key) -> None:
        node = self._nodes.pop(key, None)
        if node is not None:
            self._octets -= node.octets

    # --- the administrator --------------------------------------------------------------------------------------------

    def flush(self, users: Iterable[str] = ()) -> int:
        """Forget what is known of these users, or all; returns how many answers those were."""
        names = set(users)
        doomed = [key for key, node in self._nodes.items() if not names or names & node.users]
        for key in doomed:
            self._drop(key)
        return len(doomed)

    def report(self) -> list[str]:
        """What the cache was good for since the last report, in Dovecot's words."""
        counts, self.counts = self.counts, Counts()
        size = max(1, self.rules.size_octets)
        return [
            f"Authentication cache hits {counts.hits}/{counts.asked} "
            f"({counts.hits * 100 // counts.asked if counts.asked else 100}%)",
            f"Authentication cache inserts: positive: {counts.positive} entries {counts.positive_octets} bytes, "
            f"negative: {counts.negative} entries {counts.negative_octets} bytes",
            f"Authentication cache current size: {self._octets} bytes used of {self.rules.size_octets} bytes "
            f"({self._octets * 100 // size}%)"]


def _digest(key: Key, password: Secret) -> bytes:
    return hashlib.blake2b(password.reveal(), key=_KEY, digest_size=32, salt=key[2][:16]).digest()
