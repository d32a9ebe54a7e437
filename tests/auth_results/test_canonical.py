"""Canonical forms of RFC 6376 section 3.4, and that blocks do not matter."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.auth_results.canonical import BodyForm, body_hashes, canonical_body, relaxed_header, simple_header

TEXT = st.text(alphabet=" \t\nab\r.", max_size=60).map(str.encode)


def plain_relaxed(body: bytes) -> bytes:
    """Section 3.4.4 word by word, slowly."""
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def plain_simple(body: bytes) -> bytes:
    """Section 3.4.3."""
    lines = body.split(b"\n")
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines) or b"\r\n"


@pytest.mark.parametrize(("name", "value", "want"), [
    (b"A", b" X", b"a:X\r\n"), (b"B ", b" Y\t\n\tZ  ", b"b:Y Z\r\n"), (b"Subject", b"", b"subject:\r\n"),
    (b"SUBJect", b"  a   b\t\tc\n  d", b"subject:a b c d\r\n"), (b"X", b" \n ", b"x:\r\n")])
def test_relaxed_header(name: bytes, value: bytes, want: bytes) -> None:
    assert relaxed_header(name, value) == want


def test_simple_header() -> None:
    assert simple_header(b"B", b" Y\t\n\tZ  ") == b"B: Y\t\r\n\tZ  \r\n"


@pytest.mark.parametrize(("relaxed", "body", "want"), [     # section 3.4.5
    (True, b" C \nD \t E\n\n\n", b" C\r\nD E\r\n"), (False, b" C \nD \t E\n\n\n", b" C \r\nD \t E\r\n"),
    (True, b"", b""), (False, b"", b"\r\n"), (True, b"\n\n", b""), (False, b"\n\n", b"\r\n"),
    (True, b" \n \t\n", b""), (False, b" \n", b" \r\n"), (True, b"no end", b"no end\r\n"), (False, b"x", b"x\r\n")])
def test_bodies(relaxed: bool, body: bytes, want: bytes) -> None:
    assert b"".join(canonical_body([body], relaxed=relaxed)) == want


@given(TEXT, st.lists(st.integers(0, 60), max_size=6), st.booleans())
def test_blocks_do_not_matter(body: bytes, cuts: list[int], relaxed: bool) -> None:
    places = [0, *sorted(cuts), len(body)]
    blocks = [body[start:end] for start, end in zip(places, places[1:], strict=False)]
    want = plain_relaxed(body) if relaxed else plain_simple(body)
    assert b"".join(canonical_body(blocks, relaxed=relaxed)) == want


@given(TEXT, st.integers(-1, 50))
def test_length_and_hash(body: bytes, length: int) -> None:
    forms = {BodyForm(True, length), BodyForm(False, length), BodyForm(True)}
    found = body_hashes(lambda: [body[:7], body[7:]], forms)
    for form in forms:
        whole = plain_relaxed(body) if form.relaxed else plain_simple(body)
        cut = whole if form.length < 0 else whole[:form.length]
        assert found[form] == (hashlib.sha256(cut).digest(), len(whole))


@pytest.mark.parametrize("body", [b"\n" * 3_000_000 + b"x", b" " * 3_000_000, b" \n" * 1_500_000, b"\t \t" * 1_000_000,
                                  b"a  " * 1_000_000])
def test_long_runs_take_linear_time(body: bytes) -> None:
    """Quadratic code would take minutes here."""
    form = BodyForm(True)
    blocks = [body[at:at + 65536] for at in range(0, len(body), 65536)]
    whole = body_hashes(lambda: blocks, {form})[form].whole
    assert whole == len(plain_relaxed(body))
