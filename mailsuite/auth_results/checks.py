"""What restrictions and the verifier share in a process: options, and SPF results that were just found.

    checks = Checks(settings, resolver)
    result = await checks.mail_from("192.0.2.1", "bob@example.com", "mx.example.com")       never raises
    resolver = checks.within_time()         the resolver, until auth_results_timeout is over

Limits: REMEMBERED results, for REMEMBER_S seconds each.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from mailsuite.auth_results import params
from mailsuite.auth_results.dkim import DkimOptions
from mailsuite.auth_results.spf import SpfOptions, SpfResult, check_helo, check_mail_from
from mailsuite.dns.resolver import Answer, DnsError

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.dns.resolver import Resolver

REMEMBERED = 1000
REMEMBER_S = 60.0               # from the first recipient of a message to its end
T = TypeVar("T")
_Key = tuple[str, str, str, str]


class TimedResolver:
    """A resolver until a moment; later questions, and those without an answer by then, raise DnsError."""

    def __init__(self, resolver: "Resolver", limit_s: float) -> None:
        self._resolver = resolver
        self._end = asyncio.get_running_loop().time() + limit_s

    async def _ask(self, question: Awaitable[T], name: str, rtype: str) -> T:
        try:
            async with asyncio.timeout_at(self._end):
                return await question
        except TimeoutError:
            raise DnsError(name, rtype, "no answer in time") from None

    async def txt(self, name: str) -> Answer[bytes]:
        return await self._ask(self._resolver.txt(name), name, "TXT")

    async def mx(self, domain: str) -> Answer[Any]:
        return await self._ask(self._resolver.mx(domain), domain, "MX")

    async def ptr(self, address: str) -> Answer[str]:
        return await self._ask(self._resolver.ptr(address), address, "PTR")

    async def addresses(self, host: str, *, family: str = "any", use_hosts: bool = True) -> Answer[str]:
        return await self._ask(self._resolver.addresses(host, family=family, use_hosts=use_hosts), host, "A")


class Checks:
    """One per process."""

    def __init__(self, settings: "Settings", resolver: "Resolver") -> None:
        self.resolver = resolver
        self.limit_s = settings[params.AUTH_RESULTS_TIMEOUT]
        self.hostname = settings[params.AUTH_RESULTS_HOSTNAME].lower()
        self.checks_helo = settings[params.SPF_CHECK_HELO]
        self.spf = SpfOptions(settings[params.SPF_LOOKUP_LIMIT], settings[params.SPF_VOID_LOOKUP_LIMIT],
                              self.limit_s, self.hostname)
        self.dkim = DkimOptions(settings[params.DKIM_SIGNATURE_LIMIT], settings[params.DKIM_MINIMUM_KEY_BITS],
                                settings[params.DKIM_CLOCK_SKEW], settings[params.DKIM_ACCEPT_PARTIAL_BODY])
        self._known: OrderedDict[_Key, tuple[float, asyncio.Task[SpfResult]]] = OrderedDict()

    def within_time(self) -> TimedResolver:
        """The resolver for one message."""
        return TimedResolver(self.resolver, self.limit_s)

    async def mail_from(self, address: str, sender: str, helo: str) -> SpfResult:
        """SPF of the envelope sender; for the null sender of the HELO name."""
        return await self._shared(("mailfrom", address, sender, helo), lambda: check_mail_from(
            self.resolver, address, sender, helo, self.spf))

    async def helo(self, address: str, helo: str) -> SpfResult:
        """SPF of the HELO name."""
        return await self._shared(("helo", address, "", helo), lambda: check_helo(
            self.resolver, address, helo, self.spf))

    async def _shared(self, key: _Key, check: Callable[[], Awaitable[SpfResult]]) -> SpfResult:
        """One evaluation for all who ask within REMEMBER_S; a temperror is forgotten at once."""
        loop = asyncio.get_running_loop()
        known = self._known.get(key)
        if known is None or known[0] <= loop.time():
            task = asyncio.ensure_future(check())
            assert isinstance(task, asyncio.Task)
            known = loop.time() + REMEMBER_S, task
            self._known[key] = known
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        result = await asyncio.shield(known[1])
        if result.result == "temperror" and self._known.get(key) is known:
            del self._known[key]
        return result
