"""What is the same for all connections from one address to one of ours: settings, trust, the greeting.

    callers = Callers("imap", sites)        one login process's
    caller = callers.of(peer)               remembered; who comes by a PROXY header is looked at anew each time
    session_id(peer.port, caller.octets)

Limits: CALLERS_LIMIT callers are remembered.
"""

import socket
import struct
import time
from binascii import b2a_base64

from msgspec import Struct

from mailsuite.access.login_site import Site, Sites
from mailsuite.access.login_story import LoginFacts
from mailsuite.base.dialogue import Peer

CALLERS_LIMIT = 1000
_MOMENT_AND_PORT = struct.Struct("<Q")


class Caller(Struct, eq=False):
    """trusted: of login_trusted_networks. secured: as good as TLS. octets: the client's address.

    facts: of a plain connection, where there has been one and all hear the same greeting. greeting: what a session says
    first; None: it has not been worked out. seen: this is not the first connection.
    """

    site: Site
    trusted: bool
    secured: bool
    octets: bytes
    facts: LoginFacts | None = None
    greeting: bytes | None = None
    seen: bool = False


class Callers:
    """Those of one process."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._known: dict[tuple[str, str], Caller] = {}         # by both addresses

    def of(self, peer: Peer) -> Caller:
        """Who that is."""
        if peer.proxied is not None:
            return self._met(peer)
        key = peer.address, peer.server_address
        caller = self._known.get(key)
        if caller is None:
            if len(self._known) >= CALLERS_LIMIT:
                self._known.clear()
            caller = self._known[key] = self._met(peer)
        return caller

    def _met(self, peer: Peer) -> Caller:
        site = self._sites.of(peer)
        trusted = peer.address in site.trusted
        return Caller(site, trusted, _is_secured(peer, trusted), _octets(peer.address))


def _is_secured(peer: Peer, trusted: bool) -> bool:
    """A client on this host cannot be overheard, nor one that speaks TLS with a trusted balancer."""
    if peer.proxied is not None:
        return trusted or peer.proxied.tls
    return trusted or not peer.address or peer.address == peer.server_address


def _octets(address: str) -> bytes:
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.inet_pton(family, address.partition("%")[0])
    except OSError:
        return bytes(4)


def session_id(port: int, address: bytes) -> str:
    """Unique for some years: the time in microseconds (48 bits), the client's port and address, as in Dovecot, whose
    tools take it apart."""
    moment = (time.time_ns() // 1000) & (1 << 48) - 1
    return b2a_base64(_MOMENT_AND_PORT.pack(moment | (port & 0xFFFF) << 48) + address, newline=False).decode()
