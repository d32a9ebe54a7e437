"""Splitting and quoting of addresses, host names, IDNA."""

import pytest

from mailsuite.address.hostname import is_hostname, is_mail_domain, literal_address
from mailsuite.address.idna import to_ascii, to_unicode
from mailsuite.address.syntax import quote_local, split_domain, split_extension, unquote_local


@pytest.mark.parametrize(("internal", "external"), [
    ("alice@example.test", "alice@example.test"),
    ("odd name@d.test", '"odd name"@d.test'),
    ("a@b@c.test", '"a@b"@c.test'),
    ('al"ice@d', '"al\\"ice"@d'),
    ("back\\slash@d", '"back\\\\slash"@d'),
    ("a..b@d", '"a..b"@d'),
    (".a@d", '".a"@d'),
    ("a.@d", '"a."@d'),
    ("plain", "plain"),
    ("two words", '"two words"'),
    ("@d.test", '""@d.test'),
    ("müller@d", "müller@d"),
    ("a+b=c/d@d", "a+b=c/d@d"),
    ("", ""),
])
def test_quote_and_back(internal: str, external: str) -> None:
    assert quote_local(internal) == external
    assert unquote_local(external) == internal


@pytest.mark.parametrize(("local", "delimiters", "want"), [
    ("user+ext", "+", ("user", "+ext")), ("user-ext+x", "+-", ("user", "-ext+x")), ("user", "+", ("user", "")),
    ("+user", "+", ("+user", "")), ("user+", "+", ("user", "+")), ("user+ext", "", ("user+ext", "")),
    ("MAILER-DAEMON", "-", ("MAILER-DAEMON", "")), ("double-bounce", "-", ("double-bounce", "")),
    ("owner-list", "-", ("owner-list", "")), ("list-request", "-", ("list-request", "")),
    ("owner-list+x", "+", ("owner-list", "+x")),
])
def test_split_extension(local: str, delimiters: str, want: tuple[str, str]) -> None:
    assert split_extension(local, delimiters) == want


@pytest.mark.parametrize(("address", "want"), [
    ("a@b", ("a", "b")), ("a@b@c", ("a@b", "c")), ("a", ("a", "")), ("a@", ("a", "")), ("@b", ("", "b")),
])
def test_split_domain(address: str, want: tuple[str, str]) -> None:
    assert split_domain(address) == want


@pytest.mark.parametrize(("name", "good"), [
    ("mx.example.test", True), ("a_b.test", True), ("xn--9ca.test", True), ("localhost", True), ("1a.test", True),
    ("-a.test", False), ("a-.test", False), ("a..test", False), ("a.test.", False), ("192.0.2.1", False),
    ("1.2.3", False), ("123", False), ("", False), ("a b.test", False), ("x" * 64 + ".test", False),
    (".".join(["x" * 60] * 5), False), ("a\n", False),
])
def test_is_hostname(name: str, good: bool) -> None:
    assert is_hostname(name) is good


@pytest.mark.parametrize(("domain", "want"), [
    ("[192.0.2.1]", "192.0.2.1"), ("[IPv6:::1]", "::1"), ("[ipv6:2001:db8::1]", "2001:db8::1"), ("[::1]", ""),
    ("[foo]", ""), ("192.0.2.1", ""), ("[]", ""), ("[", ""),
])
def test_literal_address(domain: str, want: str) -> None:
    assert literal_address(domain) == want


def test_mail_domain() -> None:
    assert is_mail_domain("bücher.test") and not is_mail_domain("bücher.test", utf8=False)
    assert is_mail_domain("[192.0.2.1]") and not is_mail_domain("[foo]")


def test_idna() -> None:
    assert to_ascii("bücher.test") == "xn--bcher-kva.test" and to_unicode("xn--bcher-kva.test") == "bücher.test"
    assert to_ascii("plain.test") == "plain.test" and to_unicode("xn--.test") == "xn--.test"
    with pytest.raises(ValueError):
        to_ascii("a\u2024b.\ufffe")
