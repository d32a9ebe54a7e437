"""SPF and DMARC restrictions."""

import asyncio

import pytest

from mailsuite.config.settings import Settings
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.smtp.facts import Client, Facts
from mailsuite.smtp.policy.policy import Policy
from tests.support.dns_zone import ZoneResolver

ZONE = {
    "fail.test": ["TXT v=spf1 exp=why.test -all"], "why.test": ["TXT ask %{o}"], "plain.test": ["TXT v=spf1 -all"],
    "soft.test": ["TXT v=spf1 ~all"], "pass.test": ["TXT v=spf1 ip4:192.0.2.9 -all"], "bad.test": ["TXT v=spf1 x"],
    "slow.test": ["TIMEOUT"], "mx.pass.test": ["TXT v=spf1 a:slow.test -all"],
}
BASE = {"compatibility_level": "3.6", "myhostname": "mx.example.test", "mydestination": "example.test",
        "mynetworks": "127.0.0.0/8", "local_recipient_maps": "", "smtpd_sasl_auth_enable": "yes"}


def policy_with(restrictions: str, **values: str) -> Policy:
    settings = Settings.of({**BASE, "smtpd_recipient_restrictions": restrictions, **values})
    return Policy(settings, Rewriter(settings), ZoneResolver(ZONE))


def facts(sender: str, helo: str = "h.pass.test", address: str = "192.0.2.9") -> Facts:
    given = Facts(Client(address, 1234, name="c.test"), where="RCPT", protocol="ESMTP", helo=helo, sender=sender)
    given.recipient = "x@example.test"
    return given


def reply(restrictions: str, given: Facts, **values: str) -> str:
    refusal = asyncio.run(policy_with(restrictions, **values).rcpt(given))
    return refusal.reply if refusal else ""


@pytest.mark.parametrize(("restriction", "sender", "helo", "want"), [
    ("reject_spf_fail", "a@fail.test", "h.test",
     "550 5.7.23 <a@fail.test>: Sender address rejected: fail.test does not allow [192.0.2.9] to send for it "
     "(SPF fail); fail.test explains: ask fail.test"),
    ("reject_spf_fail", "a@plain.test", "h.test",
     "550 5.7.23 <a@plain.test>: Sender address rejected: plain.test does not allow [192.0.2.9] to send for it "
     "(SPF fail)"),
    ("reject_spf_fail", "a@pass.test", "h.test", ""), ("reject_spf_fail", "a@none.test", "h.test", ""),
    ("reject_spf_fail", "a@soft.test", "h.test", ""), ("reject_spf_fail", "a@bad.test", "h.test", ""),
    ("reject_spf_fail", "a@pass.test", "plain.test",
     "550 5.7.23 <plain.test>: Helo command rejected: plain.test does not allow [192.0.2.9] to send for it (SPF fail)"),
    ("reject_spf_fail", "", "plain.test",
     "550 5.7.23 <>: Sender address rejected: plain.test does not allow [192.0.2.9] to send for it (SPF fail)"),
    ("reject_spf_fail", "a@slow.test", "h.test",
     "451 4.4.3 <a@slow.test>: Sender address rejected: SPF of slow.test could not be looked up"),
    ("reject_spf_fail", "a@pass.test", "slow.test", ""),
    ("reject_spf_softfail", "a@soft.test", "h.test",
     "550 5.7.23 <a@soft.test>: Sender address rejected: soft.test does not allow [192.0.2.9] to send for it "
     "(SPF softfail)"),
    ("reject_spf_softfail", "a@plain.test", "h.test",
     "550 5.7.23 <a@plain.test>: Sender address rejected: plain.test does not allow [192.0.2.9] to send for it "
     "(SPF fail)"),
    ("reject_spf_softfail", "a@pass.test", "soft.test", ""),
    ("reject_spf_permerror", "a@bad.test", "h.test",
     "550 5.7.24 <a@bad.test>: Sender address rejected: SPF of bad.test is not valid: unknown or incomplete "
     "mechanism x"),
    ("reject_spf_permerror", "a@plain.test", "h.test", ""),
    ("permit_mynetworks, reject_spf_fail", "a@plain.test", "h.test",
     "550 5.7.23 <a@plain.test>: Sender address rejected: plain.test does not allow [192.0.2.9] to send for it "
     "(SPF fail)"),
    ("warn_if_reject, reject_spf_fail", "a@plain.test", "h.test", ""),
])
def test_spf(restriction: str, sender: str, helo: str, want: str) -> None:
    assert reply(restriction, facts(sender, helo)) == want


def test_our_own_clients_are_not_asked_about() -> None:
    assert reply("permit_mynetworks, reject_spf_fail", facts("a@plain.test", address="127.0.0.1")) == ""
    assert reply("permit_mynetworks, reject_spf_fail", facts("a@slow.test", address="127.0.0.1")) == ""
    assert reply("reject_spf_fail", facts("a@plain.test", address="")) == ""


def test_helo_may_be_left_out() -> None:
    assert reply("reject_spf_fail", facts("a@pass.test", "plain.test"), spf_check_helo="no") == ""


def test_in_the_sender_list_with_soft_bounce() -> None:
    found = reply("", facts("a@plain.test"), smtpd_sender_restrictions="reject_spf_fail", soft_bounce="yes")
    assert found.startswith("450 4.7.23 <a@plain.test>: Sender address rejected")


def test_one_look_up_for_all_recipients() -> None:
    policy = policy_with("reject_spf_fail")

    async def work() -> int:
        for _ in range(5):
            await policy.rcpt(facts("a@pass.test", "h.test"))
        resolver = policy.resources.resolver
        assert isinstance(resolver, ZoneResolver)
        return sum(name == "pass.test" for name, _ in resolver.asked)
    assert asyncio.run(work()) == 1


@pytest.mark.parametrize(("restrictions", "want"), [
    ("reject_dmarc_reject", {"reject"}), ("reject_dmarc_reject, hold_dmarc_quarantine", {"reject", "hold"}),
    ("permit_mynetworks, reject_dmarc_quarantine, mark_dmarc_quarantine", {"reject_quarantine", "mark"}),
    ("permit, reject_dmarc_reject", set())])
def test_dmarc_restrictions_are_noted(restrictions: str, want: set[str]) -> None:
    given = facts("a@pass.test")
    assert reply(restrictions, given) == "" and given.treatment.dmarc == want
    given.reset_mail()
    assert not given.treatment.dmarc
