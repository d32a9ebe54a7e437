"""imap/syntax.py: arguments of commands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.base.errors import PeerError
from mailsuite.imap.syntax import MAX_DEPTH, ArgumentParser, Atom, Literal, String, number, split_name, split_tag


def parse(line: bytes) -> list[object]:
    parser = ArgumentParser()
    assert parser.feed_line(line) is None
    return parser.arguments  # type: ignore[return-value]


@pytest.mark.parametrize(("line", "want"), [
    (b"", []),
    (b"INBOX", [b"INBOX"]),
    (b"  a   b ", [b"a", b"b"]),
    (b'"a b" c', [b"a b", b"c"]),
    (rb'"a\"\\\x"', [b'a"\\x']),
    (b"(a (b) ()) c", [[b"a", [b"b"], []], b"c"]),
    (b"BODY[HEADER.FIELDS (A B)]<0.5>", [b"BODY[HEADER.FIELDS", [b"A", b"B"], b"]<0.5>"]),
    (b"1:* (FLAGS)", [b"1:*", [b"FLAGS"]]),
    (b'"a""b"', [b"a", b"b"]),
])
def test_arguments(line: bytes, want: list[object]) -> None:
    assert parse(line) == want


def test_kinds() -> None:
    atom, string = parse(b'NIL "NIL"')
    assert type(atom) is Atom and type(string) is String


@pytest.mark.parametrize(("line", "problem"), [
    (b'"open', "Missing '\"'"),
    (b"a)", "Unexpected ')'"),
    (b"(a", "Missing ')'"),
    (b'a"b"', "Invalid characters in atom"),
    (b"a(b)", "Invalid characters in atom"),
    (b"a{3}", "Invalid characters in atom"),
    (b"{abc}", "Invalid literal size"),
    (b"{3} x", "Invalid literal size"),
    (b"\xc3\xa4", "8bit data in atom"),
    (b"a\x01", "Invalid characters in atom"),
    (b"(" * (MAX_DEPTH + 1), "Too many nested lists"),
])
def test_mistakes(line: bytes, problem: str) -> None:
    with pytest.raises(PeerError) as raised:
        ArgumentParser().feed_line(line)
    assert raised.value.public == problem


@pytest.mark.parametrize(("line", "want"), [
    (b"{3}", Literal(3, sync=True)),
    (b"a ({3+}", Literal(3, sync=False)),
    (b"~{3}", Literal(3, sync=True, binary=True)),
])
def test_literals(line: bytes, want: Literal) -> None:
    assert ArgumentParser().feed_line(line) == want


def test_literal_takes_its_place() -> None:
    parser = ArgumentParser()
    assert parser.feed_line(b"a ({1}") is not None
    parser.feed_literal(b'"')
    assert parser.feed_line(b" b) c") is None
    assert parser.arguments == [b"a", [b'"', b"b"], b"c"]


@pytest.mark.parametrize("line", [b" NOOP", b"* NOOP", b"a+b NOOP", b"(a NOOP", b"", b"\xff NOOP", b"a\\ NOOP"])
def test_bad_tags(line: bytes) -> None:
    with pytest.raises(PeerError):
        split_tag(line)


def test_tag_and_name() -> None:
    tag, rest = split_tag(b"a1 uid fetch 1:* FLAGS")
    assert (tag, *split_name(rest)) == (b"a1", "UID", b"fetch 1:* FLAGS")


@pytest.mark.parametrize(("atom", "want"), [(b"0", 0), (b"4294967295", 2**32 - 1), (b"4294967296", None), (b"-1", None),
                                            (b"", None), (b"1" * 50, None)])
def test_number(atom: bytes, want: int | None) -> None:
    assert number(Atom(atom)) == want


@given(st.binary(max_size=200).filter(lambda line: b"\n" not in line))
def test_any_line_parses_or_is_refused(line: bytes) -> None:
    try:
        ArgumentParser().feed_line(line)
    except PeerError as error:
        assert error.public


TEXT = st.binary(max_size=20).filter(lambda text: not set(text) & set(b"\0\r\n"))
TREE = st.recursive(TEXT, lambda inner: st.lists(inner, max_size=4), max_leaves=20)


def written(argument: object) -> bytes:
    if isinstance(argument, list):
        return b"(" + b" ".join(map(written, argument)) + b")"
    assert isinstance(argument, bytes)
    return b'"' + argument.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


@given(st.lists(TREE, max_size=5))
def test_what_is_written_is_read(arguments: list[object]) -> None:
    assert parse(b" ".join(map(written, arguments))) == arguments
