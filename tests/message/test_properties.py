"""Properties of the message parsers: no octets upset them, and what they take apart adds up to the whole again."""

import email
import email.policy
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mailsuite.message.address import parse_addresses, render_addresses
from mailsuite.message.header import header_size, pick_fields, split_fields, unfold
from mailsuite.message.mime import Part, parse_structure
from mailsuite.message.params import parse_content_type, parse_disposition
from tests.message.corpus import ADDRESSES

field_names = st.sampled_from([b"Subject", b"To", b"X-A", b"Content-Type", b"Received"])
values = st.binary(max_size=40).map(lambda octets: octets.replace(b"\r", b"").replace(b"\n", b"\r\n "))
headers = st.lists(st.tuples(field_names, values), max_size=12).map(
    lambda fields: b"".join(name + b":" + value + b"\r\n" for name, value in fields))


@given(headers)
def test_fields_add_up_to_the_header(header: bytes) -> None:
    whole = header + b"\r\n"
    assert header_size(whole + b"body") == len(whole)
    fields = split_fields(whole)
    assert b"\r\n".join(text for _, _, text in fields) + (b"\r\n" if fields else b"") == header
    again = split_fields(b"".join(text + b"\r\n" for _, _, text in fields))
    assert again == fields


@given(headers, st.sets(field_names.map(bytes.lower)))
def test_picked_and_left_fields_are_all(header: bytes, chosen: set[bytes]) -> None:
    picked, left = (split_fields(pick_fields(header + b"\r\n", chosen, negate=negate)) for negate in (False, True))
    assert sorted(picked + left) == sorted(split_fields(header))
    assert all(name in chosen for name, _, _ in picked)


@given(st.binary(max_size=200))
def test_unfolded_values_have_one_line(value: bytes) -> None:
    assert not set(unfold(value)) & set(b"\r\n")


@given(st.binary(max_size=300))
def test_any_octets_are_a_list_of_addresses(value: bytes) -> None:
    rendered = render_addresses(parse_addresses(value))
    assert rendered == b"NIL" or (rendered[:1], rendered[-1:]) == (b"(", b")")


@given(st.binary(max_size=300))
def test_any_octets_are_parameters(value: bytes) -> None:
    parse_content_type(value)
    parse_disposition(value)


def check_spans(part: Part, start: int, end: int) -> None:
    """A part lies within its parent, its children behind each other within its body."""
    assert start <= part.header_start <= part.header_end <= part.body_start <= part.end <= end
    at = part.body_start
    for child in part.children:
        check_spans(child, at, part.end)
        at = child.end


pieces = st.lists(st.sampled_from([
    b"Content-Type: multipart/mixed; boundary=a\r\n", b"Content-Type: multipart/digest; boundary=\"ab\"\r\n",
    b"Content-Type: message/rfc822\r\n", b"MIME-Version: 1.0\r\n", b"\r\n", b"--a\r\n", b"--ab\r\n", b"--a--\r\n",
    b"--ab--", b"text\r\n", b"--", b"\n", b"\r", b" folded\r\n", b"Subject: s\r\n"]), max_size=40).map(b"".join)


@settings(max_examples=300)
@given(st.one_of(pieces, st.binary(max_size=400)))
def test_parts_lie_within_each_other(octets: bytes) -> None:
    check_spans(parse_structure(octets), 0, len(octets))


@given(pieces)
def test_a_part_read_alone_is_the_same(octets: bytes) -> None:
    """Take a multipart apart, read each child on its own: the same structure."""
    def shape(part: Part, start: int) -> list[object]:
        return [part.header_start - start, part.body_start - start, part.end - start,
                [shape(child, start) for child in part.children]]
    whole = parse_structure(octets)
    again = parse_structure(octets[whole.header_start:whole.end])
    assert shape(again, 0) == shape(whole, whole.header_start)


def test_header_fields_as_pythons_email_reads_them() -> None:
    """600 made messages: names, number and unfolded values of the fields agree with `email`."""
    rng = random.Random(5)
    for number in range(600):
        names = rng.choices([b"To", b"From", b"Subject", b"X-Y", b"Received"], k=rng.randrange(12))
        fields = [(name, rng.choice([*ADDRESSES, b"a\n b", b"=?utf-8?q?x?=", b"caf\xc3\xa9"])) for name in names]
        header = b"".join(name + b": " + value.replace(b"\n", b"\r\n ") + b"\r\n" for name, value in fields)
        octets = header + b"\r\nbody %d\r\n" % number
        theirs = email.message_from_bytes(octets, policy=email.policy.compat32).items()
        ours = split_fields(octets[:header_size(octets)])
        assert [name.decode() for name, _, _ in ours] == [name.lower() for name, _ in theirs]
        for (_, value, _), (_, their) in zip(ours, theirs, strict=True):
            text = str(their).encode("ascii", "surrogateescape") if isinstance(their, str) else None
            if text is not None:
                assert b" ".join(unfold(value).split()) == b" ".join(text.split())
