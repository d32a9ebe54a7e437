"""Address lists of header fields: what is an address in them, and what they look like after a change.

The expected texts are what Postfix 3.7 writes for the same lists.
"""

from random import Random

import pytest

from mailsuite.address import tokens
from mailsuite.address.header import fold_header, parse_addresses


@pytest.mark.parametrize(("text", "addresses", "standard"), [
    ("bob", ["bob"], "bob"),
    ("J. R. Smith <bob>", ["bob"], "J.R.Smith <bob>"),
    ("bob smith, a@b c@d.test", ["bob", "smith", "a@b", "c@d.test"], "bob, smith, a@b, c@d.test"),
    ("<a@b.test> (comm) tail, (pre) Bob <bob> (post)", ["a@b.test", "tail", "bob"],
     "<a@b.test>, tail (comm), (pre) Bob <bob>(post)"),
    ("bob (x), <>", ["bob", ""], "bob (x), <>"),
    ('"A\\"B" <bob>', ["bob"], '"A\\"B" <bob>'),
    ("undisclosed:;", [], "undisclosed: ;"),
    ("a . b, a@[1.2.3.4], a@b@c", ["a.b", "a@[1.2.3.4]", "a@b@c"], "a.b, a@[1.2.3.4], a@b@c"),
    ("Group One: bob, Al <al>; carol, : x, dave:", ["bob", "al", "carol", ":x", "dave:"],
     "Group One: bob, Al <al>;, carol, :x, dave:"),
    ("a@b.test,bob,,c", ["a@b.test", "bob", "c"], "a@b.test, bob, , c"),
    ("alice (Alice L.), @r.test:carol@d", ["alice", "@r.test:carol@d"], "alice (Alice L.), @r.test:carol@d"),
    ("Bob B. <bob@d>; carol", ["bob@d", "carol"], "Bob B. <bob@d>;, carol"),
    ('"Quoted N." <carol>, (comment) dave@host (end)', ["carol", "dave@host"],
     '"Quoted N." <carol>, dave@host (comment) (end)'),
    ('Bob "M." X. <bob>, Al @ Home <al>, Bob [x] <b>', ["bob", "al", "b"],
     'Bob "M." X. <bob>, Al@Home <al>, Bob [x] <b>'),
    ("(only comment)", [], "(only comment)"),
    ('"x y"@d', ['"x y"@d'], '"x y"@d'),
    ("", [], ""),
])
def test_parse(text: str, addresses: list[str], standard: str) -> None:
    parts = parse_addresses(text)
    assert parts.addresses() == addresses
    assert parts.text() == standard


def test_replace() -> None:
    parts = parse_addresses("Bob <b>, (x) c")
    parts.replace(0, "b@d")
    parts.replace(1, "c@d")
    assert parts.text() == "Bob <b@d>, c@d (x)"


def test_limit() -> None:
    assert parse_addresses("a," * 1000, limit=4).addresses() == ["a", "a"]


@pytest.mark.parametrize(("text", "want"), [
    ("a@b.test,\nc@d.test", "To: a@b.test, c@d.test"),
    ("alice@example.test,\nroot@pc.example.test,\nz@keep.example.test,\nq@sub.keep.example.test",
     "To: alice@example.test, root@pc.example.test, z@keep.example.test,\n\tq@sub.keep.example.test"),
])
def test_fold(text: str, want: str) -> None:
    assert fold_header("To", text) == want


@pytest.mark.parametrize(("text", "want"), [
    ('a "b \\"c" (d (e)) [f] <', [("atom", "a"), ("quoted", 'b "c'), ("comment", "(d (e))"), ("literal", "f"),
                                  ("<", "<")]),
    ('"open', [("quoted", "open")]), ("(open", [("comment", "(open")]), ("[open", [("literal", "open")]),
    ('"\\', [("quoted", "")]), ("a\\@b", [("quoted", "a@b")]), ("|\"x\"", [("|", "|"), ("quoted", "x")]),
])
def test_scan(text: str, want: list[tuple[str, str]]) -> None:
    assert [tuple(token) for token in tokens.scan(text)] == want


@pytest.mark.parametrize("seed", range(100))
def test_noise_settles(seed: int) -> None:
    noise = "".join(Random(seed).choices('ab"\\()[]<>@,;:.!% \t', k=40))
    once = parse_addresses(noise).text()
    assert isinstance(once, str)
    parse_addresses(once)
