"""The machine's own addresses, and the networks that mynetworks_style trusts.

    own_interfaces() -> [IPv4Interface("192.0.2.1/24"), ...]       asked from the kernel over netlink, in its order
    trusted_networks("subnet", "all", "ipv4") -> ["127.0.0.0/8", "192.0.2.0/24"]

Raises: ConfigError for a bad style or protocol. A machine without netlink has the loopback addresses only.
"""

import ipaddress
import re
import socket
import struct
from collections.abc import Iterator

from mailsuite.base.errors import ConfigError

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
_RTM_NEWADDR, _RTM_GETADDR, _NLMSG_ERROR, _NLMSG_DONE = 20, 22, 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP = 1, 0x300
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_LOOPBACK: tuple[Interface, ...] = (ipaddress.IPv4Interface("127.0.0.1/8"), ipaddress.IPv6Interface("::1/128"))


def own_interfaces() -> list[Interface]:
    """Every address of every interface with its prefix length."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.settimeout(2)
            kernel.send(struct.pack("=IHHII", 20, _RTM_GETADDR, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0) + b"\0\0\0\0")
            return list(_addresses(kernel))
    except OSError:
        return list(_LOOPBACK)


def _addresses(kernel: socket.socket) -> Iterator[Interface]:
    while True:
        octets, at = kernel.recv(65536), 0
        while at + 16 <= len(octets):
            length, kind = struct.unpack_from("=IH", octets, at)
            if kind in (_NLMSG_DONE, _NLMSG_ERROR) or length < 16:
                return
            if kind == _RTM_NEWADDR:
                family, prefix = octets[at + 16], octets[at + 17]
                raw = _address(octets[at + 24:at + length])
                if raw is not None and family in (socket.AF_INET, socket.AF_INET6):
                    yield ipaddress.ip_interface((raw, prefix))
            at += (length + 3) & ~3


def _address(attributes: bytes) -> bytes | None:
    """The local address among the attributes of one RTM_NEWADDR message."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, at)
        if length < 4:
            break
        found[kind] = attributes[at + 4:at + length]
        at += (length + 3) & ~3
    return found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS))


def _split(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word]


def ip_versions(inet_protocols: str) -> set[int]:
    """4 and 6 as inet_protocols allows them. Raises ConfigError."""
    protocols = _split(inet_protocols.lower())
    unknown = set(protocols) - {"all", "ipv4", "ipv6"}
    if unknown:
        raise ConfigError(f'unknown inet_protocols value "{min(unknown)}" in "{inet_protocols}"')
    return {4, 6} if "all" in protocols else {int(protocol[-1]) for protocol in protocols}


def listening_interfaces(inet_interfaces: str, inet_protocols: str) -> list[Interface]:
    """The interfaces that inet_interfaces (all, loopback-only, addresses, names) and inet_protocols allow."""
    allowed = ip_versions(inet_protocols)
    mine = [interface for interface in own_interfaces() if interface.version in allowed]
    wanted = _split(inet_interfaces.lower())
    if "all" in wanted:
        return mine
    if "loopback-only" in wanted:
        return [interface for interface in mine if interface.ip.is_loopback]
    addresses = {address for word in wanted for address in _resolve(word)}
    return [interface for interface in mine if str(interface.ip) in addresses]


def _resolve(word: str) -> list[str]:
    """Addresses of one inet_interfaces item; host names are asked from the resolver."""
    try:
        return [str(ipaddress.ip_address(word.strip("[]")))]
    except ValueError:
        pass
    try:
        return [str(info[4][0]) for info in socket.getaddrinfo(word, None, type=socket.SOCK_STREAM)]
    except OSError:
        return []


def trusted_networks(style: str, inet_interfaces: str, inet_protocols: str) -> list[str]:
    """mynetworks as mynetworks_style (host, subnet, class) and the interfaces make it; IPv6 in brackets."""
    style = style.strip().lower()
    if style not in ("host", "subnet", "class"):
        raise ConfigError(f"bad mynetworks_style value: {style}, use class, subnet or host")
    networks: list[str] = []
    for interface in listening_interfaces(inet_interfaces, inet_protocols):
        network = _network(interface, style)
        text = f"[{network.network_address}]/{network.prefixlen}" if network.version == 6 else str(network)
        if text not in networks:
            networks.append(text)
    return networks


def _network(interface: Interface, style: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if interface.version == 4 and (style == "class" or interface.ip.is_loopback and style == "subnet"):
        first = int(interface.ip) >> 24
        prefix = 8 if first < 128 else 16 if first < 192 else 24
        return ipaddress.ip_network((str(interface.ip), prefix), strict=False)
    if style == "host":
        return ipaddress.ip_network(interface.ip)
    return interface.network
