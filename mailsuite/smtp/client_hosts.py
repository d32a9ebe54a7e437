"""From a nexthop to the addresses to try: MX, addresses, [host]:port, our own name among them.

    finder = HostFinder(settings, resolver, "smtp")
    endpoints = await finder.find("a.test")             raises NoHost: bounce or defer, with reason
    parse_destination("[mx.a.test]:2525", 25) -> Destination("mx.a.test", 2525, literal=True)

Source: RFC 5321 section 5, RFC 7505 (null MX).
"""

import ipaddress
import random
import re
import socket
from dataclasses import dataclass, replace

from mailsuite.base.errors import MailError
from mailsuite.config.settings import Settings
from mailsuite.dns.resolver import DnsError, Mx, Resolver
from mailsuite.smtp.client import Endpoint
from mailsuite.smtp.client_params import MX_ADDRESS_LIMIT

_BRACKETED = re.compile(r"\[([^\]]*)\](?::(.*))?")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Of one host, in the order to try. validated: by DNSSEC. name: the host's at the end of aliases."""

    list: list[str]
    validated: bool = False
    name: str = ""


class NoHost(MailError):
    """There is nobody to deliver to; status begins with 4 or 5."""


@dataclass(frozen=True, slots=True)
class Destination:
    """literal: in brackets: no MX look-up. path: a Unix socket."""

    host: str
    port: int
    literal: bool = False
    path: str = ""


def parse_destination(text: str, port: int) -> Destination:
    """"host", "host:port", "[host]:port", "[192.0.2.1]", "inet:host:port", "unix:/path". Raises NoHost."""
    if text.startswith("unix:"):
        return Destination("", 0, path=text[5:])
    text = text.removeprefix("inet:")
    match = _BRACKETED.fullmatch(text)
    if match is not None:
        host, service, literal = match[1], match[2], True
        if host.lower().startswith("ipv6:"):
            host = host[5:]
    else:
        host, _, service = text.partition(":")
        literal = False
    if not host:
        raise NoHost(f"null destination: \"{text}\"", status="4.3.5")
    return Destination(host, _port(service or "", port, text), literal)


def _port(service: str, default: int, text: str) -> int:
    if not service:
        return default
    if service.isascii() and service.isdigit() and 0 < int(service) < 65536:
        return int(service)
    try:
        return {"smtp": 25, "smtps": 465, "submissions": 465, "submission": 587, "lmtp": 24}.get(
            service) or socket.getservbyname(service, "tcp")
    except OSError:
        raise NoHost(f"unknown service: {service}/tcp in destination {text}", status="4.3.5") from None


def service_port(text: str, default: int) -> int:
    """smtp_tcp_port, lmtp_tcp_port."""
    try:
        return _port(text, default, text)
    except NoHost:
        return default


class HostFinder:
    """One per configuration."""

    def __init__(self, settings: Settings, resolver: Resolver, prefix: str) -> None:
        self._resolver, self._lmtp = resolver, prefix == "lmtp"
        self._my_name = settings.text("myhostname").lower()
        self._port = service_port(settings.text(f"{prefix}_tcp_port"), 24 if self._lmtp else 25)
        self._limit = settings[MX_ADDRESS_LIMIT[prefix]]
        protocols = settings.text("inet_protocols").replace(",", " ").lower().split()
        self._family = protocols[0] if protocols in (["ipv4"], ["ipv6"]) else "any"
        self._preference = settings.text(f"{prefix}_address_preference")
        self._my_addresses = my_addresses(settings)
        self._fallback = [] if self._lmtp else settings.text("smtp_fallback_relay").replace(",", " ").split()
        self._defer_if_no_mx = settings.text("smtp_defer_if_no_mx_address_found") == "yes"

    async def find(self, nexthop: str) -> list[Endpoint]:
        """Endpoints in the order to try. Raises NoHost."""
        try:
            found = await self._find(nexthop, loops=True)
        except NoHost as error:
            if not self._fallback or error.status in ("5.4.6", "4.3.5"):
                raise
            found = []
        for relay in self._fallback:
            try:
                found += [replace(entry, fallback=True) for entry in await self._find(relay, loops=False)]
            except NoHost:
                continue
        if not found:
            raise NoHost(f"unable to find primary relay for {nexthop}", status="4.4.4")
        return found

    async def _find(self, nexthop: str, *, loops: bool) -> list[Endpoint]:
        destination = parse_destination(nexthop, self._port)
        if destination.path:
            return [Endpoint(self._my_name, path=destination.path, domain=self._my_name)]
        if destination.literal or self._lmtp or _is_address(destination.host):
            addresses = await self._addresses(destination.host)
            found = [self._endpoint(destination.host, address, destination, addresses) for address in addresses.list]
        else:
            found = await self._by_mx(destination, loops=loops)
        return found[:self._limit] if self._limit else found

    async def _by_mx(self, destination: Destination, *, loops: bool) -> list[Endpoint]:
        domain = destination.host
        try:
            answer = await self._resolver.mx(domain)
        except DnsError as error:
            raise NoHost(error.public, status=error.status) from error
        if not answer.records:
            addresses = await self._addresses(domain)
            self._check_loop(domain, [(0, domain, addresses)], loops)
            return [self._endpoint(domain, address, destination, addresses, best=True) for address in addresses.list]
        if len(answer.records) == 1 and answer.records[0].host in ("", "."):
            raise NoHost(f"Domain {domain} does not accept mail (nullMX)", status="5.1.0")
        hosts = await self._mx_hosts(answer.records)
        hosts = self._check_loop(domain, hosts, loops)
        best = min(entry[0] for entry in hosts)
        return [self._endpoint(host, address, destination, addresses, best=preference == best, secure=answer.validated)
                for preference, host, addresses in hosts for address in addresses.list]

    @staticmethod
    def _endpoint(host: str, address: str, destination: Destination, addresses: Addresses, *, best: bool = False,
                  secure: bool = True) -> Endpoint:
        """secure: nobody but the domain's zone, or the administrator, says that this is the host."""
        return Endpoint(host, address, destination.port, domain=destination.host, best=best, secure=secure,
                        validated=addresses.validated, canonical=addresses.name)

    async def _mx_hosts(self, records: tuple[Mx, ...]) -> list[tuple[int, str, Addresses]]:
        """Preference, name and addresses of those that have any. Raises NoHost: none has."""
        found: list[tuple[int, str, Addresses]] = []
        problem: NoHost | None = None
        for record in records:
            if record.host in ("", "."):
                continue
            try:
                found.append((record.preference, record.host, await self._addresses(record.host)))
            except NoHost as error:
                # A host that could not be asked for outweighs one that does not exist: it may be there tomorrow.
                if problem is None or error.status.startswith("4"):
                    problem = error
        if not found:
            if problem is not None and self._defer_if_no_mx:
                raise NoHost(problem.public, status="4" + problem.status[1:])
            raise problem or NoHost("no MX host has a valid address record", status="4.4.4")
        return found

    async def _addresses(self, host: str) -> Addresses:
        """Raises NoHost."""
        if _is_address(host):
            if self._family != "any" and (":" in host) != (self._family == "ipv6"):
                raise NoHost(f"Name service error for {host}: invalid host or domain name", status="5.4.4")
            return Addresses([host])
        try:
            answer = await self._resolver.addresses(host, family=self._family)
        except DnsError as error:
            raise NoHost(error.public, status=error.status) from error
        if not answer.records:
            kind = "AAAA" if self._family == "ipv6" else "A"
            why = "Host found but no data record of requested type" if answer.exists else "Host not found"
            raise NoHost(f"Host or domain name not found. Name service error for name={host} type={kind}: {why}",
                         status="5.4.4")
        return Addresses(self._ordered(list(answer.records)), answer.validated, answer.name)

    def _ordered(self, addresses: list[str]) -> list[str]:
        """By smtp_address_preference; "any" mixes the families, but keeps a host's addresses of one family in order."""
        six = [address for address in addresses if ":" in address]
        four = [address for address in addresses if ":" not in address]
        if self._preference == "ipv4" or (self._preference == "any" and random.random() < 0.5):
            return four + six
        return six + four

    def _check_loop(self, domain: str, hosts: list[tuple[int, str, Addresses]],
                    loops: bool) -> list[tuple[int, str, Addresses]]:
        """Leave out what is not better than ourselves. Raises NoHost: nothing is."""
        mine = [preference for preference, host, addresses in hosts
                if host.lower().rstrip(".") == self._my_name or any(a in self._my_addresses for a in addresses.list)]
        if not mine or not loops:
            return hosts
        better = [entry for entry in hosts if entry[0] < min(mine)]
        if not better:
            raise NoHost(f"mail for {domain} loops back to myself", status="5.4.6")
        return better


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def my_addresses(settings: Settings) -> frozenset[str]:
    """The addresses that mean this machine: inet_interfaces and proxy_interfaces."""
    found: set[str] = set()
    for name in ("inet_interfaces", "proxy_interfaces"):
        for word in settings.text(name).replace(",", " ").split():
            word = word.strip("[]")
            if _is_address(word):
                found.add(word)
            elif word == "all":
                found |= _local_addresses()
            elif word == "loopback-only":
                found |= {"127.0.0.1", "::1"}
            else:
                try:
                    found |= {str(info[4][0]) for info in socket.getaddrinfo(word, None, type=socket.SOCK_STREAM)}
                except OSError:
                    continue
    return frozenset(found)


def _local_addresses() -> set[str]:
    """All addresses of this machine's interfaces, as the kernel lists them."""
    found = {"127.0.0.1", "::1"}
    try:
        with open("/proc/net/fib_trie", encoding="ascii") as file:
            lines = file.read().splitlines()
    except OSError:
        return found
    for previous, line in zip(lines, lines[1:], strict=False):
        if "/32 host LOCAL" in line:
            found.add(previous.split()[-1])
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            found |= {str(ipaddress.IPv6Address(bytes.fromhex(entry.split()[0]))) for entry in file}
    except OSError:
        pass
    return found
