"""Whose domain is that? The organizational domain, by the public suffix list or by DMARC's tree walk.

    organizational_domain("mail.example.co.uk") -> "example.co.uk"              RFC 7489 section 3.2
    await walk(resolver, "mail.example.co.uk") -> Walk(organization, records)   the tree walk of DMARCbis section 4.10

The list comes with the package publicsuffixlist; it is read once, before services are forked.
Limits of the walk: WALK_QUERIES names, asked side by side.
"""

import asyncio
from functools import lru_cache
from typing import NamedTuple

from publicsuffixlist import PublicSuffixList

from mailsuite.auth_results.dkim_key import TxtDns
from mailsuite.auth_results.dmarc_record import DmarcRecord, find_record

WALK_QUERIES = 8


@lru_cache(maxsize=1)
def public_suffixes() -> PublicSuffixList:
    """The list; takes some 50 ms the first time."""
    return PublicSuffixList()


@lru_cache(maxsize=4096)
def organizational_domain(domain: str) -> str:
    """domain: A-labels, lower case. A public suffix stands for itself."""
    found: str | None = public_suffixes().privatesuffix(domain)
    return found or domain


class Walk(NamedTuple):
    """organization: the organizational domain. records: the names above and including the start that have one."""

    organization: str
    records: dict[str, DmarcRecord]


async def walk(resolver: TxtDns, domain: str) -> Walk:
    """Raises DnsError."""
    labels = domain.split(".")
    names = [domain]
    above = labels[1:] if len(labels) < WALK_QUERIES else labels[-(WALK_QUERIES - 1):]
    names += [".".join(above[at:]) for at in range(len(above))]
    found = await asyncio.gather(*(find_record(resolver, name) for name in names), return_exceptions=True)
    records: dict[str, DmarcRecord] = {}
    for name, one in zip(names, found, strict=True):
        if isinstance(one, BaseException):
            raise one
        if one is not None:
            records[name] = one
    return Walk(_chosen(domain, names, records), records)


def _chosen(domain: str, names: list[str], records: dict[str, DmarcRecord]) -> str:
    for name in names:              # from the longest to the shortest
        record = records.get(name)
        if record is None:
            continue
        if record.psd == "n":
            return name
        if record.psd == "y" and name != domain:
            keep = name.count(".") + 2
            return ".".join(domain.split(".")[-keep:])
    return next((name for name in reversed(names) if name in records), domain)
