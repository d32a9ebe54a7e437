"""Asynchronous look-ups with a small cache, over dnspython and the machine's resolv.conf.

    resolver = Resolver()
    answer = await resolver.mx("example.test")           Answer(records=(Mx(10, "mx.example.test"),), exists=True)
    answer = await resolver.addresses("mx.example.test") /etc/hosts first, as gethostbyname does

Three results: records; none (`records` empty; `exists` False when the whole name does not exist, NXDOMAIN);
DnsError (a TemporaryError): could not be asked.
"""

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from mailsuite.base.errors import TemporaryError

R = TypeVar("R", covariant=True)


class DnsError(TemporaryError):
    """No answer, or the server failed. name and rtype: what was asked ("example.test", "MX")."""

    def __init__(self, name: str, rtype: str, why: str = "Host not found, try again") -> None:
        self.name, self.rtype, self.why = name, rtype, why
        super().__init__(f"Host or domain name not found. Name service error for name={name} type={rtype}: {why}",
                         status="4.4.3")


@dataclass(frozen=True, slots=True)
class Answer(Generic[R]):
    """records in the order to use. exists: False for NXDOMAIN. validated: the resolver says DNSSEC-authentic (AD)."""

    records: tuple[R, ...]
    exists: bool = True
    ttl_s: int = 0
    validated: bool = False

    def __bool__(self) -> bool:
        return bool(self.records)


class Mx(NamedTuple):
    """host "" is the null MX of RFC 7505."""

    preference: int
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
    """One per process. timeout_s: for one question with its repetitions. cache_limit: answers kept."""

    def __init__(self, *, timeout_s: float = 10.0, cache_limit: int = 2000, resolv_conf: str = "/etc/resolv.conf",
                 hosts: str = "/etc/hosts") -> None:
        raise NotImplementedError

    async def mx(self, domain: str) -> Answer[Mx]:
        """MX records by ascending preference; equal ones shuffled. Raises DnsError."""
        raise NotImplementedError

    async def addresses(self, host: str, *, family: str = "any", use_hosts: bool = True) -> Answer[str]:
        """IPv4 and IPv6 addresses, IPv6 first. family: "any", "ipv4" or "ipv6". Raises DnsError."""
        raise NotImplementedError

    async def ptr(self, address: str) -> Answer[str]:
        """Names of an address. Raises DnsError."""
        raise NotImplementedError

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined. Raises DnsError."""
        raise NotImplementedError

    async def ns(self, domain: str) -> Answer[str]:
        """Name servers. Raises DnsError."""
        raise NotImplementedError

    async def client_name(self, address: str) -> ClientName:
        """Name, reverse name and their state for a client's address; never raises."""
        raise NotImplementedError
