"""Addresses: parse, write, parse again gives the same; no text raises; work grows with the text and not faster."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.address import tokens
from mailsuite.address.header import fold_header, parse_addresses
from mailsuite.address.hostname import is_hostname, is_mail_domain, literal_address
from mailsuite.address.idna import other_form, to_ascii, to_unicode
from mailsuite.address.syntax import quote_local, split_domain, split_extension, unquote_local
from mailsuite.config.settings import Settings
from mailsuite.deliver.aliases import parse_destinations
from mailsuite.rewrite.rewriter import Rewriter
from tests.support.steps import assert_linear

ANYTHING = st.binary(max_size=200).map(lambda octets: octets.decode("utf-8", "surrogateescape"))
# What makes lists hard to read, in any order.
NOISE = st.lists(st.sampled_from(["a", "b.c", "@", "x.test", '"', '"q r"', "<", ">", "<a@b>", ",", ";", ":", "g:", "(",
                                  ")", "(c)", "\\", "[", "]", "[1.2.3.4]", " ", "\n\t", "%", "!", "é", "|", "."]),
                 max_size=14).map("".join)
ATEXT = "abcXYZ019!#$%&'*+-/=?^_`{|}~é"
ATOM = st.text(ATEXT, min_size=1, max_size=8)
DOT_ATOM = st.lists(ATOM, min_size=1, max_size=3).map(".".join)
LABEL = st.text("abcXYZ019", min_size=1, max_size=8)
DOMAIN = st.one_of(st.lists(LABEL, min_size=1, max_size=4).map(".".join), st.just("[192.0.2.1]"), st.just("[IPv6:::1]"))
ODD = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\v\f\t"), min_size=1, max_size=8)
LOCAL = st.one_of(DOT_ATOM, ODD)
INTERNAL = st.builds(lambda local, domain: f"{local}@{domain}", LOCAL, DOMAIN)
WORDS = st.lists(st.text("abcXYZ'é-", min_size=1, max_size=6), min_size=1, max_size=3).map(" ".join)
QUOTED = st.text('abc ,;:<>@.()"\\', min_size=1, max_size=8).map(
    lambda text: tokens.quote(tokens.Token(tokens.QUOTED, text)))
NAME = st.one_of(st.just(""), WORDS, QUOTED)
COMMENT = st.sampled_from(["", "", "", " (note)", " (a (nested) one)", " (es\\)caped)"])


@st.composite
def mailboxes(draw: st.DrawFn) -> str:
    address = quote_local(draw(INTERNAL))
    name = draw(NAME)
    return (f"{name} <{address}>" if name else draw(st.sampled_from([f"<{address}>", address]))) + draw(COMMENT)


@st.composite
def lists(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A list as somebody would write it, and its addresses."""
    boxes = draw(st.lists(mailboxes(), min_size=1, max_size=5))
    separator = draw(st.sampled_from([", ", ",", ",\n\t", " , "]))
    text = separator.join(boxes)
    if draw(st.booleans()):
        text = f"Some Group: {text};"
    return text, parse_addresses(text).addresses()


@given(lists())
def test_a_list_survives_writing(given_list: tuple[str, list[str]]) -> None:
    text, addresses = given_list
    written = parse_addresses(text).text()
    again = parse_addresses(written)
    assert again.addresses() == addresses and all(addresses)
    assert again.text() == written


@given(st.lists(INTERNAL, min_size=1, max_size=5))
def test_what_was_put_in_comes_out(addresses: list[str]) -> None:
    external = [quote_local(address) for address in addresses]
    parts = parse_addresses(", ".join("Name <placeholder>" for _ in addresses))
    for number, address in enumerate(external):
        parts.replace(number, address)
    found = parse_addresses(fold_header("To", parts.text(separator=",\n")).partition(":")[2]).addresses()
    assert [unquote_local(one) for one in found] == addresses


@given(st.one_of(ANYTHING, NOISE))
def test_no_text_is_refused_and_writing_settles(text: str) -> None:
    """What is broken is mended step by step, and then stays."""
    written = text
    for _ in range(10):
        before, written = written, parse_addresses(written).text()
        fold_header("To", written)
    assert written == before


TOKEN = st.one_of(
    st.builds(tokens.Token, st.just(tokens.ATOM), st.text("abXY09#$&'*+-/=?^_`{}~é\x85\u3000", min_size=1, max_size=6)),
    st.builds(tokens.Token, st.just(tokens.QUOTED), st.text("ab \"\\@,é", max_size=6)),
    st.builds(tokens.Token, st.just(tokens.LITERAL), st.text("12.:ab", max_size=6)),
    st.sampled_from([tokens.Token(sign, sign) for sign in "<>@,;:.%!|"]))


@given(st.lists(TOKEN, max_size=12))
def test_tokens_survive_writing(found: list[tokens.Token]) -> None:
    assert tokens.scan(tokens.externalize(found)) == found


@given(st.one_of(ANYTHING, NOISE))
def test_nothing_raises(text: str) -> None:
    unquote_local(quote_local(text))
    split_extension(split_domain(text)[0], "+-")
    for look in (is_mail_domain, literal_address, to_unicode, other_form, is_hostname):
        look(text)
    is_hostname(text, utf8=True)
    parse_destinations(text)


@given(INTERNAL)
def test_quotes_come_and_go(address: str) -> None:
    assert unquote_local(quote_local(address)) == address
    local, domain = split_domain(address)
    assert f"{local}@{domain}" == address


@given(st.text("ab+-@", max_size=10), st.sampled_from(["", "+", "-", "+-"]))
def test_an_extension_is_a_part(local: str, delimiters: str) -> None:
    user, extension = split_extension(local, delimiters)
    assert user + extension == local and (user or not local)
    assert not extension or extension[0] in delimiters


@given(st.lists(st.text("abcäöüéñßçøπжя日本한", min_size=1, max_size=8), min_size=1, max_size=3).map(".".join))
def test_labels_come_and_go(domain: str) -> None:
    """A U-label has one A-label; a name that IDNA 2008 does not allow has none."""
    try:
        ascii_form = to_ascii(domain)
    except ValueError:
        assert other_form(domain) == ""
        return
    assert ascii_form.isascii() and to_ascii(to_unicode(ascii_form)) == ascii_form
    if ascii_form != domain:
        assert other_form(f"user@{domain}") == f"user@{ascii_form}"
        assert other_form(f"@{ascii_form}") == f"@{to_unicode(ascii_form)}"


REWRITER = Rewriter(Settings.of({"compatibility_level": "3.6", "myhostname": "mx.example.test", "alias_maps": "",
                                 "mydomain": "example.test", "myorigin": "example.test", "local_recipient_maps": ""}))


@given(lists())
def test_a_rewritten_header_stays_as_it_is(given_list: tuple[str, list[str]]) -> None:
    """Rewriting twice is rewriting once: what Postfix would do at the next hop with the same configuration."""
    async def rewrite(value: bytes) -> bytes:
        return await REWRITER.header("To", value)

    once = asyncio.run(rewrite(given_list[0].encode("utf-8", "surrogateescape")))
    assert asyncio.run(rewrite(once)) == once


@pytest.mark.parametrize("piece", ["a, ", "(", ")", '"', "<", ">", "<a>", "a:", ":;", "a b ", "(c) ", "\\", "[", "@",
                                   "a@b,", '"a" ', ";", "x <", "a.", "é"])
def test_work_grows_with_the_text(piece: str) -> None:
    assert_linear(lambda n: parse_addresses(piece * n, limit=10 * n).text())
    assert_linear(lambda n: parse_destinations(piece * n))
    assert_linear(lambda n: unquote_local(piece * n))


@pytest.mark.parametrize("piece", ["a", "a.", "@", '"', "é", "xn--", "-", "日本"])
def test_domains_are_read_in_no_time(piece: str) -> None:
    for text in (piece * 50_000, f"u@{piece * 50_000}"):
        is_hostname(text, utf8=True)
        for look in (is_mail_domain, other_form, split_domain, quote_local):
            look(text)
