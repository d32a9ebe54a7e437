"""Properties of the address parsers: whatever comes in, what they write they read again the same, in linear time."""

import re
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mailsuite.address import tokens as t
from mailsuite.address.header import fold_header, parse_addresses
from mailsuite.address.hostname import is_hostname, is_mail_domain
from mailsuite.address.idna import to_ascii, to_unicode
from mailsuite.address.syntax import quote_local, split_domain, split_extension, unquote_local

SPECIALS = "abAB01 .@<>(),;:\\\"[]%!+-=\t\r\n\x00é\udcff"
nasty = st.text(st.sampled_from(SPECIALS), max_size=60)
anything = st.one_of(nasty, st.text(st.characters(codec=None), max_size=60))
locals_ = st.text(st.characters(exclude_characters="@", exclude_categories=()), min_size=1, max_size=30)


@given(anything)
def test_what_is_written_is_read_the_same(text: str) -> None:
    """From the first writing on nothing changes: no address is gained, lost or altered by another pass."""
    assume(not re.search(r"\\[\t\n\v\f\r]", text))       # an escaped line end is one no more when it is quoted
    once = parse_addresses(text)
    again = parse_addresses(once.text())
    assert again.addresses() == once.addresses()
    assert parse_addresses(again.text()).text() == again.text()


@given(st.lists(nasty.filter(lambda text: "\x00" not in text), max_size=5))
def test_replaced_addresses_come_back(texts: list[str]) -> None:
    parts = parse_addresses(", ".join(texts))
    for number in range(len(parts.addresses())):
        parts.replace(number, f"u{number}@new.test")
    assert parse_addresses(parts.text()).addresses() == [f"u{n}@new.test" for n in range(len(parts.addresses()))]


@given(anything)
def test_tokens(text: str) -> None:
    tokens = t.scan(text)
    assert len(tokens) <= len(text)
    t.internalize(tokens)
    assert isinstance(t.externalize(tokens), str)


@given(locals_, st.sampled_from(["", "b.test", "[192.0.2.1]", "é.test"]))
def test_quotes_come_off_again(local: str, domain: str) -> None:
    address = f"{local}@{domain}" if domain else local
    assert unquote_local(quote_local(address)) == address


@given(anything)
def test_parts_are_the_whole(text: str) -> None:
    local, domain = split_domain(text)
    assert text == (f"{local}@{domain}" if "@" in text else local)
    for delimiters in ("", "+", "+-"):
        assert "".join(split_extension(local, delimiters)) == local


@given(anything)
def test_names_are_judged_without_an_exception(text: str) -> None:
    assert is_hostname(text) in (True, False)
    assert is_mail_domain(text) in (True, False)
    assert isinstance(to_unicode(text), str)
    with suppress(ValueError):                      # it has no such form, and says so
        assert to_ascii(text).isascii()
        assert to_ascii(to_ascii(text)) == to_ascii(text)


@given(st.lists(st.text(st.sampled_from("abc@.é "), min_size=1, max_size=40), min_size=1, max_size=20))
def test_folding_only_adds_white_space(lines: list[str]) -> None:
    folded = fold_header("To", "\n".join(lines))
    assert "".join(folded.split()) == "".join("".join(["To:", *lines]).split())
    assert all(line[:1] in " \t" for line in folded.split("\n")[1:])


@pytest.mark.parametrize("piece", [
    "(", "\"\\", "<", "a,", "g:", "@a,", "[", "a@", "\\", " \n", "(a)", "<a>,", "\"a\" ",
])
def test_work_grows_with_the_length_only(piece: str) -> None:
    """Ten times the text makes about ten times the tokens and of the answer, not a hundred times."""
    small, big = parse_addresses(piece * 300), parse_addresses(piece * 3000)
    assert len(big.text()) <= 12 * len(small.text()) + 100
    assert len(t.scan(piece * 3000)) <= 12 * len(t.scan(piece * 300)) + 10
