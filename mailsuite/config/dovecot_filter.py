"""Which `protocol`, `local`, `remote` and `local_name` sections concern a connection.

    layers = overlays(root, {"protocol": "imap", "remote": "192.0.2.9"})        the least specific first
    laid_over(root, layers) -> a tree in which they are in force
"""

import ipaddress
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache

from mailsuite.base.errors import ConfigError
from mailsuite.config.dovecot_syntax import Node

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=1024)
def networks(text: str) -> tuple[Network, ...]:
    """The networks that `local` or `remote` name: an address, address/bits, or a host. Raises ConfigError."""
    address, slash, bits = text.partition("/")
    try:
        base = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        try:
            found = {str(info[4][0]) for info in socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)}
        except (OSError, UnicodeError) as err:
            reason = getattr(err, "strerror", "") or str(err)
            raise ConfigError(f"gethostbyname({address}) failed: {reason}") from err
        return tuple(ipaddress.ip_network(one) for one in sorted(found))
    if not slash:
        return (ipaddress.ip_network(base),)
    if not bits.isdigit() or int(bits) > base.max_prefixlen:
        raise ConfigError(f"Invalid network mask: {bits}")
    return (ipaddress.ip_network(f"{base}/{bits}", strict=False),)


def _matches(node: Node, facts: Mapping[str, str]) -> bool:
    given = facts.get(node.type, "")
    if node.type == "protocol":
        if not given:
            return False
        return given != node.name[1:] if node.name.startswith("!") else given == node.name
    if not given:
        return False
    if node.type == "local_name":
        return any(_names(given.lower(), name.lower()) for name in node.name.split())
    try:
        address = ipaddress.ip_address(given)
    except ValueError:
        return given == node.name
    return any(address in network for network in networks(node.name) if network.version == address.version)


def _names(given: str, pattern: str) -> bool:
    """Whether a local_name pattern stands for a name; "*." for one label, as in a certificate."""
    if pattern.startswith("*."):
        return given.partition(".")[2] == pattern[2:]
    return given == pattern


def _weight(path: tuple[Node, ...]) -> tuple[int, int, int, int]:
    """How specific a filter is: local_name, then bits of local and remote, then protocol."""
    bits = {node.type: max(network.prefixlen for network in networks(node.name)) + 1
            for node in path if node.type in ("local", "remote")}
    types = {node.type for node in path}
    return "local_name" in types, bits.get("local", 0), bits.get("remote", 0), "protocol" in types


def overlays(root: Node, facts: Mapping[str, str]) -> list[Node]:
    """The filter sections that match, to be laid over each other in this order."""
    return [path[-1] for path in by_weight(root, lambda node: _matches(node, facts))]


def by_weight(root: Node, wanted: Callable[[Node], bool] = lambda node: True) -> list[tuple[Node, ...]]:
    """All filter sections with those around them, the most specific last; of what is wanted, the way down to it."""
    found: list[tuple[Node, ...]] = []

    def visit(node: Node, path: tuple[Node, ...]) -> None:
        for child in node.filters:
            if wanted(child):
                found.append((*path, child))
                visit(child, (*path, child))

    visit(root, ())
    return sorted(found, key=_weight)


def possible(root: Node, facts: Mapping[str, str]) -> Node:
    """The tree without the filter sections that these facts rule out."""
    kept = [possible(node, facts) for node in root.filters if not facts.get(node.type) or _matches(node, facts)]
    return Node(root.type, root.name, root.values, root.nodes, kept, root.path, root.line)


def laid_over(root: Node, layers: list[Node]) -> Node:
    """A copy of the tree with these filters merged in; its filters stay for further questions."""
    merged = _copy(root)
    for layer in layers:
        _merge(merged, layer)
    return merged


def _copy(node: Node) -> Node:
    return Node(node.type, node.name, dict(node.values), [_copy(child) for child in node.nodes], node.filters,
                node.path, node.line)


def _merge(target: Node, overlay: Node) -> None:
    from mailsuite.config.dovecot_defaults import ADDED_UP

    target.values.update(overlay.values)
    for child in overlay.nodes:
        known = None if child.type in ADDED_UP else target.child(child.type, child.name)
        if known is None:
            target.nodes.append(_copy(child))
        else:
            _merge(known, child)
