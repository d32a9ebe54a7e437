"""Asynchronous look-ups with a small cache, over dnspython and the machine's resolv.conf.

    resolver = Resolver()                                Resolver.of(settings) asks the servers of dns_servers
    answer = await resolver.mx("example.test")           Answer(records=(Mx(10, "mx.example.test"),), exists=True)
    answer = await resolver.addresses("mx.example.test") /etc/hosts first, as gethostbyname does

Three results: records; none (`records` empty; `exists` False when the whole name does not exist, NXDOMAIN);
DnsError (a TemporaryError): could not be asked.
"""

import asyncio
import ipaddress
import os
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from mailsuite.address.hostname import is_ipv4, is_ipv6
from mailsuite.address.idna import to_ascii
from mailsuite.base.errors import TemporaryError
from mailsuite.dns.hosts import Hosts
from mailsuite.dns.params import DNS_SERVERS, Server

if TYPE_CHECKING:
    import dns.asyncresolver

    from mailsuite.config.settings import Settings

R = TypeVar("R", covariant=True)
# Whether to leave a record out. Raises TemporaryError (a table), ValueError (no such action).
ReplyFilter = Callable[[str], Awaitable[bool]]

POSITIVE_CACHE_S = 300      # most that an answer is kept, whatever its TTL
RESOLV_CONF_CHECK_S = 5.0
NEGATIVE_CACHE_S = 30       # a name that was just made should be found soon


class DnsError(TemporaryError):
    """No answer, or the server failed. name and rtype: what was asked ("example.test", "MX").

    filtered: a *_dns_reply_filter did that. policy: it left nothing of the answer.
    """

    def __init__(self, name: str, rtype: str, why: str = "Host not found, try again", *, filtered: bool = False,
                 policy: bool = False) -> None:
        self.name, self.rtype, self.why, self.policy = name, rtype, why, policy
        what = "Error looking up" if filtered else "Host or domain name not found. Name service error for"
        super().__init__(f"{what} name={name} type={rtype}: {why}", status="4.7.0" if policy else "4.4.3")


@dataclass(frozen=True, slots=True)
class Answer(Generic[R]):
    """records in the order to use. exists: False for NXDOMAIN. validated: the resolver says DNSSEC-authentic (AD).

    name: whose records they are, at the end of aliases; "" where that is not known.
    """

    records: tuple[R, ...]
    exists: bool = True
    ttl_s: int = 0
    validated: bool = False
    name: str = ""

    def __bool__(self) -> bool:
        return bool(self.records)


class Mx(NamedTuple):
    """host "" is the null MX of RFC 7505."""

    preference: int
    host: str


class Srv(NamedTuple):
    """RFC 2782; host "": the service is decidedly not available there."""

    priority: int
    weight: int
    port: int
    host: str


class ClientName(NamedTuple):
    """What the client's address is called, as smtpd's log and restrictions want it.

    name: forward-confirmed host name or "unknown". reverse_name: what PTR says, or "unknown".
    name_status, reverse_name_status: "ok", "temporary" (could not be found out now), "permanent" (none, or not true).
    warning: what smtpd logs about a name that does not lead back to the address; "" for nothing.
    """

    name: str = "unknown"
    reverse_name: str = "unknown"
    name_status: str = "permanent"
    reverse_name_status: str = "permanent"
    warning: str = ""


class Resolver:
    """One per process. timeout_s: for one question with its repetitions. cache_limit: answers kept.

    servers: in the place of those of resolv_conf. reply_filter: asked of each record of an answer, as
    "mx.a.test. 60 IN A 192.0.2.1", whether to leave it out; None: of none. search: the machine's search list counts,
    for names "without a dot", for "all", or for none ("").
    """

    def __init__(self, *, timeout_s: float = 10.0, cache_limit: int = 2000, resolv_conf: str = "/etc/resolv.conf",
                 hosts: str = "/etc/hosts", servers: Sequence[Server] = (), reply_filter: "ReplyFilter | None" = None,
                 search: str = "") -> None:
        self._servers, self._filter, self._search = servers, reply_filter, search
        self._timeout_s, self._cache_limit, self._resolv_conf = timeout_s, cache_limit, resolv_conf
        self.hosts = Hosts(hosts)
        self._cache: OrderedDict[tuple[str, str], tuple[float, Answer[Any]]] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[Answer[Any]]] = {}
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._stamp, self._look_again = 0, 0.0

    @classmethod
    def of(cls, settings: "Settings", *, reply_filter: "ReplyFilter | None" = None, search: str = "") -> "Resolver":
        """The resolver of a service."""
        servers = settings[DNS_SERVERS]
        return cls(servers=servers, reply_filter=reply_filter, search=search)

    # -- questions -------------------------------------------------------------------------------------------------

    async def mx(self, domain: str) -> Answer[Mx]:
        """MX records by ascending preference; equal ones shuffled. Raises DnsError."""
        answer = await self.records(domain, "MX")
        records = [Mx(record.preference, _name(record.exchange)) for record in answer.records]
        random.shuffle(records)
        records.sort(key=lambda record: record.preference)
        return Answer(tuple(records), answer.exists, answer.ttl_s, answer.validated)

    async def srv(self, service: str, domain: str) -> Answer[Srv]:
        """SRV records of _service._tcp.domain, in the order to try: by priority, within one by chance and weight.

        Raises DnsError. Source: RFC 2782.
        """
        answer = await self.records(f"_{service}._tcp.{domain}", "SRV")
        records = [Srv(record.priority, record.weight, record.port, _name(record.target)) for record in answer.records]
        # An exponential variate for each weight sorts as drawing without replacement in proportion to the weights does.
        chance = {id(record): random.expovariate(1.0) / max(record.weight, 0.01) for record in records}
        records.sort(key=lambda record: (record.priority, chance[id(record)]))
        return Answer(tuple(records), answer.exists, answer.ttl_s, answer.validated)

    async def addresses(self, host: str, *, family: str = "any", use_hosts: bool = True) -> Answer[str]:
        """IPv6 and IPv4 addresses, IPv6 first. family: "any", "ipv4" or "ipv6". Raises DnsError.

        One family that cannot be asked does not matter when the other has an answer.
        """
        if is_ipv4(host) or is_ipv6(host):
            return Answer((host,) if family in ("any", _family_of(host)) else ())
        if use_hosts and (known := self.hosts.addresses(host)):
            fitting = tuple(one for one in known if family in ("any", _family_of(one)))
            if fitting:
                return Answer(fitting)
        types = {"any": ("AAAA", "A"), "ipv4": ("A",), "ipv6": ("AAAA",)}[family]
        answers = await asyncio.gather(*(self.records(host, rtype) for rtype in types), return_exceptions=True)
        good = [answer for answer in answers if isinstance(answer, Answer)]
        found = tuple(str(record.address) for answer in good for record in answer.records)
        if not found:
            for error in reversed(answers):         # of two failures, tell of the A record
                if isinstance(error, BaseException):
                    raise error
        return Answer(found, all(answer.exists for answer in good), min((answer.ttl_s for answer in good), default=0),
                      len(good) == len(types) and all(answer.validated for answer in good),
                      next((answer.name for answer in good if answer.records), ""))

    async def ptr(self, address: str) -> Answer[str]:
        """Names of an address. Raises DnsError."""
        answer = await self.records(ipaddress.ip_address(address).reverse_pointer, "PTR")
        return Answer(tuple(_name(record.target) for record in answer.records), answer.exists, answer.ttl_s,
                      answer.validated)

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined. Raises DnsError."""
        answer = await self.records(name, "TXT")
        return Answer(tuple(b"".join(record.strings) for record in answer.records), answer.exists, answer.ttl_s,
                      answer.validated)

    async def ns(self, domain: str) -> Answer[str]:
        """Name servers. Raises DnsError."""
        answer = await self.records(domain, "NS")
        return Answer(tuple(_name(record.target) for record in answer.records), answer.exists, answer.ttl_s,
                      answer.validated)

    async def client_name(self, address: str) -> ClientName:
        """Name, reverse name and their state for a client's address; never raises."""
        from mailsuite.dns.client import client_name

        return await client_name(self, address)

    # -- asking ----------------------------------------------------------------------------------------------------

    async def records(self, name: str, rtype: str) -> Answer[Any]:
        """Records of any type, as dnspython's rdata. Raises DnsError.

        Questions that are under way already are not asked twice.
        """
        name = name.lower().rstrip(".")
        key = (name, rtype)
        known = self._cache.get(key)
        if known is not None and known[0] > time.monotonic():
            return await self._filtered(name, rtype, known[1])
        task = self._asking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(name, rtype))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._asked(key, done))
        return await self._filtered(name, rtype, await asyncio.shield(task))

    async def _filtered(self, name: str, rtype: str, answer: Answer[Any]) -> Answer[Any]:
        """What *_dns_reply_filter leaves of an answer. Raises DnsError."""
        if self._filter is None or not answer.records:
            return answer
        kept = []
        for record in answer.records:
            try:
                drop = await self._filter(f"{name}. {answer.ttl_s} IN {rtype} {record.to_text()}")
            except ValueError as error:
                raise DnsError(name, rtype, "Invalid DNS reply filter syntax", filtered=True) from error
            if not drop:
                kept.append(record)
        if not kept:
            raise DnsError(name, rtype, "DNS reply filter drops all results", filtered=True, policy=True)
        return Answer(tuple(kept), True, answer.ttl_s, answer.validated)

    def _asked(self, key: tuple[str, str], task: "asyncio.Task[Answer[Any]]") -> None:
        self._asking.pop(key, None)
        if task.cancelled() or task.exception() is not None:
            return
        answer = task.result()
        keep_s = min(answer.ttl_s, POSITIVE_CACHE_S) if answer.records else NEGATIVE_CACHE_S
        self._cache[key] = (time.monotonic() + keep_s, answer)
        while len(self._cache) > self._cache_limit:
            self._cache.popitem(last=False)

    async def _ask(self, name: str, rtype: str) -> Answer[Any]:
        import dns.asyncresolver
        import dns.exception
        import dns.flags
        import dns.name
        import dns.resolver

        try:
            wanted = dns.name.from_text(to_ascii(name))
        except (dns.exception.DNSException, ValueError):
            return Answer((), exists=False)         # no such name can exist
        try:
            search = self._search == "all" or (self._search == "without a dot" and "." not in name)
            if search:
                wanted = wanted.relativize(dns.name.root)
            found = await self._machine().resolve(wanted, rtype, search=search, raise_on_no_answer=False,
                                                  lifetime=self._timeout_s)
        except dns.resolver.NXDOMAIN:
            return Answer((), exists=False)
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise DnsError(name, rtype) from error
        validated = bool(found.response.flags & dns.flags.AD)
        if found.rrset is None:
            return Answer((), validated=validated)
        return Answer(tuple(found.rrset), True, int(found.rrset.ttl), validated, _name(found.canonical_name))

    def _machine(self) -> "dns.asyncresolver.Resolver":
        """dnspython's resolver, as resolv.conf sets it up now; EDNS for long answers."""
        now = time.monotonic()
        if now >= self._look_again:
            self._look_again = now + RESOLV_CONF_CHECK_S
            try:
                stamp = os.stat(self._resolv_conf).st_mtime_ns
            except OSError:
                stamp = 0
            if stamp != self._stamp:
                self._stamp, self._resolver = stamp, None
        if self._resolver is None:
            import dns.asyncresolver
            import dns.flags
            import dns.nameserver
            import dns.resolver

            try:
                self._resolver = dns.asyncresolver.Resolver(self._resolv_conf)
            except (dns.resolver.NoResolverConfiguration, OSError):
                self._resolver = dns.asyncresolver.Resolver(configure=False)
                self._resolver.nameservers = ["127.0.0.1"]
            if self._servers:
                self._resolver.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in self._servers]
            self._resolver.use_edns(0, 0, 1232)
            self._resolver.flags = dns.flags.RD | dns.flags.AD
        return self._resolver


def _name(name: Any) -> str:
    """A domain name as text without the last dot; the root is ""."""
    text: str = name.to_text(omit_final_dot=True)
    return "" if text in (".", "@") else text


def _family_of(address: str) -> str:
    return "ipv6" if ":" in address else "ipv4"
