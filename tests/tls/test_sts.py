"""MTA-STS records and policies as text."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.base.errors import PeerError
from mailsuite.tls.sts import StsPolicy, fits, parse_policy, record_id


@pytest.mark.parametrize(("records", "want"), [
    ([b"v=STSv1; id=20260101T000000;"], "20260101T000000"), ([b"v=STSv1;id=a", b"other"], "a"),
    ([b"v=STSv1; id=a", b"v=STSv1; id=b"], None), ([b"v=STSv1; x=y; id=abc; z=1"], "abc"),
    ([b"v=STSv1"], None), ([b"v=STSv2; id=a"], None), ([b"v=STSv1; id=no-hyphen"], None), ([b"v=STSv1; id="], None),
    ([b"v=STSv1; id=" + b"a" * 33], None), ([], None)])
def test_records(records: list[bytes], want: str | None) -> None:
    assert record_id(records) == want


def test_a_policy() -> None:
    text = "version: STSv1\r\nmode: enforce\r\nmx: mx1.a.test\r\nmx: *.B.test.\r\nmax_age: 99999999\r\n"
    assert parse_policy(text.encode()) == StsPolicy("enforce", ("mx1.a.test", "*.b.test"), 31557600, (
        "version: STSv1", "mode: enforce", "mx: mx1.a.test", "mx: *.B.test.", "max_age: 99999999"))
    assert parse_policy(b"version: STSv1\nmode: none\nmax_age: 0").mode == "none"


@pytest.mark.parametrize("text", [
    "", "mode: enforce", "version: STSv1\nmode: enforce\nmax_age: 1", "version: STSv1\nmode: often\nmx: a\nmax_age: 1",
    "version: STSv1\nmode: enforce\nmx: a", "version: STSv1\nmode: enforce\nmx: a\nmax_age: -1",
    "version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1", "version: STSv1\nmode: enforce\nmx: *.*.a\nmax_age: 1",
    "version: STSv1\nmode: enforce\nmx: a\nmax_age: 1\nnonsense", "version: STSv1\nmx: \xff", "<html>"])
def test_policies_that_are_none(text: str) -> None:
    with pytest.raises(PeerError):
        parse_policy(text.encode("latin-1"))


@pytest.mark.parametrize(("host", "pattern", "want"), [
    ("mx.a.test", "mx.a.test", True), ("MX.a.test.", "mx.A.test", True), ("mx.a.test", "*.a.test", True),
    ("x.mx.a.test", "*.a.test", False), ("a.test", "*.a.test", False), (".a.test", "*.a.test", False),
    ("b.test", "a.test", False)])
def test_patterns(host: str, pattern: str, want: bool) -> None:
    assert fits(host, pattern) is want


@given(st.binary(max_size=300) | st.text("version: STSv1\nmode: enforce\nmx*.-_", max_size=300).map(str.encode))
def test_noise_is_refused_or_a_policy(octets: bytes) -> None:
    with contextlib.suppress(PeerError):
        assert parse_policy(octets).mode in ("enforce", "testing", "none")
