"""Which keys each caller asks of its tables, in which order.

Every sequence was recorded from Postfix 3.7: `keys` with a table of keys (hash, pgsql, memcache...), `whole` with one
that is asked for whole keys only and does not fold them (regexp, pcre, tcp, socketmap).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from mailsuite.config.settings import Settings
from mailsuite.maps import opening
from mailsuite.maps.table import Table, fold
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.smtp.facts import Client, Facts
from mailsuite.smtp.policy.policy import Policy
from tests.smtp.test_policy import Dns

BASE = {"compatibility_level": "3.6", "myhostname": "mx.example.test", "mydomain": "example.test",
        "myorigin": "example.test", "mydestination": "mx.example.test, localhost, record:mydestination",
        "recipient_delimiter": "+", "mynetworks": "127.0.0.0/8", "alias_maps": "", "local_recipient_maps": "",
        "relay_domains": "relay.test", "virtual_alias_domains": "va.test", "virtual_mailbox_domains": "vm.test",
        "smtpd_recipient_restrictions": "", "smtpd_sasl_auth_enable": "yes",
        "smtpd_relay_restrictions": "check_client_access static:OK, reject_unauth_destination"}
LOCAL_TABLE = "local.test"      # in mydestination, which is a table here


class Recording(Table):
    """Writes down its keys. A name of "whole..." is a table of patterns."""

    waits = True
    asked: list[str] = []

    def __init__(self, type: str, name: str) -> None:
        super().__init__(type, name)
        self.pattern = name.startswith("whole")

    async def ask(self, key: str) -> str | None:
        key = key if self.pattern else fold(key)
        if self.name == "mydestination":
            return "x" if key == LOCAL_TABLE else None
        if key not in self.asked:
            self.asked.append(key)
        return None


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The keys asked of tables "record:..." other than mydestination, without repetitions."""
    real = opening.open_table

    def open_table(spec: str, source: Any, *, folds: bool = True) -> Table:
        kind, _, name = spec.partition(":")
        return Recording(kind, name) if kind == "record" else real(spec, source, folds=folds)

    monkeypatch.setattr(opening, "open_table", open_table)
    Recording.asked.clear()
    yield Recording.asked


Ask = Callable[[Rewriter, str], Awaitable[object]]


async def envelope_sender(rewriter: Rewriter, address: str) -> object:
    return await rewriter.sender(address)


async def envelope_recipient(rewriter: Rewriter, address: str) -> object:
    return await rewriter.expand_recipient(address)


async def route(rewriter: Rewriter, address: str) -> object:
    return await rewriter.resolve("Sender+Ext@Sub.From.test", address)


async def validate(rewriter: Rewriter, address: str) -> object:
    return await rewriter.validate_recipient(await rewriter.resolve("", address), address)


async def copies(rewriter: Rewriter, address: str) -> object:
    return await rewriter.bcc(address, [address])


REMOTE = "Sender+Ext@Sub.From.test"
ADDRESS = ["sender+ext@sub.from.test", "sender@sub.from.test", "@sub.from.test"]
LOCAL = ["alice+x@local.test", "alice@local.test", "alice+x", "alice", "@local.test"]


@pytest.mark.parametrize(("parameter", "ask", "address", "keys", "whole"), [
    ("canonical_maps", envelope_sender, REMOTE, ADDRESS, [REMOTE]),
    ("sender_canonical_maps", envelope_sender, REMOTE, ADDRESS, [REMOTE]),
    ("sender_canonical_maps", envelope_sender, "", ['""'], ['""']),
    ("sender_canonical_maps", envelope_sender, "bare+x",
     ["bare+x@example.test", "bare@example.test", "bare+x", "bare", "@example.test"], ["bare+x@example.test"]),
    ("recipient_canonical_maps", envelope_recipient, "alice+X@Local.test", LOCAL, ["alice+X@Local.test"]),
    ("virtual_alias_maps", envelope_recipient, "alice+X@Local.test", LOCAL, ["alice+X@Local.test"]),
    ("virtual_alias_maps", envelope_recipient, "list@va.test", ["list@va.test", "@va.test"], ["list@va.test"]),
    ("virtual_alias_maps", envelope_recipient, "odd name@remote.test", ['"odd name"@remote.test', "@remote.test"],
     ['"odd name"@remote.test']),
    ("sender_bcc_maps", copies, REMOTE, ADDRESS, [REMOTE]),
    ("recipient_bcc_maps", copies, "alice+x@local.test", LOCAL, ["alice+x@local.test"]),
    ("relocated_maps", route, "alice+x@local.test", LOCAL, ["alice+x@local.test"]),
    ("relocated_maps", route, "known@va.test", ["known@va.test", "@va.test"], ["known@va.test"]),
    ("transport_maps", route, "Remote+e@Deep.Sub.Remote.test",
     ["remote+e@deep.sub.remote.test", "remote@deep.sub.remote.test", "deep.sub.remote.test", ".sub.remote.test",
      ".remote.test", ".test", "*"], ["Remote+e@Deep.Sub.Remote.test"]),
    ("transport_maps", route, "u@[203.0.113.9]",
     ["u@[203.0.113.9]", "[203.0.113.9]", ".0.113.9]", ".113.9]", ".9]", "*"], ["u@[203.0.113.9]"]),
    ("transport_maps", route, "known@va.test", [], []),
    ("sender_dependent_relayhost_maps", route, "u@remote.test", ADDRESS, [REMOTE]),
    ("sender_dependent_default_transport_maps", route, "u@remote.test", ADDRESS, [REMOTE]),
    ("local_recipient_maps", validate, "Bob+y@local.test",
     ["bob+y@local.test", "bob@local.test", "bob+y", "bob", "@local.test"], ["bob+y@local.test"]),
    ("relay_recipient_maps", validate, "Known+r@relay.test",
     ["known+r@relay.test", "known@relay.test", "@relay.test"], ["known+r@relay.test"]),
    ("virtual_mailbox_maps", validate, "other+q@vm.test", ["other+q@vm.test", "other@vm.test", "@vm.test"],
     ["other+q@vm.test"]),
])
def test_addresses(parameter: str, ask: Ask, address: str, keys: list[str], whole: list[str], asked: list[str]) -> None:
    for name, want in (("table", keys), ("whole", whole)):
        asked.clear()
        asyncio.run(ask(Rewriter(Settings.of({**BASE, parameter: f"record:{name}"})), address))  # type: ignore[arg-type]
        assert asked == want


def test_transport_with_parents(asked: list[str]) -> None:
    values = {**BASE, "transport_maps": "record:t", "parent_domain_matches_subdomains": "transport_maps"}
    asyncio.run(Rewriter(Settings.of(values)).resolve("", "u@a.b.test"))
    assert asked == ["u@a.b.test", "a.b.test", "b.test", "test", "*"]


ZONE = {"from.test MX": (), "Sub.From.test A": ("203.0.113.70",), "client.deep.host.test A": ("198.51.100.5",),
        "helo.client.test A": ("198.51.100.5",)}
CLIENT = ["client.deep.host.test", "deep.host.test", "host.test", "test", "198.51.100.5", "198.51.100", "198.51", "198"]
MAIL = ["sender+ext@sub.from.test", "sender@sub.from.test", "sub.from.test", "from.test", "test", "sender+ext@",
        "sender@"]


@pytest.mark.parametrize(("check", "keys", "whole"), [
    ("check_client_access", CLIENT, ["client.deep.host.test", "198.51.100.5"]),
    ("check_reverse_client_hostname_access", CLIENT, ["client.deep.host.test", "198.51.100.5"]),
    ("check_client_a_access", CLIENT[4:], ["198.51.100.5"]),
    ("check_helo_access", ["helo.client.test", "client.test", "test"], ["Helo.Client.test"]),
    ("check_sender_access", MAIL, ["sender+ext@sub.from.test"]),
    ("check_sender_a_access", ["203.0.113.70", "203.0.113", "203.0", "203"], ["203.0.113.70"]),
    ("check_recipient_access", ["alice+x@local.test", "alice@local.test", "local.test", "test", "alice+x@", "alice@"],
     ["alice+x@local.test"]),
])
def test_access(check: str, keys: list[str], whole: list[str], asked: list[str]) -> None:
    for name, want in (("table", keys), ("whole", whole)):
        assert access(f"{check} record:{name}", asked) == want


def access(restriction: str, asked: list[str], **values: Any) -> list[str]:
    """The keys of one restriction at RCPT."""
    settings = Settings.of({**BASE, "smtpd_recipient_restrictions": restriction, **values.pop("settings", {})})
    policy = Policy(settings, Rewriter(settings), Dns(ZONE))        # type: ignore[arg-type]  # a test double
    name = "client.deep.host.test"
    facts = Facts(Client("198.51.100.5", 1234, name=name, reverse_name=name), where="RCPT", protocol="ESMTP",
                  helo="Helo.Client.test", sender=REMOTE, recipient="alice+X@Local.test")
    for key, value in values.items():
        setattr(facts, key, value)
    asked.clear()
    asyncio.run(policy.rcpt(facts))
    return list(asked)


def test_access_of_the_null_sender(asked: list[str]) -> None:
    assert access("check_sender_access record:t", asked, sender="") == ["<>"]
    changed = {"smtpd_null_access_lookup_key": "nobody"}
    assert access("check_sender_access record:t", asked, sender="", settings=changed) == ["nobody"]


def test_access_of_an_address_without_a_domain(asked: list[str]) -> None:
    """It is completed first, as it will be delivered."""
    assert access("check_recipient_access record:t", asked, recipient="bare") == [
        "bare@example.test", "example.test", "test", "bare@"]


def test_access_with_dotted_parents(asked: list[str]) -> None:
    dotted = {"parent_domain_matches_subdomains": ""}
    assert access("check_helo_access record:t", asked, settings=dotted) == ["helo.client.test", ".client.test", ".test"]
    assert access("check_sender_access record:t", asked, settings=dotted)[2:5] == [
        "sub.from.test", ".from.test", ".test"]


def test_login_maps(asked: list[str]) -> None:
    values = {"smtpd_sender_login_maps": "record:t"}
    assert access("reject_sender_login_mismatch", asked, sasl_username="alice", settings=values) == ADDRESS
    assert access("reject_sender_login_mismatch", asked, sasl_username="alice", sender="alice+x@local.test",
                  settings=values) == LOCAL


def test_mynetworks(asked: list[str]) -> None:
    """A host's name with its parents, then its address, which has none."""
    assert access("permit_mynetworks", asked, settings={"mynetworks": "record:t"}) == CLIENT[:5]
    dotted = {"mynetworks": "record:t", "parent_domain_matches_subdomains": ""}
    assert access("permit_mynetworks", asked, settings=dotted) == [
        "client.deep.host.test", ".deep.host.test", ".host.test", ".test", "198.51.100.5"]


@pytest.mark.parametrize(("parameter", "parents", "keys"), [
    ("relay_domains", "relay_domains", ["sub.far.test", "far.test", "test"]),
    ("relay_domains", "", ["sub.far.test", ".far.test", ".test"]),
    ("virtual_alias_domains", "relay_domains", ["sub.far.test"]),
    ("virtual_mailbox_domains", "relay_domains", ["sub.far.test"]),
])
def test_lists_of_domains(parameter: str, parents: str, keys: list[str], asked: list[str]) -> None:
    values = {**BASE, parameter: "record:t", "parent_domain_matches_subdomains": parents}
    asyncio.run(Rewriter(Settings.of(values)).resolve("", "u@sub.far.test"))
    assert asked == keys
