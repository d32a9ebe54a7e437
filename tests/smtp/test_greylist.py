"""smtp/policy/greylist.py: who has to come back, and when."""

import asyncio
from pathlib import Path

import pytest

from mailsuite.maps.cache import Cache
from mailsuite.smtp.policy.greylist import SWEEP_KEY, SWEEP_S, Greylist, Rules, network_of, sender_key
from tests.smtp.test_policy import facts, make

DAY = 86400
RULES = Rules(delay=300, retry_window=2 * DAY, max_age=35 * DAY, auto_allow=3, ipv4_prefix=24, ipv6_prefix=64)
NOW = 1_795_247_546.0
MAIL = ("192.0.2.0/24", "a@b.test", "c@d.test")


@pytest.fixture
def greylist(tmp_path: Path) -> Greylist:
    return Greylist(RULES, Cache(str(tmp_path / "greylist")))


def test_who_comes_back_passes(greylist: Greylist) -> None:
    assert greylist.wait_s(*MAIL, NOW) == 300
    assert greylist.wait_s(*MAIL, NOW + 100) == 200
    assert greylist.wait_s(*MAIL, NOW + 300) == 0
    assert greylist.wait_s(*MAIL, NOW + 34 * DAY) == 0
    assert greylist.wait_s(*MAIL, NOW + 68 * DAY) == 0
    assert greylist.wait_s(*MAIL, NOW + 104 * DAY) == 300


def test_who_comes_too_late_begins_anew(greylist: Greylist) -> None:
    assert greylist.wait_s(*MAIL, NOW) == 300
    assert greylist.wait_s(*MAIL, NOW + 3 * DAY) == 300
    assert greylist.wait_s(*MAIL, NOW + 3 * DAY + 301) == 0


@pytest.mark.parametrize("other", [("198.51.100.0/24", MAIL[1], MAIL[2]), (MAIL[0], "x@b.test", MAIL[2]),
                                   (MAIL[0], MAIL[1], "x@d.test")])
def test_each_triplet_waits(greylist: Greylist, other: tuple[str, str, str]) -> None:
    greylist.wait_s(*MAIL, NOW)
    assert greylist.wait_s(*MAIL, NOW + 400) == 0
    assert greylist.wait_s(*other, NOW + 400) == 300


def test_a_network_that_proved_itself_waits_no_more(greylist: Greylist) -> None:
    for number in range(RULES.auto_allow):
        mail = (MAIL[0], MAIL[1], f"u{number}@d.test")
        assert greylist.wait_s(*mail, NOW) == 300
        assert greylist.wait_s(*mail, NOW + 301) == 0
    assert greylist.wait_s(MAIL[0], "new@x.test", "other@d.test", NOW + 400) == 0
    assert greylist.wait_s(MAIL[0], "new@x.test", "other@d.test", NOW + 40 * DAY) == 300


def test_what_expired_is_swept(greylist: Greylist) -> None:
    greylist.wait_s(*MAIL, NOW - 5 * DAY)
    greylist.cache.put("t:damaged", "nonsense")
    assert greylist.sweep_is_due(NOW)
    assert not greylist.sweep_is_due(NOW + 10)
    assert greylist.sweep_is_due(NOW + SWEEP_S + 10)
    asyncio.run(greylist.sweep())
    assert greylist.cache.get("t:damaged") is None
    assert greylist.cache.get(f"t:{'/'.join(MAIL)}") is None or NOW > 2e9
    assert greylist.cache.get(SWEEP_KEY) is not None


@pytest.mark.parametrize(("address", "want"), [
    ("192.0.2.77", "192.0.2.0/24"), ("2001:db8::1:2:3:4", "2001:db8::/64"), ("unknown", "unknown"),
])
def test_networks(address: str, want: str) -> None:
    assert network_of(address, 24, 64) == want


@pytest.mark.parametrize(("sender", "want"), [
    ("A@B.test", "a@b.test"), ("list-bounce+123-u=h@l.test", "list-bounce@l.test"),
    ("bounce-4711-x@l.test", "bounce-#-x@l.test"), ("", ""), ("+x@l.test", "+x@l.test"),
])
def test_senders_that_change(sender: str, want: str) -> None:
    assert sender_key(sender, "+") == want


def test_the_restriction(tmp_path: Path) -> None:
    policy = make(smtpd_recipient_restrictions="reject_unauth_destination, check_greylist",
                  data_directory=str(tmp_path), greylist_delay="1h")
    refusal = asyncio.run(policy.rcpt(facts()))
    assert refusal is not None
    assert refusal.reply == ("450 4.2.0 <x@example.test>: Recipient address rejected: Greylisted, "
                             "try again in 3600 seconds")
    assert asyncio.run(policy.rcpt(facts(recipient="y@far.test"))).reply.startswith("454 4.7.1")  # type: ignore[union-attr]


@pytest.mark.parametrize("exception", [{"greylist_client_exceptions": "192.0.2.0/28"},
                                       {"greylist_recipient_domain_exceptions": "example.test"},
                                       {"greylist_delay": "0"},
                                       {"greylist_map": "btree:/nonexistent/folder/greylist"}])
def test_who_need_not_wait(exception: dict[str, str], tmp_path: Path) -> None:
    policy = make(smtpd_recipient_restrictions="reject_unauth_destination, check_greylist",
                  **{"data_directory": str(tmp_path), **exception})
    assert asyncio.run(policy.rcpt(facts())) is None
