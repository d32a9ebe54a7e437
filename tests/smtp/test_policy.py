"""Restriction lists: order, access results, deferrals, what is refused for want of an answer."""

import asyncio
import logging
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.config.settings import Settings
from mailsuite.dns.resolver import Answer, DnsError, Mx
from mailsuite.maps.maps import Found
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.sasl.auth_client import Mechanism
from mailsuite.smtp.facts import Client, Facts
from mailsuite.smtp.policy.access import judge_result
from mailsuite.smtp.policy.blocklists import parse_block_list
from mailsuite.smtp.policy.delegation import request
from mailsuite.smtp.policy.judge import Judge
from mailsuite.smtp.policy.policy import Policy
from mailsuite.smtp.policy.rates import Rates
from mailsuite.smtp.server_options import allowed_mechanisms

BASE = {"compatibility_level": "3.6", "myhostname": "mx.example.test", "mydestination": "example.test",
        "mynetworks": "127.0.0.0/8", "local_recipient_maps": "", "relay_domains": "relay.test",
        "smtpd_sasl_auth_enable": "yes"}


class Dns:
    """DNS as a dictionary; a name that maps to None cannot be asked."""

    def __init__(self, zone: Mapping[str, object] | None = None) -> None:
        self.zone = zone or {}

    def _find(self, name: str, rtype: str) -> tuple[object, ...]:
        found = self.zone.get(f"{name} {rtype}", ())
        if found is None:
            raise DnsError(name, rtype)
        assert isinstance(found, tuple)
        return found

    async def mx(self, name: str) -> Answer[object]:
        return Answer(self._find(name, "MX"))

    async def addresses(self, name: str, *, family: str = "any", use_hosts: bool = True) -> Answer[object]:
        return Answer(self._find(name, "A"))

    async def records(self, name: str, kind: str) -> Answer[object]:
        return Answer(self._find(name, kind))


def make(zone: Mapping[str, object] | None = None, **values: str) -> Policy:
    settings = Settings.of({**BASE, **values})
    return Policy(settings, Rewriter(settings), Dns(zone))      # type: ignore[arg-type]  # a test double


def facts(**said: object) -> Facts:
    given = Facts(Client("192.0.2.9", 1234, name="c.test"), where="RCPT", protocol="ESMTP", helo="h.test",
                  sender="a@b.test", recipient="x@example.test")
    for name, value in said.items():
        setattr(given, name, value)
    return given


def reply(policy: Policy, given: Facts | None = None) -> str:
    refusal = asyncio.run(policy.rcpt(given or facts()))
    return refusal.reply if refusal else ""


@pytest.mark.parametrize(("recipient", "want"), [
    ("x@example.test", ""),
    ("x@relay.test", ""),
    ("x@far.test", "454 4.7.1 <x@far.test>: Relay access denied"),
    ("x%far.test@example.test", "454 4.7.1 <x%far.test@example.test>: Relay access denied"),
    ("far.test!x", "454 4.7.1 <far.test!x>: Relay access denied"),
    ("postmaster", ""),
])
def test_strangers_cannot_relay(recipient: str, want: str) -> None:
    assert reply(make(), facts(recipient=recipient)) == want


def test_who_may_relay() -> None:
    far = {"recipient": "x@far.test"}
    assert reply(make(), facts(client=Client("127.0.0.1"), **far)) == ""
    assert reply(make(), facts(sasl_username="alice", **far)) == ""
    assert reply(make(smtpd_relay_restrictions="reject_unauth_destination"), facts(**far)).startswith("554 5.7.1")


@pytest.mark.parametrize("values", [
    {"smtpd_relay_restrictions": "", "smtpd_recipient_restrictions": "permit_mynetworks"},
    {"smtpd_relay_restrictions": "permit", "smtpd_recipient_restrictions": ""},
])
def test_an_open_relay_does_not_start(values: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        make(**values)


@pytest.mark.parametrize(("result", "want"), [
    ("OK", ""), ("DUNNO", ""), ("1234567", ""),
    ("REJECT", "554 5.7.1 <x@example.test>: Recipient address rejected: Access denied"),
    ("REJECT 5.7.9 own words", "554 5.7.9 <x@example.test>: Recipient address rejected: own words"),
    ("DEFER later", "450 4.7.1 <x@example.test>: Recipient address rejected: later"),
    ("450 4.2.9 try later", "450 4.2.9 <x@example.test>: Recipient address rejected: try later"),
    ("550 never", "550 5.7.1 <x@example.test>: Recipient address rejected: never"),
    ("DEFER_IF_PERMIT maybe", "450 4.7.1 <x@example.test>: Recipient address rejected: maybe"),
    ("strict", "554 5.7.1 <x@example.test>: Recipient address rejected: Access denied"),
    ("warn_if_reject reject", ""),
    ("nonsense", "451 4.3.5 Server configuration error"),
    ("check_sender_access hash:/x", "451 4.3.5 Server configuration error"),
])
def test_results_of_access_tables(result: str, want: str) -> None:
    policy = make(smtpd_recipient_restrictions="check_recipient_access inline:{{x@example.test=" + result + "}}",
                  smtpd_restriction_classes="strict", strict="reject_non_fqdn_sender, reject")
    assert reply(policy) == want


def test_treatments_are_kept_for_the_message() -> None:
    given = facts()
    policy = make(smtpd_recipient_restrictions="check_recipient_access inline:{{x@example.test=HOLD look}}, "
                  "check_sender_access inline:{{b.test=PREPEND X-A: b}}")
    assert reply(policy, given) == ""
    assert given.treatment.hold == "look" and given.treatment.prepend == ["X-A: b"]


@pytest.mark.parametrize(("key", "want"), [
    ("a@b.test", True), ("b.test", True), ("a@", True), ("test", True), (".test", False), ("other@", False),
])
def test_sender_look_up_order(key: str, want: bool) -> None:
    policy = make(smtpd_sender_restrictions="check_sender_access inline:{{" + key + "=REJECT}}")
    assert bool(reply(policy)) is want


def test_a_table_that_cannot_be_asked_defers(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make(smtpd_sender_restrictions="check_sender_access inline:{{b.test=REJECT}}")

    async def broken(*_: object, **__: object) -> None:
        raise TemporaryError("away")

    monkeypatch.setattr("mailsuite.smtp.policy.rules_address.find_mail", broken)
    assert reply(policy) == "451 4.3.5 <a@b.test>: Sender address rejected: Server configuration error"


def test_dns_that_is_away_defers_only_what_would_be_permitted() -> None:
    policy = make({"b.test MX": None}, smtpd_sender_restrictions="reject_unknown_sender_domain")
    assert reply(policy) == "450 4.1.8 <a@b.test>: Sender address rejected: Domain not found"
    assert reply(policy, facts(recipient="x@far.test")) == "454 4.7.1 <x@far.test>: Relay access denied"


@pytest.mark.parametrize(("zone", "want"), [
    ({"b.test MX": (Mx(10, "m.test"),)}, ""),
    ({"b.test A": ("192.0.2.1",)}, ""),
    ({"b.test MX": (Mx(0, ""),)}, "550 5.7.27 <a@b.test>: Sender address rejected: Domain b.test does not accept "
                                  "mail (nullMX)"),
    ({}, "450 4.1.8 <a@b.test>: Sender address rejected: Domain not found"),
])
def test_unknown_sender_domain(zone: dict[str, object], want: str) -> None:
    assert reply(make(zone, smtpd_sender_restrictions="reject_unknown_sender_domain")) == want


def test_block_lists() -> None:
    reason = SimpleNamespace(strings=(b"bad", b"more"))
    policy = make({"9.2.0.192.bl.test A": ("127.0.0.3",), "9.2.0.192.bl.test TXT": (reason,)},
                  smtpd_client_restrictions="reject_rbl_client bl.test=127.0.0.[2..5]")
    assert reply(policy) == "554 5.7.1 Service unavailable; Client host [192.0.2.9] blocked using bl.test; bad"
    block = parse_block_list(policy.resources, "x=127.0.0.[2;4..6]")
    assert [block.counts(f"127.0.0.{last}") for last in (2, 3, 4, 6, 7)] == [True, False, True, True, False]


def test_without_delay_each_stage_answers_for_itself() -> None:
    policy = make(smtpd_delay_reject="no", smtpd_client_restrictions="reject", smtpd_helo_restrictions="reject")
    assert policy.judges_connect and policy.judges_helo and not policy.judges_mail
    refusal = asyncio.run(policy.client(facts(where="CONNECT")))
    assert refusal is not None and refusal.reply == "554 5.7.1 <c.test[192.0.2.9]>: Client host rejected: Access denied"


def test_the_log_line_of_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mailsuite.smtpd"):
        reply(make(), facts(recipient="odd name@far.test", sender=""))
    assert caplog.records[-1].getMessage() == (
        'NOQUEUE: reject: RCPT from c.test[192.0.2.9]: 454 4.7.1 <odd name@far.test>: Relay access denied; '
        'from=<> to=<"odd name"@far.test> proto=ESMTP helo=<h.test>')


def test_sender_login_mismatch() -> None:
    policy = make(smtpd_sender_login_maps="inline:{{a@b.test=alice bob}}",
                  smtpd_sender_restrictions="reject_sender_login_mismatch")
    assert reply(policy).endswith("not logged in")
    assert reply(policy, facts(sasl_username="Bob")) == ""
    assert reply(policy, facts(sasl_username="carol")).endswith("not owned by user carol")


def test_policy_request_holds_no_line_ends() -> None:
    text = request(facts(helo="x\ny")).decode()
    assert text.startswith("request=smtpd_access_policy\nprotocol_state=RCPT\n") and text.endswith("\n\n")
    assert "helo_name=x?y\n" in text


def test_rates() -> None:
    rates = Rates({"message": 2, "auth": 0, "tls": 1}, at_once=3)
    assert rates.events == {"message", "tls", "newtls"}
    assert [rates.exceeded("message", seen) for seen in (2, 3)] == [False, True]
    assert not rates.exceeded("auth", 1000)
    assert rates.any and Rates({}, at_once=1).any and not Rates({"auth": 0}).any


def test_mechanisms() -> None:
    offered = [Mechanism("PLAIN", plaintext=True), Mechanism("ANONYMOUS", anonymous=True), Mechanism("CRAM-MD5"),
               Mechanism("EXTERNAL")]
    default = "!external, static:rest"
    assert allowed_mechanisms(offered, ["noanonymous"], default) == ("PLAIN", "CRAM-MD5")
    assert allowed_mechanisms(offered, ["noanonymous", "noplaintext"], default) == ("CRAM-MD5",)
    assert allowed_mechanisms(offered, [], "plain") == ("PLAIN",)


@pytest.mark.parametrize(("restriction", "want"), [
    ("reject_unknown_sender_domain", "450 4.1.8 <a@b.test>: Sender address rejected: Domain not found"),
    ("reject_unknown_helo_hostname", "450 4.7.1 <h.test>: Helo command rejected: Host not found"),
])
def test_what_dns_cannot_tell_is_temporary_whatever_the_codes_say(restriction: str, want: str) -> None:
    policy = make({"b.test MX": None, "h.test A": None}, smtpd_sender_restrictions=restriction,
                  reject_tempfail_action="defer", unknown_address_reject_code="550", unknown_hostname_reject_code="554")
    assert reply(policy) == want


def test_who_is_not_there_is_of_the_class_bounce() -> None:
    policy = make(local_recipient_maps="inline:{y=y}", smtpd_recipient_restrictions="permit")
    refusal = asyncio.run(policy.rcpt(facts()))
    assert refusal is not None and (refusal.reply[:9], refusal.sort) == ("550 5.1.1", "bounce")


@pytest.mark.parametrize(("restrictions", "bad"), [
    ("check_recipient_access", "check_recipient_access"), ("check_recipient_access permit", "permit")])
def test_an_access_list_without_a_table(restrictions: str, bad: str, caplog: pytest.LogCaptureFixture) -> None:
    assert reply(make(smtpd_recipient_restrictions=restrictions)).startswith("451 4.3.5 ")
    assert f'restriction check_recipient_access: bad argument "{bad}": need maptype:mapname' in caplog.text


def test_sasl_access_without_sasl_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    policy = make(smtpd_sasl_auth_enable="no", smtpd_sender_restrictions="check_sasl_access static:REJECT")
    assert reply(policy) == ""
    assert "restriction `check_sasl_access' ignored: no SASL support" in caplog.text


@pytest.mark.parametrize(("address", "values", "fine"), [
    ("u@", {}, False), ("u@", {"resolve_null_domain": "yes"}, True), ("u@[192.0.2.300]", {}, False),
    ("u@[192.0.2.3]", {}, True), ("-u@far.test", {}, False), ("-u@far.test", {"allow_min_user": "yes"}, True),
    ("u@far..test", {}, False), ("u@192.0.2.3", {}, False), ("u@192.0.2.3", {"resolve_numeric_domain": "yes"}, True),
    ("u@123", {}, False), ("u@123", {"append_dot_mydomain": "yes"}, True), ("u@-far.test", {}, False),
    ("u@" + "x" * 64 + ".test", {}, False), ("u%far..test@example.test", {}, False),
    ("u%far..test@example.test", {"allow_percent_hack": "no"}, True), ("caf\u00e9@far.test", {}, True),
])
def test_address_syntax_after_rewriting(address: str, values: dict[str, str], fine: bool) -> None:
    policy = make(**{"mydomain": "example.test", **values})
    assert asyncio.run(policy.is_address(facts(), address, utf8=False)) is fine


@pytest.mark.parametrize(("domain", "values", "utf8", "fine"), [
    ("caf\u00e9.test", {}, False, False), ("caf\u00e9.test", {}, True, True), ("xn--caf-dma.test", {}, False, True),
    ("caf\u00e9.test", {"smtputf8_enable": "no"}, True, False), ("\u65e5\u672c.test", {}, True, True),
    ("-\u00e9.test", {}, True, False), ("\u0301a.test", {}, True, False), ("\u00e9..test", {}, True, False),
    ("\u00e9" * 60 + ".test", {}, True, False), ("\u2603.test", {}, True, False), ("\udcc3.test", {}, True, False),
    ("x" * 2000 + "\u00e9.test", {}, True, False),
])
def test_internationalised_domains(domain: str, values: dict[str, str], utf8: bool, fine: bool) -> None:
    """As IDNA 2008 allows them, and only where the client declared SMTPUTF8."""
    policy = make(**values)
    assert asyncio.run(policy.is_address(facts(), f"u@{domain}", utf8=utf8)) is fine


@pytest.mark.parametrize(("clients", "address", "local"), [
    ("", "127.0.0.1", False), ("permit_mynetworks", "127.0.0.1", True), ("static:all", "192.0.2.9", True),
    ("check_address_map inline:{192.0.2.9=x}", "192.0.2.9", True), ("inline:{192.0.2=x}", "192.0.2.9", False),
])
def test_local_header_rewrite_clients(clients: str, address: str, local: bool) -> None:
    policy = make(local_header_rewrite_clients=clients)
    client = Facts(Client(address, 1234, name="c.test"))
    assert asyncio.run(policy.is_local(client)) is local


@pytest.mark.parametrize(("result", "want"), [
    ("WARN own text", "warn: RCPT from c.test[192.0.2.9]: own text; "),
    ("INFO own", "info: RCPT from c.test[192.0.2.9]: own; "),
    ("HOLD own", "hold: RCPT from c.test[192.0.2.9]: <a@b.test>: Sender address own; "),
])
def test_the_log_lines_of_warn_info_and_hold(caplog: pytest.LogCaptureFixture, result: str, want: str) -> None:
    policy = make(smtpd_recipient_restrictions="check_sender_access inline:{{a@b.test = " + result + "}}, permit")
    with caplog.at_level(logging.INFO, "mailsuite.smtpd"):
        reply(policy)
    assert want in caplog.text


@pytest.mark.parametrize(("words", "want", "said"), [
    ("check_policy_service", "451 4.3.5 Server configuration error",
     "restriction check_policy_service must be followed by transport:server"),
    ("sleep", "451 4.3.5 Server configuration error", "restriction sleep must be followed by number"),
    ("sleep x, permit", "451 4.3.5 Server configuration error", "restriction sleep must be followed by number"),
    ("reject_rbl_client", "", "restriction reject_rbl_client requires domain name argument"),
    ("permit_rhswl_client", "", "restriction permit_rhswl_client requires domain name argument"),
    ("check_address_map static:x", "451 4.3.5 Server configuration error",
     'unknown smtpd restriction: "check_address_map"'),
    ("check_ccert_access static:reject", "", 'check_ccert_access is requested, but "smtpd_tls_ask_ccert = no"'),
    ("check_sender_access static:round", "451 4.3.5 Server configuration error",
     "access table static:round entry round causes unreasonable recursion"),
])
def test_slips(words: str, want: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong argument shows when the restriction is reached; the texts are Postfix's."""
    policy = make(smtpd_recipient_restrictions=words, smtpd_restriction_classes="round",
                  round="check_sender_access static:round")
    assert reply(policy, facts()) == want
    assert said in caplog.messages


def test_an_empty_answer_of_a_service_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    judge = Judge(make().resources, facts())
    assert asyncio.run(judge_result(judge, Found("  ", "inet:127.0.0.1:9"))) is None
    assert caplog.messages == ["access table inet:127.0.0.1:9 entry  has empty value"]


def test_a_table_that_cannot_be_asked_is_no_software_error() -> None:
    policy = make(smtpd_recipient_restrictions="check_sender_access fail:x")
    refusal = asyncio.run(policy.rcpt(facts()))
    assert refusal is not None and refusal.sort == "policy"
    assert refusal.reply == "451 4.3.5 <a@b.test>: Sender address rejected: Server configuration error"
