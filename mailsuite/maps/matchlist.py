"""Lists that a name or a client is matched against: mynetworks, mydestination, relay_domains and their kind.

    networks = AddressList(settings.text("mynetworks"), source, name="mynetworks")
    await networks.matches("192.0.2.1")                    raises TemporaryError when a table could not be asked
    domains = DomainList(text, source, parents=True)       "test" matches "mx.test" as well; without, ".test" does
    names = NameList(text, source)                         whole names only

An item is a pattern, `!item` (not), `/file` (items, read in place) or `type:table` (the key's presence counts). The
first that fits decides; U-labels and A-labels of a domain mean the same. Lists are compiled once: runs of plain names
become sets, so long lists cost one look-up. An empty list matches nothing. What cannot be read or parsed is logged, and
asking the list then fails.
"""

from collections.abc import Iterator
from typing import NamedTuple

from mailsuite.address.idna import other_form
from mailsuite.base.errors import TemporaryError
from mailsuite.maps.cidr import NetworkIndex, parse_address, parse_network
from mailsuite.maps.maps import Maps, MapSource, open_maps, split_specs
from mailsuite.maps.rules import SkipRule
from mailsuite.maps.sources import logical_lines, read_text
from mailsuite.maps.table import TableError, fold

NESTING_LIMIT = 10      # files in files
HOSTS_LIMIT = 1000      # answers remembered by a list of addresses


class _Group(NamedTuple):
    """Neighbouring items of one sign, in any order: they are all asked, or one table."""

    negated: bool
    names: frozenset[str]
    suffixes: tuple[str, ...]       # ".test": subdomains of
    networks: NetworkIndex | None
    maps: Maps | None
    failure: str                    # "" or why this cannot be asked


class NameList:
    """Whole names, compared without case."""

    _parents = False
    _addresses = False

    def __init__(self, text: str, source: MapSource, *, name: str = "") -> None:
        self._source, self._name = source, name
        self._groups: list[_Group] = []
        self._pending: list[tuple[bool, str]] = []
        for negated, item in self._items(text, 0):
            self._add(negated, item)
        self._flush()
        self._immediate = all(group.maps is None or group.maps.immediate for group in self._groups)

    def __bool__(self) -> bool:
        return bool(self._groups)

    @property
    def empty(self) -> bool:
        return not self._groups

    @property
    def is_plain(self) -> bool:
        """Whether no table is in it: what it says of a name, it will always say."""
        return all(group.maps is None for group in self._groups)

    # -- compiling -------------------------------------------------------------------------------------------------

    def _items(self, text: str, depth: int, outer: bool = False) -> Iterator[tuple[bool, str]]:
        """Items with their sign, files read in place."""
        for item in split_specs(text):
            negated = outer
            while item.startswith("!"):
                negated, item = not negated, item[1:]
            if not item:
                self._source.log.error("%s: no pattern after '!'", self._name or "list")
            elif item.startswith("/") and depth < NESTING_LIMIT:
                try:
                    content = read_text(item)
                except TableError as error:
                    self._source.log.error("%s", error)
                    self._flush()
                    self._groups.append(_Group(negated, frozenset(), (), None, None, f"{self._name}: {error}"))
                    continue
                yield from self._items(" ".join(line.text for line in logical_lines(content)), depth + 1, negated)
            else:
                yield negated, item

    def _is_table(self, item: str) -> bool:
        if ":" not in item or item.startswith("["):
            return False
        return not (self._addresses and parse_address(item.partition("/")[0]) is not None)

    def _add(self, negated: bool, item: str) -> None:
        if self._is_table(item):
            self._flush()
            maps = open_maps([item], self._source)
            maps.listed_in = self._name
            self._groups.append(_Group(negated, frozenset(), (), None, maps, ""))
            return
        if self._pending and self._pending[-1][0] != negated:
            self._flush()
        self._pending.append((negated, item))

    def _flush(self) -> None:
        """Make one group of the pending plain items."""
        if not self._pending:
            return
        names, suffixes, networks = set(), [], []
        negated = self._pending[0][0]
        failure = ""
        for _, item in self._pending:
            lower = fold(item)
            if self._addresses and (lower[:1] == "[" or lower[:1].isdigit() or ":" in lower):
                try:
                    networks.append(parse_network(item))
                    continue
                except SkipRule as error:
                    if "/" in item or parse_address(item.strip("[]")) is not None:
                        failure = f"{self._name}: {error}"
                        self._source.log.warning("%s", failure)
                        continue
            names.add(lower)
            suffixes += self._suffixes_of(lower)
        self._pending = []
        self._groups.append(_Group(negated, frozenset(names), tuple(suffixes),
                                   NetworkIndex(networks) if networks else None, None, failure))

    def _suffixes_of(self, name: str) -> list[str]:
        return []

    # -- asking ----------------------------------------------------------------------------------------------------

    def matches_now(self, key: str) -> bool | None:
        """The answer, when no table has to be asked that suspends; else None. Raises TemporaryError."""
        if not self._immediate:
            return None
        if not self._groups:
            return False
        key = fold(key)
        for group in self._groups:
            if group.maps is None:
                if self._fits(group, key):
                    return not group.negated
            else:
                coroutine = self._in_either_form(group.maps, key)
                try:
                    coroutine.send(None)
                except StopIteration as done:
                    if done.value:
                        return not group.negated
                else:
                    coroutine.close()
                    return None
        return False

    async def matches(self, key: str) -> bool:
        """Whether key is in the list. Raises TemporaryError."""
        key = fold(key)
        for group in self._groups:
            if self._fits(group, key) if group.maps is None else await self._in_either_form(group.maps, key):
                return not group.negated
        return False

    def _fits(self, group: _Group, key: str) -> bool:
        if key in group.names:
            return True
        if not self._addresses and (other := other_form(key)) and (
                other in group.names or (group.suffixes and other.endswith(group.suffixes))):
            return True
        if group.suffixes and key.endswith(group.suffixes):
            return True
        if group.networks is not None:
            parsed = parse_address(key)
            if parsed is not None and group.networks.first(*parsed) >= 0:
                return True
        if group.failure:
            raise TemporaryError("Temporary lookup failure", detail=group.failure)
        return False

    async def _in_either_form(self, maps: Maps, key: str) -> bool:
        other = other_form(key)
        return await self._in_table(maps, key) or bool(other and await self._in_table(maps, other))

    async def _in_table(self, maps: Maps, key: str) -> bool:
        return await maps.find(key) is not None


class DomainList(NameList):
    """Domains. parents: whether "b.test" stands for its subdomains as well (parent_domain_matches_subdomains)."""

    def __init__(self, text: str, source: MapSource, *, name: str = "", parents: bool = False) -> None:
        self._parents = parents
        super().__init__(text, source, name=name)

    def _suffixes_of(self, name: str) -> list[str]:
        if self._parents:                   # there ".test" matches nothing, as in Postfix
            return [] if name.startswith(".") else ["." + name]
        return [name] if name.startswith(".") else []

    async def _in_table(self, maps: Maps, key: str) -> bool:
        """The name, then its parents: "b.test" or ".b.test" as the list's style is."""
        if await maps.find(key) is not None:
            return True
        dot = key.find(".", 1)
        while dot >= 0 and dot + 1 < len(key):
            if await maps.find(key[dot + 1:] if self._parents else key[dot:], partial=True) is not None:
                return True
            dot = key.find(".", dot + 1)
        return False


class AddressList(DomainList):
    """Host names and network addresses: 192.0.2.0/24, [2001:db8::]/32, host names."""

    _addresses = True

    def __init__(self, text: str, source: MapSource, *, name: str = "", parents: bool = False) -> None:
        self._hosts: dict[tuple[str, str], bool] = {}       # what a list without tables said of recent hosts
        super().__init__(text, source, name=name, parents=parents)

    async def _in_table(self, maps: Maps, key: str) -> bool:
        """An address has no parents."""
        if parse_address(key) is not None:
            return await maps.find(key) is not None
        return await super()._in_table(maps, key)

    def matches_host_now(self, hostname: str, address: str) -> bool | None:
        """As matches_host, where no table is in the list; else None. Raises TemporaryError."""
        if not self._groups:
            return False
        asked = hostname, address
        known = self._hosts.get(asked)
        if known is not None:
            return known
        if any(group.maps is not None for group in self._groups):
            return None
        if len(self._hosts) >= HOSTS_LIMIT:         # they are the peers'
            self._hosts.clear()
        self._hosts[asked] = found = self._finds_host(fold(hostname), fold(address))
        return found

    def _finds_host(self, hostname: str, address: str) -> bool:
        for group in self._groups:
            for key in (hostname, address):
                if key and self._fits(group, key):
                    return not group.negated
        return False

    async def matches_host(self, hostname: str, address: str) -> bool:
        """Whether the host's name or its address is in the list, the first item that fits either deciding."""
        if (found := self.matches_host_now(hostname, address)) is not None:
            return found
        hostname, address = fold(hostname), fold(address)
        for group in self._groups:
            for key in (hostname, address):
                if key and (self._fits(group, key) if group.maps is None else await self._in_table(group.maps, key)):
                    return not group.negated
        return False
