"""Lists that a name or a client is matched against: mynetworks, mydestination, relay_domains and their kind.

    networks = AddressList(settings.text("mynetworks"), source, name="mynetworks")
    await networks.matches("192.0.2.1")                    raises TemporaryError when a table could not be asked
    domains = DomainList(text, source, parents=True)       "test" matches "mx.test" as well; ".test" does always
    names = NameList(text, source)                         whole names only

An item is a pattern, `!pattern` (not), `/file` (patterns, read in place) or `type:table` (the key's presence counts).
The first that fits decides. Lists are compiled once; an empty list matches nothing.
"""

from mailsuite.maps.maps import MapSource


class NameList:
    """Whole names, compared without case."""

    def __init__(self, text: str, source: MapSource, *, name: str = "") -> None:
        raise NotImplementedError

    @property
    def empty(self) -> bool:
        raise NotImplementedError

    def matches_now(self, key: str) -> bool | None:
        """The answer, when no table has to be asked that suspends; else None. Raises TemporaryError."""
        raise NotImplementedError

    async def matches(self, key: str) -> bool:
        """Whether key is in the list. Raises TemporaryError."""
        raise NotImplementedError


class DomainList(NameList):
    """Domains. parents: whether "b.test" stands for its subdomains as well (parent_domain_matches_subdomains)."""

    def __init__(self, text: str, source: MapSource, *, name: str = "", parents: bool = False) -> None:
        raise NotImplementedError


class AddressList(NameList):
    """Host names and network addresses: 192.0.2.0/24, [2001:db8::]/32, host names."""

    async def matches_host(self, hostname: str, address: str) -> bool:
        """Whether the host's name or its address is in the list. Raises TemporaryError."""
        raise NotImplementedError
