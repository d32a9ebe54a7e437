"""Rules of quota roots."""

import asyncio
from pathlib import Path

import pytest

from mailsuite.base.errors import ConfigError
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.quota.limits import Limits, Rules, parse_octets
from mailsuite.quota.roots import quota_settings
from tests.acl.support import Client
from tests.support.mail_sessions import ImapServer

K, M, G = 1 << 10, 1 << 20, 1 << 30


@pytest.mark.parametrize(("rules", "mailbox", "limits"), [
    (["*:storage=1G"], "INBOX", Limits(G, 0)),
    (["*:storage=3K:messages=4"], "x", Limits(3 * K, 4)),
    (["*:storage=100"], "x", Limits(100 * K, 0)),
    (["*:bytes=100"], "x", Limits(100, 0)),
    (["*:bytes=2M"], "x", Limits(2 * M, 0)),
    (["*:storage=10B"], "x", Limits(10, 0)),
    (["*:storage=1G", "Trash:storage=+100M"], "Trash", Limits(G + 100 * M, 0)),
    (["*:storage=1G", "Trash:storage=+10%"], "Trash", Limits(G + G // 10, 0)),
    (["*:storage=1G", "Trash:storage=10%"], "Trash", Limits(G + G // 10, 0)),
    (["*:storage=1G:messages=5", "Trash:storage=1M:messages=2"], "Trash", Limits(G + M, 7)),
    (["*:storage=1G", "Trash:storage=0"], "Trash", Limits(G, 0)),
    (["Trash:storage=1M"], "Trash", Limits(M, 0)),
    (["*:storage=1G", "Trash:storage=-1M"], "Trash", Limits(G - M, 0)),
    (["*:storage=1G:messages=10", "Trash:messages=+5"], "Trash", Limits(G, 15)),
    (["Trash:storage=+100M", "*:storage=1G"], "Trash", Limits(G + 100 * M, 0)),
    (["*:storage=1G", "Spam:ignore"], "Spam", None),
    (["*:storage=1G", "Spam:ignore"], "Spam/old", Limits(G, 0)),
    (["*:storage=1G", "Spam*:ignore"], "Spam/old", None),
    (["*:storage=1G", "S?am:ignore"], "Spam", None),
    (["*:storage=1G", "[a]:ignore"], "a", Limits(G, 0)),
    ([], "x", Limits(0, 0)),
])
def test_what_a_mailbox_may_hold(rules: list[str], mailbox: str, limits: Limits | None) -> None:
    assert Rules.parse(rules).of(mailbox) == limits


@pytest.mark.parametrize("rule", ["*", "*:storage=", "*:storage=1X", "*:messages=1K", "*:storage=one", "*:size=1"])
def test_a_rule_that_makes_no_sense(rule: str) -> None:
    with pytest.raises(ConfigError):
        Rules.parse([rule])


def test_sizes_without_a_unit_are_kilobytes() -> None:
    assert parse_octets("10", "").number == 10 * K


def settings(**values: str):  # type: ignore[no-untyped-def]
    return quota_settings(values, {}, lambda text: text)


def test_roots_and_their_options() -> None:
    found = settings(quota="maildir:User quota", quota_rule="*:storage=1M", quota_rule2="Trash:ignore",
                     quota2="count:Second:hidden:noenforcing:ns=Public/", quota2_rule="*:messages=5",
                     quota_vsizes="yes", quota_max_mail_size="10M", quota_grace="1M")
    assert [(root.name, root.backend, root.enforced, root.hidden, root.prefix) for root in found.roots] == [
        ("User quota", "maildir", True, False, None), ("Second", "count", False, True, "Public/")]
    assert found.roots[0].rules.default == Limits(M, 0) and found.roots[1].rules.default == Limits(0, 5)
    assert (found.wire, found.largest, found.grace_of(G)) == (True, 10 * M, M)


def test_the_grace_is_a_tenth_unless_set() -> None:
    assert settings(quota="maildir:x").grace_of(10 * M) == M
    assert settings(quota="maildir:x", quota_grace="0").grace_of(10 * M) == 0


def test_a_users_own_rule_goes_before_the_general_one() -> None:
    found = quota_settings({"quota": "maildir:x", "quota_rule": "*:storage=1M"}, {"quota_rule": "*:storage=5M"}, str)
    assert found is not None and found.roots[0].rules.default == Limits(5 * M, 0)


def test_warnings_have_numbers() -> None:
    found = settings(quota="maildir:x", quota_rule="*:storage=1000K:messages=50",
                     quota_warning="storage=95%% quota-warning 95 a".replace("%%", "%"),
                     quota_warning2="-messages=10 quota-warning below a", quota_warning3="messages=80% w")
    assert [(one.limits, one.below, one.command) for one in found.roots[0].warnings] == [
        (Limits(950 * K, 0), False, ("quota-warning", "95", "a")),
        (Limits(0, 10), True, ("quota-warning", "below", "a")), (Limits(0, 40), False, ("w",))]


@pytest.mark.parametrize("values", [
    {"quota": "fs:User quota"}, {"quota": "nonsense:x"}, {"quota": "maildir:x:unknown"},
    {"quota": "maildir:x", "quota_rule": "*:storage=x"}, {"quota": "maildir:x", "quota_warning": "storage"},
    {"quota": "maildir:x", "quota_grace": "x"}])
def test_settings_that_make_no_sense(values: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        settings(**values)


def test_no_root_no_quota() -> None:
    assert settings(quota_rule="*:storage=1M") is None


@pytest.mark.parametrize(("text", "octets"), [("1000", 1000), ("1k", K), ("2M", 2 * M), ("0", 0)])
def test_the_largest_message_is_counted_in_octets(text: str, octets: int) -> None:
    assert settings(quota="maildir:x", quota_max_mail_size=text).largest == octets


def test_a_root_without_limits_is_told_as_dovecot_tells_it(tmp_path: Path) -> None:
    async def run() -> list[str]:
        conf = DovecotSettings.of("mail_location = maildir:~/Maildir\nmail_plugins = quota imap_quota\nplugin {\n"
                                  "  quota = maildir:User quota\n}\n")
        async with ImapServer({"alice": tmp_path}, conf) as server:     # type: ignore[arg-type]  # it does, too
            client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
            await client.line()
            await client.ask("LOGIN alice x")
            lines = [*await client.ask("GETQUOTAROOT INBOX"), *await client.ask('GETQUOTA "User quota"')]
            client.close()
            return lines

    found = [line.partition(" (")[0].rstrip(".") for line in asyncio.run(run())]
    assert found == ["a2 OK No quota", "a3 OK Getquota completed"]
