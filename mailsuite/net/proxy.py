"""PROXY protocol versions 1 and 2: the header that a balancer sends before the first octet of the client.

Read by aiosmtpd's parser, straight from the accepted socket and never past the header, so that TLS or the protocol
begins at the next octet. Raises ValueError for anything else than a valid header, OSError when the peer goes.
Source: the PROXY protocol, HAProxy 2.3; aiosmtpd.proxy_protocol.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from msgspec import structs

from mailsuite.base.dialogue import Peer, Proxied

_CLIENT_SSL = 0x01        # PP2_CLIENT_SSL
_ADDRESS = (ipaddress.IPv4Address, ipaddress.IPv6Address)
HEADER_LIMIT = 4096       # octets of one header; a v2 header announces up to 65,535, of which nobody sends that much


class _SocketReader:
    """What aiosmtpd asks of a stream, without reading ahead."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._loop, self._taken = sock, asyncio.get_running_loop(), 0

    async def read(self, size: int) -> bytes:
        self._taken += size
        if self._taken > HEADER_LIMIT:
            raise ValueError("PROXY header too long")
        return await self._loop.sock_recv(self._sock, size)

    async def readexactly(self, size: int) -> bytes:
        octets = b""
        while len(octets) < size:
            more = await self.read(size - len(octets))
            if not more:
                raise ValueError("connection ended inside a PROXY header")
            octets += more
        return octets

    async def readuntil(self, until: bytes = b"\n") -> bytes:
        octets = b""
        while not octets.endswith(until):
            octets += await self.readexactly(1)
        return octets


async def read_header(sock: socket.socket, peer: Peer) -> Peer:
    """The peer that the header names; the connection's own addresses for LOCAL and UNKNOWN."""
    from aiosmtpd.proxy_protocol import V2_CMD, MalformedTLV, ProxyTLV, get_proxy

    proxy = await get_proxy(_SocketReader(sock))
    if not proxy.valid:
        raise ValueError(f"bad PROXY header: {proxy.error or 'not one'}")
    real = Proxied(peer.address, peer.port, peer.server_address, peer.server_port)
    if proxy.command == V2_CMD.LOCAL or not isinstance(proxy.src_addr, _ADDRESS) or proxy.dst_addr is None:
        return structs.replace(peer, proxied=real)
    try:
        told = ProxyTLV.from_raw(proxy.rest) if proxy.version == 2 and proxy.rest else None
    except (MalformedTLV, IndexError) as error:
        raise ValueError("bad PROXY header: truncated TLV") from error
    return structs.replace(peer, address=str(proxy.src_addr), port=int(proxy.src_port or 0),
                           server_address=str(proxy.dst_addr), server_port=int(proxy.dst_port or 0),
                   proxied=_with_details(real, told or {}))


def _with_details(real: Proxied, told: Mapping[str, Any]) -> Proxied:
    return replace(real, tls=bool(told.get("SSL")) and bool(int(told.get("SSL_CLIENT", 0)) & _CLIENT_SSL),
                   host_name=_text(told.get("AUTHORITY")), certificate_name=_text(told.get("SSL_CN")))


def _text(octets: bytes | None) -> str:
    return bytes(octets or b"").decode("utf-8", "replace")
