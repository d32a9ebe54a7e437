"""From a nexthop to the addresses to try: MX, SRV, addresses, our own name among them.

    finder = HostFinder(settings, resolver, "smtp")
    finder.sites("a.test, [b.test]")                    (["a.test", "[b.test]"], smtp_fallback_relay)
    found = await finder.find("a.test")                 raises NoHost: bounce or defer, with reason

Source: RFC 5321 section 5, RFC 7505 (null MX), RFC 2782 (SRV).
"""

import asyncio
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from mailsuite.config.registry import boolean
from mailsuite.config.settings import Settings
from mailsuite.dns.resolver import DnsError, Mx, Resolver
from mailsuite.smtp.client import Endpoint
from mailsuite.smtp.client_destination import Destination, NoHost, parse_destination, service_port
from mailsuite.smtp.client_own import is_address, my_addresses
from mailsuite.smtp.client_params import (
    ALLOW_SRV_FALLBACK,
    CNAME_OVERRIDES,
    IGNORE_SRV_ERROR,
    KNOWN_TCP_PORTS,
    MX_ADDRESS_LIMIT,
    USE_SRV,
)

NATIVE_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Found:
    """Endpoints in the order to try. backup: we are an MX host of the domain ourselves, a worse one than these."""

    endpoints: tuple[Endpoint, ...]
    backup: bool = False


class Host(NamedTuple):
    """One address of one host. validated: by DNSSEC. canonical: the host's name at the end of aliases. port: SRV's."""

    preference: int
    name: str
    address: str
    validated: bool = False
    canonical: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Of one host; see Host."""

    all: list[str]
    validated: bool = False
    name: str = ""

    def hosts(self, preference: int, name: str, port: int = 0) -> "list[Host]":
        return [Host(preference, name, address, self.validated, self.name, port) for address in self.all]


class _Mx(NamedTuple):
    """secure: nobody but the domain's zone, or the administrator, says who the hosts are. backup: as in Found."""

    secure: bool = True
    backup: bool = False


class HostFinder:
    """One per configuration. warn: for what an administrator should know, for the log."""

    def __init__(self, settings: Settings, resolver: Resolver, prefix: str,
                 warn: Callable[[str], None] = lambda text: None) -> None:
        self._resolver, self._lmtp, self._warn = resolver, prefix == "lmtp", warn
        self._ports, self._service = settings[KNOWN_TCP_PORTS], settings.text(f"{prefix}_tcp_port")
        self._port = service_port(self._service, 24 if self._lmtp else 25, self._ports)
        self._srv: tuple[str, ...] = settings[USE_SRV]
        self._srv_fallback = settings[ALLOW_SRV_FALLBACK]
        self._ignore_srv_error = settings[IGNORE_SRV_ERROR]
        self._cname = settings[CNAME_OVERRIDES[prefix]]
        self._limit = settings[MX_ADDRESS_LIMIT[prefix]]
        protocols = settings.text("inet_protocols").replace(",", " ").lower().split()
        self._family = protocols[0] if protocols in (["ipv4"], ["ipv6"]) else "any"
        self._preference = settings.text(f"{prefix}_address_preference")
        self._my_name, self._my_addresses = settings.text("myhostname"), my_addresses(settings)
        self._fallback = settings.text(f"{prefix}_fallback_relay").replace(",", " ").split()
        yes = boolean()
        self._shuffle = yes(settings.text(f"{prefix}_randomize_addresses"))
        self._balance = yes(settings.text(f"{prefix}_balance_inet_protocols"))
        self._defer_if_no_mx = yes(settings.text(f"{prefix}_defer_if_no_mx_address_found"))
        self._ignore_mx_error = yes(settings.text("ignore_mx_lookup_error"))
        level = settings.text(f"{prefix}_dns_support_level") or (
            "disabled" if yes(settings.text("disable_dns_lookups")) else "enabled")
        self._use_mx = level != "disabled"
        lookup = settings.text(f"{prefix}_host_lookup").replace(",", " ").lower().split()
        self._dns = self._use_mx and "dns" in lookup
        self._native = not self._use_mx or "native" in lookup

    def sites(self, nexthop: str) -> tuple[list[str], list[str]]:
        """The destinations that a nexthop lists, and the relays that take what they do not: smtp_fallback_relay."""
        if nexthop.startswith("unix:"):
            return [nexthop], []
        return nexthop.replace(",", " ").split() or [nexthop], self._fallback

    async def find(self, nexthop: str, *, fallback: bool = False) -> Found:
        """The hosts of a nexthop, at most smtp_mx_address_limit. fallback: not the mail's own one. Raises NoHost."""
        destination = parse_destination(nexthop, self._port, self._ports)
        if destination.path:
            name = self._my_name
            return Found((Endpoint(name, path=destination.path, domain=name),))
        hosts, mx = await self._hosts(destination)
        best = min(host.preference for host in hosts)
        return Found(tuple(
            Endpoint(host.canonical if self._cname and host.canonical else host.name, host.address,
                     host.port or destination.port, domain=destination.host, best=host.preference == best,
                     fallback=fallback, secure=mx.secure, validated=host.validated, canonical=host.canonical)
            for host in hosts[:self._limit or None]), mx.backup)

    async def _hosts(self, destination: Destination) -> "tuple[list[Host], _Mx]":
        """Raises NoHost."""
        watch = not self._lmtp and destination.port == 25
        if not destination.literal and (destination.service or self._service) in self._srv:
            found = await self._by_srv(destination)
            if found is not None:
                return found
        if destination.literal or self._lmtp or not self._use_mx:
            return await self._host(destination.host, watch), _Mx()
        return await self._by_mx(destination.host, watch)

    # --- SRV records --------------------------------------------------------------------------------------------------

    async def _by_srv(self, destination: Destination) -> "tuple[list[Host], _Mx] | None":
        """The hosts and ports of a service. None: as if there were no SRV records at all. Raises NoHost."""
        service, domain = destination.service or self._service, destination.host
        try:
            answer = await self._resolver.srv(service, domain)
        except DnsError as error:
            if self._ignore_srv_error and not error.policy:
                return None
            raise NoHost(error.public, status=error.status) from error
        if not answer.records:
            if self._srv_fallback:
                return None
            raise NoHost(f"Service {service} of {domain} not found: no SRV record", status="5.4.4")
        hosts: list[Host] = []
        problem = NoHost(f"Service {service} is not available at {domain}", status="5.4.4")
        for place, record in enumerate(answer.records):     # their order is their preference: weights are drawn already
            if not record.host:
                continue
            try:
                hosts += (await self._addresses(record.host)).hosts(place, record.host, record.port)
            except NoHost as error:
                problem = error
        if not hosts:
            raise problem
        return self._ordered(hosts), _Mx(secure=answer.validated)

    # --- MX hosts -----------------------------------------------------------------------------------------------------

    async def _by_mx(self, domain: str, watch: bool) -> "tuple[list[Host], _Mx]":
        """Hosts that are better than ourselves. Raises NoHost."""
        if is_address(domain):
            return await self._host(domain, watch), _Mx()
        try:
            answer = await self._resolver.mx(domain)
        except DnsError as error:
            if self._ignore_mx_error and not error.policy:
                return await self._host(domain, watch), _Mx()
            raise NoHost(error.public, status=error.status) from error
        if not answer.records:
            return await self._host(domain, watch), _Mx()
        records = sorted(answer.records, key=lambda record: record.preference)
        if any(record.host in ("", ".") for record in records):
            raise NoHost(f"Domain {domain} does not accept mail (nullMX)", status="5.1.0")
        hosts = await self._mx_hosts(domain, records)
        mine = [host.preference for host in hosts if host.address in self._my_addresses] if watch else []
        if not mine:
            return self._ordered(hosts), _Mx(secure=answer.validated)
        better = [host for host in hosts if host.preference < min(mine)]
        if not better:
            if records[0].preference < hosts[0].preference:
                raise NoHost(f"unable to find primary relay for {domain}", status="4.4.4")
            raise NoHost(f"mail for {domain} loops back to myself", status="5.4.6")
        return self._ordered(better), _Mx(secure=answer.validated, backup=True)

    async def _mx_hosts(self, domain: str, records: list[Mx]) -> list[Host]:
        """The addresses of those that have any. Raises NoHost: none has."""
        for record in records:
            if is_address(record.host):        # wrong, but clear
                self._warn(f"numeric domain name in resource data of MX record for {domain}: {record.host}")
        answers = await asyncio.gather(*(self._addresses(record.host) for record in records), return_exceptions=True)
        found: list[Host] = []
        problem = NoHost(f"no MX host for {domain} has a valid address record", status="5.4.4")
        for record, answer in zip(records, answers, strict=True):
            if isinstance(answer, NoHost):
                # A host that could not be asked for outweighs those that do not exist: it may be there tomorrow.
                soft = problem.status.startswith("4")
                problem = NoHost(answer.public, status="4.4.4" if soft and answer.status == "5.4.4" else answer.status)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found += answer.hosts(record.preference, record.host)
        if not found:
            self._warn(f"no MX host for {domain} has a valid address record")
            if self._defer_if_no_mx:
                raise NoHost(problem.public, status="4" + problem.status[1:])
            raise problem
        return found

    # --- addresses ----------------------------------------------------------------------------------------------------

    async def _host(self, host: str, watch: bool) -> list[Host]:
        """A host without MX look-up. Raises NoHost."""
        addresses = await self._addresses(host)
        if watch and any(address in self._my_addresses for address in addresses.all):
            raise NoHost(f"mail for {host} loops back to myself", status="5.4.6")
        return self._ordered(addresses.hosts(0, host))

    async def _addresses(self, host: str) -> Addresses:
        """Raises NoHost."""
        if is_address(host):
            if self._family != "any" and (":" in host) != (self._family == "ipv6"):
                raise NoHost(f"Name service error for {host}: invalid host or domain name", status="5.4.4")
            return Addresses([host])
        problem: NoHost | None = None
        if self._dns:
            kind = "A" if self._family == "ipv4" else "AAAA"
            try:
                answer = await self._resolver.addresses(host, family=self._family, use_hosts=False)
            except DnsError as error:
                raise NoHost(error.public.replace("type=A:", f"type={kind}:"), status=error.status) from error
            if answer.records:
                return Addresses(list(answer.records), answer.validated, answer.name)
            why = "Host found but no data record of requested type" if answer.exists else "Host not found"
            problem = NoHost(f"Host or domain name not found. Name service error for name={host} type={kind}: {why}",
                             status="5.4.4")
        if self._native:
            return Addresses(await native_addresses(host, self._family))
        raise problem or NoHost(f"unable to look up host {host}", status="4.3.5")

    def _ordered(self, hosts: list[Host]) -> list[Host]:
        """By preference, within one by smtp_address_preference, else in any order."""
        if self._shuffle:
            hosts = random.sample(hosts, len(hosts))
        first = self._preference == "ipv6"
        by_family = self._preference in ("ipv4", "ipv6")
        hosts = sorted(hosts, key=lambda host: (host.preference, by_family and (":" in host.address) != first))
        return balanced(hosts, self._limit) if self._balance and self._limit else hosts


def balanced(hosts: list[Host], limit: int) -> list[Host]:
    """Of the hosts, in their order, those within the limit: no address family crowds out the other.

    Each has half of the places, the first one's family the odd one; what one does not need goes to the other.
    """
    if not hosts:
        return hosts
    six = ":" in hosts[0].address
    counts = {kind: sum((":" in host.address) == kind for host in hosts) for kind in (True, False)}
    other = min(counts[not six], limit // 2)
    places = {six: min(counts[six], limit - other)}
    places[not six] = min(counts[not six], limit - places[six])
    kept: list[Host] = []
    for host in hosts:
        kind = ":" in host.address
        if places[kind]:
            places[kind] -= 1
            kept.append(host)
    return kept


_AGAIN = (socket.EAI_AGAIN, socket.EAI_MEMORY, socket.EAI_SYSTEM)


async def native_addresses(host: str, family: str) -> list[str]:
    """What the machine's own name service says, /etc/hosts among it. Raises NoHost."""
    loop = asyncio.get_running_loop()
    kinds = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
    try:
        async with asyncio.timeout(NATIVE_TIMEOUT_S):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM, family=kinds.get(family, 0))
    except TimeoutError as error:
        raise NoHost(f"unable to look up host {host}: Temporary failure in name resolution", status="4.4.4") from error
    except socket.gaierror as error:
        kind = "4" if error.errno in _AGAIN else "5"
        code = "4.4" if error.errno in (socket.EAI_AGAIN, socket.EAI_NONAME) else "3.0"
        raise NoHost(f"unable to look up host {host}: {error.strerror}", status=f"{kind}.{code}") from error
    return list(dict.fromkeys(str(info[4][0]) for info in found))
