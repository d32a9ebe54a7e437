"""check_host() of RFC 7208 against a table of zones; macros; limits; hostile records."""

import asyncio
import ipaddress
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsuite.auth_results.spf import SpfOptions, SpfResult, check_helo, check_mail_from
from mailsuite.auth_results.spf_macros import MacroFacts, expand, expand_name
from mailsuite.auth_results.spf_record import Record, SpfError, domain_spec, parse_record
from mailsuite.dns.resolver import Answer
from tests.auth_results.spf_cases import EXPANSIONS, EXPANSIONS_IPV6, SCENARIOS, Case
from tests.support.dns_zone import ZoneResolver

OPTIONS = SpfOptions(time_limit_s=5, receiver="receiver.test")
RESULTS = {"pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"}
TABLE = [pytest.param(scenario.zone, case, id=f"{scenario.title}: {case.name}") for scenario in SCENARIOS
         for case in scenario.cases]


def check(zone: dict[str, list[str]], client: str, sender: str, helo: str = "mx.test",
          options: SpfOptions = OPTIONS) -> SpfResult:
    return asyncio.run(check_mail_from(ZoneResolver(zone), client, sender, helo, options))


@pytest.mark.parametrize(("zone", "case"), TABLE)
def test_table(zone: dict[str, list[str]], case: Case) -> None:
    sender, helo = case.sender, "mx.test"
    if sender.startswith("<>"):
        sender, helo = "", sender[2:]
    found = check(zone, case.client, sender, helo)
    assert found.result == case.want, found
    if case.explanation is not None:
        assert found.explanation == case.explanation


def test_the_table_is_large() -> None:
    assert len(TABLE) >= 200


def facts(address: str) -> MacroFacts:
    return MacroFacts(ipaddress.ip_address(address), "strong-bad", "email.example.com", "mx.example.org", "rcv.test")


@pytest.mark.parametrize(("text", "want"), EXPANSIONS.items())
def test_expansions_of_section_7_4(text: str, want: str) -> None:
    assert expand(text, facts("192.0.2.3"), domain="email.example.com") == want


@pytest.mark.parametrize(("text", "want"), EXPANSIONS_IPV6.items())
def test_expansions_of_ipv6(text: str, want: str) -> None:
    assert expand(text, facts("2001:db8::cb01"), domain="email.example.com").lower() == want


@pytest.mark.parametrize(("text", "want"), [
    ("%{h}", "mx.example.org"), ("%{H}", "mx.example.org"), ("%{S}", "strong-bad%40email.example.com"),
    ("%{p}", "unknown"), ("%{r}", "rcv.test"), ("%{c}", "192.0.2.3"), ("%{i1}", "3"), ("%{d999999999999}",
                                                                                       "email.example.com"),
    ("%{l1-}", "bad"), ("%{o2r.}", "example.email"), ("%%%_%-", "% %20"),
])
def test_more_expansions(text: str, want: str) -> None:
    assert expand(text, facts("192.0.2.3"), domain="email.example.com") == want


def test_long_names_lose_labels_on_the_left() -> None:
    name = expand_name("%{l}." * 60 + "end.test", facts("192.0.2.3"), domain="d.test")
    assert len(name) <= 253 and name.startswith("strong-bad.") and name.endswith(".end.test")


def test_p_macro_prefers_the_domain_itself() -> None:
    zone = {"d.test": ["A 192.0.2.1", "TXT v=spf1 exists:%{p}.list.test -all"], "b.d.test": ["A 192.0.2.1"],
            "else.test": ["A 192.0.2.1"], "d.test.list.test": ["A 127.0.0.2"],
            "1.2.0.192.in-addr.arpa": ["PTR else.test.", "PTR b.d.test.", "PTR d.test."]}
    assert check(zone, "192.0.2.1", "x@d.test").result == "pass"
    zone["1.2.0.192.in-addr.arpa"] = ["PTR else.test.", "PTR b.d.test."]
    zone["b.d.test.list.test"] = ["A 127.0.0.2"]
    assert check(zone, "192.0.2.1", "x@d.test").result == "pass"


def test_helo_identity() -> None:
    zone = {"mx.test": ["TXT v=spf1 ip4:192.0.2.1 -all"]}
    found = asyncio.run(check_helo(ZoneResolver(zone), "192.0.2.2", "mx.test", OPTIONS))
    assert (found.result, found.identity, found.domain, found.mechanism) == ("fail", "helo", "mx.test", "-all")
    assert asyncio.run(check_helo(ZoneResolver(zone), "192.0.2.2", "[192.0.2.2]", OPTIONS)).result == "none"
    assert asyncio.run(check_helo(ZoneResolver(zone), "unknown", "mx.test", OPTIONS)).result == "none"


def test_time_is_limited() -> None:
    class Silent(ZoneResolver):
        async def _ask(self, name: str, rtype: str) -> Answer[object]:
            await asyncio.Event().wait()
            raise AssertionError

    found = asyncio.run(check_mail_from(Silent({}), "192.0.2.1", "x@a.test", "mx.test", SpfOptions(time_limit_s=0.05)))
    assert (found.result, found.problem) == ("temperror", "no answer in time")


def test_limits_are_options() -> None:
    zone = {"a.test": ["TXT v=spf1 a:b.test a:b.test -all"], "b.test": ["A 192.0.2.9"]}
    assert check(zone, "192.0.2.1", "x@a.test", options=SpfOptions(lookups=1)).result == "permerror"
    zone["a.test"] = ["TXT v=spf1 a:no.test -all"]
    assert check(zone, "192.0.2.1", "x@a.test", options=SpfOptions(voids=0)).result == "permerror"


def test_tree_of_includes_ends_soon() -> None:
    zone = {f"n{number}.test": ["TXT v=spf1 " + " ".join(f"include:n{number + 1}.test" for _ in range(50)) + " -all"]
            for number in range(60)}
    resolver = ZoneResolver(zone)
    found = asyncio.run(check_mail_from(resolver, "192.0.2.1", "x@n0.test", "mx.test", OPTIONS))
    assert found.result == "permerror" and len(resolver.asked) <= 11


@pytest.mark.parametrize("text", [
    "v=spf1 " + "ip4:1.2.3.4 " * 5000, "v=spf1 exists:" + "%{s}" * 4000 + ".test -all",
    "v=spf1 exists:" + "%{" * 8000, "v=spf1 a:" + "a" * 16000 + ".test -all", "v=spf1 a:" + "-" * 15000 + " -all",
    "v=spf1 a" + "/" * 15000, "v=spf1 " + "%" * 15000, "v=spf1 exists:%{l" + "9" * 9000 + "}.test -all",
    "v=spf1 x" + "=" * 15000, "v=spf1 a:" + "a." * 8000 + "test -all"])
def test_exploding_records(text: str) -> None:
    zone = {"a.test": [f"TXT {text}"]}
    assert check(zone, "192.0.2.1", f"{'l' * 64}@a.test").result in {"permerror", "fail", "neutral"}


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_octets_are_a_record_or_an_error(noise: bytes) -> None:
    try:
        assert isinstance(parse_record(b"v=spf1 " + noise), Record)
    except SpfError as error:
        assert error.result == "permerror"


WORDS = ["a", "mx", "ptr", "exists:", "include:", "ip4:", "redirect=", "exp=", ":", "/", "%{", "}", "d", "1", "r", ".",
         "a.test", " ", "-", "~", "all", "ip6:", "2001::", "//"]


@given(st.lists(st.sampled_from(WORDS), max_size=25))
@settings(max_examples=300, deadline=None)
def test_any_grammar_ends_in_a_result(parts: list[str]) -> None:
    zone = {"a.test": ["A 192.0.2.9", "MX 1 a.test.", "TXT v=spf1 " + "".join(parts)]}
    assert check(zone, "192.0.2.1", "x@a.test").result in RESULTS


@given(st.text(max_size=60), st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_sender_and_helo(sender: str, helo: str) -> None:
    zone = {"a.test": ["TXT v=spf1 exists:%{S}.%{H}.a.test exp=%{h}.a.test -all"]}
    for address in (sender, f"{sender}@a.test"):
        assert check(zone, "192.0.2.1", address, helo).result in RESULTS


def test_domain_spec_keeps_what_is_written() -> None:
    assert domain_spec("%{d}") == "%{d}" and domain_spec("a.%%") == "a.%%"
    with pytest.raises(SpfError, match=re.escape("bad domain")):
        domain_spec("a.b%")
