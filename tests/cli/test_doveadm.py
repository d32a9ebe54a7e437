"""doveadm: options, exit statuses, formatters; what needs no running suite."""

import pytest

from mailsuite.access.doveadm_messages import Query
from mailsuite.access.doveadm_run import Failed
from mailsuite.base.errors import PeerError
from mailsuite.cli import doveadm
from mailsuite.cli.doveadm_mail import Printer
from mailsuite.imap.search_keys import And, Header, Not, Or


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
    ("pager", "mailbox: INBOX\na: 1\n\f\nmailbox: x\na: 2\n"),
])
def test_formatters(capsys: pytest.CaptureFixture[str], form: str, want: str) -> None:
    printer = Printer(form, ("mailbox",))
    printer.header(["mailbox", "a"])
    printer.row(["INBOX", "1"])
    printer.row(["x", "2"])
    assert capsys.readouterr().out == want


def test_queries() -> None:
    query = Query(["mailbox", "a b", "subject", "two words", "(", "OR", "seen", "not", "flagged", ")"])
    assert query.patterns == ["a b"] and query.named
    assert isinstance(query.key, And)
    subject, either = query.key.keys
    assert isinstance(subject, Header) and isinstance(either, Or) and isinstance(either.other, Not)
    assert Query(["ALL"]).patterns == ["*"] and not Query(["ALL"]).named
    with pytest.raises(PeerError, match="Unknown argument FOO"):
        Query(["foo"])
    with pytest.raises(Failed):
        Query(["mailbox"])
