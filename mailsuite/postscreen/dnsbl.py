"""Block lists in DNS, added up: postscreen_dnsbl_sites.

    sites = parse_sites("bl.test*2, bl2.test=127.0.0.[2;4..6]*3, wl.test*-5")      raises ConfigError
    score = Score();  await ask(sites, resolver, "192.0.2.1", score)               fills score as answers come

A site counts once, with its weight, when one of its answers fits its filter. What cannot be asked counts nothing.
"""

import asyncio
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError
from mailsuite.base.log import logger
from mailsuite.dns.resolver import DnsError

if TYPE_CHECKING:
    from mailsuite.dns.resolver import Resolver

log = logger("dnsblog")
_SITE = re.compile(r"([^=*\s]+)(?:=([^*\s]+))?(?:\*(-?\d+))?")
_OCTET = re.compile(r"\[([\d.;]+)\]|(\d+)")


@dataclass(frozen=True)
class Site:
    """answers: one set of numbers for each octet; None: every answer counts."""

    domain: str
    weight: int = 1
    answers: tuple[frozenset[int], ...] | None = None

    def fits(self, address: str) -> bool:
        return self.answers is None or all(int(octet) in allowed for octet, allowed in
                                           zip(address.split("."), self.answers, strict=True))


@dataclass
class Score:
    """points so far; domain: the site of the largest weight that counted; ttl_s: how long answers are believed."""

    points: int = 0
    domain: str = ""
    weight: int = 0
    ttl_s: int | None = None
    done: bool = False
    hits: list[str] = field(default_factory=list)

    def add(self, site: Site) -> None:
        self.points += site.weight
        self.hits.append(site.domain)
        if not self.domain or site.weight > self.weight:
            self.domain, self.weight = site.domain, site.weight

    def believe(self, ttl_s: int) -> None:
        if ttl_s > 0:
            self.ttl_s = ttl_s if self.ttl_s is None else min(self.ttl_s, ttl_s)


def parse_sites(text: str) -> list[Site]:
    """Raises ConfigError with the item that can't be read."""
    sites = []
    for word in text.replace(",", " ").split():
        match = _SITE.fullmatch(word)
        if match is None:
            raise ConfigError(f"bad DNSBL site: {word}")
        sites.append(Site(match[1], int(match[3] or 1), _filter(match[2], word) if match[2] else None))
    return sites


def _filter(text: str, word: str) -> tuple[frozenset[int], ...]:
    octets, at = [], 0
    for number in range(4):
        match = _OCTET.match(text, at)
        if match is None or (number < 3 and text[match.end():match.end() + 1] != "."):
            raise ConfigError(f"bad DNSBL filter syntax: {word}")
        allowed: set[int] = set()
        for part in (match[1] or match[2]).split(";"):
            first, _, last = part.partition("..")
            if not first.isdigit() or not (last or first).isdigit() or not int(first) <= int(last or first) <= 255:
                raise ConfigError(f"bad DNSBL filter syntax: {word}")
            allowed.update(range(int(first), int(last or first) + 1))
        octets.append(frozenset(allowed))
        at = match.end() + 1
    if at <= len(text):
        raise ConfigError(f"bad DNSBL filter syntax: {word}")
    return tuple(octets)


async def ask(sites: Sequence[Site], resolver: "Resolver", client: str, score: Score) -> None:
    """Ask all domains at once, each once, whatever the number of its filters. Never raises."""
    pointer = ipaddress.ip_address(client).reverse_pointer
    key = pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
    domains: dict[str, list[Site]] = {}
    for site in sites:
        domains.setdefault(site.domain, []).append(site)

    async def one(domain: str, mine: list[Site]) -> None:
        try:
            answer = await resolver.addresses(f"{key}.{domain}", family="ipv4", use_hosts=False)
        except DnsError as error:
            log.warning("dnsblog_query: lookup error for DNS query %s.%s: %s", key, domain, error.public)
            return
        score.believe(answer.ttl_s)
        for address in answer.records:
            log.info("addr %s listed by domain %s as %s", client, domain, address)
        for site in mine:
            if any(site.fits(address) for address in answer.records):
                score.add(site)

    await asyncio.gather(*(one(domain, mine) for domain, mine in domains.items()))
    score.done = True
