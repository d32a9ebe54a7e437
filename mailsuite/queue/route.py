"""Which agent a recipient goes to: what qmgr makes of a resolution.

    route_of(resolution, "a@b.test", content_filter="scan:[127.0.0.1]:10024") -> Route("scan", "[127.0.0.1]:10024")
"""

from typing import TYPE_CHECKING, NamedTuple

from mailsuite.address.syntax import split_domain

if TYPE_CHECKING:
    from mailsuite.rewrite.rewriter import Resolution


class Route(NamedTuple):
    """transport: a name of master.cf."""

    transport: str
    nexthop: str


def route_of(resolution: "Resolution", address: str, content_filter: str = "", filter_nexthop: str = "") -> Route:
    """A content filter gets the mail first, whatever its recipients; its nexthop may be left out.

    filter_nexthop: default_filter_nexthop, which stands for it then; else the recipient's domain does.
    """
    if content_filter:
        transport, _, nexthop = content_filter.partition(":")
        return Route(transport, nexthop or filter_nexthop or split_domain(address)[1])
    if resolution.bad_syntax:
        return Route("error", "5.1.3 bad address syntax")
    return Route(resolution.transport, resolution.nexthop)
