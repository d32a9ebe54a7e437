"""Tables for what IMAP parses and orders: dates, flags, subjects, threads, patterns, FETCH items, search keys."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.base.errors import MailError, PeerError
from mailsuite.imap.commands.list_patterns import matcher
from mailsuite.imap.dates import parse_date, parse_date_time
from mailsuite.imap.fetch_items import parse_fetch
from mailsuite.imap.flags import parse_flags
from mailsuite.imap.search_keys import parse_keys
from mailsuite.imap.sent_date import sent_date
from mailsuite.imap.sieve import Sieve
from mailsuite.imap.subject import base_subject
from mailsuite.imap.syntax import ArgumentParser, Atom
from mailsuite.imap.text import decode_header, fold
from mailsuite.imap.threads import Mail, message_ids, render, thread_references, thread_subjects


def arguments(text: bytes) -> list[object]:
    parser = ArgumentParser()
    assert parser.feed_line(text) is None
    return parser.arguments  # type: ignore[return-value]


@pytest.mark.parametrize(("text", "want"), [
    (b"17-Jul-2019 02:44:25 -0700", 1563356665.0),
    (b" 1-Jan-2020 00:00:00 +0000", 1577836800.0),
    (b"1-Jan-2020 00:00:00 +0000", 1577836800.0),
    (b"32-Jan-2020 00:00:00 +0000", None),
    (b"29-Feb-2019 00:00:00 +0000", None),
    (b"01-Jan-2020 25:00:00 +0000", None),
])
def test_date_time(text: bytes, want: float | None) -> None:
    assert parse_date_time(text) == want


@pytest.mark.parametrize("text", [b"1-Jan-2020", b"01-Foo-2020 00:00:00 +0000", b""])
def test_bad_date_time(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_date_time(text)


def test_date() -> None:
    assert parse_date(b"1-jan-1970") == 0 and parse_date(b"31-Dec-1969") == -1


@pytest.mark.parametrize(("value", "want"), [
    (b"Tue, 14 Nov 2023 10:00:00 +0100", (1699952400, 3600)),
    (b"14 Nov 23 09:00 GMT", (1699952400, 0)),
    (b"Wed, 15 Nov 2023 12:30:00 -0500 (EST)", (1700069400, -18000)),
    (b"1 Jan 2020 00:00 EST", (1577854800, -18000)),
    (b"Not a date", None),
    (b"1 Jan 69 10:00:00 +0000", (3124260000, 0)),              # two digits: from 1970 on
    (b"1 Jan 70 10:00:00 +0000", (36000, 0)),
    (b"1 Jan 120 10:00:00 +0000", None),
    (b"1 Jan 1899 10:00:00 +0000", None),
    (b"31 Feb 2020 10:00:00 +0000", None),
    (b"01 January 2020 10:00:00 +0000", (1577872800, 0)),
    (b"1 Ja 2020 10:00:00 +0000", None),
    (b"1 jAN 2020 9:00:00 +0000", (1577869200, 0)),
    (b"1 Jan 2020 9:0:00 +0000", None),
    (b"1 Jan 2020 9:00:0 +0000", None),
    (b"1 Jan 2020 24:00:00 +0000", None),
    (b"1 Jan 2020 23:59:60 +0000", (1577923199, 0)),            # a leap second
    (b"1 Jan 2020 23:59:61 +0000", None),
    (b"1 Jan 2020 10.11.12 +0000", (1577873472, 0)),
    (b"1 Jan 2020 10 : 11 : 12 +0000", (1577873472, 0)),
    (b"Wed 1 Jan 2020 10:00:00 +0000", None),
    (b"Wednesday, 1 Jan 2020 10:00:00 +0000", None),
    (b"Xyz , 1 Jan 2020 10:00:00 +0000", (1577872800, 0)),
    (b"1 Jan 2020 10:00:00 CET", (1577872800, 0)),              # a zone that says nothing
    (b"1 Jan 2020 10:00:00 A", (1577869200, 3600)),
    (b"1 Jan 2020 10:00:00 K", (1577836800, 36000)),
    (b"1 Jan 2020 10:00:00 Y", (1577916000, -43200)),
    (b"1 Jan 2020 10:00:00 +01:30", (1577872800, 0)),
    (b"1 Jan 2020 10:00:00 +0199", (1577863260, 9540)),
    (b"1 Jan 2020 10:00:00+0100", None),
    (b"(c) 1 (c) Jan (c) 2020 (c) 10:00:00 (c) +0100", (1577869200, 3600)),
    (b'1 Jan 2020 10:00:00 "+0100"', None),
    (b"Wed, 1-Jan-2020 10:00:00 +0000", None),
    (b"40 Nov 2023 10:00:00 +0100", None),
])
def test_sent_date(value: bytes, want: tuple[int, int] | None) -> None:
    assert sent_date(value) == want


@pytest.mark.parametrize(("flags", "want"), [
    (rb"\seen \SEEN $Key $key", ["\\Seen", "$Key"]),
    (rb"\Recent", None),
    (rb"\Foo", None),
    (b"a]b", None),
    (b"x" * 51, None),
    (b'"quoted"', None),
])
def test_flags(flags: bytes, want: list[str] | None) -> None:
    given = arguments(flags)
    if want is None:
        with pytest.raises(MailError):
            parse_flags(given)  # type: ignore[arg-type]
    else:
        assert parse_flags(given) == want  # type: ignore[arg-type]


@pytest.mark.parametrize(("subject", "want"), [
    ("a", ("A", False)),
    ("Re: [FWD: c]", ("C", True)),
    ("[foo] Fwd: [bar] Re: fw: b (fWd)  (fwd)", ("B", True)),
    ("b (a)", ("B (A)", False)),
    ("[xyz]", ("[XYZ]", False)),
    ("Re: re: Re:", ("", True)),
    ("re: [fwd: [fwd: re: [fwd: babylon]]]", ("BABYLON", True)),
    ("Ad: Re: x", ("AD: RE: X", False)),
])
def test_base_subject(subject: str, want: tuple[str, bool]) -> None:
    assert base_subject(subject) == want


def threads(*mails: Mail, by_subject: bool = True) -> bytes:
    return render(thread_references(mails, by_subject=by_subject), lambda uid: uid)


def mail(uid: int, subject: str = "", *references: bytes, date: int = 0) -> Mail:
    return Mail(uid, date or uid, subject, False, b"%d@x" % uid, references)


def test_threads_by_reference() -> None:
    assert threads(mail(1), mail(2, "", b"1@x"), mail(3, "", b"1@x", b"2@x"), mail(4)) == b"(1 2 3)(4)"
    assert threads(mail(1), mail(2, "", b"1@x"), mail(3, "", b"1@x")) == b"(1 (2)(3))"
    assert threads(mail(1, "", b"gone@x"), mail(2, "", b"gone@x")) == b"((1)(2))"


def test_a_loop_of_references_is_cut() -> None:
    assert threads(mail(1, "", b"2@x"), mail(2, "", b"1@x")).count(b"1") == 1


def test_threads_by_subject() -> None:
    assert threads(mail(1, "S"), Mail(2, 2, "S", True, b"2@x")) == b"(1 2)"
    assert threads(mail(1, "S"), Mail(2, 2, "S", True, b"2@x"), by_subject=False) == b"(1)(2)"
    assert render(thread_subjects([mail(1, "A"), mail(2, "B"), mail(3, "A")]), lambda uid: uid) == b"(1 3)(2)"


def test_a_long_chain_does_not_recurse() -> None:
    chain = [mail(1)] + [mail(uid, "", b"%d@x" % (uid - 1)) for uid in range(2, 20_000)]
    assert threads(*chain).startswith(b"(1 2 3 ")


@pytest.mark.parametrize(("pattern", "matched"), [
    ("*", {"INBOX", "INBOX.sub", "Work", "Work.a", "Work.a.b"}),
    ("%", {"INBOX", "Work"}),
    ("inbox", {"INBOX"}),
    ("InB%", {"INBOX"}),
    ("inbox.%", {"INBOX.sub"}),
    ("work", set()),
    ("Work.%", {"Work.a"}),
    ("%.%", {"INBOX.sub", "Work.a"}),
    ("W*b", {"Work.a.b"}),
    ("*a*a*a*a*a*", set()),
    ("*W*o*r*k*", {"Work", "Work.a", "Work.a.b"}),
    ("", set()),
])
def test_patterns(pattern: str, matched: set[str]) -> None:
    names = ["INBOX", "INBOX.sub", "Work", "Work.a", "Work.a.b"]
    matches = matcher([pattern], ".")
    assert {name for name in names if matches(name)} == matched


def test_a_pattern_of_many_wildcards_costs_little() -> None:
    assert not matcher(["*a" * 40], ".")("a" * 39 + "." * 200)


@pytest.mark.parametrize(("text", "labels"), [
    (b"FAST", [b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE"]),
    (b"(uid flags)", [b"UID", b"FLAGS"]),
    (b"BODY[HEADER.FIELDS (to \"x y\")]<1.2>", [b'BODY[HEADER.FIELDS (TO "X Y")]<1>']),
    (b"(BODY.PEEK[1.mime] BINARY.SIZE[2])", [b"BODY[1.MIME]", b"BINARY.SIZE[2]"]),
])
def test_fetch_items(text: bytes, labels: list[bytes]) -> None:
    assert [item.label for item in parse_fetch(arguments(text)).items] == labels  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "problem"), [
    (b"FOO", "Unknown parameter: FOO"),
    (b"()", "FETCH list is empty"),
    (b"(ALL)", "Unknown parameter: ALL"),
    (b"BODY[", "Invalid BODY[..] parameter: Missing ']'"),
    (b"BODY[FOO]", "Invalid BODY[..] section"),
    (b"BODY[]<1", "Invalid BODY[..] parameter: Missing '>' in partial"),
    (b"FLAGS x", "Invalid arguments"),
    (b"FLAGS (CHANGEDSINCE)", "Invalid CHANGEDSINCE modseq"),
])
def test_bad_fetch_items(text: bytes, problem: str) -> None:
    with pytest.raises(PeerError) as raised:
        parse_fetch(arguments(text))  # type: ignore[arg-type]
    assert raised.value.public == problem


@pytest.mark.parametrize(("text", "problem"), [
    (b"", "Missing search parameters"),
    (b"FOO", "Unknown argument FOO"),
    (b"SUBJECT", "Missing parameter for search key (for search key: SUBJECT)"),
    (b"SINCE x", "Invalid search date parameter"),
    (b"()", "No search parameters inside list"),
    (b"OR ALL", "Missing argument"),
    (b'"ALL"', "Unexpected string as search key: ALL"),
    (b"UID x", "Invalid UID messageset"),
    (b"YOUNGER 0", "Invalid search interval parameter"),
])
def test_bad_search_keys(text: bytes, problem: str) -> None:
    with pytest.raises(PeerError) as raised:
        parse_keys(arguments(text), "utf-8")  # type: ignore[arg-type]
    assert raised.value.public == problem


def test_deep_search_keys_are_limited() -> None:
    with pytest.raises(PeerError):
        parse_keys([Atom(b"NOT")] * 100_000 + [Atom(b"ALL")], "utf-8")


@pytest.mark.parametrize(("value", "want"), [
    (b"=?utf-8?Q?J=C3=BCrgen?=", "Jürgen"),
    (b"=?utf-8?B?w7bDvA==?= =?ISO-8859-1?Q?_=E4?=", "öü ä"),
    (b"folded\r\n\t here", "folded here"),
    (b"=?nosuch?Q?x?= =?bad", "x =?bad"),
])
def test_decode_header(value: bytes, want: str) -> None:
    assert decode_header(value) == want


def test_fold() -> None:
    assert fold("Ärger") == fold("ÄRGER") and fold("ß") == fold("ß") and fold("_") > fold("z")


@pytest.mark.parametrize(("octets", "passes"), [
    (b"nothing here", False),
    (b"the Needle is here", True),
    (b"Content-Transfer-Encoding: quoted-printable\r\n\r\nnee=\r\ndle", True),
    (b"Content-Transfer-Encoding: base64\r\n\r\nYSBuZWVkbGUgaW4gaGF5\r\n", True),
    (b"Content-Transfer-Encoding: base64\r\n\r\naGF5IG9ubHk=\r\n", False),
    (b"Subject: =?utf-8?Q?n=65edle?=\r\n", True),
])
def test_sieve(octets: bytes, passes: bool) -> None:
    assert Sieve(fold("needle")).passes(octets) is passes


@given(st.lists(st.sampled_from([b"<", b">", b"@", b"a", b" ", b"\t", b"<a@b>", b"<c@d> "]), max_size=20).map(b"".join))
def test_ids_of_any_octets(value: bytes) -> None:
    found = re.findall(rb"<([^<>]*)>", value)
    assert message_ids(value) == tuple(b"".join(each.split()) for each in found if b"@" in each)
