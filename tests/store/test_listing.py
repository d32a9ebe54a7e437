"""A folder's names, taken apart many at a time, are what they are one by one."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsuite.store.maildir import listing
from mailsuite.store.maildir.listing import list_blocks, list_sorted

NAMES = st.lists(st.one_of(
    st.builds(lambda number, info: b"%d.M1.mx%b" % (number, info), st.integers(1, 5000),
              st.sampled_from([b"", b":2,", b":2,S", b":2,S:2,", b":", b":2,\n:2,"])),
    st.binary(min_size=1, max_size=6).filter(lambda name: not {0, 47} & set(name) and name not in (b".", b".."))),
    unique=True, max_size=12)


def check(folder: Path, names: list[bytes]) -> None:
    for name in names:
        (folder / os.fsdecode(name)).touch()
    shown = [name for name in names if not name.startswith(b".")]
    found = list_sorted(str(folder), b"cur/")
    assert sorted(found.paths) == sorted(b"cur/" + name for name in shown)
    assert found.bases == [path[4:].partition(b":")[0] for path in found.paths]
    assert found.infos == [path.partition(b":")[2] for path in found.paths]
    if all(name.isascii() for name in shown):
        assert found.paths == sorted(found.paths)
    assert set().union(*list_blocks(str(folder), b"cur/")) == set(found.paths)


@settings(max_examples=25, deadline=None)
@given(NAMES)
def test_any_names(names: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), names)


@pytest.mark.parametrize("names", [
    pytest.param([], id="none"),
    pytest.param([b"1.a", b"2.b", b"3.c"], id="no info"),
    pytest.param([b"1.a:2,S", b"2.b:2,S", b"3.c:2,S", b"4.d:2,S"], id="the same info"),
    pytest.param([b"1.a:2,S", b"2.b", b"3.c:2,S"], id="one without info"),
    pytest.param([b"1.a:2,S", b"2.b:2,", b"3.c:2,RS"], id="different infos"),
    pytest.param([b"1.a:2,S", b"2.b:2,S:2,S", b"3.c:2,S"], id="two colons"),
    pytest.param([b"1.a:2,S", b"2.b\n:2,S", b"3.c:2,S"], id="a line end in a name"),
    pytest.param([b"1.a:2,S", b"2.\xc3\xa9:2,S", b"3.\xff:2,S"], id="beyond ASCII"),
    pytest.param([b".hidden", b"1.a", b"...", b"!x"], id="hidden ones"),
])
def test_names_of_all_kinds(names: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "TOGETHER", 2)         # the last block is a short one
    monkeypatch.setattr(listing, "BLOCK", 2)
    check(tmp_path, names)
