"""check_greylist: a stranger's first attempt is asked to come back; mail servers do, most spam senders do not.

    smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, check_greylist

What is remembered is the triplet client network, sender, recipient. The first attempt is deferred (450 4.2.0); another
one after greylist_delay and within greylist_retry_window passes, and so does all mail of this triplet for
greylist_max_age after the last. A network from which greylist_auto_allow triplets have passed is let through at once.
Senders are compared without extension and numbers, since mailing lists change them with each message.
The deferral speaks up only where nothing refuses for good. A cache that cannot be used lets mail through, with a
warning.
Limits: greylist_cache_size_limit. Source: Evan Harris, "The Next Step in the Spam Control War: Greylisting", 2003.
"""

import asyncio
import ipaddress
import re
import time
from typing import NamedTuple

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.maps.cache import Cache, CacheError
from mailsuite.maps.matchlist import AddressList, DomainList
from mailsuite.smtp import params
from mailsuite.smtp.policy.judge import Judge
from mailsuite.smtp.policy.lists import restriction
from mailsuite.smtp.policy.resources import Resources
from mailsuite.smtp.policy.verdict import Verdict

SWEEP_KEY = "_LAST_CACHE_CLEANUP_COMPLETED_"
SWEEP_S = 3600
PAUSE_S = 0.01
_NUMBERS = re.compile(r"\d+")
log = logger("smtpd")


class Rules(NamedTuple):
    """Times in seconds; prefix lengths in bits."""

    delay: int
    retry_window: int
    max_age: int
    auto_allow: int
    ipv4_prefix: int
    ipv6_prefix: int


class Seen(NamedTuple):
    """A triplet: when it came first and last, and how often it passed. Or a network: first, last, triplets."""

    first: int
    last: int
    passed: int

    def __str__(self) -> str:
        return f"{self.first}:{self.last}:{self.passed}"


def _seen(value: str | None) -> Seen | None:
    try:
        first, last, passed = (value or "").split(":")
        return Seen(int(first), int(last), int(passed))
    except ValueError:
        return None


def network_of(address: str, ipv4_prefix: int, ipv6_prefix: int) -> str:
    """The network that counts as one client: "192.0.2.0/24"."""
    try:
        host = ipaddress.ip_address(address)
    except ValueError:
        return address
    prefix = ipv4_prefix if host.version == 4 else ipv6_prefix
    return str(ipaddress.ip_network((host, prefix), strict=False))


def sender_key(sender: str, delimiter: str) -> str:
    """A sender without what changes from message to message: "list-bounce+12345-u=h@l.test" -> "list-bounce@l.test"."""
    local, at, domain = sender.lower().rpartition("@")
    for sign in delimiter:
        local = local.partition(sign)[0] or local
    return f"{_NUMBERS.sub('#', local)}{at}{domain}"


class Greylist:
    """The rules over a cache; several processes may share it."""

    def __init__(self, rules: Rules, cache: Cache) -> None:
        self.rules, self.cache = rules, cache

    def wait_s(self, network: str, sender: str, recipient: str, now: float) -> int:
        """Seconds to wait before this mail passes; 0: now."""
        at, rules = int(now), self.rules
        client = "c:" + network
        known = _seen(self.cache.get(client))
        if rules.auto_allow and known is not None and known.passed >= rules.auto_allow \
                and at <= known.last + rules.max_age:
            if at > known.last + SWEEP_S:
                self.cache.put(client, str(known._replace(last=at)))
            return 0
        wait, passed_first = 0, False

        def judge(old: str | None) -> str:
            nonlocal wait, passed_first
            seen = _seen(old)
            if seen is None or self._expired(seen, at):
                seen = Seen(at, at, 0)
            wait = 0 if seen.passed else max(0, seen.first + rules.delay - at)
            if wait:
                return str(seen._replace(last=at))
            passed_first = not seen.passed
            return str(Seen(seen.first, at, seen.passed + 1))

        self.cache.change(f"t:{network}/{sender}/{recipient}", judge)
        if passed_first and rules.auto_allow:
            self.cache.change(client, lambda old: str(self._one_more(_seen(old), at)))
        return wait

    def _one_more(self, seen: Seen | None, at: int) -> Seen:
        if seen is None or at > seen.last + self.rules.max_age:
            return Seen(at, at, 1)
        return Seen(seen.first, at, seen.passed + 1)

    def _expired(self, seen: Seen, at: int) -> bool:
        """Passed long ago, or not come back in time."""
        return at > (seen.last + self.rules.max_age if seen.passed else seen.first + self.rules.retry_window)

    def keeps(self, key: str, value: str, at: int) -> bool:
        seen = _seen(value)
        if seen is None:
            return key == SWEEP_KEY
        return at <= seen.last + self.rules.max_age if key[:2] == "c:" else not self._expired(seen, at)

    def sweep_is_due(self, now: float) -> bool:
        """True for one process an hour, which then sweeps."""
        due = False

        def claim(old: str | None) -> str:
            nonlocal due
            due = not (old or "").isdigit() or int(old or 0) + SWEEP_S <= now
            return str(int(now)) if due else str(old)

        last = self.cache.get(SWEEP_KEY) or ""
        if last.isdigit() and int(last) + SWEEP_S > now:
            return False
        self.cache.change(SWEEP_KEY, claim)
        return due

    async def sweep(self) -> None:
        """Forget what has expired, in parts."""
        after: bytes | None = b""
        while after is not None:
            after = self.cache.sweep_some(lambda key, value: self.keeps(key, value, int(time.time())), after)[0]
            await asyncio.sleep(PAUSE_S)


class _State:
    """What one process has: opened with the first mail that is judged."""

    def __init__(self, resources: Resources) -> None:
        settings = self.settings = resources.settings
        self.rules = Rules(settings[params.GREYLIST_DELAY], settings[params.GREYLIST_RETRY_WINDOW],
                           settings[params.GREYLIST_MAX_AGE], settings[params.GREYLIST_AUTO_ALLOW],
                           settings[params.GREYLIST_IPV4_PREFIX_LENGTH], settings[params.GREYLIST_IPV6_PREFIX_LENGTH])
        self.clients = AddressList(settings[params.GREYLIST_CLIENT_EXCEPTIONS], resources.source,
                                   name="greylist_client_exceptions")
        self.recipients = DomainList(settings[params.GREYLIST_RECIPIENT_DOMAINS_EXCEPTIONS], resources.source,
                                     name="greylist_recipient_domain_exceptions")
        self._greylist: Greylist | None = None
        self._task: asyncio.Task[None] | None = None

    def greylist(self) -> Greylist:
        """Raises CacheError."""
        if self._greylist is None:
            name = self.settings[params.GREYLIST_MAP].rpartition(":")[2]
            self._greylist = Greylist(self.rules, Cache(
                name, limit_octets=self.settings[params.GREYLIST_CACHE_SIZE_LIMIT]))
        return self._greylist

    def sweep_when_due(self, now: float) -> None:
        greylist = self.greylist()
        if (self._task is None or self._task.done()) and greylist.sweep_is_due(now):
            self._task = asyncio.get_running_loop().create_task(greylist.sweep())


def _state(resources: Resources) -> _State:
    state = resources.services.setdefault("check_greylist", None) or _State(resources)
    resources.services["check_greylist"] = state
    assert isinstance(state, _State)
    return state


@restriction("check_greylist")
async def check_greylist(judge: Judge, argument: object) -> Verdict:
    facts, recipient = judge.facts, judge.facts.recipient
    if not recipient or not facts.client.address:
        return None
    state = _state(judge.resources)
    if await state.clients.matches_host(facts.client.name, facts.client.address) \
            or await state.recipients.matches(recipient.rpartition("@")[2]):
        return None
    rules, now = state.rules, time.time()
    network = network_of(facts.client.address, rules.ipv4_prefix, rules.ipv6_prefix)
    sender = sender_key(facts.sender or "", judge.resources.delimiter)
    try:
        wait = state.greylist().wait_s(network, sender, recipient.lower(), now)
        state.sweep_when_due(now)
    except (CacheError, OSError) as error:
        log.warning("greylisting is not possible: %s", error.detail if isinstance(error, TemporaryError) else error)
        return None
    if wait:
        judge.defer_when_permitted(450, "4.2.0", f"<{recipient}>: Recipient address rejected: Greylisted, "
                                                 f"try again in {wait} seconds")
    return None
