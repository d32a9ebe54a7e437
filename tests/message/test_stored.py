"""What is picked from messages as stored is what the whole parsers make of their wire form, whatever the octets."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.message.header import first_fields, pick_fields, split_fields, unfold
from mailsuite.message.message import Message
from mailsuite.message.stored import QUICK_OCTETS, stored_envelope, stored_fields, stored_header
from tests.message import corpus

PIECES = [b"\n", b"\n", b"\n\n", b"\r\n", b"\r", b" ", b"\t", b":", b"\0", b"Subject", b"date", b"From", b"TO",
          b"sender", b"message-id", b"a@b.c", b"<x@y.z>", b'"q"', b"\\", b",", b"(c)", b"text", b"\xe9",
          b"Subject: x\n", b"From: a@b\n", b"Cc: c@d, e@f\n"]
NAMES = [frozenset(names) for names in (
    (b"subject", b"from"), (b"date",), (b"text", b"\xe9"), (b"",), (b"a:b", b"date"), (b"to", b"sender"))]
# Half of them have only what the quick way reads.
texts = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)
messages = st.one_of(texts, texts.map(lambda text: text.replace(b"\r", b"").replace(b"\0", b"") + b"\n\nbody\n"))


def check(octets: bytes) -> None:
    message = Message.from_stored(octets)
    assert stored_header(octets).replace(b"\r\n", b"\n") == message.crlf[:message.header_size].replace(b"\r\n", b"\n")
    assert stored_envelope(octets) == message.envelope
    for names in NAMES:
        for negate in (False, True):
            assert stored_fields(octets, names, negate=negate) == pick_fields(
                message.header, names, negate=negate, end=not negate)


@given(messages)
def test_any_octets(octets: bytes) -> None:
    check(octets)


def test_awkward_messages() -> None:
    random = Random(11)
    for _ in range(300):
        check(corpus.message(random))


@pytest.mark.parametrize("octets", [
    pytest.param(b"", id="nothing"),
    pytest.param(b"\nbody", id="no header"),
    pytest.param(b"From: a@b", id="no end"),
    pytest.param(b"Subject: " + b"x" * QUICK_OCTETS + b"\nDate: y\n\n", id="a long header"),
    pytest.param(b"From: a@b\nTo: " + b", ".join([b"Name <a@b.test>"] * 50) + b"\n\n", id="a long list"),
    pytest.param(b"To: a@b\nTO: c@d\n\n", id="two lists"),
    pytest.param(b"Subject: one\nSubject: two\n\n", id="two subjects"),
    pytest.param(b"Subject:\n folded\n\n", id="begins on the next line"),
    pytest.param(b"date\n\nDate: body\n", id="a name alone"),
])
def test_edges(octets: bytes) -> None:
    check(octets)


@given(texts)
def test_first_fields(octets: bytes) -> None:
    for header in (octets, octets.replace(b"\r", b"").replace(b"\n", b"\r\n")):
        wanted: dict[bytes, bytes] = {}
        for name, value, _ in split_fields(header):
            wanted.setdefault(name, unfold(value))
        assert first_fields(header) == wanted
