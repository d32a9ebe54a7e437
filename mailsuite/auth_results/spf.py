"""May this address send for that domain? SPF's check_host(), RFC 7208.

    result = await check_mail_from(resolver, "192.0.2.1", "bob@example.com", "mx.example.com", options)
    result.result                    "pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"

check_helo asks the same about the HELO name. Neither raises: what cannot be asked is a temperror.
Limits (section 4.6.4): `SpfOptions`; all ends in time_limit_s. Addresses of one mechanism are asked for side by side.
"""

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mailsuite.address.hostname import is_ipv4, is_ipv6
from mailsuite.address.idna import to_ascii
from mailsuite.auth_results.spf_macros import MacroFacts, expand, expand_name, needs_validated_name
from mailsuite.auth_results.spf_record import Mechanism, Record, SpfError, explain_text, is_spf, parse_record
from mailsuite.dns.resolver import Answer, DnsError

MX_LIMIT = PTR_LIMIT = 10           # RFC 7208 section 4.6.4: names of one mx, ptr or %{p}
EXPLANATION_LIMIT = 400             # an SMTP reply line has 512 octets
_RESULTS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}


class Dns(Protocol):
    """What of dns.resolver.Resolver is asked."""

    async def txt(self, name: str) -> Answer[bytes]: ...
    async def mx(self, domain: str) -> Answer[Any]: ...
    async def ptr(self, address: str) -> Answer[str]: ...
    async def addresses(self, host: str, *, family: str = "any", use_hosts: bool = True) -> Answer[str]: ...


@dataclass(frozen=True, slots=True)
class SpfOptions:
    """lookups: terms that ask DNS. voids: answers without a record. receiver: %{r}."""

    lookups: int = 10
    voids: int = 2
    time_limit_s: float = 20.0
    receiver: str = "unknown"


@dataclass(frozen=True, slots=True)
class SpfResult:
    """identity: "mailfrom" or "helo"; domain: whose policy was asked. explanation: the domain owner's words for fail.

    mechanism: the term that decided. problem: why it is an error.
    """

    result: str
    identity: str = "mailfrom"
    domain: str = ""
    explanation: str = ""
    mechanism: str = ""
    problem: str = ""


async def check_helo(resolver: Dns, address: str, helo: str, options: SpfOptions) -> SpfResult:
    """The HELO identity: RFC 7208 section 2.3. "none" for an address literal."""
    return await _check(resolver, address, "postmaster", helo, helo, options, "helo")


async def check_mail_from(resolver: Dns, address: str, sender: str, helo: str, options: SpfOptions) -> SpfResult:
    """The MAIL FROM identity; for the null sender postmaster@helo (RFC 7208 section 2.4)."""
    local, _, domain = sender.rpartition("@")
    return await _check(resolver, address, local or "postmaster", domain if sender else helo, helo, options,
                        "mailfrom")


async def _check(resolver: Dns, address: str, local: str, domain: str, helo: str, options: SpfOptions,
                 identity: str) -> SpfResult:
    try:
        client = ipaddress.ip_address(address)
        name = to_ascii(domain).removesuffix(".")
    except ValueError:
        return SpfResult("none", identity, domain)
    if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    check = _Check(resolver, MacroFacts(client, local, name, helo, options.receiver), options)
    try:
        async with asyncio.timeout(options.time_limit_s):
            result, mechanism, explanation = await check.host(name)
    except SpfError as error:
        return SpfResult(error.result, identity, domain, problem=str(error))
    except DnsError as error:
        return SpfResult("temperror", identity, domain, problem=f"{error.name} {error.rtype}: {error.why}")
    except TimeoutError:
        return SpfResult("temperror", identity, domain, problem="no answer in time")
    return SpfResult(result, identity, domain, explanation, mechanism)


def _is_domain(name: str) -> bool:
    """Whether DNS can have it and it has more than one label: RFC 7208 section 4.3."""
    labels = name.split(".")
    return len(labels) > 1 and len(name) <= 253 and all(0 < len(label) <= 63 for label in labels)


class _Check:
    """One evaluation: the counters go through all records of it."""

    def __init__(self, resolver: Dns, facts: MacroFacts, options: SpfOptions) -> None:
        self.dns, self.facts, self.options = resolver, facts, options
        self.lookups = self.voids = 0
        self.validated: list[str] | None = None
        self.family = "ipv4" if facts.address.version == 4 else "ipv6"

    async def host(self, domain: str, *, explain: bool = True) -> tuple[str, str, str]:
        """check_host(): result, the mechanism that decided, the explanation. Raises SpfError, DnsError."""
        if not _is_domain(domain):
            return "none", "", ""
        record = await self._record(domain)
        if record is None:
            return "none", "", ""
        for mechanism in record.mechanisms:
            if await self._matches(mechanism, domain):
                result = _RESULTS[mechanism.qualifier]
                wanted = explain and result == "fail" and record.explanation is not None
                text = await self._explain(record.explanation or "", domain) if wanted else ""
                return result, mechanism.text, text
        if record.redirect is None:
            return "neutral", "", ""
        self._count()
        found = await self.host(await self._name(record.redirect, domain), explain=explain)
        if found[0] == "none":
            raise SpfError("redirect= to a domain without a record")
        return found

    async def _record(self, domain: str) -> Record | None:
        answer = await self.dns.txt(domain)
        found = [text for text in answer.records if is_spf(text)]
        if len(found) > 1:
            raise SpfError(f"{domain} has several records")
        return parse_record(found[0]) if found else None

    # --- mechanisms ---------------------------------------------------------------------------------------------

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        match mechanism.name:
            case "all":
                return True
            case "ip4" | "ip6":
                network, address = mechanism.network, self.facts.address
                return network is not None and network.version == address.version and address in network
        self._count()
        target = await self._name(mechanism.domain, domain) if mechanism.domain else domain
        match mechanism.name:
            case "include":
                return await self._included(target)
            case "exists":
                return bool(await self._addresses(target, "ipv4"))
            case "a":
                return self._within(await self._addresses(target, self.family), mechanism)
            case "mx":
                return await self._matches_mx(target, mechanism)
            case _:
                return await self._validated_name(target) is not None

    async def _included(self, target: str) -> bool:
        result = (await self.host(target, explain=False))[0]
        if result == "none":
            raise SpfError("include: of a domain without a record")
        return result == "pass"

    async def _matches_mx(self, target: str, mechanism: Mechanism) -> bool:
        if not _is_domain(target):
            return False
        answer = await self.dns.mx(target)
        if not answer:
            self._void()
            return False
        if len(answer.records) > MX_LIMIT:
            raise SpfError(f"{target} has more than {MX_LIMIT} MX records")
        hosts = [record.host for record in answer.records if _is_domain(record.host)]
        found = await asyncio.gather(*(self.dns.addresses(host, family=self.family, use_hosts=False)
                                       for host in hosts if not is_ipv4(host)), return_exceptions=True)
        for one in found:           # a match needs no answer of the others
            if isinstance(one, Answer) and self._within(one.records, mechanism):
                return True
        for one in found:
            if isinstance(one, BaseException):
                raise one
            if not one:
                self._void()
        return False

    async def _addresses(self, target: str, family: str) -> Sequence[str]:
        if not _is_domain(target) or is_ipv4(target) or is_ipv6(target):
            return ()
        answer = await self.dns.addresses(target, family=family, use_hosts=False)
        if not answer:
            self._void()
        return answer.records

    def _within(self, addresses: Sequence[str], mechanism: Mechanism) -> bool:
        client = self.facts.address
        bits = client.max_prefixlen - (mechanism.length4 if client.version == 4 else mechanism.length6)
        return any(int(ipaddress.ip_address(one)) >> bits == int(client) >> bits for one in addresses)

    # --- names of the client ------------------------------------------------------------------------------------

    async def _validated_names(self) -> list[str]:
        """PTR names that lead back to the client; RFC 7208 section 5.5. A failing look-up is no name."""
        if self.validated is None:
            self.validated = []
            address = str(self.facts.address)
            try:
                answer = await self.dns.ptr(address)
            except DnsError:
                return self.validated
            if not answer:
                self._void()
            names = [name for name in answer.records[:PTR_LIMIT] if _is_domain(name) and not is_ipv4(name)]
            found = await asyncio.gather(*(self.dns.addresses(name, family=self.family, use_hosts=False)
                                           for name in names), return_exceptions=True)
            for name, one in zip(names, found, strict=True):
                if isinstance(one, Answer) and any(ipaddress.ip_address(text) == self.facts.address
                                                   for text in one.records):
                    self.validated.append(name)
        return self.validated

    async def _validated_name(self, target: str) -> str | None:
        """The client's name that is target or below it."""
        target = target.lower()
        names = await self._validated_names()
        same = [name for name in names if name.lower() == target]
        below = [name for name in names if name.lower().endswith("." + target)]
        return next(iter(same + below), None)

    # --- texts --------------------------------------------------------------------------------------------------

    async def _name(self, spec: str, domain: str) -> str:
        return expand_name(spec, self.facts, domain=domain, validated=await self._p_macro(spec, domain))

    async def _p_macro(self, text: str, domain: str) -> str:
        if not needs_validated_name(text):
            return "unknown"
        chosen = await self._validated_name(domain)
        names = await self._validated_names()
        return chosen or (names[0] if names else "unknown")

    async def _explain(self, spec: str, domain: str) -> str:
        """The domain owner's text; "" for whatever is wrong with it (RFC 7208 section 6.2)."""
        try:
            target = await self._name(spec, domain)
            if not _is_domain(target):
                return ""
            answer = await self.dns.txt(target)
            if len(answer.records) != 1:
                return ""
            text = explain_text(answer.records[0].decode("ascii"))
            found = expand(text, self.facts, domain=domain, validated=await self._p_macro(text, domain))
        except (SpfError, DnsError, UnicodeDecodeError):
            return ""
        return found[:EXPLANATION_LIMIT] if found.isascii() and found.isprintable() else ""

    # --- limits -------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        self.lookups += 1
        if self.lookups > self.options.lookups:
            raise SpfError(f"more than {self.options.lookups} terms that ask DNS")

    def _void(self) -> None:
        self.voids += 1
        if self.voids > self.options.voids:
            raise SpfError(f"more than {self.options.voids} look-ups without an answer")
