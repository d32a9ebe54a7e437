"""transport_maps: another transport or nexthop for a recipient or domain.

    choice = await transports.choose("user+ext@sub.d.test", "smtp", "sub.d.test") -> ("smtp", "[192.0.2.1]")

Keys: user+ext@domain, user@domain, domain, parent domains (".d.test", or "d.test" where
parent_domain_matches_subdomains says so), "*". Values: "transport:nexthop"; an empty half is left as it was, a
transport without nexthop goes to the recipient's domain. Raises TemporaryError. Source: transport(5).
"""

from typing import TYPE_CHECKING, NamedTuple

from mailsuite.base.errors import TemporaryError
from mailsuite.base.trace import TRACE
from mailsuite.maps.lookup import Strategy, find_address
from mailsuite.maps.maps import MapSource, open_maps
from mailsuite.rewrite.domains import parents_match

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings


class Choice(NamedTuple):
    transport: str
    nexthop: str


def split_transport(value: str) -> Choice:
    """"smtp:[host]:25" -> ("smtp", "[host]:25")."""
    transport, _, nexthop = value.partition(":")
    return Choice(transport.strip(), nexthop.strip())


class Transports:
    """The tables of transport_maps."""

    def __init__(self, settings: "Settings", source: MapSource) -> None:
        self._maps = open_maps(settings.text("transport_maps"), source.without_substitution(), "transport_maps")
        self._log, self._delimiter = source.log, settings.text("recipient_delimiter")
        parents = Strategy.PARENTS if parents_match(settings, "transport_maps") else Strategy.DOTTED_PARENTS
        self._strategy = Strategy.FULL | Strategy.NO_EXTENSION | Strategy.DOMAIN | parents

    async def choose(self, address: str, transport: str, nexthop: str) -> Choice:
        """What the tables make of the choice so far."""
        if self._maps.empty:
            return Choice(transport, nexthop)
        try:
            found = await find_address(self._maps, address, delimiter=self._delimiter, strategy=self._strategy)
            value = found.value if found is not None else await self._maps.find("*", partial=True)
        except TemporaryError:
            self._log.warning("transport_maps lookup failure")
            raise
        if value is None:
            return Choice(transport, nexthop)
        if (trace := TRACE.get()) is not None:
            trace.step("transport_maps", address, value)
        new = split_transport(value)
        if new.transport:
            if not new.nexthop and new.transport in ("error", "retry"):
                return Choice(new.transport, "Address is undeliverable")
            return Choice(new.transport, new.nexthop or address.rpartition("@")[2])
        return Choice(transport, new.nexthop or nexthop)
