"""DMARC: does SPF or DKIM speak for the domain that the reader sees in From:? Source: RFC 7489 section 6.6.

    result = await evaluate(from_domains(content), spf, dkim, resolver, DmarcOptions(), sample=random.random)
    result.result       "pass", "fail", "none" (no policy), "temperror", "permerror"
    result.disposition  "none", "quarantine" or "reject": what the domain's owner asks for this message

A message with several author domains is judged for each, and the worst counts: nobody hides a forged one behind a good
one (section 6.6.1). Limits: AUTHORS_LIMIT domains, FROM_LIMIT octets of From:; more is a permerror with disposition
reject.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from mailsuite.address.header import parse_addresses
from mailsuite.address.hostname import is_hostname
from mailsuite.address.idna import to_ascii
from mailsuite.auth_results.content import FieldIndex
from mailsuite.auth_results.dkim import DkimResult
from mailsuite.auth_results.dmarc_record import POLICIES, DmarcRecord, find_record
from mailsuite.auth_results.organization import organizational_domain, walk
from mailsuite.auth_results.spf import SpfResult
from mailsuite.dns.resolver import Answer, DnsError

AUTHORS_LIMIT = 4
FROM_LIMIT = 8 * 1024
_WORST = ("none", "pass", "permerror", "temperror", "fail")


class DmarcDns(Protocol):
    """What of the Resolver is asked."""

    async def txt(self, name: str) -> Answer[bytes]: ...
    async def addresses(self, host: str, *, family: str = "any", use_hosts: bool = True) -> Answer[str]: ...


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """domain: of From:. found_at: whose record it is. policy: what it says for this domain, before pct= and t=.

    aligned: "dkim", "spf" or "".
    """

    result: str
    domain: str = ""
    found_at: str = ""
    policy: str = ""
    disposition: str = "none"
    aligned: str = ""
    reason: str = ""
    record: DmarcRecord | None = None


class Authors(NamedTuple):
    """domains: of From:, A-labels in lower case, each once. too_many: more than are looked at."""

    domains: list[str]
    too_many: bool = False


def from_domains(index: FieldIndex) -> Authors:
    """All From: fields are read: which one a reader sees is not known."""
    found: list[str] = []
    fields = index.all(b"from")
    if sum(len(field.value) for field in fields) > FROM_LIMIT:
        return Authors([], too_many=True)
    for field in fields:
        text = field.value.replace(b"\n", b"").decode("utf-8", "surrogateescape")
        for address in parse_addresses(text).addresses():
            domain = address.rpartition("@")[2] if "@" in address else ""
            try:
                domain = to_ascii(domain.strip().removesuffix(".")).lower()
            except ValueError:
                continue
            if domain not in found and is_hostname(domain):
                found.append(domain)
            if len(found) > AUTHORS_LIMIT:
                return Authors(found[:AUTHORS_LIMIT], too_many=True)
    return Authors(found)


async def evaluate(authors: Authors, spf: SpfResult | None, dkim: Sequence[DkimResult], resolver: DmarcDns, *,
                   tree_walk: bool = False, sample: Callable[[], float]) -> DmarcResult:
    """Never raises. sample: a number from 0 to 1 for pct=."""
    if authors.too_many:
        return DmarcResult("permerror", next(iter(authors.domains), ""), policy="reject", disposition="reject",
                           reason="too many authors in From")
    if not authors.domains:
        return DmarcResult("permerror", reason="no domain in From")
    worst: DmarcResult | None = None
    for domain in authors.domains:
        one = await _one(domain, spf, dkim, resolver, tree_walk, sample)
        if worst is None or _rank(one) > _rank(worst):
            worst = one
    assert worst is not None
    return worst


def _rank(result: DmarcResult) -> tuple[int, int]:
    return POLICIES.index(result.disposition), _WORST.index(result.result)


async def prefetch(authors: Authors, resolver: DmarcDns) -> None:
    """Ask for the records while others are asked; the resolver remembers them. Never raises."""
    names = {name for domain in authors.domains for name in (domain, organizational_domain(domain))}
    await asyncio.gather(*(find_record(resolver, name) for name in names), return_exceptions=True)


async def discover(domain: str, resolver: DmarcDns, *,
                   tree_walk: bool = False) -> tuple[str, DmarcRecord | None, str, str]:
    """For people: whose record it is, the record, the policy for domain, its organizational domain. Raises DnsError."""
    discovery = _TreeWalk(resolver) if tree_walk else _SuffixList(resolver)
    found_at, record = await discovery.policy(domain)
    policy = await _policy(domain, found_at, record, resolver) if record is not None else ""
    return found_at, record, policy, await discovery.organization(domain)


async def _one(domain: str, spf: SpfResult | None, dkim: Sequence[DkimResult], resolver: DmarcDns, tree_walk: bool,
               sample: Callable[[], float]) -> DmarcResult:
    discovery = _TreeWalk(resolver) if tree_walk else _SuffixList(resolver)
    try:
        found_at, record = await discovery.policy(domain)
        if record is None:
            return DmarcResult("none", domain)
        policy = await _policy(domain, found_at, record, resolver)
        known = DmarcResult("fail", domain, found_at, policy, record=record)
        aligned = await _aligned(domain, spf, dkim, record, discovery)
    except DnsError as error:
        return DmarcResult("temperror", domain, reason=f"{error.name}: {error.why}")
    if aligned:
        return replace(known, result="pass", aligned=aligned)
    if (spf is not None and spf.result == "temperror") or any(one.result == "temperror" for one in dkim):
        return replace(known, result="temperror", reason="SPF or DKIM could not be looked up")
    return replace(known, disposition=_disposition(policy, record, sample))


async def _policy(domain: str, found_at: str, record: DmarcRecord, resolver: DmarcDns) -> str:
    """p=, or sp= or np= for a name below the record's; RFC 7489 section 6.6.3, RFC 9091 section 3. Raises DnsError."""
    if domain == found_at:
        return record.policy
    below = record.subdomains or record.policy
    if record.missing and record.missing != below and \
            not (await resolver.addresses(domain, use_hosts=False)).exists:
        return record.missing
    return below


def _disposition(policy: str, record: DmarcRecord, sample: Callable[[], float]) -> str:
    """pct= and t= let mail off with the next milder policy: RFC 7489 section 6.6.4."""
    spared = record.testing or (record.percent < 100 and sample() * 100 >= record.percent)
    return POLICIES[max(0, POLICIES.index(policy) - 1)] if spared else policy


async def _aligned(domain: str, spf: SpfResult | None, dkim: Sequence[DkimResult], record: DmarcRecord,
                   discovery: "_Discovery") -> str:
    """Which of the two speaks for domain: RFC 7489 section 3.1. Raises DnsError."""
    for one in dkim:
        if one.result == "pass" and await _same(domain, one.domain, record.strict_dkim, discovery):
            return "dkim"
    if spf is not None and spf.result == "pass":
        try:
            envelope = to_ascii(spf.domain).lower().removesuffix(".")
        except ValueError:
            return ""
        if await _same(domain, envelope, record.strict_spf, discovery):
            return "spf"
    return ""


async def _same(author: str, other: str, strict: bool, discovery: "_Discovery") -> bool:
    if author == other or strict:
        return author == other
    return await discovery.organization(author) == await discovery.organization(other)


class _Discovery(Protocol):
    async def policy(self, domain: str) -> tuple[str, DmarcRecord | None]:
        """The name that has the record for a domain, and the record. Raises DnsError."""
        ...

    async def organization(self, domain: str) -> str:
        """Raises DnsError."""
        ...


class _SuffixList:
    """RFC 7489: the domain itself, then its organizational domain by the public suffix list."""

    def __init__(self, resolver: DmarcDns) -> None:
        self._resolver = resolver

    async def policy(self, domain: str) -> tuple[str, DmarcRecord | None]:
        record = await find_record(self._resolver, domain)
        organization = organizational_domain(domain)
        if record is None and organization != domain:
            return organization, await find_record(self._resolver, organization)
        return domain, record

    async def organization(self, domain: str) -> str:
        return organizational_domain(domain)


class _TreeWalk:
    """DMARCbis: no list, but a few more questions."""

    def __init__(self, resolver: DmarcDns) -> None:
        self._resolver = resolver

    async def policy(self, domain: str) -> tuple[str, DmarcRecord | None]:
        found = await walk(self._resolver, domain)
        for name in (domain, found.organization, *found.records):
            if name in found.records:
                return name, found.records[name]
        return domain, None

    async def organization(self, domain: str) -> str:
        return (await walk(self._resolver, domain)).organization
