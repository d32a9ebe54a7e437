"""Messages: parse, write, parse again gives the same; any octets parse; work grows with the size and not faster."""

import email.utils
from base64 import b64encode
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.imap.sent_date import sent_date
from mailsuite.imap.text import decode_header
from mailsuite.message.address import GROUP_END, Address, parse_addresses, render_addresses
from mailsuite.message.crlf import to_crlf, to_stored
from mailsuite.message.header import pick_fields, split_fields, unfold
from mailsuite.message.message import Message
from mailsuite.message.mime import Part, parse_structure
from mailsuite.message.params import join_continuations, parse_content_type, parse_disposition
from tests.support.steps import assert_linear

TOKEN = st.text("abcXYZ019!#$&'+-^_`{|}~", min_size=1, max_size=8).map(str.encode)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20).map(str.encode)
NAME = st.text("abcXYZ-", min_size=1, max_size=12).map(str.encode)
VALUE = st.lists(st.text(st.characters(codec="ascii", exclude_characters="\r\n\0"), max_size=20), min_size=1,
                 max_size=3).map(lambda lines: b"\r\n ".join(line.encode() for line in lines))
FIELDS = st.lists(st.tuples(NAME, VALUE), max_size=8)


# --- headers ------------------------------------------------------------

@given(FIELDS, st.booleans())
def test_fields_survive_writing(given_fields: list[tuple[bytes, bytes]], ended: bool) -> None:
    header = b"".join(name + b":" + value + b"\r\n" for name, value in given_fields) + (b"\r\n" if ended else b"")
    found = split_fields(header)
    assert [(name, value.removesuffix(b"\r\n")) for name, value, _ in found] == [
        (name.lower(), value) for name, value in given_fields]
    assert split_fields(b"\r\n".join(whole for _, _, whole in found) + b"\r\n\r\n") == split_fields(
        header if ended else header + b"\r\n")
    names = {name for name, _, _ in found}
    assert split_fields(pick_fields(header, names)) == found
    assert pick_fields(header, names, negate=True) == (b"\r\n" if ended else b"")


@given(st.binary(max_size=300))
def test_any_header_is_kept_whole(octets: bytes) -> None:
    """Nothing of a header is lost in taking it apart, whatever it is."""
    header = to_crlf(octets)
    wholes = [whole for _, _, whole in split_fields(header)]
    assert b"".join(wholes).replace(b"\r\n", b"") == header.replace(b"\r\n", b"")
    for name, value, whole in split_fields(header):
        assert whole.endswith(value) and whole[:len(name)].rstrip(b" \t").lower() == name
        assert b"\n" not in unfold(value)


@given(st.binary(max_size=200).filter(lambda octets: b"\r\r" not in octets))
def test_line_ends_come_and_go(octets: bytes) -> None:
    assert to_crlf(to_stored(to_crlf(octets))) == to_crlf(octets)
    assert to_stored(to_crlf(to_stored(octets))) == to_stored(octets)


# --- addresses ------------------------------------------------------------

ATOM = st.text("abcXYZ019!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=6).map(str.encode)
DOTS = st.lists(ATOM, min_size=1, max_size=3).map(b".".join)
PHRASE = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8).map(str.encode)
BOX = st.builds(Address, st.one_of(st.none(), PHRASE), st.none(), st.one_of(DOTS, PHRASE), DOTS)


def quoted(octets: bytes) -> bytes:
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def written(box: Address) -> bytes:
    """An address as RFC 5322 has it."""
    assert box.mailbox is not None and box.domain is not None
    plain = box.mailbox if all(chr(octet) in ".abcXYZ019!#$%&'*+-/=?^_`{|}~" for octet in box.mailbox) \
        and not box.mailbox.startswith(b".") and b".." not in box.mailbox and not box.mailbox.endswith(b".") \
        else quoted(box.mailbox)
    text = plain + b"@" + box.domain
    return text if box.name is None else quoted(box.name) + b" <" + text + b">"


@given(st.lists(BOX, min_size=1, max_size=6), st.booleans(), st.sampled_from([b", ", b",", b" , "]))
def test_addresses_survive_writing(boxes: list[Address], group: bool, separator: bytes) -> None:
    text = separator.join(map(written, boxes))
    if group:
        assert parse_addresses(b"A Group: " + text + b";") == [Address(mailbox=b"A Group"), *boxes, GROUP_END]
    assert parse_addresses(text) == boxes
    assert render_addresses(boxes).count(b"(") >= len(boxes)


# --- parameters ------------------------------------------------------------

@given(TOKEN, TOKEN, st.lists(st.tuples(TOKEN, TEXT), max_size=5), st.booleans())
def test_parameters_survive_writing(kind: bytes, subtype: bytes, params: list[tuple[bytes, bytes]],
                                    folded: bool) -> None:
    space = b"\r\n\t" if folded else b" "
    text = kind + b"/" + subtype + b"".join(b";" + space + name + b"=" + quoted(value) for name, value in params)
    found = parse_content_type(text)
    assert (found.type, found.subtype, found.params) == (kind, subtype, params)
    assert join_continuations(found.params) == params
    assert parse_disposition(kind + text[len(kind + subtype) + 1:]) == (kind, params)


@given(TOKEN.filter(lambda name: b"'" not in name), st.lists(TEXT, min_size=1, max_size=4))
def test_continuations_are_joined(name: bytes, pieces: list[bytes]) -> None:
    params = [(b"%b*%d" % (name, number), piece) for number, piece in enumerate(pieces)]
    assert join_continuations(params[::-1]) == [(name, b"".join(pieces))]


# --- structure ------------------------------------------------------------

class Tree:
    """A message to be: its kind, its parts or its text."""

    def __init__(self, kind: str, parts: "list[Tree]", text: bytes) -> None:
        self.kind, self.parts, self.text = kind, parts, text

    def __repr__(self) -> str:
        return f"{self.kind}{self.parts or self.text!r}"


LEAF = st.builds(Tree, st.sampled_from(["text/plain", "image/png", "text/html"]), st.just([]), TEXT)
TREE: st.SearchStrategy[Tree] = st.recursive(LEAF, lambda inner: st.one_of(
    st.builds(Tree, st.sampled_from(["multipart/mixed", "multipart/alternative"]),
              st.lists(inner, min_size=1, max_size=4), st.just(b"")),
    st.builds(Tree, st.just("message/rfc822"), st.lists(inner, min_size=1, max_size=1), st.just(b""))), max_leaves=12)


def octets_of(tree: Tree, path: str = "0") -> bytes:
    if tree.kind == "message/rfc822":
        return b"Content-Type: message/rfc822\r\n\r\n" + octets_of(tree.parts[0], path + "m")
    if not tree.parts:
        return b"Content-Type: %b\r\n\r\n%b" % (tree.kind.encode(), tree.text)
    boundary = f"=_{path}_".encode()
    parts = b"".join(b"--%b\r\n%b\r\n" % (boundary, octets_of(part, f"{path}.{number}"))
                     for number, part in enumerate(tree.parts))
    return b"Content-Type: %b; boundary=\"%b\"\r\n\r\n%b--%b--\r\n" % (tree.kind.encode(), boundary, parts, boundary)


def shape_of(part: Part, octets: bytes) -> object:
    assert part.content_type is not None
    kind = (part.content_type.type + b"/" + part.content_type.subtype).decode()
    if part.children:
        return kind, [shape_of(child, octets) for child in part.children]
    return kind, octets[part.body_start:part.end]


def wanted(tree: Tree) -> object:
    return (tree.kind, [wanted(part) for part in tree.parts]) if tree.parts else (tree.kind, tree.text)


@given(TREE)
def test_structure_survives_writing(tree: Tree) -> None:
    octets = octets_of(tree)
    assert shape_of(parse_structure(octets), octets) == wanted(tree)


@given(st.one_of(st.binary(max_size=300), st.lists(st.sampled_from([
    b"Content-Type: multipart/mixed; boundary=a\n", b"Content-Type: message/rfc822\n", b"\n", b"--a\n", b"--a--\n",
    b"From: a@b\n", b" x\n", b"Subject", b": ", b"\r", b"\0", b"\xff", b"text"]), max_size=20).map(b"".join)))
def test_a_message_is_the_sum_of_its_parts(octets: bytes) -> None:
    message = Message.from_stored(octets)
    assert message.header + message.body == message.octets
    if b"\r\r" not in octets:           # CR CRLF on the wire would be CRLF on disk
        assert Message.from_stored(to_stored(message.crlf)).body_structure == message.body_structure
    end = 0

    def walk(part: Part) -> None:
        nonlocal end
        assert end <= part.header_start <= part.header_end <= part.body_start <= part.end
        end = part.header_start
        for child in part.children:
            walk(child)
    walk(message.structure)


# --- dates and encoded words ------------------------------------------------------------

@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_dates_survive_writing(moment: datetime, minutes: int) -> None:
    stamped = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    found = sent_date(email.utils.format_datetime(stamped).encode())
    assert found == (int(stamped.timestamp()), minutes * 60)


@given(st.binary(max_size=80))
def test_any_date_is_one_or_none(octets: bytes) -> None:
    found = sent_date(octets)
    assert found is None or abs(found[1]) <= 99 * 3600 + 99 * 60


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=30),
       st.sampled_from(["utf-8", "utf-16", "iso-2022-jp"]), st.booleans())
def test_encoded_words_survive_writing(text: str, charset: str, base64: bool) -> None:
    try:
        octets = text.encode(charset)
    except UnicodeError:
        return                      # not in this charset
    coded = b64encode(octets) if base64 else b"".join(b"=%02X" % octet for octet in octets)
    word = b"=?%b?%b?%b?=" % (charset.encode(), b"B" if base64 else b"Q", coded)
    assert decode_header(b"a " + word + b" b") == f"a {text} b"


@given(st.binary(max_size=200))
def test_any_header_text_decodes(octets: bytes) -> None:
    assert isinstance(decode_header(octets), str)


# --- work ------------------------------------------------------------

@pytest.mark.parametrize("piece", [b"a@b, ", b"(", b'"', b"\\", b"<", b"a:", b";", b"a b ", b"(c)", b"=?utf-8?q?a?= ",
                                   b"=?", b" \r\n", b"a=b;", b'="', b"*0=a;", b"1 Jan ", b"\xc3\xa9"])
def test_work_grows_with_the_size(piece: bytes) -> None:
    assert_linear(lambda n: parse_addresses(piece * n))
    assert_linear(lambda n: parse_content_type(b"a/b;" + piece * n))
    assert_linear(lambda n: decode_header(piece * n))
    assert_linear(lambda n: sent_date(piece * n))
    assert_linear(lambda n: split_fields(piece * n))


@pytest.mark.parametrize("piece", [b"A: b\r\n", b"\r\n", b"--a\r\n", b"-", b"--", b" a\r\n"])
def test_structure_grows_with_the_size(piece: bytes) -> None:
    assert_linear(lambda n: parse_structure(b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n" + piece * n))
