"""ARC chains: sealed and validated, broken in every way."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsuite.auth_results.arc import ArcResult, next_instance, seal, verify_chain
from mailsuite.auth_results.canonical import BodyForm, body_hashes
from mailsuite.auth_results.content import FieldIndex, parse_content
from mailsuite.auth_results.dkim import DkimOptions, SignOptions
from mailsuite.auth_results.keys import PrivateKey
from tests.support.dns_zone import ZoneResolver
from tests.support.signing import MESSAGE, NAMES, NOW, key, record

HOPS = [key(domain="one.test", selector="s1"), key("ed25519", "two.test", "s2"), key(domain="three.test", selector="s3",
                                                                                   number=1)]
ZONE: dict[str, list[str]] = {}
for hop in HOPS:
    ZONE |= record(hop)


def sealed(message: bytes, one: PrivateKey, chain: str = "pass", results: str = "mx; dmarc=pass") -> bytes:
    content = parse_content(message)
    index, form = FieldIndex(content.fields), BodyForm(True)
    options = SignOptions(NAMES, instance=next_instance(index))
    fields = seal(index, body_hashes(content.body, {form})[form], one, results=results, chain=chain, options=options,
                  now=NOW)
    return b"".join(f"{name}: {value}\n".encode() for name, value in fields) + message


def chain(message: bytes, zone: dict[str, list[str]] | None = None) -> ArcResult:
    return asyncio.run(verify_chain(parse_content(message), ZoneResolver(ZONE if zone is None else zone), DkimOptions(),
                                    NOW + 1))


ONE = sealed(MESSAGE, HOPS[0])
TWO = sealed(ONE, HOPS[1])
THREE = sealed(TWO, HOPS[2])


def test_no_chain() -> None:
    assert chain(MESSAGE) == ArcResult("none")


@pytest.mark.parametrize(("message", "sets"), [(ONE, 1), (TWO, 2), (THREE, 3)])
def test_good_chains(message: bytes, sets: int) -> None:
    found = chain(message)
    assert (found.result, found.reason, found.sets, found.oldest_pass) == ("pass", "", sets, 0)
    assert found.sealers == ("one.test", "two.test", "three.test")[:sets]
    assert b"dmarc=pass" in found.first_results


def test_content_changed_on_the_way() -> None:
    changed = sealed(sealed(ONE.replace(b"last line", b"last line\nlist footer"), HOPS[1]), HOPS[2])
    found = chain(changed)
    assert (found.result, found.oldest_pass) == ("pass", 2)


@pytest.mark.parametrize(("old", "new"), [
    pytest.param(b"last line", b"LAST line", id="body"), pytest.param(b"Subject: Hello", b"Subject: Other", id="field"),
    pytest.param(b"i=1; mx; dmarc=pass", b"i=1; mx; dmarc=fail", id="first results"),
    pytest.param(b"i=2; mx; dmarc=pass", b"i=2; mx; dmarc=fail", id="second results"),
    pytest.param(b"cv=none", b"cv=pass", id="cv of the first"), pytest.param(b"cv=pass", b"cv=fail", id="cv=fail"),
    pytest.param(b"cv=pass", b"cv=none", id="cv of the second"), pytest.param(b"cv=pass", b"cv=odd", id="odd cv"),
    pytest.param(b"s=s2;", b"s=s9;", id="no key"), pytest.param(b"d=two.test", b"d=one.test", id="other signer"),
    pytest.param(b"ARC-Seal: i=2", b"X-Seal: i=2", id="seal is gone"),
    pytest.param(b"ARC-Seal: i=2", b"ARC-Seal: i=3", id="gap"),
    pytest.param(b"ARC-Seal: i=2", b"ARC-Seal: i=1", id="twice"),
    pytest.param(b"ARC-Seal: i=2", b"ARC-Seal: i=51", id="too many"),
    pytest.param(b"ARC-Seal: i=2;", b"ARC-Seal: i=2; h=from;", id="h in a seal"),
    pytest.param(b"h=From:", b"h=ARC-Seal:From:", id="seal is signed"),
    pytest.param(b"ARC-Authentication-Results: i=2", b"ARC-Authentication-Results: mx", id="results without i"),
    pytest.param(b"a=rsa-sha256", b"a=rsa-sha1", id="SHA-1"),
])
def test_broken_chains(old: bytes, new: bytes) -> None:
    assert old in TWO
    found = chain(TWO.replace(old, new, 1))
    assert found.result == "fail" and found.reason


def test_dns_failure_is_final() -> None:
    assert chain(ONE, {}).result == "fail"
    assert chain(ONE, {"s1._domainkey.one.test": ["TIMEOUT"]}).result == "fail"


def test_a_failed_chain_is_sealed_so_and_not_continued() -> None:
    failed = sealed(ONE.replace(b"last line", b"x"), HOPS[1], "fail")
    found = chain(failed)
    assert found.result == "fail" and "cv=fail" in found.reason
    assert next_instance(FieldIndex(parse_content(failed).fields)) == 0


def test_the_fiftieth_set_is_the_last() -> None:
    full = b"ARC-Seal: i=50; a=rsa-sha256; cv=pass; d=a.test; s=s; b=AAAA\n" + MESSAGE
    assert next_instance(FieldIndex(parse_content(full).fields)) == 0


def test_ten_thousand_sets() -> None:
    resolver = ZoneResolver({})
    many = b"".join(b"ARC-Seal: i=%d; a=rsa-sha256; cv=pass; d=d%d.test; s=s; b=AAAA\n" % (n, n) for n in range(10_000))
    for name in (b"ARC-Message-Signature", b"ARC-Authentication-Results"):
        many += many.replace(b"ARC-Seal", name) if name not in many else b""
    found = asyncio.run(verify_chain(parse_content(many + MESSAGE), resolver, DkimOptions(), NOW))
    assert found.result == "fail" and not resolver.asked


@given(st.binary(max_size=120), st.integers(0, 1500))
@settings(max_examples=150, deadline=None)
def test_noise(noise: bytes, at: int) -> None:
    assert chain(TWO[:at] + noise + TWO[at:]).result in ("pass", "fail", "none")
