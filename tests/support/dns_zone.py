"""DNS for tests: a dictionary behind the real Resolver, or a name server on a loopback port.

    zone = {"a.test": ["A 192.0.2.1", "TXT v=spf1 -all"], "slow.test": ["TIMEOUT"]}
    resolver = ZoneResolver(zone)                   no sockets
    with name_server(zone) as port: ...             UDP and TCP on 127.0.0.1, in a thread

A TXT record's text is one record; several strings of one are parted by "|". TIMEOUT: the name server fails (SERVFAIL).
A name that only has names below it exists without records.
"""

import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.rrset

from mailsuite.dns.resolver import Answer, DnsError, Resolver

Zone = Mapping[str, list[str]]


def rdata(kind: str, text: str) -> dns.rdata.Rdata:
    if kind == "TXT":
        strings = [part.encode("utf-8", "surrogateescape") for whole in text.split("|")
                   for part in (whole[at:at + 255] for at in range(0, max(1, len(whole)), 255))]
        return dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, dns.rdatatype.TXT, strings)
    return dns.rdata.from_text("IN", kind, text, origin=dns.name.root, relativize=False)


class Failure(Exception):
    """The name server fails."""


def find(zone: Zone, name: str, rtype: str) -> tuple[list[dns.rdata.Rdata], bool]:
    """Records and whether the name exists. Raises Failure."""
    known = {key.lower().rstrip("."): value for key, value in zone.items()}
    name = name.lower().rstrip(".")
    records = known.get(name)
    if records is None:
        return [], any(key.endswith("." + name) for key in known)
    for record in records:
        kind, _, rest = record.partition(" ")
        if kind == "CNAME" and rtype != "CNAME":
            return find(zone, rest, rtype)
    found = [rdata(kind, rest) for kind, _, rest in (record.partition(" ") for record in records) if kind == rtype]
    if not found and "TIMEOUT" in records:
        raise Failure
    return found, True


class ZoneResolver(Resolver):
    """A Resolver whose answers come from a dictionary; asked: all questions that were put."""

    def __init__(self, zone: Zone) -> None:
        super().__init__(hosts="/nonexistent")
        self.zone = zone
        self.asked: list[tuple[str, str]] = []

    async def _ask(self, name: str, rtype: str) -> Answer[Any]:
        self.asked.append((name, rtype))
        if any(len(label) > 63 or not label for label in name.split(".")) or len(name) > 253:
            return Answer((), exists=False)
        try:
            found, exists = find(self.zone, name, rtype)
        except Failure:
            raise DnsError(name, rtype) from None
        return Answer(tuple(found), exists, 60)


def _reply(zone: Zone, octets: bytes, limit: int) -> bytes:
    query = dns.message.from_wire(octets)
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.AA | dns.flags.RA      # without them glibc takes an empty answer for a lame server's
    question = query.question[0]
    try:
        found, exists = find(zone, question.name.to_text(True), dns.rdatatype.to_text(question.rdtype))
    except Failure:
        reply.set_rcode(dns.rcode.SERVFAIL)
        return reply.to_wire(want_shuffle=False)
    if found:
        reply.answer.append(dns.rrset.from_rdata_list(question.name, 60, found))
    elif not exists:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    wire = reply.to_wire(want_shuffle=False)
    if limit and len(wire) > limit:
        reply.answer.clear()
        reply.flags |= 0x0200       # TC: ask again over TCP
        return reply.to_wire(want_shuffle=False)
    return wire


@contextmanager
def name_server(zone: Zone, wanted: int = 0) -> Iterator[int]:
    """Serve a zone; yields the port (wanted, or a free one). The zone may be changed meanwhile."""
    class Udp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            octets, sock = self.request
            sock.sendto(_reply(zone, octets, 1232), self.client_address)

    class Tcp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            length = int.from_bytes(self.rfile.read(2), "big")
            wire = _reply(zone, self.rfile.read(length), 0)
            self.wfile.write(len(wire).to_bytes(2, "big") + wire)

    servers: list[Any] = []
    for _ in range(20):                 # a port that both have free
        udp = socketserver.ThreadingUDPServer(("127.0.0.1", wanted), Udp)
        port = udp.server_address[1]
        try:
            servers = [udp, socketserver.ThreadingTCPServer(("127.0.0.1", port), Tcp)]
            break
        except OSError:
            udp.server_close()
    assert servers, "no free port for a name server"
    for server in servers:
        server.daemon_threads = True
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield port
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join(5)


def reverse(address: str) -> str:
    """The PTR name of an address."""
    import ipaddress
    return ipaddress.ip_address(address).reverse_pointer


