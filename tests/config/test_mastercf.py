"""Reading and editing master.cf."""

from pathlib import Path

import pytest

from mailsuite.base.errors import ConfigErrors
from mailsuite.config.mastercf import MasterEntry, read_master_cf
from mailsuite.config.mastercf_edit import COMMENT_OUT, REMOVE, edit_text, with_field, with_override
from mailsuite.config.mastercf_syntax import format_line, parse_line


def read(folder: Path, text: str) -> list[MasterEntry]:
    path = folder / "master.cf"
    path.write_text(text)
    return read_master_cf(str(path))


def test_every_column(tmp_path: Path) -> None:
    one, two = read(tmp_path, """\
# comment
127.0.0.1:smtp inet n - y 60? - smtpd -v
  -o syslog_name=a
# inside
  -o { smtpd_banner = a b } -omydomain=x
filter unix - n - 5 7 pipe flags=R argv=/x -o y {a b}
""")
    assert (one.name, one.type, one.private, one.unprivileged, one.chroot) == (
        "127.0.0.1:smtp", "inet", False, True, True)
    assert (one.wakeup_s, one.wakeup_if_used, one.maxproc, one.command, one.line) == (60, True, None, "smtpd", 2)
    assert one.overrides == {"syslog_name": "a", "smtpd_banner": "a b", "mydomain": "x"}
    assert one.arguments == ("-v",)
    assert (two.private, two.unprivileged, two.chroot, two.wakeup_s, two.maxproc) == (True, False, False, 5, 7)
    assert two.arguments == ("flags=R", "argv=/x", "-o", "y", "a b")
    assert two.overrides == {}, "options end at the first other word"


def test_the_last_of_equal_services_stays(tmp_path: Path) -> None:
    entries = read(tmp_path, "a unix - - n - 1 smtp\nb unix - - n - 1 smtp\na unix - - n - 2 smtp\n")
    assert [(entry.name, entry.maxproc) for entry in entries] == [("b", 1), ("a", 2)]


@pytest.mark.parametrize(("line", "why"), [
    ("smtp inet n - n - -", "bad field count"),
    ("smtp inet2 n - n - - smtpd", 'invalid type field "inet2"'),
    ("smtp inet x - n - - smtpd", 'invalid private field "x"'),
    ("smtp inet n q n - - smtpd", 'invalid unprivileged field "q"'),
    ("smtp inet n - q - - smtpd", 'invalid chroot field "q"'),
    ("smtp inet n - n 10x - smtpd", 'invalid wakeup field "10x"'),
    ("smtp inet n - n - -5 smtpd", 'invalid process_limit field "-5"'),
    (" smtp inet n - n - - smtpd", "must not start with whitespace"),
    ("smtp inet n - n - - smtpd -o", "missing name=value after -o"),
    ("smtp inet n - n - - smtpd -o { = b }", "missing attribute name"),
    ("smtp inet n - n - - smtpd -o {a b}", "missing '=' after attribute name"),
    ("smtp inet n - n - - smtpd {a", "missing '}'"),
])
def test_bad_lines_are_refused(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        read(tmp_path, f"{line}\n")
    assert why in str(caught.value)


def test_all_bad_lines_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        read(tmp_path, "a\nb unix - - n - - smtp -o\nc unix - - n - x smtp\n")
    assert len(caught.value.errors) == 3


@pytest.mark.parametrize(("text", "plain", "folded"), [
    ("smtp inet n - n - - smtpd", "smtp       inet  n       -       n       -       -       smtpd", None),
    ("averylongservicename unix - n n - - pipe", "averylongservicename unix - n    n       -       -       pipe", None),
    ("a unix - - n - - pipe -v -o { x = y z } -o q=r b c",
     "a          unix  -       -       n       -       -       pipe -v -o {x=y z} -o q=r b c",
     "a          unix  -       -       n       -       -       pipe -v\n    -o {x=y z}\n    -o q=r\n    b c"),
])
def test_format(text: str, plain: str, folded: str | None) -> None:
    assert format_line(parse_line(text)) == plain
    assert format_line(parse_line(text), fold=True) == (folded or plain)


MASTER = "# head\na unix - - n - - smtp\n# inside\n  -o x=y\n# tail\nb unix - - n - - smtp\n"


def test_an_edited_entry_comes_behind_its_comments() -> None:
    edited = edit_text(MASTER, lambda key: (lambda line: with_override(line, "x", "z")) if key == "a/unix" else None)
    assert edited == ("# head\n# inside\n# tail\na          unix  -       -       n       -       -       smtp\n"
                      "    -o x=z\nb unix - - n - - smtp\n")


@pytest.mark.parametrize(("decision", "want"), [
    (REMOVE, "# head\n# inside\n# tail\nb unix - - n - - smtp\n"),
    (COMMENT_OUT, "# head\n#a unix - - n - - smtp\n# inside\n#  -o x=y\n# tail\nb unix - - n - - smtp\n"),
    ("new line", "# head\nnew line\n# inside\n# tail\nb unix - - n - - smtp\n"),
    (None, MASTER),
])
def test_edit(decision: str | None, want: str) -> None:
    assert edit_text(MASTER, lambda key: decision if key == "a/unix" else None) == want


def test_overrides_and_fields() -> None:
    line = parse_line("a unix - - n - - pipe -v -o x=y flags=R")
    assert with_override(line, "n", "1").arguments == ["-v", "-o", "x=y", "-o", "n=1", "flags=R"]
    assert with_override(line, "x", None).arguments == ["-v", "flags=R"]
    assert with_field(line, "wakeup", "60").fields[5] == "60"
    assert with_field(line, "command", "smtpd -o q=r").arguments == ["-o", "q=r"]


def test_braces_inside_of_words(tmp_path: Path) -> None:
    [entry] = read(tmp_path, "a inet n - n - - smtpd -o{ x = y z } -o b={c  d}e\n")
    assert entry.overrides == {"x": "y z", "b": "{c  d}e"}
    assert parse_line("a inet n - n - - smtpd -o { f = g }h").warnings == [
        "master.cf: syntax error after '}' in \"{ f = g }h\""]
