"""Authentication-Results: made, and forged ones recognised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.auth_results.header import Method, authserv_id, is_from, method_result, render


def test_render() -> None:
    value = render("mx.b.test", [
        Method("spf", "pass", properties=[("smtp.mailfrom", "anna@a.test")]),
        Method("dkim", "fail", 'bad "quote"', "2048-bit key", [("header.d", "a.test"), ("header.i", "@a.test"),
                                                                ("header.b", "ab/+=")]),
        Method("arc", "none")])
    assert value == ('mx.b.test;\n\tspf=pass smtp.mailfrom=anna@a.test;\n'
                     '\tdkim=fail (2048-bit key) reason="bad \\"quote\\""'
                     ' header.d=a.test\n\t header.i=@a.test header.b="ab/+=";\n\tarc=none')
    assert render("mx.b.test", []) == "mx.b.test; none"
    assert method_result(value.encode(), "arc") == "none" and method_result(value.encode(), "dmarc") == ""
    assert method_result(b"mx; spf=pass reason=\"x arc=\"; arc=fail", "arc") == "fail"


@pytest.mark.parametrize("text", ["a\nBcc: x", "a\r\n\r\nbody", 'x"; dkim=pass', "(", ")", "\\", "\0", "ä", "\ud800",
                                  "x" * 9999])
def test_peers_texts_stay_inside(text: str) -> None:
    value = render("mx.test", [Method("spf", "none", text, text, [("smtp.mailfrom", text)])])
    assert "\r" not in value and "\0" not in value and len(value) < 2000
    assert all(line.startswith("\t") for line in value.split("\n")[1:])
    assert value.count("dkim=pass") == text.count("dkim=pass") * 3
    assert method_result(value.encode("utf-8"), "dkim") == "" and method_result(value.encode(), "spf") == "none"


@pytest.mark.parametrize(("value", "want"), [
    (b" mx.test; spf=pass", "mx.test"), (b"\n\tMX.Test ; none", "mx.test"),
    (b" (a (nested) comment) mx.test; none", "mx.test"), (b' "mx.test"; none', "mx.test"),
    (b' "mx\\.test"; none', "mx.test"), (b" mx.test 1; none", "mx.test"), (b" mx.test/1; none", "mx.test"),
    (b" mx.test.; none", "mx.test"), (b" mx.test", "mx.test"), (b" ; none", ""), (b"", ""), (b" (" * 2000, ""),
    (b' "unclosed', ""), (b" other.test; x=mx.test", "other.test"), (b" (\\) mx.other) mx.test;", "mx.test")])
def test_authserv_id(value: bytes, want: str) -> None:
    assert authserv_id(value) == want


def test_is_from() -> None:
    assert is_from(b" MX.TEST; none", "mx.test") and not is_from(b" amx.test; none", "mx.test")
    assert is_from(" bücher.test; none".encode(), "xn--bcher-kva.test")


@given(st.binary(max_size=300))
def test_any_octets(noise: bytes) -> None:
    assert is_from(noise, "mx.test") in (True, False)
    assert isinstance(method_result(noise, "arc"), str)
