"""The resolver against a small name server on the loopback; names of clients; /etc/hosts."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import dns.message
import dns.rdatatype
import dns.rrset
import pytest

from mailsuite.dns.hosts import Hosts
from mailsuite.dns.resolver import Answer, ClientName, DnsError, Mx, Resolver

ZONE = {
    ("a.test", "A"): ["192.0.2.1"], ("a.test", "AAAA"): ["2001:db8::1"], ("b.test", "A"): ["192.0.2.2"],
    ("m.test", "MX"): ["20 b.test.", "10 A.test."], ("null.test", "MX"): ["0 ."], ("t.test", "TXT"): ['"a b" "c"'],
    ("n.test", "NS"): ["a.test."],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["a.test."], ("3.2.0.192.in-addr.arpa", "PTR"): ["a.test."],
    ("4.2.0.192.in-addr.arpa", "PTR"): ["gone.test."], ("5.2.0.192.in-addr.arpa", "PTR"): ["bad\\032name.test."],
    ("6.2.0.192.in-addr.arpa", "PTR"): ["fail.test."],
    ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "PTR"): ["a.test."],
}


class NameServer(asyncio.DatagramProtocol):
    """Answers from ZONE; names that begin with "fail" and 192.0.2.9 get SERVFAIL."""

    def __init__(self) -> None:
        self.asked = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.asked += 1
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        question = query.question[0]
        name, kind = question.name.to_text(True).lower(), dns.rdatatype.to_text(question.rdtype)
        if name.startswith(("fail", "9.2.0")):
            reply.set_rcode(2)
        elif (name, kind) in ZONE:
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *ZONE[name, kind]))
        elif not any(known == name for known, _ in ZONE):
            reply.set_rcode(3)
        self.transport.sendto(reply.to_wire(), address)


def with_resolver(tmp_path: Path, work: Callable[[Resolver, NameServer], Awaitable[Any]]) -> Any:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost lo # comment\n::1 localhost\n192.0.2.8 file.test\nrubbish\n")

    async def main() -> Any:
        transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
            NameServer, local_addr=("127.0.0.1", 0))
        resolver = Resolver(timeout_s=2, hosts=str(hosts))
        machine = resolver._machine()
        machine.nameservers, machine.port = ["127.0.0.1"], transport.get_extra_info("sockname")[1]
        try:
            return await work(resolver, server)
        finally:
            transport.close()

    return asyncio.run(main())


@pytest.mark.parametrize(("method", "name", "want"), [
    ("mx", "m.test", Answer((Mx(10, "A.test"), Mx(20, "b.test")), True, 60)),
    ("mx", "null.test", Answer((Mx(0, ""),), True, 60)),
    ("mx", "a.test", Answer(())),
    ("mx", "missing.test", Answer((), exists=False)),
    ("mx", "a..b", Answer((), exists=False)),
    ("mx", "x" * 70 + ".test", Answer((), exists=False)),
    ("addresses", "a.test", Answer(("2001:db8::1", "192.0.2.1"), True, 60, name="a.test")),
    ("addresses", "b.test", Answer(("192.0.2.2",), True, 0, name="b.test")),
    ("addresses", "missing.test", Answer((), exists=False)),
    ("addresses", "192.0.2.77", Answer(("192.0.2.77",))),
    ("addresses", "LocalHost", Answer(("127.0.0.1", "::1"))),
    ("ptr", "192.0.2.1", Answer(("a.test",), True, 60)),
    ("ptr", "2001:db8::1", Answer(("a.test",), True, 60)),
    ("txt", "t.test", Answer((b"a bc",), True, 60)),
    ("ns", "n.test", Answer(("a.test",), True, 60)),
])
def test_questions(method: str, name: str, want: Answer[Any], tmp_path: Path) -> None:
    assert with_resolver(tmp_path, lambda resolver, _: getattr(resolver, method)(name)) == want


@pytest.mark.parametrize(("method", "name", "rtype"), [("mx", "fail.test", "MX"), ("addresses", "fail.test", "A")])
def test_failure_is_not_absence(method: str, name: str, rtype: str, tmp_path: Path) -> None:
    with pytest.raises(DnsError) as caught:
        with_resolver(tmp_path, lambda resolver, _: getattr(resolver, method)(name))
    assert str(caught.value) == (f"Host or domain name not found. Name service error for name={name} type={rtype}: "
                                 "Host not found, try again")


@pytest.mark.parametrize(("address", "want"), [
    ("192.0.2.1", ClientName("a.test", "a.test", "ok", "ok")),
    ("2001:db8::1", ClientName("a.test", "a.test", "ok", "ok")),
    ("127.0.0.1", ClientName("localhost", "localhost", "ok", "ok")),
    ("192.0.2.8", ClientName("file.test", "file.test", "ok", "ok")),
    ("192.0.2.3", ClientName("unknown", "a.test", "permanent", "ok",
                             "hostname a.test does not resolve to address 192.0.2.3")),
    ("192.0.2.4", ClientName("unknown", "gone.test", "permanent", "ok",
                             "hostname gone.test does not resolve to address 192.0.2.4: Name or service not known")),
    ("192.0.2.5", ClientName(warning="malformed domain name in resource data of PTR record for 192.0.2.5")),
    ("192.0.2.6", ClientName("unknown", "fail.test", "temporary", "ok",
                             "hostname fail.test does not resolve to address 192.0.2.6: "
                             "Temporary failure in name resolution")),
    ("192.0.2.7", ClientName()),
    ("192.0.2.9", ClientName(name_status="temporary", reverse_name_status="temporary")),
    ("", ClientName()),
])
def test_client_name(address: str, want: ClientName, tmp_path: Path) -> None:
    assert with_resolver(tmp_path, lambda resolver, _: resolver.client_name(address)) == want


def test_one_question_for_many_askers_and_a_cache(tmp_path: Path) -> None:
    async def work(resolver: Resolver, server: NameServer) -> int:
        await asyncio.gather(*(resolver.mx("m.test") for _ in range(10)))
        await resolver.mx("M.test.")
        await resolver.mx("missing.test")
        await resolver.mx("missing.test")
        return server.asked
    assert with_resolver(tmp_path, work) == 2


def test_cache_has_a_limit(tmp_path: Path) -> None:
    async def work(resolver: Resolver, server: NameServer) -> int:
        resolver._cache_limit = 3
        for number in range(10):
            await resolver.mx(f"x{number}.test")
        return len(resolver._cache)
    assert with_resolver(tmp_path, work) == 3


def test_hosts_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailsuite.dns.hosts.CHECK_INTERVAL_S", 0.0)
    hosts = Hosts(str(tmp_path / "hosts"))
    assert hosts.addresses("a") == ()
    (tmp_path / "hosts").write_text("192.0.2.1 a\n")
    assert hosts.addresses("A.") == ("192.0.2.1",) and hosts.name("192.0.2.1") == "a"
