"""What counts as one client: an address, or the network it lies in.

    key = ClientKey(ipv4_bits=32, ipv6_bits=84);  key.of("2001:db8::1:2") -> "2001:db8::/84"

Texts are Postfix 3.8's: without "/bits" where the whole address counts.
"""

import ipaddress
from collections import OrderedDict

REMEMBERED = 4096           # networks of clients seen last; working one out takes some 5 us


class ClientKey:
    """Cost: none for whole addresses; else a look-up for clients that came lately."""

    def __init__(self, ipv4_bits: int = 32, ipv6_bits: int = 84) -> None:
        self._bits = {4: ipv4_bits, 6: ipv6_bits}
        self._known: OrderedDict[str, str] = OrderedDict()

    def of(self, address: str) -> str:
        """The key for an address; a text that is none is its own key."""
        if (self._bits[4] if ":" not in address else self._bits[6] - 96) == 32:
            return address
        known = self._known.get(address)
        if known is None:
            known = self._known[address] = self._work_out(address)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return known

    def _work_out(self, address: str) -> str:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return address
        return str(ipaddress.ip_network((parsed, self._bits[parsed.version]), strict=False))
