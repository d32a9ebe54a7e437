"""Restrictions that judge a name by its servers in DNS: check_*_mx_access, _ns_access, _a_access, permit_mx_backup.

For a domain's mail servers (without MX: the domain itself), name servers (of the domain or the nearest parent that has
some), each name and each address is looked up in the access table, for a domain's own addresses (check_*_a_access) only
the addresses; the first result counts. What cannot be found in DNS is logged and decides nothing.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from mailsuite.base.log import logger
from mailsuite.dns.resolver import DnsError
from mailsuite.maps.maps import Found, Maps
from mailsuite.smtp.facts import Facts
from mailsuite.smtp.policy.access import find_name, find_network, judge_as, open_table
from mailsuite.smtp.policy.judge import Judge
from mailsuite.smtp.policy.lists import Rule, restriction
from mailsuite.smtp.policy.verdict import PERMIT, Verdict
from mailsuite.smtp.syntax import is_address_literal

log = logger("smtpd")
HOSTS_LIMIT = 100       # servers of one domain that are looked at


class Subject(NamedTuple):
    """What is judged: the name in DNS, what the reply calls it, and its kind."""

    domain: str
    shown: str
    kind: str


def _of_address(address: str | None) -> str:
    return (address or "").rpartition("@")[2] if "@" in (address or "") else ""


def _client(facts: Facts) -> Subject:
    return Subject(facts.client.name, facts.client.host, "Client host")


def _reverse_client(facts: Facts) -> Subject:
    return Subject(facts.client.reverse_name, facts.client.reverse_name, "Unverified Client host")


def _helo(facts: Facts) -> Subject:
    return Subject(facts.helo or "", facts.helo or "", "Helo command")


def _sender(facts: Facts) -> Subject:
    return Subject(_of_address(facts.sender), facts.sender or "", "Sender address")


def _recipient(facts: Facts) -> Subject:
    return Subject(_of_address(facts.recipient), facts.recipient or "", "Recipient address")


async def _mail_servers(judge: Judge, subject: Subject) -> list[str]:
    answer = await judge.resources.resolver.mx(subject.domain)
    hosts = [record.host for record in answer.records if record.host]
    return hosts if hosts or answer else [subject.domain]


async def _name_servers(judge: Judge, subject: Subject) -> list[str]:
    domain = subject.domain
    while domain:
        answer = await judge.resources.resolver.ns(domain)
        if answer:
            return list(answer.records)
        domain = domain.partition(".")[2]
    log.warning("Unable to look up NS host for %s: Host found but no data record of requested type", subject.shown)
    return []


async def _itself(judge: Judge, subject: Subject) -> list[str]:
    return [subject.domain]


_SERVERS: dict[str, Callable[[Judge, Subject], Awaitable[list[str]]]] = {
    "mx": _mail_servers, "ns": _name_servers, "a": _itself}
_SUBJECTS: dict[str, Callable[[Facts], Subject]] = {
    "client": _client, "reverse_client_hostname": _reverse_client, "helo": _helo, "sender": _sender,
    "recipient": _recipient}


async def _check(judge: Judge, maps: Maps, subject: Subject, kind: str) -> Verdict:
    domain = subject.domain
    if not domain or domain == "unknown":
        return None
    if is_address_literal(domain):
        address = domain[1:-1].removeprefix("IPv6:").removeprefix("ipv6:")
        return await judge_as(judge, subject.shown, subject.kind, find_network(maps, address))
    try:
        hosts = await _SERVERS[kind](judge, subject)
    except DnsError as error:
        log.warning("Unable to look up %s host for %s: %s", kind.upper(), domain, error.why)
        return None
    return await judge_as(judge, subject.shown, subject.kind, _by_hosts(judge, maps, hosts, subject, kind))


async def _by_hosts(judge: Judge, maps: Maps, hosts: list[str], subject: Subject, kind: str) -> Found | None:
    """The first result for a host's name or one of its addresses. Raises TemporaryError."""
    for host in hosts[:HOSTS_LIMIT]:
        found = None if kind == "a" else await find_name(judge, maps, host)
        if found is None:
            found = await _by_address(judge, maps, host, subject, kind)
        if found is not None:
            return found
    return None


async def _by_address(judge: Judge, maps: Maps, host: str, subject: Subject, kind: str) -> Found | None:
    try:
        answer = await judge.resources.resolver.addresses(host)
    except DnsError as error:
        if kind != "a":
            log.warning("Unable to look up %s host %s for %s %s: %s", kind.upper(), host, subject.kind,
                        subject.shown, error.why)
        return None
    if not answer and kind != "a":
        log.warning("Unable to look up %s host %s for %s %s: Name or service not known", kind.upper(), host,
                    subject.kind, subject.shown)
    for address in answer.records:
        found = await find_network(maps, address)
        if found is not None:
            return found
    return None


def _rule(subject_of: Callable[[Facts], Subject], kind: str) -> Rule:
    async def check(judge: Judge, argument: object) -> Verdict:
        assert isinstance(argument, Maps)
        return await _check(judge, argument, subject_of(judge.facts), kind)

    return check


for _who, _subject_of in _SUBJECTS.items():
    for _kind in _SERVERS:
        restriction(f"check_{_who}_{_kind}_access", prepare=open_table)(_rule(_subject_of, _kind))


@restriction("permit_mx_backup")
async def permit_mx_backup(judge: Judge, argument: object) -> Verdict:
    """We are a mail server of the recipient's domain, or its destination."""
    resources, recipient = judge.resources, judge.facts.recipient
    if not recipient:
        return None
    resolution = await resources.resolve(judge.facts.sender or "", recipient)
    if resolution.address_class != "default":
        return PERMIT
    domain = _of_address(resolution.recipient)
    if resolution.routed or not domain or domain.startswith("["):
        return None
    try:
        answer = await resources.resolver.mx(domain)
        if not answer:
            return None
        own, best = False, min(record.preference for record in answer.records)
        primaries: list[str] = []
        for record in answer.records[:HOSTS_LIMIT]:
            addresses = (await resources.resolver.addresses(record.host)).records if record.host else ()
            own = own or any(resources.is_own_address(address) for address in addresses)
            if record.preference == best:
                primaries += addresses
    except DnsError as error:
        judge.defer_when_permitted(450, "4.4.4", f"<{recipient}>: {judge.kind} rejected: Unable to look up mail "
                                                 f"exchanger information: {error.why}")
        return None
    if not own:
        return None
    networks = resources.mx_backup_networks
    if not networks.empty and not any([await networks.matches(address) for address in primaries]):
        return None
    return PERMIT
