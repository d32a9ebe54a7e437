"""Files that people edit: one entry changes, nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.accounts.lines import ALIASES, PASSWD, TABLE, EntryFile

VIRTUAL = """\
# comment of the file
info@demo.test  anna@demo.test,
    ben@demo.test
# about the next
\tstray text
Sales@Demo.test anna@demo.test
    # inside
  clara@demo.test

"odd name"@demo.test x@demo.test
"""


def test_entries_and_their_lines() -> None:
    file = EntryFile(VIRTUAL, TABLE)
    found = {entry.key: (entry.value, entry.line, entry.last + 1) for entry in file.entries()}
    assert found["info@demo.test"] == ("anna@demo.test,    ben@demo.test\tstray text", 2, 5)
    assert found["sales@demo.test"][1:] == (6, 8) and file.find("SALES@demo.test") is not None
    assert EntryFile(VIRTUAL, TABLE).text == VIRTUAL


def test_replace_remove_append() -> None:
    file = EntryFile("a 1\n# c\nb 2\na 3", TABLE)
    entry = file.find("b")
    assert entry is not None
    file.replace(entry, "b 4")
    assert file.remove("a") == 2 and file.remove("a") == 0
    file.append("d 5")
    assert file.text == "# c\nb 4\nd 5\n"


def test_aliases_and_passwd() -> None:
    aliases = EntryFile('root: postmaster\n  , ben\n"odd": |"/bin/x y"\nbad line\n', ALIASES)
    assert aliases.all_keys() == ["root", "odd"]
    users = EntryFile("# c\nanna@demo.test:{PLAIN}x:::::: a\n :b\n", PASSWD)
    entry = users.find("anna@demo.test")
    assert entry is not None and entry.value == "{PLAIN}x:::::: a" and entry.line == 2


LINES = st.lists(st.sampled_from(["a 1", "b 2", "# c", "", "  more", "\tx", "A 3", "d"]), max_size=12)


@given(LINES, st.booleans(), st.sampled_from(["a", "b", "nosuch"]))
def test_removing_leaves_all_other_entries(lines: list[str], ended: bool, key: str) -> None:
    text = "\n".join(lines) + ("\n" if ended and lines else "")
    before, after = EntryFile(text, TABLE), EntryFile(text, TABLE)
    after.remove(key)
    want = [(entry.key, entry.value) for entry in before.entries() if entry.key != key]
    kept = [(entry.key, entry.value) for entry in EntryFile(after.text, TABLE).entries()]
    # Comments keep their place, so text that continued nothing may stand behind another entry; keys never change.
    assert [one[0] for one in kept] == [one[0] for one in want]


@pytest.mark.parametrize("text", ["", "\n", "a 1", "a 1\n\n\n", "\r\n", "# only"])
def test_nothing_changes_by_itself(text: str) -> None:
    assert EntryFile(text, TABLE).text == text
