"""Sizes, headers, sections, and: any octets parse."""

import email
import email.policy
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsuite.base.errors import PeerError
from mailsuite.message.crlf import BlockConverter, to_crlf, to_stored, to_wire, wire_size
from mailsuite.message.message import Message
from mailsuite.message.mime import MAX_DEPTH, MAX_PARTS, Part
from mailsuite.message.section import Kind, Section, parse_section
from tests.message import corpus

NESTED = b"""\
From: a@b.test
Subject: two
\twords
X-Other: x
Subject: again
Content-Type: multipart/mixed; boundary="outer"

preamble
--outer
Content-Type: multipart/alternative; boundary=inner

--inner

plain
--inner
Content-Type: text/html

<b>html</b>
--inner--

--outer
Content-Type: message/rfc822

Subject: forwarded
To: c@d.test

the text
--outer--
epilogue
"""


@pytest.mark.parametrize(("section", "want"), [
    pytest.param(b"", to_wire(NESTED), id="all"),
    pytest.param(b"1.1", b"plain", id="part of a part"),
    pytest.param(b"1.1.1", b"plain", id="the only part of a text"),
    pytest.param(b"1.2", b"<b>html</b>", id="second"),
    pytest.param(b"1.2.MIME", b"Content-Type: text/html\r\n\r\n", id="mime header"),
    pytest.param(b"1.3", b"", id="a part that is not there"),
    pytest.param(b"2", b"Subject: forwarded\r\nTo: c@d.test\r\n\r\nthe text", id="message"),
    pytest.param(b"2.HEADER", b"Subject: forwarded\r\nTo: c@d.test\r\n\r\n", id="header of a message"),
    pytest.param(b"2.HEADER.FIELDS (To)", b"To: c@d.test\r\n\r\n", id="field of a message"),
    pytest.param(b"2.TEXT", b"the text", id="text of a message"),
    pytest.param(b"2.1", b"the text", id="first part of a message"),
    pytest.param(b"1.HEADER", b"", id="a part that is no message has no header"),
    pytest.param(b'HEADER.FIELDS ("SUBJECT" from)',
                 b"From: a@b.test\r\nSubject: two\r\n\twords\r\nSubject: again\r\n\r\n", id="folded and repeated"),
    pytest.param(b"HEADER.FIELDS.NOT (Subject Content-Type)", b"From: a@b.test\r\nX-Other: x\r\n\r\n", id="not"),
    pytest.param(b"HEADER.FIELDS (None)", b"\r\n", id="no such field"),
])
def test_section(section: bytes, want: bytes) -> None:
    assert Message.from_stored(NESTED).section(parse_section(section)) == want


@pytest.mark.parametrize(("between", "want"), [(b"", b"--in--\r\n"), (b"\n", b"--in--\r\n"),
                                               (b"\n\n", b"--in--\r\n\r\n"), (b"more\n", b"--in--\r\nmore")])
def test_the_line_end_of_a_last_boundary_is_its_own(between: bytes, want: bytes) -> None:
    """Also where the outer boundary follows at once, as in Dovecot."""
    stored = b"Content-Type: multipart/mixed; boundary=out\n\n--out\nContent-Type: multipart/mixed; boundary=in\n\n" \
             b"--in\n\nx\n--in--\n" + between + b"--out--\n"
    assert Message.from_stored(stored).section(parse_section(b"1")) == b"--in\r\n\r\nx\r\n" + want


@pytest.mark.parametrize("text", [
    b"HEADER.FIELDS ()", b"HEADER.FIELDS", b"MIME", b"1.", b"1..2", b"1.FOO", b"HEADER.FIELDS (a", b"FOO", b".1",
    b"1." * 101 + b"1"])
def test_bad_section_is_refused(text: bytes) -> None:
    with pytest.raises(PeerError):
        parse_section(text)


def test_section_is_a_value() -> None:
    assert parse_section(b"1.2.text") == Section((1, 2), Kind.TEXT)


@pytest.mark.parametrize(("stored", "wire"), [
    pytest.param(b"a\nb\n", b"a\r\nb\r\n", id="LF"),
    pytest.param(b"a\r\nb\n", b"a\r\nb\r\n", id="mixed"),
    pytest.param(b"a\rb\n", b"a\rb\r\n", id="a lone CR stays"),
    pytest.param(b"nul\0\n", b"nul\x80\r\n", id="NUL can't be in a literal"),
    pytest.param(b"", b"", id="nothing"),
])
def test_line_ends(stored: bytes, wire: bytes) -> None:
    assert to_wire(stored) == wire and wire_size(stored) == len(wire)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"ab", b"", b"\r\r\n"]), max_size=20))
def test_blocks_convert_as_the_whole(pieces: list[bytes]) -> None:
    converter = BlockConverter()
    assert b"".join([converter.feed(piece) for piece in pieces]) + converter.end() == to_stored(b"".join(pieces))


def touch_everything(message: Message) -> None:
    assert message.size == len(message.octets) == len(message.header) + len(message.body)
    assert message.envelope.startswith(b"(") and message.body_basic.startswith(b"(")
    assert message.body_structure.endswith(b")")
    for section in (b"1", b"1.MIME", b"1.1", b"2.HEADER", b"HEADER.FIELDS (Subject)", b"TEXT"):
        message.section(parse_section(section))
    check_offsets(message.structure, len(message.crlf))
    message.top_size(2)


def check_offsets(part: Part, size: int) -> None:
    assert 0 <= part.header_start <= part.body_start <= part.end <= size
    for child in part.children:
        assert part.body_start <= child.header_start and child.end <= size
        check_offsets(child, size)


@given(st.binary(max_size=300))
def test_any_octets_parse(octets: bytes) -> None:
    touch_everything(Message.from_stored(octets))


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_any_structure_parses(seed: int) -> None:
    touch_everything(Message.from_stored(corpus.message(Random(seed))))


@pytest.mark.parametrize("octets", [
    pytest.param(b"".join(b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(1000)),
                 id="nested a thousand times"),
    pytest.param(b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n" * 50_000, id="very many parts"),
    pytest.param(b"Content-Type: message/rfc822\n\n" * 5000, id="messages in messages"),
    pytest.param(b"From: " + b"(" * 100_000, id="open comments"),
    pytest.param(b"From: " + b"a@b," * 100_000, id="very many addresses"),
    pytest.param(b"From: " + b'"' + b"\\" * 100_001, id="open quotes"),
    pytest.param(b"Subject: " + b"\n x" * 100_000, id="very many folds"),
    pytest.param(b"A: b\n" * 200_000, id="very many fields"),
    pytest.param(b"Content-Type: x/y" + b"; a=b" * 50_000, id="very many parameters"),
    pytest.param(b"To: " + b"a." * 100_000 + b"<", id="a long word"),
])
def test_hostile_mail_takes_linear_time(octets: bytes) -> None:
    message = Message.from_stored(octets)
    touch_everything(message)

    def measure(part: Part, depth: int = 0) -> tuple[int, int]:
        inner = [measure(child, depth + 1) for child in part.children]
        return 1 + sum(count for count, _ in inner), max([depth, *[deep for _, deep in inner]])
    count, depth = measure(message.structure)
    assert count <= MAX_PARTS + 1 and depth <= MAX_DEPTH


ORDINARY = [b"""\
From: "A. B" <a@b.test>, c@d.test
To: Team <team@example.test>
Subject: An ordinary message
Date: Tue, 14 Nov 2023 22:13:20 +0000
Message-ID: <1@example.test>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=_x"

--=_x
Content-Type: text/plain; charset=utf-8

one
two

--=_x
Content-Type: image/png; name="a.png"
Content-Transfer-Encoding: base64

iVBORw0K
--=_x--
"""]


@pytest.mark.parametrize("octets", ORDINARY)
def test_structure_is_what_email_finds(octets: bytes) -> None:
    ours = Message.from_stored(octets)
    theirs = email.message_from_bytes(to_crlf(octets), policy=email.policy.compat32)

    def compare(part: Part, other: "email.message.Message") -> None:
        assert part.content_type is not None
        assert (part.content_type.type + b"/" + part.content_type.subtype).decode() == other.get_content_type()
        if other.is_multipart():
            assert len(part.children) == len(other.get_payload())
            for child, inner in zip(part.children, other.get_payload(), strict=True):
                compare(child, inner)
        else:
            assert ours.crlf[part.body_start: part.end].decode() == other.get_payload()
    compare(ours.structure, theirs)
    for name in ("Subject", "Date", "Message-ID"):
        assert ours.fields(name.encode()) == [theirs[name].encode()]
