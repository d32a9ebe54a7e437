"""DKIM signatures and keys: what verifies, what does not and why; limits; noise."""

import asyncio
import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsuite.auth_results.content import parse_content
from mailsuite.auth_results.dkim import DkimOptions, DkimResult, SignOptions, verify
from mailsuite.auth_results.dkim_key import parse_key
from mailsuite.auth_results.dkim_signature import DkimError, parse_signature
from mailsuite.auth_results.keys import dns_record
from mailsuite.auth_results.tags import parse_tags, without_value
from tests.support.dns_zone import ZoneResolver
from tests.support.signing import MESSAGE, NAMES, NOW, key, record, signed

SIGNED = signed()
RECORD = dns_record(key())
NAME = "sel._domainkey.a.test"
P = RECORD.partition("p=")[2]


def results(message: bytes, zone: dict[str, list[str]] | None = None, now: float = NOW + 60,
            **options: object) -> list[DkimResult]:
    return asyncio.run(verify(parse_content(message), ZoneResolver(record(key()) if zone is None else zone),
                              replace(DkimOptions(), **options), now))  # type: ignore[arg-type]


def one(message: bytes, *record_text: str, now: float = NOW + 60, **options: object) -> tuple[str, str]:
    found = results(message, {NAME: [f"TXT {text}" for text in record_text]} if record_text else None, now, **options)
    assert len(found) == 1
    return found[0].result, found[0].reason


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
@pytest.mark.parametrize("forms", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("body", [b"", b"\n", b"a", b"a\n\n\n", b" a \t b \n", b"x\n" * 100_000], ids=len)
def test_what_we_sign_verifies(kind: str, forms: tuple[bool, bool], body: bytes) -> None:
    mine = key(kind)
    head = MESSAGE.partition(b"\n\n")[0]
    message = signed(head + b"\n\n" + body, mine, SignOptions(NAMES, frozenset({b"from"}), *forms))
    found = results(message, record(mine))
    assert [(r.result, r.reason) for r in found] == [("pass", "")]


@pytest.mark.parametrize(("old", "new", "result", "reason"), [
    (b"v=1;", b"v=2;", "permerror", "no v=1"), (b"v=1; ", b"", "permerror", "no v=1"),
    (b"v=1;", b"v=1; v=1;", "permerror", "tag v= twice"), (b"a=rsa-sha256", b"a=rsa-sha1", "permerror",
                                                         "rsa-sha1 is no longer valid"),
    (b"a=rsa-sha256", b"a=rsa-md5", "permerror", "unknown algorithm"), (b"a=rsa-sha256; ", b"", "permerror", "no a="),
    (b"a=rsa-sha256", b"a=ed25519-sha256", "permerror", "key of another algorithm"),
    (b"c=relaxed/relaxed", b"c=strict", "permerror", "unknown canonicalization"),
    (b"c=relaxed/relaxed", b"c=simple/relaxed", "fail", "signature does not match"),
    (b"c=relaxed/relaxed", b"c=relaxed", "fail", "body hash does not match"),
    (b"d=a.test", b"d=a..test", "permerror", "bad d="), (b"d=a.test", b"d=b.test", "permerror", "no key"),
    (b"s=sel", b"s=", "permerror", "no s="), (b"s=sel", b"s=se l", "permerror", "bad s="),
    (b"h=From:", b"h=", "permerror", "From is not signed"), (b"h=From:", b"h=From::", "permerror", "bad h="),
    (b"bh=", b"bh=!", "permerror", "bad bh="), (b"b=", b"b=!!!", "permerror", "bad b="),
    (b"t=1700000000;", b"t=x;", "permerror", "bad t="), (b"t=1700000000;", b"t=1700000000; x=1;", "permerror",
                                                         "x= before t="),
    (b"t=1700000000;", b"t=1700009999;", "fail", "signed in the future"),
    (b"t=1700000000;", b"t=1600000000; x=1600000001;", "fail", "signature expired"),
    (b"t=1700000000;", b"l=99999;", "fail", "body is shorter than l="),
    (b"t=1700000000;", b"l=-1;", "permerror", "bad l="),
    (b"t=1700000000;", b"l=2;", "fail", "body hash does not match"),
    (b"t=1700000000;", b"q=x/y;", "permerror", "unknown q="), (b"t=1700000000;", b"i=@b.test;", "permerror",
                                                              "i= is not below d="),
    (b"t=1700000000;", b"i=@nota.test;", "permerror", "i= is not below d="),
    (b"t=1700000000;", b"unknown=x;", "fail", "signature does not match"),
    (b"t=1700000000;", b"=;", "permerror", "not a list of tags"),
])
def test_signature_problems(old: bytes, new: bytes, result: str, reason: str) -> None:
    assert old in SIGNED
    assert one(SIGNED.replace(old, new, 1)) == (result, reason)


KEY_RECORDS = [
    (RECORD, "pass", ""), (f"k=rsa; p={P}", "pass", ""), (f"p={P}", "pass", ""), (f"v=DKIM1; p={P}; x=1;", "pass", ""),
    (f"v=DKIM1; h=sha256:sha1; s=email:x; p={P}", "pass", ""), (f"v=DKIM1; s=*; t=s; n=a note; p={P}", "pass", ""),
    (f"v=DKIM1; p={P[:40]} {P[40:]}", "pass", ""),
    ("v=DKIM1; p=", "permerror", "key was revoked"), ("v=DKIM1", "permerror", "bad key record: no p="),
    (f"v=DKIM2; p={P}", "permerror", "bad key record: v= is not DKIM1"),
    (f"k=rsa; v=DKIM1; p={P}", "permerror", "bad key record: v= is not DKIM1"),
    (f"v=DKIM1; h=sha1; p={P}", "permerror", "key is not for SHA-256"),
    (f"v=DKIM1; s=tlsrpt; p={P}", "permerror", "key is not for mail"),
    (f"v=DKIM1; k=dsa; p={P}", "permerror", "unknown kind of key"), ("v=DKIM1; p=AAAA", "permerror", "bad RSA key"),
    ("v=DKIM1; p=!", "permerror", "bad key record: p= is not base64"),
    ("v=DKIM1; k=ed25519; p=AAAA", "permerror", "bad Ed25519 key"), ("rubbish", "permerror",
                                                                     "bad key record: not a list of tags"),
    (dns_record(key(number=1)), "fail", "signature does not match"),
    (dns_record(key("ed25519")), "permerror", "key of another algorithm"),
    (f"v=DKIM1; t=y; p={P}", "pass", ""),
    (f"v=DKIM1; t=y; p={dns_record(key(number=1)).partition('p=')[2]}", "neutral",
     "signature does not match (the key is for tests)"),
]


@pytest.mark.parametrize(("text", "result", "reason"), KEY_RECORDS, ids=[f"{at}" for at in range(len(KEY_RECORDS))])
def test_key_records(text: str, result: str, reason: str) -> None:
    assert one(SIGNED, text) == (result, reason)


def test_several_records_the_good_one_counts() -> None:
    assert one(SIGNED, "something else", RECORD) == ("pass", "")


def test_dns_failure_and_absence() -> None:
    assert [r.result for r in results(SIGNED, {NAME: ["TIMEOUT"]})] == ["temperror"]
    assert [(r.result, r.reason) for r in results(SIGNED, {})] == [("permerror", "no key")]


def test_bare_rsa_key_of_older_records() -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    private = key().key
    assert isinstance(private, rsa.RSAPrivateKey)
    octets = private.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    assert one(SIGNED, f"v=DKIM1; p={base64.b64encode(octets).decode()}") == ("pass", "")


def test_short_long_and_odd_keys() -> None:
    assert one(SIGNED, least_bits=2048) == ("permerror", "key of 1024 bits is too short")
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    for numbers in (rsa.RSAPublicNumbers(65537, (1 << 9000) + 1),
                    rsa.RSAPublicNumbers((1 << 1000) + 1, (1 << 2047) + 1)):
        octets = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        text = f"v=DKIM1; p={base64.b64encode(octets).decode()}".encode()
        with pytest.raises(DkimError):
            parse_key(text)


def test_subdomain_identity() -> None:
    message = SIGNED.replace(b"t=1700000000;", b"i=anna@mail.a.test;")
    signature = parse_signature(parse_content(message).fields[0].value)
    assert signature.identity == "anna@mail.a.test"
    assert one(message, f"v=DKIM1; t=s; p={P}") == ("permerror", "key does not allow subdomains")


def test_partial_body() -> None:
    from mailsuite.auth_results.canonical import BodyForm, body_hashes
    from mailsuite.auth_results.content import FieldIndex, TextField
    from mailsuite.auth_results.dkim import signed_digest
    content = parse_content(MESSAGE)
    body = body_hashes(content.body, {BodyForm(True)})[BodyForm(True)]
    bare = (f"v=1; a=rsa-sha256; c=relaxed/relaxed; d=a.test; s=sel; l={body.whole}; h=from; "
            f"bh={base64.b64encode(body.digest).decode()}; b=")
    field = TextField(b"DKIM-Signature", b" " + bare.encode() + b"AAAA")
    digest = signed_digest(FieldIndex(content.fields), parse_signature(field.value), field)
    message = b"DKIM-Signature: " + bare.encode() + base64.b64encode(key().sign(digest)) + b"\n" + MESSAGE.rstrip(b"\n")
    assert one(message) == ("pass", "")
    longer = message + b"\nbuy this\n"
    assert one(longer) == ("policy", "part of the body is not signed (l=)")
    assert one(longer, partial=True) == ("pass", "")


def test_each_signature_is_judged_and_their_number_limited() -> None:
    broken = SIGNED.split(b"\n", 1)[0] + b"\n\tb=AAAA\n"
    message = broken + SIGNED
    assert [r.result for r in results(message)] == ["permerror", "pass"]
    many = b"".join(b"DKIM-Signature: v=1; d=x%d.test\n" % number for number in range(10_000)) + SIGNED
    resolver = ZoneResolver({})
    found = asyncio.run(verify(parse_content(many), resolver, DkimOptions(), NOW))
    assert len(found) == 8 and not resolver.asked


def test_ten_thousand_names_in_h() -> None:
    names = b":".join([b"from"] * 10_000)
    assert one(SIGNED.replace(b"h=From", b"h=" + names + b":From"))[0] == "permerror"
    assert one(SIGNED.replace(b"h=From", b"h=" + b":".join([b"from"] * 1500) + b":From")) == (
        "fail", "signature does not match")


def test_expiry_is_signed() -> None:
    message = signed(options=SignOptions(NAMES, lifetime_s=3600))
    assert b"x=1700003600" in message and one(message) == ("pass", "")
    assert one(message, now=NOW + 3600 + 301) == ("fail", "signature expired")
    assert one(message, now=NOW + 3600 + 299) == ("pass", "")


def test_oversigned_fields_cannot_be_added() -> None:
    message = signed(options=SignOptions(NAMES, frozenset({b"subject", b"cc"})))
    bad = message.replace(b"\n\nHi", b"\nSubject: other\n\nHi")
    assert one(bad) == ("fail", "signature does not match")
    plain = signed(options=SignOptions((*NAMES, b"Cc"))).replace(b"\n\nHi", b"\nCc: eve@x.test\n\nHi")
    assert one(plain) == ("pass", "")                     # not oversigned: what was not there is not covered


def test_tags() -> None:
    assert parse_tags(b" a = 1 ;b=2\n\t3; ") == {"a": b"1", "b": b"2\n\t3"}
    assert without_value(b" v=1; b = xyz ;bh=1; b=", b"b") == b" v=1; b =;bh=1; b="
    for bad in (b";", b"a", b"a=1;;b=2", b"1=a", b"a=1;a=2", b"a=" + bytes([0]), b"x=1;" * 500):
        with pytest.raises(ValueError, match=r"tag"):
            parse_tags(bad)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_octets_are_a_signature_or_an_error(noise: bytes) -> None:
    for arc in (False, True):
        try:
            parse_signature(noise, arc=arc)
        except DkimError as error:
            assert error.result in ("permerror", "fail")


@given(st.binary(max_size=200), st.integers(0, 400))
@settings(max_examples=200, deadline=None)
def test_noise_in_a_signature_never_passes(noise: bytes, at: int) -> None:
    field, _, rest = SIGNED.partition(b"\nFrom:")
    changed = field[:at] + noise + field[at:]
    if parse_content(changed + b"\nFrom:" + rest).fields == parse_content(SIGNED).fields:
        return
    found = results(changed + b"\nFrom:" + rest)
    allowed = {r.start for r in results(SIGNED)}
    assert all(r.result != "pass" or r.start in allowed for r in found)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_octets_are_a_key_or_an_error(noise: bytes) -> None:
    for text in (noise, b"v=DKIM1; p=" + base64.b64encode(noise)):
        try:
            assert parse_key(text).bits > 0
        except DkimError as error:
            assert error.result == "permerror"
