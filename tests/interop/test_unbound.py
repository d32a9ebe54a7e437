"""DANE with a real validating resolver and real TLS servers: right, wrong and forged records."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller

from mailsuite.deliver.agent import serve_agent
from mailsuite.deliver.smtp import RemoteAgent
from mailsuite.dns.resolver import Resolver
from mailsuite.net.service import ServiceContext
from mailsuite.queue.agent import RecipientReport
from tests.deliver.harness import Qmgr, with_agent
from tests.support.chains import World, chain, make_world, tlsa
from tests.support.suite import free_port
from tests.support.unbound import plain_zone, signed_zone, unbound

pytestmark = pytest.mark.system


class Taker:
    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        return "250 2.0.0 taken"


class Far:
    """A world of domains, each with an MX in front of the same kind of server; port: theirs; names: unbound's."""

    def __init__(self, world: World, folder: Path) -> None:
        self.port = free_port()
        self.controllers: list[Controller] = []
        own = {name: tlsa(3, 1, 1, chain(world.folder / f"{name}.pem")[0]) for name in ("good", "self", "expired")}
        at = f"_{self.port}._tcp"
        self.zones = [
            signed_zone("right.test", ["@ MX 10 mx", "mx A 127.0.0.2", f"{at}.mx TLSA {own['good']}"]),
            signed_zone("wrong.test", ["@ MX 10 mx", "mx A 127.0.0.2", f"{at}.mx TLSA {own['self']}"]),
            signed_zone("old.test", ["@ MX 10 mx", "mx A 127.0.0.3", f"{at}.mx TLSA {own['expired']}"]),
            signed_zone("none.test", ["@ MX 10 mx", "mx A 127.0.0.2"]),
            signed_zone("forged.test", ["@ MX 10 mx", "mx A 127.0.0.2", f"{at}.mx TLSA {own['good']}"],
                        broken=f"{at}.mx"),
            signed_zone("alias.test", ["@ MX 10 mx", "mx CNAME mx.right.test."]),
            plain_zone("open.test", ["@ MX 10 mx.wrong.test."]),
            plain_zone("unsigned.test", ["@ MX 10 mx", "mx A 127.0.0.2", f"{at}.mx TLSA {own['self']}"])]
        for address, certificate in (("127.0.0.2", "good"), ("127.0.0.3", "expired")):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(world.folder / f"{certificate}.pem")
            self.controllers.append(Controller(Taker(), hostname=address, port=self.port, tls_context=context))
        self.folder = folder

    def send(self, domain: str, level: str, resolver_port: int) -> RecipientReport:
        async def serve(context: ServiceContext) -> None:
            agent = RemoteAgent(context.settings, "smtp", Resolver.of(context.settings))
            try:
                await serve_agent(context, agent.deliver)
            finally:
                await agent.close()

        async def talk(qmgr: Qmgr) -> RecipientReport:
            return (await qmgr.ask(f"x@{domain}", nexthop=domain))[f"x@{domain}"]

        found: RecipientReport = with_agent(serve, "smtp", {
            "myhostname": "here.test", "inet_interfaces": "192.0.2.99", "inet_protocols": "ipv4",
            "smtp_tcp_port": str(self.port), "smtp_tls_security_level": level, "smtp_tls_loglevel": "1",
            "smtp_dns_support_level": "dnssec", "dns_servers": f"127.0.0.1:{resolver_port}"}, talk)
        return found


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Far, int]]:
    made = Far(make_world(tmp_path_factory.mktemp("chains")), tmp_path_factory.mktemp("unbound"))
    with unbound(made.folder, made.zones) as resolver_port:
        for controller in made.controllers:
            controller.start()
        try:
            yield made, resolver_port
        finally:
            for controller in made.controllers:
                controller.stop()


@pytest.mark.parametrize(("domain", "level", "status", "reason", "trust"), [
    ("right.test", "dane-only", "sent", "250 2.0.0 taken", "Verified"),
    ("alias.test", "dane-only", "sent", "250 2.0.0 taken", "Verified"),
    ("old.test", "dane-only", "sent", "250 2.0.0 taken", "Verified"),
    ("wrong.test", "dane", "deferred", "Server certificate not verified", "Untrusted"),
    ("none.test", "dane", "sent", "250 2.0.0 taken", "Untrusted"),
    ("none.test", "dane-only", "deferred", "no TLSA records found", ""),
    ("forged.test", "dane", "deferred", "TLSA lookup error for mx.forged.test:", ""),
    ("open.test", "dane", "deferred", "Server certificate not verified", "Untrusted"),
    ("open.test", "dane-only", "deferred", "non DNSSEC destination", ""),
    ("unsigned.test", "dane", "sent", "250 2.0.0 taken", "Untrusted"),
])
def test_dane(far: tuple[Far, int], domain: str, level: str, status: str, reason: str, trust: str,
              caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="mailsuite.smtp")
    world, resolver_port = far
    report = world.send(domain, level, resolver_port)
    assert report.status == status and report.reason.startswith(reason)
    told = [line.split()[0] for line in caplog.messages if "TLS connection established" in line]
    assert told == ([trust] if trust else [])


def test_the_probe_knows_a_resolver_that_checks(far: tuple[Far, int]) -> None:
    async def ask() -> tuple[bool, bool]:
        resolver = Resolver(servers=(("127.0.0.1", far[1]),), hosts="/nonexistent")
        signed, unsigned = await resolver.mx("right.test"), await resolver.mx("unsigned.test")
        return signed.validated, unsigned.validated

    assert asyncio.run(ask()) == (True, False)
