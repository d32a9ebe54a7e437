"""Parameters of our DNS client."""

from mailsuite.address.hostname import is_ipv4, is_ipv6
from mailsuite.base.errors import ConfigError
from mailsuite.config.registry import Param, declare, split_items

PORT = 53
Server = tuple[str, int]


def servers(text: str) -> tuple[Server, ...]:
    """Parse "192.0.2.1 127.0.0.1:5353 [2001:db8::1]:53". Raises ConfigError."""
    found = []
    for item in split_items(text):
        address, port = item, str(PORT)
        if item.startswith("["):
            address, _, port = item[1:].partition("]")
            port = port[1:] if port.startswith(":") else str(PORT) if not port else "?"
        elif item.count(":") == 1:
            address, _, port = item.partition(":")
        if not (is_ipv4(address) or is_ipv6(address)) or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ConfigError(f"bad name server: {item}, use an address, or address:port")
        found.append((address, int(port)))
    return tuple(found)


DNS_SERVERS = declare(Param("dns_servers", "", servers,
    "Name servers to ask, with a port where it is not 53; empty: those of /etc/resolv.conf."))
