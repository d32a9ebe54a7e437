"""Command lines, as Postfix reads them."""

from random import Random

import pytest

from mailsuite.base.errors import PeerError
from mailsuite.smtp.dsn import read_notify, read_orcpt
from mailsuite.smtp.reply import consistent, encode, split_status, with_footer
from mailsuite.smtp.syntax import (
    is_address_literal,
    is_header,
    is_hostname,
    is_plain_address,
    neuter_helo,
    parse_address,
    read_xtext,
    tokenise,
)


@pytest.mark.parametrize(("line", "words"), [
    ("NOOP", ["NOOP"]),
    ("  NOOP  x ", ["NOOP", "x"]),
    ("", []),
    ("MAIL FROM:<a@b.test>", ["MAIL", "FROM:", "<a@b.test>"]),
    ("mail from:<a@b.test> SIZE=1 BODY=7BIT", ["mail", "from:", "<a@b.test>", "SIZE=1", "BODY=7BIT"]),
    ("MAIL  FROM:   <a b@c>  X", ["MAIL", "FROM:", "<a b@c>", "X"]),
    ("MAIL FROM:a@b.test", ["MAIL", "FROM:", "a@b.test"]),
    ("MAIL FROM:<a@b.test>SIZE=1", ["MAIL", "FROM:", "<a@b.test>SIZE=1"]),
    ("MAIL FROM:A B <a@b.test>", ["MAIL", "FROM:", "A", "B", "<a@b.test>"]),
    ('RCPT TO:<"a > b"@c> NOTIFY=NEVER', ["RCPT", "TO:", '<"a > b"@c>', "NOTIFY=NEVER"]),
    ("RCPT TO:<a@b> ORCPT=rfc822;x:y", ["RCPT", "TO:", "<a@b>", "ORCPT=rfc822;x:y"]),
    ("MAIL FROM :<a@b>", ["MAIL", "FROM", ":<a@b>"]),
])
def test_tokenise(line: str, words: list[str]) -> None:
    assert [word.text for word in tokenise(line)] == words
    assert not any(word.bad for word in tokenise(line))


@pytest.mark.parametrize("line", ["MAIL FROM:<a@b", 'RCPT TO:<"a@b>', 'VRFY "x'])
def test_unclosed(line: str) -> None:
    assert tokenise(line)[-1].bad


@pytest.mark.parametrize(("text", "want"), [
    ("<a@b.test>", "a@b.test"),
    ("a@b.test", "a@b.test"),
    ("a@b.test>", "a@b.test"),
    ("<alice>", "alice"),
    ("<@one.test,@two.test:a@b.test>", "a@b.test"),
    ("<@example.test>", "@example.test"),
    ('<"first last"@b.test>', "first last@b.test"),
    (r'<"al\"ice"@b.test>', 'al"ice@b.test'),
    ("<a@b@c.test>", "a@b@c.test"),
    ("<a@@b.test>", "a@@b.test"),
    ("<a(comment)@b.test>", "a@b.test"),
    ("< a @ b.test >", "a@b.test"),
    ("<a. b@b.test>", "a.b@b.test"),
    ("<[a]@b.test>", "[a]@b.test"),
    ("<a..b@b.test>", "a..b@b.test"),
    ("<a@b.test.>", "a@b.test."),
    ("<a@b_c.test>", "a@b_c.test"),
    ("<a@[192.0.2.1]>", "a@[192.0.2.1]"),
    ("<a@[ipv6:::1]>", "a@[ipv6:::1]"),
    ("<jürgen@b.test>", "jürgen@b.test"),
    ("<a@bücher.test>", "a@bücher.test"),
    ("<x%y@b.test>", "x%y@b.test"),
    ("<a:b@b.test>", "a:b@b.test"),
])
def test_address(text: str, want: str) -> None:
    assert parse_address(text) == want


@pytest.mark.parametrize("text", [
    "<>", "<a b@b.test>", "<a,b@b.test>", "<a;b@b.test>", "<a@b.test>,<c@d.test>", "alice bob", "<a@b.test>SIZE=1",
])
def test_bad_address(text: str) -> None:
    with pytest.raises(PeerError):
        parse_address(text)


@pytest.mark.parametrize(("text", "plain"), [
    ("a@b.test", True), ("a+b@mx-1.b.test", True), ("-a@b.test", False), ("a%c@b.test", False), ("a!c@b.test", False),
    ("a@123", False), ("a@1.2.3.4", False), ("a@b", True), ("a@[192.0.2.1]", False), ("a@-b.test", False), ("a", False),
    ("a@bücher.test", False), ("a@" + "x" * 64 + ".test", False), ("a@" + "x" * 63 + ".test", True),
    ("a@" + "a." * 126 + "test", False),
])
def test_what_needs_no_second_look(text: str, plain: bool) -> None:
    assert is_plain_address(text) is plain


def test_empty_and_strict() -> None:
    assert parse_address("<>", empty=True) == ""
    assert parse_address("<a@b.test>", strict=True) == "a@b.test"
    for text in ("a@b.test", "<a@b.test (c)>", "<@b.test>", '<""@b.test>'):
        with pytest.raises(PeerError):
            parse_address(text, strict=True)
    assert parse_address("<@a.test:u@b.test>", strict=True) == "u@b.test"


@pytest.mark.parametrize("seed", range(200))
def test_noise_is_answered(seed: int) -> None:
    chance = Random(seed)
    text = "".join(chance.choice('<>@"\\()[]:,. \tab1é-') for _ in range(40))
    for word in tokenise(text):
        try:
            parse_address(word.text)
        except PeerError as error:
            assert error.public


@pytest.mark.parametrize(("name", "want"), [
    ("a.test", True), ("under_score.test", True), ("a", True), ("1.2.3.4", False), ("-a.test", False),
    ("a-.test", False), ("a..b", False), ("", False), ("a" * 64 + ".test", False), ("1.a", True), ("é.test", True),
])
def test_hostname(name: str, want: bool) -> None:
    assert is_hostname(name) is want


def test_small_ones() -> None:
    assert is_address_literal("[127.0.0.1]") and is_address_literal("[IPv6:::1]") and not is_address_literal("[::1]")
    assert read_xtext("a+2B1") == "a+1"
    for bad in ("bad+id", "a=b", "x+2"):
        with pytest.raises(PeerError):
            read_xtext(bad)
    assert is_header("Subject:") and not is_header("HELO")
    assert neuter_helo("a b<c>\r") == "a?b?c??"


@pytest.mark.parametrize(("value", "mask"), [
    ("NEVER", 1), ("success,FAILURE,Delay", 14), ("SUCCESS,SUCCESS", 2), ("NEVER,NEVER", 1),
    ("NEVER,FAILURE", 0), ("", 0), ("SOMETIMES", 0),
])
def test_notify(value: str, mask: int) -> None:
    assert read_notify(value) == mask


@pytest.mark.parametrize(("value", "want"), [
    ("rfc822;alice+40example.test", "rfc822;alice@example.test"), ("rfc822;a:b", "rfc822;a:b"),
    ("alice@example.test", ""), ("rfc822;al+4", ""), (";a", ""), ("rfc822;", ""), ("rfc822;a+0Ab", ""),
])
def test_orcpt(value: str, want: str) -> None:
    assert read_orcpt(value) == want


def test_replies() -> None:
    assert encode("250 ok") == b"250 ok\r\n"
    assert encode("554 5.7.1 a\n554 5.7.1 b") == b"554-5.7.1 a\r\n554 5.7.1 b\r\n"
    assert with_footer("554 5.7.1 no", r"\c. See x") == "554 5.7.1 no. See x"
    assert with_footer("554 5.7.1 no", r"one\ntwo") == "554 5.7.1 no\n554 5.7.1 one\n554 5.7.1 two"
    assert with_footer("501 bad", "x") == "501 bad\n501 x"
    assert split_status("5.7.9 text here", "5.0.0") == ("5.7.9", "text here")
    assert split_status("text", "5.0.0") == ("5.0.0", "text")
    assert consistent("450 5.1.1 x") == "450 4.1.1 x"
