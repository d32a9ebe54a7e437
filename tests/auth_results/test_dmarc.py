"""DMARC: records, whose policy counts, alignment, what is asked for."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.auth_results.content import FieldIndex, TextField
from mailsuite.auth_results.dkim import DkimResult
from mailsuite.auth_results.dmarc import Authors, DmarcResult, discover, evaluate, from_domains
from mailsuite.auth_results.dmarc_record import DmarcRecord, parse_record
from mailsuite.auth_results.organization import organizational_domain, walk
from mailsuite.auth_results.spf import SpfResult
from tests.support.dns_zone import ZoneResolver

ZONE = {
    "_dmarc.a.test": ["TXT v=DMARC1; p=reject; sp=quarantine; rua=mailto:agg@a.test!10m, mailto:x@r.test; ruf=mailto:f@a.test"],
    "_dmarc.strict.test": ["TXT v=DMARC1;p=reject;adkim=s;aspf=s"], "_dmarc.none.test": ["TXT v=DMARC1; p=none"],
    "_dmarc.two.test": ["TXT v=DMARC1; p=reject", "TXT v=DMARC1; p=none"],
    "_dmarc.mixed.test": ["TXT hello", "TXT v=DMARC1; p=quarantine"], "_dmarc.slow.test": ["TIMEOUT"],
    "_dmarc.half.test": ["TXT v=DMARC1; p=reject; pct=50"], "_dmarc.t.test": ["TXT v=DMARC1; p=reject; t=y"],
    "_dmarc.np.test": ["TXT v=DMARC1; p=none; sp=quarantine; np=reject"], "there.np.test": ["A 192.0.2.1"],
    "_dmarc.sub.own.test": ["TXT v=DMARC1; p=none"], "_dmarc.own.test": ["TXT v=DMARC1; p=reject"],
    "_dmarc.co.uk": ["TXT v=DMARC1; p=reject; psd=y"], "_dmarc.dept.org.test": ["TXT v=DMARC1; p=quarantine; psd=n"],
    "_dmarc.org.test": ["TXT v=DMARC1; p=none"],
}
NO_SPF = SpfResult("fail", domain="other.test")


def passed(domain: str) -> list[DkimResult]:
    return [DkimResult("fail", "noise.test"), DkimResult("pass", domain)]


def judged(*domains: str, spf: SpfResult | None = NO_SPF, dkim: list[DkimResult] | None = None, tree: bool = False,
           sample: float = 0.0) -> DmarcResult:
    return asyncio.run(evaluate(Authors(list(domains)), spf, dkim or [], ZoneResolver(ZONE), tree_walk=tree, sample=lambda: sample))


@pytest.mark.parametrize(("domain", "spf", "dkim", "want"), [
    ("a.test", "", "", "fail reject "), ("a.test", "a.test", "", "pass none spf"), ("a.test", "", "a.test", "pass none dkim"),
    ("a.test", "b.a.test", "", "pass none spf"), ("a.test", "", "x.y.a.test", "pass none dkim"),
    ("b.a.test", "a.test", "", "pass none spf"), ("b.a.test", "", "", "fail quarantine "),
    ("b.a.test", "", "c.a.test", "pass none dkim"), ("a.test", "", "nota.test", "fail reject "),
    ("strict.test", "x.strict.test", "x.strict.test", "fail reject "), ("strict.test", "strict.test", "", "pass none spf"),
    ("strict.test", "", "strict.test", "pass none dkim"), ("none.test", "", "", "fail none "), ("missing.test", "", "", "none none "),
    ("two.test", "", "", "none none "), ("mixed.test", "", "", "fail quarantine "), ("slow.test", "", "", "temperror none "),
    ("t.test", "", "", "fail quarantine "), ("gone.np.test", "", "", "fail reject "), ("there.np.test", "", "", "fail quarantine "),
    ("np.test", "", "", "fail none "), ("sub.own.test", "", "", "fail none "), ("x.sub.own.test", "", "", "fail reject "),
])
def test_with_suffix_list(domain: str, spf: str, dkim: str, want: str) -> None:
    found = judged(domain, spf=SpfResult("pass", domain=spf) if spf else NO_SPF, dkim=passed(dkim) if dkim else None)
    assert f"{found.result} {found.disposition} {found.aligned}" == want


@pytest.mark.parametrize(("domain", "dkim", "want"), [
    ("a.test", "", "fail reject a.test"), ("x.y.a.test", "a.test", "pass none a.test"), ("sub.own.test", "", "fail none sub.own.test"),
    ("x.sub.own.test", "own.test", "pass none own.test"), ("mail.dept.org.test", "org.test", "fail quarantine dept.org.test"),
    ("mail.dept.org.test", "dept.org.test", "pass none dept.org.test"), ("foo.co.uk", "", "fail reject co.uk"),
    ("foo.co.uk", "bar.co.uk", "fail reject co.uk"), ("a.foo.co.uk", "b.foo.co.uk", "pass none co.uk"),
    ("slow.test", "", "temperror none "), ("missing.test", "", "none none "),
])
def test_with_tree_walk(domain: str, dkim: str, want: str) -> None:
    found = judged(domain, dkim=passed(dkim) if dkim else None, tree=True)
    assert f"{found.result} {found.disposition} {found.found_at}" == want


def test_walk_is_limited() -> None:
    resolver = ZoneResolver(ZONE)
    asyncio.run(walk(resolver, ".".join("abcdefghijklmnop") + ".a.test"))
    asked = [name for name, _ in resolver.asked]
    assert len(asked) == 8 and asked[0].startswith("_dmarc.a.b.c.") and asked[-2:] == ["_dmarc.a.test", "_dmarc.test"]


@pytest.mark.parametrize(("sample", "want"), [(0.0, "reject"), (0.49, "reject"), (0.5, "quarantine"), (0.99, "quarantine")])
def test_percent(sample: float, want: str) -> None:
    assert judged("half.test", sample=sample).disposition == want


def test_temporary_failures_of_the_others() -> None:
    assert judged("a.test", spf=SpfResult("temperror", domain="a.test")).result == "temperror"
    assert judged("a.test", dkim=[DkimResult("temperror", "a.test")]).result == "temperror"
    assert judged("a.test", spf=SpfResult("temperror"), dkim=passed("a.test")).result == "pass"
    assert judged("a.test", spf=None).result == "fail"


def test_the_worst_author_counts() -> None:
    found = judged("none.test", "a.test", dkim=passed("none.test"))
    assert (found.result, found.domain, found.disposition) == ("fail", "a.test", "reject")
    assert judged().result == "permerror"
    many = asyncio.run(evaluate(Authors(["a.test"], too_many=True), None, [], ZoneResolver(ZONE), sample=lambda: 0))
    assert (many.result, many.disposition) == ("permerror", "reject")


def test_too_many_authors() -> None:
    for value in (b" a@a.test" + b",x@a.test" * 10_000, b",".join(b"a@x%d.test" % number for number in range(5))):
        assert from_domains(FieldIndex([TextField(b"From", value)])).too_many


@pytest.mark.parametrize(("values", "want"), [
    ([b" a@A.test"], ["a.test"]), ([b" Anna <a@a.test>, b@b.test"], ["a.test", "b.test"]), ([b" a@a.test", b" b@b.test"], ["a.test", "b.test"]),
    ([b" a@a.test, c@a.test."], ["a.test"]), ([b' "b@b.test" <a@a.test>'], ["a.test"]), ([b" (b@b.test) a@a.test"], ["a.test"]),
    ([" a@bücher.test".encode()], ["xn--bcher-kva.test"]), ([b" undisclosed:;"], []), ([b""], []), ([b" a@[192.0.2.1]"], []),
    ([b" a"], []), ([b" Group: a@a.test, b@b.test;"], ["a.test", "b.test"]),
    ([b" a@a.test" + b",x@a.test" * 500], ["a.test"]),
])
def test_from_domains(values: list[bytes], want: list[str]) -> None:
    fields = [TextField(b"FROM", value) for value in values]
    assert from_domains(FieldIndex([TextField(b"To", b" x@y.test"), *fields])).domains == want


@pytest.mark.parametrize(("text", "want"), [
    (b"v=DMARC1; p=none", DmarcRecord("none")), (b"v=DMARC1;p=REJECT;;", DmarcRecord("reject")), (b"v = DMARC1 ; p = none ;", DmarcRecord("none")),
    (b"v=dmarc1; p=none", None), (b"p=none; v=DMARC1", None), (b"v=DMARC1", None), (b"v=DMARC1; p=bad", None),
    (b"v=DMARC1; rua=mailto:a@b.test", DmarcRecord("none", aggregate=("mailto:a@b.test",))),
    (b"v=DMARC1; p=reject; sp=bad", None), (b"v=DMARC1; p=none; pct=101", DmarcRecord("none")),
    (b"v=DMARC1; p=none; pct=x; adkim=S; aspf=q; np=bad; unknown=1", DmarcRecord("none", strict_dkim=True)),
    (b"v=DMARC1; p=none; rua=nothing, mailto:a b@c.test,https://r.test/x!5k", DmarcRecord("none", aggregate=("https://r.test/x",))),
])
def test_records(text: bytes, want: DmarcRecord | None) -> None:
    assert parse_record(text) == want


def test_reporting_addresses_without_sizes() -> None:
    record = parse_record(ZONE["_dmarc.a.test"][0].removeprefix("TXT ").encode())
    assert record is not None and record.aggregate == ("mailto:agg@a.test", "mailto:x@r.test")
    assert record.failures == ("mailto:f@a.test",)


def test_organizational_domains() -> None:
    assert organizational_domain("a.b.example.co.uk") == "example.co.uk" and organizational_domain("co.uk") == "co.uk"
    assert organizational_domain("a.b.demo.test") == "demo.test"
    assert asyncio.run(discover("b.a.test", ZoneResolver(ZONE)))[2:] == ("quarantine", "a.test")


@given(st.binary(max_size=200))
def test_any_octets(noise: bytes) -> None:
    found = parse_record(b"v=DMARC1;" + noise)
    assert found is None or found.policy in ("none", "quarantine", "reject")
    assert all(len(domain) <= 255 for domain in from_domains(FieldIndex([TextField(b"From", noise)])).domains)
