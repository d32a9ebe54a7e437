"""What a client's address is called: the PTR name, believed only when it leads back to the address.

    await client_name(resolver, "192.0.2.1") -> ClientName("mx.example.test", "mx.example.test", "ok", "ok", "")

/etc/hosts comes before the DNS, as for gethostbyaddr. Never raises: smtpd serves a client whose name is not known.
"""

import ipaddress
from typing import TYPE_CHECKING

from mailsuite.address.hostname import is_hostname
from mailsuite.dns.resolver import ClientName, DnsError

if TYPE_CHECKING:
    from mailsuite.dns.resolver import Resolver

_NOT_FOUND, _LATER = "Name or service not known", "Temporary failure in name resolution"


async def client_name(resolver: "Resolver", address: str) -> ClientName:
    """Name, reverse name, their state, and what to log."""
    try:
        wanted = ipaddress.ip_address(address)
    except ValueError:
        return ClientName()
    reverse = resolver.hosts.name(str(wanted))
    if not reverse:
        try:
            answer = await resolver.ptr(str(wanted))
        except DnsError:
            return ClientName(name_status="temporary", reverse_name_status="temporary")
        if not answer:
            return ClientName()
        reverse = answer.records[0]
    if not is_hostname(reverse):
        return ClientName(warning=f"malformed domain name in resource data of PTR record for {address}")
    return await _confirmed(resolver, reverse, address, wanted)


async def _confirmed(resolver: "Resolver", reverse: str, address: str,
                     wanted: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ClientName:
    """The forward question."""
    doubt = f"hostname {reverse} does not resolve to address {address}"
    family = "ipv6" if wanted.version == 6 else "ipv4"
    try:
        answer = await resolver.addresses(reverse, family=family)
    except DnsError:
        return ClientName(reverse_name=reverse, name_status="temporary", reverse_name_status="ok",
                          warning=f"{doubt}: {_LATER}")
    if not answer:
        return ClientName(reverse_name=reverse, reverse_name_status="ok", warning=f"{doubt}: {_NOT_FOUND}")
    if any(ipaddress.ip_address(one) == wanted for one in answer.records):
        return ClientName(reverse, reverse, "ok", "ok")
    return ClientName(reverse_name=reverse, reverse_name_status="ok", warning=doubt)
