"""Fields that are passed on unread: only those that reading would not change, and at no more cost than their length."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.config.settings import Settings
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.rewrite.trivial import STANDARD_FIELD

REWRITER = Rewriter(Settings.of({"myhostname": "mx.example.test", "mydomain": "example.test", "alias_maps": "",
                                 "append_dot_mydomain": "yes", "myorigin": "example.test"}))
PIECES = ["Bob", "O'Neil", '"Smith, Bob"', '"a\\"b"', "<", ">", "@", "a@b.test", "<x.y@c.d.test>", "u%h@d.test",
          "a!b@c.test", "user", "host!user", "u@h", "u@h.test.", ",", ";", ":", "(x)", " ", "\t", "\n ", ".",
          "ä@b.test", "[1.2.3.4]", "<>", '""', "\\"]


@pytest.mark.parametrize(("field", "fits"), [
    (b"From: <a@b.test>", True), (b"To: a@b.test", True), (b"To:a.b+c@d.e.test , x@y.test", True),
    (b'Cc: "Smith, Bob" <b@c.test>, Bob Smith <b@d.test>', True), (b"From: a@b", False), (b"From: alice", False),
    (b"From: a@b.test (comment)", False), (b"To: <a@b.test>,\n\t<c@d.test>", False), (b"To: a@b.test.", False),
    (b"To: g: a@b.test;", False), (b"To: <@x.test:a@b.test>", False), (b"To: Bob a@b.test", False), (b"To:", False),
    (b"To: <a@b.test> <c@d.test>", False), (b"From: J. Doe <a@b.test>", False), ("From: ä@b.test".encode(), False),
])
def test_which(field: bytes, fits: bool) -> None:
    assert bool(STANDARD_FIELD.fullmatch(field)) == fits


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join), st.sampled_from(["From", "To", "Reply-To"]))
def test_reading_would_not_change_them(text: str, name: str) -> None:
    value = b" " + text.encode()
    if STANDARD_FIELD.fullmatch(name.encode() + b":" + value):
        assert asyncio.run(REWRITER.header(name, value)) == value


@pytest.mark.parametrize("value", [b"a" * 100_000, b"a@b.test," * 20_000 + b"(", b'"' * 100_000, b"Bob " * 50_000,
                                   b"a." * 50_000, b"a@" + b"b." * 50_000, b"Bob <" * 20_000])
def test_hostile_fields_cost_little(value: bytes) -> None:
    assert STANDARD_FIELD.fullmatch(b"To: " + value) is None       # some milliseconds; quadratic it would take minutes
