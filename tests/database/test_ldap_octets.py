"""LDAP's encoding, filters, names and URLs, without a server."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.database.ldap import ber, messages
from mailsuite.database.ldap.ber import BerError, Reader
from mailsuite.database.ldap.filters import FilterError, encode_filter, quote_value
from mailsuite.database.ldap.messages import Entry, Scope
from mailsuite.database.ldap.names import parse_url, quote_name


@given(st.integers(-2**63, 2**63 - 1))
def test_integers(value: int) -> None:
    assert Reader(ber.integer(value)).integer() == value


@given(st.integers(0x01, 0x1E), st.binary(max_size=70000))
def test_elements(tag: int, content: bytes) -> None:
    encoded = ber.tlv(tag, content)
    assert Reader(encoded).take() == (tag, content) and ber.whole(encoded) == len(encoded)
    assert ber.whole(encoded[:-1]) is None


@pytest.mark.parametrize("octets", [b"\x30\x80", b"\x30\x89" + b"\xff" * 9, b"\x30\x84\xff\xff\xff\xff",
                                    b"\x1f\x01\x00"])
def test_what_is_not_ber(octets: bytes) -> None:
    with pytest.raises(BerError):
        ber.whole(octets)


@pytest.mark.parametrize("seed", range(200))
def test_noise_is_an_error(seed: int) -> None:
    noise = Random(seed).randbytes(60)
    message = ber.tlv(ber.SEQUENCE, ber.integer(1) + ber.tlv(Random(seed).choice([0x61, 0x64, 0x65, 0x73]), noise))
    try:
        messages.parse(message)
        messages.parse(noise)
    except BerError:
        pass


def test_an_entry() -> None:
    values = ber.tlv(ber.SET, ber.octets(b"a@b") + ber.octets(b"c@d"))
    attributes = ber.tlv(ber.SEQUENCE, ber.tlv(ber.SEQUENCE, ber.octets(b"mail") + values))
    message = ber.tlv(ber.SEQUENCE, ber.integer(7) + ber.tlv(0x64, ber.octets(b"dc=x") + attributes))
    assert messages.parse(message) == (7, Entry(b"dc=x", [("mail", [b"a@b", b"c@d"])]))


@pytest.mark.parametrize(("text", "want"), [
    pytest.param(b"a=b", "a30604016104 0162", id="equal"),
    pytest.param(b"(a=b)", "a30604016104 0162", id="in parentheses"),
    pytest.param(b"((a=b))", "a30604016104 0162", id="twice"),
    pytest.param(b"(a=*)", "870161", id="present"),
    pytest.param(b"(a=\\2a\\28)", "a30704016104022a28", id="escaped"),
    pytest.param(b"(a=)", "a3050401610400", id="empty value"),
    pytest.param(b"(a=x*y*z)", "a40e 040161 3009 800178 810179 82017a", id="substrings"),
    pytest.param(b"(a=*y*)", "a408 040161 3003 810179", id="in the middle"),
    pytest.param(b"(a=**)", "870161", id="nothing but stars"),
    pytest.param(b"(&(a=b)(!(c>=d)))", "a012 a306040161040162 a208 a506040163040164", id="and, not"),
    pytest.param(b"(|)", "a100", id="empty or"),
    pytest.param(b"(a:dn:2.5.13.2:=v)", "a913 8108322e352e31332e32 820161 830176 8401ff", id="extensible"),
])
def test_filters(text: bytes, want: str) -> None:
    assert encode_filter(text).hex() == want.replace(" ", "")


@pytest.mark.parametrize("text", [b"", b"(", b"()", b"(a=b", b"a=b)", b"(a=b)x", b"(!a=b)", b"(a=\\x)", b"(a=\\2)",
                                  b"(=b)", b"(a)", b"(:=x)", b"(a:b=c)", b"(&(a=b)", b"(" * 500 + b"a=b" + b")" * 500])
def test_no_filters(text: bytes) -> None:
    with pytest.raises(FilterError):
        encode_filter(text)


@given(st.binary(max_size=40))
def test_a_quoted_value_is_that_value(value: bytes) -> None:
    encoded = encode_filter(b"(a=" + quote_value(value) + b")")
    assert encoded == ber.tlv(0xA3, ber.octets(b"a") + ber.octets(value))


@pytest.mark.parametrize(("value", "want"), [
    (b"a,b", b"a\\2Cb"), (b" a ", b"\\20a\\20"), (b"#a", b"\\23a"), (b"a+b=c", b"a\\2Bb\\3Dc"),
    (b"a\\\"<>;", b"a\\5C\\22\\3C\\3E\\3B"), (b" ", b"\\20"), (b"", b""), (b"a#b c", b"a#b c")])
def test_quoted_names(value: bytes, want: bytes) -> None:
    assert quote_name(value) == want


@pytest.mark.parametrize(("text", "want"), [
    ("ldap://h:1/dc=x?mail,cn?sub?(uid=a)", ("ldap", "h", 1, "", "dc=x", ["mail", "cn"], Scope.SUBTREE, "(uid=a)")),
    ("ldap://h", ("ldap", "h", 389, "", "", [], Scope.BASE, "(objectClass=*)")),
    ("LDAPS://h/", ("ldaps", "h", 636, "", "", [], Scope.BASE, "(objectClass=*)")),
    ("ldap:///dc%3Dx%20y??one", ("ldap", "localhost", 389, "", "dc=x y", [], Scope.ONE, "(objectClass=*)")),
    ("ldapi://%2Frun%2Fldapi", ("ldapi", "localhost", 0, "/run/ldapi", "", [], Scope.BASE, "(objectClass=*)")),
    ("ldap://[::1]:3/", ("ldap", "::1", 3, "", "", [], Scope.BASE, "(objectClass=*)"))])
def test_urls(text: str, want: tuple[object, ...]) -> None:
    assert tuple(parse_url(text)) == want


@pytest.mark.parametrize("text", ["http://h", "ldap:h", "h:1", "ldap://h/dc=x??odd", "ldap://h:x/"])
def test_no_urls(text: str) -> None:
    with pytest.raises(ValueError):
        parse_url(text)
