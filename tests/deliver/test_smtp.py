"""smtp and lmtp against a scripted server on loopback: results, next hosts, reuse, TLS."""

import asyncio
import datetime
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from certs.authority import ensure_certificates
from mailsuite.base.errors import ConfigError
from mailsuite.config.settings import Settings
from mailsuite.deliver.agent import serve_agent
from mailsuite.deliver.smtp import RemoteAgent
from mailsuite.dns.resolver import Answer, DnsError, Mx, Resolver
from mailsuite.net.service import ServiceContext
from mailsuite.smtp.client import Endpoint
from mailsuite.smtp.client_destination import NoHost, parse_destination
from mailsuite.smtp.client_hosts import HostFinder, native_addresses
from mailsuite.smtp.client_own import bind_addresses
from mailsuite.smtp.client_params import own_address
from tests.deliver.harness import Qmgr, with_agent
from tests.support.far_end import far_ends


class Names:
    """A resolver that is a dictionary."""

    def __init__(self, mx: dict[str, list[tuple[int, str]]], addresses: dict[str, list[str]]) -> None:
        self._mx, self._addresses = mx, addresses

    async def mx(self, domain: str) -> Answer[Mx]:
        if domain == "down.test":
            raise DnsError(domain, "MX")
        return Answer(tuple(Mx(*entry) for entry in self._mx.get(domain, [])), exists=domain in self._mx)

    async def addresses(self, host: str, *, family: str = "any", use_hosts: bool = True) -> Answer[str]:
        return Answer(tuple(self._addresses.get(host, [])), exists=host in self._addresses)


class Server:
    """Takes mail as `replies` say: verb to reply; records what was said. A reply of "" closes."""

    def __init__(self, lmtp: bool = False, **replies: str) -> None:
        self.replies = {"CONNECT": "220 far.test", "EHLO": "250-far.test\r\n250 PIPELINING", "LHLO": "250 far.test",
                        "MAIL": "250 2.1.0 Ok", "RCPT": "250 2.1.5 Ok", "DATA": "354 go", ".": "250 2.0.0 Taken",
                        "QUIT": "221 bye", "RSET": "250 ok"} | replies
        self.said: list[str] = []
        self.content: list[str] = []
        self.connections, self._lmtp = 0, lmtp
        self.context: ssl.SSLContext | None = None

    async def start(self, port: int = 0) -> int:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            writer.write(self.replies["CONNECT"].encode() + b"\r\n")
            recipients = 0
            while line := (await reader.readline()).decode().rstrip("\r\n"):
                verb = line.split()[0].upper()
                self.said.append(line)
                recipients = 0 if verb == "MAIL" else recipients + (verb == "RCPT")
                reply = self.replies[verb]
                if not reply:
                    return
                writer.write(reply.encode() + b"\r\n")
                if verb == "STARTTLS" and self.context is not None:
                    await writer.start_tls(self.context)
                    continue
                if verb == "STARTTLS" and reply.startswith("2"):
                    return              # a handshake that ends before it begins
                if reply.startswith("354"):
                    lines = []
                    while (text := (await reader.readline()).decode()) != ".\r\n":
                        lines.append(text)
                    self.content.append("".join(lines))
                    writer.write((self.replies["."].encode() + b"\r\n") * (recipients if self._lmtp else 1))
        except OSError:
            pass                        # the handshake failed
        finally:
            writer.close()


def play(test: Callable[[Qmgr], Awaitable[Any]], command: str = "smtp", *, mx: Any = None, addresses: Any = None,
         **settings: str) -> Any:
    async def serve(context: ServiceContext) -> None:
        agent = RemoteAgent(context.settings, context.command,
                            cast(Resolver, Names(mx or {}, addresses or {})))
        try:
            await serve_agent(context, agent.deliver)
        finally:
            await agent.close()

    known = {"myhostname": "here.test", "inet_interfaces": "192.0.2.99, 127.0.0.2"}
    return with_agent(serve, command, known | settings, test)


def test_delivery_and_content() -> None:
    async def talk(qmgr: Qmgr) -> None:
        server = Server()
        port = await server.start()
        reports = await qmgr.ask("x@c.test", "y@c.test", nexthop=f"[127.0.0.1]:{port}", content=b"A: b\n\n.dot\nend\n")
        for report in reports.values():
            assert (report.status, report.dsn, report.reason, report.relay, report.action) == (
                "sent", "2.0.0", "250 2.0.0 Taken", f"127.0.0.1[127.0.0.1]:{port}", "relayed")
        assert server.content == ["A: b\r\n\r\n..dot\r\nend\r\n"]
        assert server.said[:3] == ["EHLO here.test", "MAIL FROM:<a@b.test>", "RCPT TO:<x@c.test>"]

    play(talk)


@pytest.mark.parametrize(("replies", "want"), [
    ({"RCPT": "550 5.1.1 no such user"}, ("bounced", "5.1.1", "said: 550 5.1.1 no such user (in reply to RCPT TO")),
    ({"MAIL": "451 4.1.8 later"}, ("deferred", "4.1.8", "said: 451 4.1.8 later (in reply to MAIL FROM command)")),
    ({"CONNECT": "554 5.3.2 no"}, ("deferred", "4.3.2", "refused to talk to me: 554 5.3.2 no")),
    ({"RCPT": ""}, ("deferred", "4.4.2", "lost connection with 127.0.0.1[127.0.0.1] while sending RCPT TO")),
    ({".": "552 5.2.3 too big"}, ("bounced", "5.2.3", "(in reply to end of DATA command)")),
    ({"EHLO": "\r\n".join(["nonsense"] * 300)}, ("deferred", "4.5.0", "protocol error")),
])
def test_refusals(replies: dict[str, str], want: tuple[str, str, str]) -> None:
    async def talk(qmgr: Qmgr) -> None:
        port = await Server(**replies).start()
        report = (await qmgr.ask("x@c.test", nexthop=f"[127.0.0.1]:{port}"))["x@c.test"]
        assert (report.status, report.dsn) == want[:2]
        assert want[2] in report.reason
        assert report.relay == f"127.0.0.1[127.0.0.1]:{port}"

    play(talk, smtp_skip_5xx_greeting="yes")


def test_nobody_there() -> None:
    async def talk(qmgr: Qmgr) -> None:
        report = (await qmgr.ask("x@c.test", nexthop="[127.0.0.1]:1"))["x@c.test"]
        assert (report.status, report.dsn, report.relay, report.reason) == (
            "deferred", "4.4.1", "none", "connect to 127.0.0.1[127.0.0.1]:1: Connection refused")

    play(talk)


def test_lmtp() -> None:
    async def talk(qmgr: Qmgr) -> None:
        server = Server(lmtp=True)
        port = await server.start()
        reports = await qmgr.ask("x@c.test", "y@c.test", nexthop=f"inet:127.0.0.1:{port}")
        assert [report.action for report in reports.values()] == ["relayed"] * 2
        assert server.said[0] == "LHLO here.test"

    play(talk, "lmtp", lmtp_lhlo_name="here.test")


def test_a_waiting_message_uses_the_same_connection() -> None:
    async def talk(qmgr: Qmgr) -> None:
        server = Server()
        port = await server.start()
        path = qmgr.message()
        for _ in range(5):
            qmgr.send(("x@c.test",), path, 40, nexthop=f"[127.0.0.1]:{port}")
        finished = 0
        while finished < 5:
            message = await qmgr._link.receive()
            assert message is not None
            finished += "done" in message
        for _ in range(3):
            await qmgr.ask("x@c.test", nexthop=f"[127.0.0.1]:{port}")
        assert len(server.content) == 8 and server.connections <= 5

    play(talk)


@pytest.mark.parametrize(("level", "status"), [("may", "sent"), ("encrypt", "deferred"), ("none", "sent")])
def test_a_server_without_tls(level: str, status: str) -> None:
    async def talk(qmgr: Qmgr) -> None:
        port = await Server().start()
        report = (await qmgr.ask("x@c.test", nexthop=f"[127.0.0.1]:{port}"))["x@c.test"]
        assert report.status == status
        if status == "deferred":
            assert report.dsn == "4.7.4" and "TLS is required, but was not offered" in report.reason

    play(talk, smtp_tls_security_level=level)


@pytest.mark.parametrize(("waited_s", "status", "connections"), [(0, "deferred", 1), (400, "sent", 2)])
def test_broken_tls_is_left_out_where_it_may_be(waited_s: int, status: str, connections: int) -> None:
    """As Postfix does it: only when the message has waited for minimal_backoff_time."""
    async def talk(qmgr: Qmgr) -> None:
        server = Server(EHLO="250-far.test\r\n250 STARTTLS", STARTTLS="220 go ahead")
        port, now = await server.start(), time.time()
        report = (await qmgr.ask("x@c.test", nexthop=f"[127.0.0.1]:{port}", arrival_time=now - waited_s,
                                 active_time=now))["x@c.test"]
        assert report.status == status and server.connections == connections
        if status == "deferred":
            assert (report.dsn, report.reason) == ("4.7.5", "Cannot start TLS: handshake failure")

    play(talk, smtp_tls_security_level="may")


@pytest.mark.parametrize(("level", "nexthop", "want"), [
    ("may", "127.0.0.1", "sent"), ("encrypt", "127.0.0.1", "sent"), ("verify", "localhost", "sent"),
    ("secure", "localhost", "sent"), ("verify", "127.0.0.1", "deferred")])
def test_starttls(tmp_path: Path, level: str, nexthop: str, want: str) -> None:
    found = ensure_certificates(tmp_path, ["localhost"], datetime.datetime.now(datetime.UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(found.chain, found.key)

    async def talk(qmgr: Qmgr) -> None:
        server = Server(EHLO="250-far.test\r\n250 STARTTLS", STARTTLS="220 go ahead")
        server.context = context
        port = await server.start()
        report = (await qmgr.ask("x@c.test", nexthop=f"[{nexthop}]:{port}"))["x@c.test"]
        assert report.status == want
        if want == "sent":
            assert server.said[:4] == ["EHLO here.test", "STARTTLS", "EHLO here.test", "MAIL FROM:<a@b.test>"]
        else:
            assert (report.dsn, report.reason) == ("4.7.5", "Server certificate not verified")

    play(talk, addresses={"localhost": ["127.0.0.1"]}, smtp_tls_security_level=level,
         smtp_tls_CAfile=str(found.authority), smtp_tls_verify_cert_match="hostname",
         smtp_tls_secure_cert_match="nexthop")


# --- hosts ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "want"), [
    ("a.test", ("a.test", 25, False)), ("a.test:2525", ("a.test", 2525, False)), ("[a.test]", ("a.test", 25, True)),
    ("[192.0.2.1]:587", ("192.0.2.1", 587, True)), ("[IPv6:2001:db8::1]", ("2001:db8::1", 25, True)),
    ("[2001:db8::1]:submission", ("2001:db8::1", 587, True)), ("inet:a.test:24", ("a.test", 24, False))])
def test_destinations(text: str, want: tuple[str, int, bool]) -> None:
    found = parse_destination(text, 25)
    assert (found.host, found.port, found.literal) == want


MXS = {"two.test": [(10, "a.two.test"), (20, "b.two.test")], "null.test": [(0, "")], "self.test": [(10, "here.test"),
       (20, "b.two.test")], "loop.test": [(10, "here.test")], "later.test": [(5, "b.two.test"), (10, "here.test")],
       "dead.test": [(10, "nowhere.test")]}
ADDRESSES = {"a.two.test": ["192.0.2.1"], "b.two.test": ["192.0.2.2"], "here.test": ["192.0.2.99"],
             "arec.test": ["192.0.2.3"], "mine.test": ["192.0.2.99"]}


@pytest.mark.parametrize(("nexthop", "want"), [
    ("two.test", ["a.two.test", "b.two.test"]), ("arec.test", ["arec.test"]), ("later.test", ["b.two.test"]),
    ("[192.0.2.7]", ["192.0.2.7"]),
    ("[here.test]", ("5.4.6", "mail for here.test loops back to myself")), ("[here.test]:26", ["here.test"]),
    ("null.test", ("5.1.0", "Domain null.test does not accept mail (nullMX)")),
    ("self.test", ("5.4.6", "mail for self.test loops back to myself")),
    ("loop.test", ("5.4.6", "mail for loop.test loops back to myself")),
    ("mine.test", ("5.4.6", "mail for mine.test loops back to myself")),
    ("down.test", ("4.4.3", "Host or domain name not found. Name service error for name=down.test type=MX: "
                   "Host not found, try again")),
    ("missing.test", ("5.4.4", "Host or domain name not found. Name service error for name=missing.test type=A: "
                      "Host not found")),
    ("dead.test", ("5.4.4", "Host or domain name not found. Name service error for name=nowhere.test type=A: "
                   "Host not found")),
])
def test_hosts(nexthop: str, want: list[str] | tuple[str, str]) -> None:
    settings = Settings.of({"myhostname": "here.test", "inet_interfaces": "192.0.2.99", "smtp_tcp_port": "smtp",
                            "inet_protocols": "ipv4"})
    finder = HostFinder(settings, cast(Resolver, Names(MXS, ADDRESSES)), "smtp")

    async def find() -> list[Endpoint]:
        return list((await finder.find(nexthop)).endpoints)

    if isinstance(want, list):
        assert [endpoint.host for endpoint in asyncio.run(find())] == want
    else:
        with pytest.raises(NoHost) as caught:
            asyncio.run(find())
        assert (caught.value.status, caught.value.public) == want


def test_sites() -> None:
    settings = Settings.of({"smtp_fallback_relay": "[f.test], g.test", "inet_protocols": "ipv4"})
    finder = HostFinder(settings, cast(Resolver, Names({}, {})), "smtp")
    assert finder.sites("[a.test]:26, b.test c.test") == (["[a.test]:26", "b.test", "c.test"], ["[f.test]", "g.test"])
    assert finder.sites("unix:/run/a b") == (["unix:/run/a b"], [])


# --- what needs no recording ------------------------------------------------------------------------------------------

def with_ends(script: dict[str, Any], content: bytes = b"A: b\n\n.dot\n", **settings: str) -> tuple[Any, list[str]]:
    """The report of one delivery to a scripted far end, and what that heard on its only connection."""
    async def talk(qmgr: Qmgr) -> tuple[Any, list[str]]:
        async with far_ends({"127.0.0.1": script}) as ends:
            report = (await qmgr.ask("x@c.test", nexthop=f"[127.0.0.1]:{ends.port}", content=content))["x@c.test"]
            async with asyncio.timeout(60):
                while ends.open:
                    await asyncio.sleep(0.01)
            return report, ends.said["127.0.0.1"][0]

    return cast("tuple[Any, list[str]]", play(talk, **settings))


def test_chunks_on_the_wire() -> None:
    report, said = with_ends({"ehlo": ["CHUNKING", "8BITMIME"]}, smtp_send_chunking="yes")
    assert report.status == "sent"
    assert said[3:] == ["BDAT 14 LAST\r\n", "A: b\r\n\r\n.dot\r\n", "QUIT\r\n"]


def test_several_next_hops() -> None:
    """The second of a list is tried where the first cannot be reached: transport(5), since Postfix 3.5."""
    async def talk(qmgr: Qmgr) -> Any:
        async with far_ends({"127.0.0.1": {}}) as ends:
            return (await qmgr.ask("x@c.test", nexthop=f"[127.0.0.1]:1, [127.0.0.1]:{ends.port}"))["x@c.test"]

    report = play(talk)
    assert (report.status, report.relay.startswith("127.0.0.1[127.0.0.1]:")) == ("sent", True)


def test_large_messages_are_several_chunks() -> None:
    content = b"A: b\n\n" + b"x" * 70 * 1024 * 40 + b"\n"
    report, said = with_ends({"ehlo": ["CHUNKING", "8BITMIME"]}, content, smtp_send_chunking="yes",
                             smtp_line_length_limit="0")
    chunks = [line for line in said if line.startswith("BDAT")]
    assert report.status == "sent" and len(chunks) > 1
    assert chunks[-1].endswith("LAST\r\n") and not any("LAST" in line for line in chunks[:-1])
    assert sum(int(line.split()[1]) for line in chunks) == len(content) + 3


@pytest.mark.parametrize(("script", "want"), [
    ({"RCPT": {"flood": "250-x\r\n"}}, "4.5.0"), ({"RCPT": {"flood": "x"}}, "4.4.2"),
    ({"CONNECT": {"flood": "220-x\r\n"}}, "4.5.0"), ({"RCPT": {"drip": "2" * 200, "s": 0.05}}, "4.4.2"),
    ({".": {"flood": "garbage\r\n"}}, "4.5.0")])
def test_replies_without_end(script: dict[str, Any], want: str) -> None:
    report, _ = with_ends(script, smtp_rcpt_timeout="1s" if want == "4.4.2" else "60s")
    assert (report.status, report.dsn) == ("deferred", want)


def test_a_server_that_takes_the_message_too_slowly() -> None:
    """smtp_per_request_deadline: each block may be in time, and the message is not."""
    async def talk(qmgr: Qmgr) -> None:
        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 x\r\n")
            for reply in (b"250 x\r\n", b"250 x\r\n", b"250 x\r\n", b"354 x\r\n"):
                await reader.readline()
                writer.write(reply)
            while await reader.read(65536):
                await asyncio.sleep(0.1)
            writer.close()

        server = await asyncio.start_server(slow, "127.0.0.1", 0, limit=4096)
        port = server.sockets[0].getsockname()[1]
        report = (await qmgr.ask("x@c.test", nexthop=f"[127.0.0.1]:{port}", content=b"A: b\n\n" + b"x\n" * 8_000_000)
                  )["x@c.test"]
        server.close()
        assert (report.status, report.dsn) == ("deferred", "4.4.2")
        assert report.reason.endswith("timed out while sending message body")

    play(talk, smtp_per_request_deadline="yes", smtp_min_data_rate="100000000", smtp_data_xfer_timeout="1s")


@pytest.mark.parametrize(("error", "status", "reason"), [
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "5.4.4", "Name or service not known"),
    (socket.gaierror(-5, "No address associated with hostname"), "5.3.0", "No address associated with hostname"),
    (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "4.4.4", "Temporary failure"),
    (socket.gaierror(socket.EAI_SYSTEM, "System error"), "4.3.0", "System error")])
def test_native_lookups(monkeypatch: pytest.MonkeyPatch, error: Exception, status: str, reason: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(NoHost) as caught:
        asyncio.run(native_addresses("a.test", "any"))
    assert (caught.value.status, caught.value.public) == (status, f"unable to look up host a.test: {reason}")


def test_probe_at_data() -> None:
    async def talk(qmgr: Qmgr) -> None:
        async with far_ends({"127.0.0.1": {}}) as ends:
            report = (await qmgr.ask("x@c.test", nexthop=f"[127.0.0.1]:{ends.port}", verify="verify"))["x@c.test"]
            assert report.status == "sent"
            async with asyncio.timeout(60):
                while ends.open:
                    await asyncio.sleep(0.01)
            assert ends.said["127.0.0.1"][0][-1] == "DATA\r\n"       # neither a message nor QUIT

    play(talk, smtp_address_verify_target="data")


@pytest.mark.parametrize("value", ["nonsense", "2001:db8::1", "127.0.0.1, 127.0.0.2"])
def test_addresses_to_connect_from(value: str) -> None:
    with pytest.raises(ConfigError):
        own_address(six=False)(value)


def test_a_virtual_host_connects_from_its_address() -> None:
    settings = Settings.of({"inet_interfaces": "192.0.2.1, 127.0.0.1"})
    assert bind_addresses(settings, "smtp") == {False: "", True: ""}
    settings = Settings.of({"inet_interfaces": "192.0.2.1, 2001:db8::1", "smtp_bind_address6": "[2001:db8::2]"})
    assert bind_addresses(settings, "smtp") == {False: "192.0.2.1", True: "2001:db8::2"}
