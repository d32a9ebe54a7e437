"""doveadm: options, exit statuses, formatters; what needs no running suite."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.access.doveadm_query import Query
from mailsuite.access.doveadm_run import Failed
from mailsuite.cli import doveadm
from mailsuite.cli.doveadm_print import printer_for, widths
from mailsuite.imap.search_keys import And, Header, InMailbox, Moment, Not, Or


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = doveadm.run(list(words))
        text = ""
    except doveadm.Exit as end:
        status, text = end.status, end.text
    said = capsys.readouterr()
    return status, said.out, said.err + text


@pytest.mark.parametrize(("words", "status", "out", "err"), [
    (["pw", "-s", "SHA256", "-p", "secret"], 0, "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=\n", ""),
    (["pw", "-s", "sha.hex", "-p", "secret"], 0, "{SHA.HEX}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4\n", ""),
    (["pw", "-s", "NOSUCH", "-p", "x"], 75, "", "Fatal: Unknown scheme: NOSUCH"),
    (["pw", "-t", "{PLAIN}a", "-p", "a"], 0, "{PLAIN}a (verified)\n", ""),
    (["pw", "-t", "{PLAIN}a", "-p", "b"], 75, "",
     "Fatal: reverse password verification check failed: Password mismatch"),
    (["pw", "-t", "{SSHA}x", "-p", "b"], 75, "",
     "Fatal: reverse decode check failed: Input isn't valid base64 encoded data"),
    (["pw", "-t", "plain", "-p", "b"], 75, "", "Fatal: Missing {scheme} prefix from hash"),
    (["pw", "foo"], 64, "", "Error: Extraneous arguments found: foo"),
    (["pw", "foo", "bar"], 64, "", "Error: Extraneous arguments found: foo bar"),
    (["pw", "-s", "DIGEST-MD5", "-p", "x"], 75, "", "Fatal: digest_md5_generate(): username not given"),
    (["pw", "-s"], 64, "", "pw: option requires an argument -- 's'"),
    (["pw", "-x"], 64, "", "pw: invalid option -- 'x'"),
])
def test_commands(capsys: pytest.CaptureFixture[str], words: list[str], status: int, out: str, err: str) -> None:
    assert run(capsys, *words) == (status, out, err)


@pytest.mark.parametrize("words", [[], ["nosuch"], ["auth"], ["auth", "nosuch"], ["mailbox", "nosuch"]])
def test_usage(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    status, out, err = run(capsys, *words)
    assert status == 64 and not out and err.startswith("usage: doveadm [-Dv] [-f <formatter>]")


@pytest.mark.parametrize(("form", "want"), [
    ("flow", "INBOX a=1\nx a=2\n"),
    ("tab", "mailbox\ta\nINBOX\t1\nx\t2\n"),
    ("pager", "INBOX\na: 1\n\f\nx\na: 2\n"),
    ("table", "mailbox a" + " " * 35 + "\nINBOX   1" + " " * 35 + "\nx       2" + " " * 35 + "\n"),
    ("json", '[{"mailbox":"INBOX","a":"1"},{"mailbox":"x","a":"2"}]'),
])
def test_formatters(capsys: pytest.CaptureFixture[str], form: str, want: str) -> None:
    printer = printer_for(form)
    printer.header(["mailbox", "a"], hidden={"mailbox"})
    printer.row(["INBOX", "1"])
    printer.row(["x", "2"])
    printer.end()
    assert capsys.readouterr().out == want


def test_queries() -> None:
    query = Query(["mailbox", "a b", "subject", "two words", "(", "seen", "OR", "not", "flagged", ")"])
    assert query.sole == "a b"
    assert isinstance(query.key, And)
    box, subject, either = query.key.keys
    assert isinstance(box, InMailbox) and box.fits("a b", "") and not box.fits("a", "")
    assert isinstance(subject, Header) and isinstance(either, Or) and isinstance(either.other, Not)
    assert Query(["ALL"]).sole is None


@pytest.mark.parametrize(("words", "name", "may"), [
    (["mailbox", "Work"], "Work", True),
    (["mailbox", "Work"], "INBOX", False),
    (["mailbox", "inbox", "seen"], "INBOX", True),
    (["not", "mailbox", "Work"], "Work", False),
    (["(", "mailbox", "Work", "or", "mailbox", "Sent", ")", "seen"], "Sent", True),
    (["mailbox", "W%"], "Work/Sub", False),
    (["mailbox", "W*"], "Work/Sub", True),
    (["mailbox", "Entwürfe"], "Entw&APw-rfe", True),
    (["seen", "or", "mailbox", "Work"], "INBOX", True),
])
def test_mailboxes_of_a_query(words: list[str], name: str, may: bool) -> None:
    assert Query(words).may_match(name, str) is may


@pytest.mark.parametrize(("text", "at_s"), [
    ("1700000000", 1700000000.0), ("2h", 1700000000.0 - 7200), ("3 days", 1700000000.0 - 3 * 86400),
    ("1weeks", 1700000000.0 - 604800), ("30mins", 1700000000.0 - 1800), ("90", 90.0),
])
def test_moments(text: str, at_s: float) -> None:
    assert Query(["since", text], now=1700000000.0).key == Moment("SINCE", "", at_s)


@pytest.mark.parametrize("words", [["not"] * 200 + ["seen"], ["("] * 200 + ["seen"] + [")"] * 200, ["seen"] * 6000])
def test_endless_queries(words: list[str]) -> None:
    with pytest.raises(Failed, match="Too many search keys"):
        Query(words)


def test_spare_room_of_a_table() -> None:
    titles = ["username", "proto", "pid", "ip"]
    assert widths(titles, [], 80) == [8, 5, 3, 31] and widths(titles, [], 80, 0) == [37, 5, 3, 2]


@pytest.mark.parametrize(("words", "why"), [
    (["or"], "Missing argument"), (["or", "seen"], "Use parenthesis"), (["seen", "or"], "Missing argument"),
])
def test_or_in_the_wrong_place(words: list[str], why: str) -> None:
    with pytest.raises(Failed, match=why):
        Query(words)


@given(st.lists(st.sampled_from(["mailbox", "INBOX", "(", ")", "or", "not", "seen", "since", "1w", "uid", "1:*", "x",
                                 "larger", "guid", "", "\udcff", "header", "inthread", "refs"])))
def test_noise_is_refused(words: list[str]) -> None:
    with suppress(Failed):
        Query(words)
