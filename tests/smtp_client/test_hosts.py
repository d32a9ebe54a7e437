"""From a nexthop to hosts: SRV records, names behind aliases, ports by name."""

import asyncio
from typing import Any

import pytest

from mailsuite.base.errors import ConfigError
from mailsuite.config.settings import Settings
from mailsuite.dns.resolver import Answer
from mailsuite.smtp.client_destination import NoHost
from mailsuite.smtp.client_hosts import HostFinder
from tests.support.dns_zone import ZoneResolver

ZONE = {
    "_submission._tcp.a.test": ["SRV 20 0 587 second.a.test", "SRV 10 0 2587 first.a.test"],
    "_submission._tcp.none.test": ["SRV 0 0 0 ."], "_submission._tcp.down.test": ["TIMEOUT"],
    "_smtp._tcp.a.test": ["SRV 0 0 2525 first.a.test"],
    "first.a.test": ["A 192.0.2.1"], "second.a.test": ["A 192.0.2.2"], "a.test": ["MX 10 mx.a.test"],
    "mx.a.test": ["A 192.0.2.3"], "plain.test": ["A 192.0.2.4"], "down.test": ["A 192.0.2.5"],
    "none.test": ["A 192.0.2.6"], "alias.test": ["MX 10 www.alias.test"], "www.alias.test": ["CNAME mx.a.test"]}


class Aliases(ZoneResolver):
    """Tells whose records they are."""

    async def _ask(self, name: str, rtype: str) -> Answer[Any]:
        found = await super()._ask(name, rtype)
        return Answer(found.records, found.exists, found.ttl_s, name=self.zone[name][0].removeprefix("CNAME ")
                      if name in self.zone else name)


def hosts(nexthop: str, **values: str) -> list[tuple[str, str, int]]:
    """Name, address and port of each."""
    settings = Settings.of({"inet_interfaces": "192.0.2.99", "inet_protocols": "ipv4", **values})
    finder = HostFinder(settings, Aliases(ZONE), "smtp")
    found = asyncio.run(finder.find(nexthop))
    return [(endpoint.host, endpoint.address, endpoint.port) for endpoint in found.endpoints]


@pytest.mark.parametrize(("nexthop", "more", "want"), [
    ("a.test:submission", {}, [("first.a.test", "192.0.2.1", 2587), ("second.a.test", "192.0.2.2", 587)]),
    ("[first.a.test]:submission", {}, [("first.a.test", "192.0.2.1", 587)]),
    ("a.test:587", {}, [("mx.a.test", "192.0.2.3", 587)]),
    ("a.test", {}, [("mx.a.test", "192.0.2.3", 25)]),
    ("a.test", {"use_srv_lookup": "smtp"}, [("first.a.test", "192.0.2.1", 2525)]),
    ("plain.test:submission", {"allow_srv_lookup_fallback": "yes"}, [("plain.test", "192.0.2.4", 587)]),
    ("down.test:submission", {"ignore_srv_lookup_error": "yes"}, [("down.test", "192.0.2.5", 587)])])
def test_srv(nexthop: str, more: dict[str, str], want: list[tuple[str, str, int]]) -> None:
    assert hosts(nexthop, **{"use_srv_lookup": "submission", **more}) == want


@pytest.mark.parametrize(("nexthop", "status"), [
    ("plain.test:submission", "5.4.4"), ("none.test:submission", "5.4.4"), ("down.test:submission", "4.4.3")])
def test_no_srv(nexthop: str, status: str) -> None:
    with pytest.raises(NoHost) as caught:
        hosts(nexthop, use_srv_lookup="submission")
    assert caught.value.status == status


def test_weights_share_the_load() -> None:
    zone = {"_x._tcp.a.test": ["SRV 0 90 1 heavy.test", "SRV 0 10 1 light.test", "SRV 0 0 1 last.test"]}

    async def firsts() -> list[str]:
        resolver = ZoneResolver(zone)
        return [(await resolver.srv("x", "a.test")).records[0].host for _ in range(300)]

    first = asyncio.run(firsts())
    assert first.count("heavy.test") > first.count("light.test") > 0 and first.count("last.test") < 10


@pytest.mark.parametrize(("value", "want"), [("no", "www.alias.test"), ("yes", "mx.a.test")])
def test_the_name_behind_an_alias(value: str, want: str) -> None:
    assert hosts("alias.test", smtp_cname_overrides_servername=value) == [(want, "192.0.2.3", 25)]


def test_ports_by_name() -> None:
    assert hosts("[plain.test]:relay", known_tcp_ports="relay=forward=2600") == [("plain.test", "192.0.2.4", 2600)]
    for bad in ("x", "x=", "=25", "x=70000"):
        with pytest.raises(ConfigError):
            hosts("plain.test", known_tcp_ports=bad)
