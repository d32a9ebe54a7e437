"""Settings that list networks: login_trusted_networks, haproxy_trusted_networks.

    trusted = Networks(settings, "login_trusted_networks")      "192.0.2.9" in trusted
"""

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

from mailsuite.base.log import access_logger

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings


class Networks:
    """Words that are no network are logged once and left out."""

    def __init__(self, settings: "DovecotSettings", name: str) -> None:
        self._networks = []
        for word in settings.words(name):
            try:
                self._networks.append(ipaddress.ip_network(word, strict=False))
            except ValueError:
                access_logger("config").error("%s: \"%s\" is no network", name, word)

    def __contains__(self, address: str) -> bool:
        """Whether an address, e.g. "192.0.2.9", lies in one of them; "" (a Unix socket) never does."""
        if not address or not self._networks:
            return False
        parsed = _parsed(address)
        return any(parsed in network for network in self._networks)


@lru_cache(maxsize=1000)
def _parsed(address: str) -> "ipaddress.IPv4Address | ipaddress.IPv6Address":
    return ipaddress.ip_address(address)
