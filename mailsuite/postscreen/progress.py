"""Which tests one client still has to pass, and how far it has come. No I/O.

    tests = Progress(config, cache.get(address), now);  tests.early, tests.deep -> are tests of that kind left to do
    tests.passed(Check.PREGREET, ttl_s);  tests.fail("550 5.5.1 Protocol error");  tests.stamps -> for the cache
"""

from typing import TYPE_CHECKING

from mailsuite.postscreen.cache import Check, Stamps

if TYPE_CHECKING:
    from mailsuite.postscreen.screen_config import ScreenConfig

EARLY = frozenset({Check.PREGREET, Check.DNSBL})
PROTOCOL_ERROR = "550 5.5.1 Protocol error"


class Progress:
    """reply: what RCPT gets from who failed by an `enforce` action; "" for others.

    vetoed: it may not pass at this address of ours. no_greeting: it did not wait for one.
    """

    def __init__(self, config: "ScreenConfig", stamps: Stamps, now: float) -> None:
        self._now, self._stamps = int(now), list(stamps)
        self.todo = {test for test in config.enabled if stamps[test] <= now}
        self._left = set(self.todo)
        self._broken = False
        self.reply = ""
        self.failed = self.vetoed = self.changed = self.no_greeting = False

    @property
    def early(self) -> bool:
        return bool(self._left & EARLY)

    @property
    def deep(self) -> frozenset[Check]:
        """Tests that need a dialogue."""
        return frozenset(self._left - EARLY)

    @property
    def passed_all(self) -> bool:
        return not (self._left or self._broken or self.failed) and not self.vetoed and bool(self.todo)

    @property
    def stamps(self) -> Stamps:
        return tuple(self._stamps)

    def passed(self, test: Check, ttl_s: float) -> None:
        self._left.discard(test)
        self._stamps[test] = self._now + int(ttl_s)
        self.changed = True

    def welcomed(self, ttl_s: float) -> None:
        """Lists in DNS speak for the client: nothing else is asked of it."""
        for test in Check:
            self._stamps[test] = max(self._stamps[test], self._now + int(ttl_s))
        self._left.clear()
        self.changed = True

    def fail(self, reply: str) -> None:
        """An `enforce` action; the last one's reply holds."""
        self.failed, self.reply = True, reply

    def pregreeted(self, *, enforce: bool) -> None:
        """It spoke too early. Not enforced, the test is simply due again next time."""
        if enforce:
            self.fail(PROTOCOL_ERROR)
            self.no_greeting = True

    def listed(self, reply: str) -> None:
        """Too many points; reply "" where that is ignored."""
        if reply:
            self.fail(reply)

    def broke(self, test: Check) -> None:
        """A test in the dialogue failed: it is not done again in this one, and due next time."""
        self._left.discard(test)
        self._broken = True
