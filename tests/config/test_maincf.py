"""Reading and editing main.cf."""

import os
from pathlib import Path

import pytest

from mailsuite.base.errors import ConfigError
from mailsuite.config.maincf import COMMENT_OUT, edit_main_cf, edit_text, parse_main_cf, read_main_cf

TEXT = """\
# leading
myorigin   =   $mydomain
mydestination = a,
   # a comment inside
   b
\tc

   d
relayhost =
empty
= no name
two words = x
relayhost = late"""


def test_entries_with_their_lines() -> None:
    parsed = parse_main_cf(TEXT, "main.cf")
    assert [(entry.name, entry.value, entry.first_line, entry.last_line) for entry in parsed.entries] == [
        ("myorigin", "$mydomain", 2, 2), ("mydestination", "a,   b\tc   d", 3, 8), ("relayhost", "", 9, 9),
        ("relayhost", "late", 13, 13)]
    assert [error.public for error in parsed.errors] == [
        'main.cf, line 10: missing \'=\' after attribute name: "empty"',
        'main.cf, line 11: missing attribute name: "= no name"',
        'main.cf, line 12: missing \'=\' after attribute name: "two words = x"']
    assert parsed.overridden() == ["main.cf, line 13: overriding earlier entry: relayhost="]


def test_octets_that_are_not_utf8_survive(tmp_path: Path) -> None:
    path = tmp_path / "main.cf"
    path.write_bytes(b"a = \xff\xe4\nb = c\n")
    edit_main_cf(str(path), {"b": "d"})
    assert path.read_bytes() == b"a = \xff\xe4\nb = d\n"


@pytest.mark.parametrize(("text", "changes", "want"), [
    pytest.param("a = 1\nb = 2\n", {"a": "3"}, "a = 3\nb = 2\n", id="in its place"),
    pytest.param("a = 1\n", {"z": "3"}, "a = 1\nz = 3\n", id="new ones come last"),
    pytest.param("a = 1", {"z": "3"}, "a = 1\nz = 3\n", id="a last line without end"),
    pytest.param("a = 1\n  2\n# c\n  3\nb = 4\n", {"a": "x"}, "a = x\n# c\nb = 4\n", id="continuation goes"),
    pytest.param("a = 1\na = 2\n", {"a": "3"}, "a = 3\na = 3\n", id="each of several"),
    pytest.param("a = 1\n  2\nb = 3\n", {"a": None}, "b = 3\n", id="removed"),
    pytest.param("a = 1\n  2\nb = 3\n", {"a": COMMENT_OUT}, "#a = 1\n#  2\nb = 3\n", id="commented out"),
    pytest.param("a = 1\n", {"b": None, "c": COMMENT_OUT}, "a = 1\n", id="not there"),
    pytest.param("", {"a": "b"}, "a = b\n", id="empty file"),
])
def test_edit(text: str, changes: dict[str, str | None], want: str) -> None:
    assert edit_text(text, changes)[0] == want


def test_edit_keeps_mode_and_symbolic_link(tmp_path: Path) -> None:
    real = tmp_path / "real.cf"
    real.write_text("a = 1\n")
    real.chmod(0o640)
    link = tmp_path / "main.cf"
    link.symlink_to(real)
    assert edit_main_cf(str(link), {"a": "2"}) == []
    assert link.is_symlink()
    assert (real.read_text(), real.stat().st_mode & 0o777) == ("a = 2\n", 0o640)
    assert sorted(os.listdir(tmp_path)) == ["main.cf", "real.cf"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="open .*/main.cf: No such file or directory"):
        read_main_cf(f"{tmp_path}/main.cf")
