"""cdb: files: ours and Postfix's, each read by both."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource
from mailsuite.maps.cdb import CdbTable, write_cdb
from mailsuite.maps.opening import open_table
from mailsuite.maps.table import TableError
from tests.support.databases import PostfixPostmap, our_postmap
from tests.support.suite import open_folder

SOURCE = MapSource(Settings.of({}), "test")
needs_postfix = pytest.mark.skipif(PostfixPostmap.missing("cdb"), reason="Postfix's cdb is missing (postfix-cdb)")


@pytest.fixture
def site() -> Iterator[PostfixPostmap]:
    with open_folder() as folder:
        yield PostfixPostmap(folder)


@needs_postfix
@pytest.mark.system
def test_each_reads_the_other(site: PostfixPostmap) -> None:
    lines = {f"key{number}@a.test": f"value {number}" for number in range(1000)}
    lines |= {"long" * 200: "x", "ü@a.test": "grün"}
    for name in ("ours", "theirs"):
        (site.folder / name).write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
    assert our_postmap(site.folder, f"cdb:{site.folder}/ours") == (0, b"", "")
    assert site.run(f"cdb:{site.folder}/theirs") == (0, b"", "")
    keys = "\n".join([*lines, "absent", "KEY7@A.TEST"]).encode() + b"\n"
    for name in ("ours", "theirs"):
        answer = our_postmap(site.folder, "-q", "-", f"cdb:{site.folder}/{name}", stdin=keys)
        assert answer == site.run("-q", "-", f"cdb:{site.folder}/{name}", stdin=keys)
        assert answer[1].count(b"\n") == 1003
    assert len((site.folder / "ours.cdb").read_bytes()) == len((site.folder / "theirs.cdb").read_bytes())


@needs_postfix
@pytest.mark.system
@pytest.mark.parametrize("words", [("-q", "x", "cdb:TOP/none"), ("-s", "cdb:TOP/a"), ("-d", "a", "cdb:TOP/a"),
                                   ("-q", "x", "cdb:TOP/junk"), ("cdb:TOP/none",), ("-i", "cdb:TOP/a"),
                                   ("cdb:TOP/twice",)])
def test_the_same_complaints(site: PostfixPostmap, words: tuple[str, ...]) -> None:
    (site.folder / "a").write_text("a 1\n")
    (site.folder / "twice").write_text("a 1\na 2\n")
    (site.folder / "junk.cdb").write_text("junk")
    site.run(f"cdb:{site.folder}/a")
    words = tuple(word.replace("TOP", str(site.folder)) for word in words)
    mine, theirs = our_postmap(site.folder, *words), site.run(*words)
    assert mine[:2] == theirs[:2] and mine[2].replace(".cdb", "") == theirs[2].replace(".cdb", "")


def test_replaced_and_missing(tmp_path: Path) -> None:
    write_cdb(f"{tmp_path}/a.cdb", {b"k": b"one"})          # without NUL: made by others
    table = open_table(f"cdb:{tmp_path}/a", SOURCE)
    assert isinstance(table, CdbTable) and table.lookup("K") == "one" and table.lookup("") is None
    write_cdb(f"{tmp_path}/a.cdb", {b"k\0": b"two\0"}, mode=0o600)
    assert (tmp_path / "a.cdb").stat().st_mode & 0o777 == 0o600
    table._fresh._next = 0.0
    assert table.lookup("k") == "two"
    (tmp_path / "a.cdb").unlink()
    table._fresh._next = 0.0
    with pytest.raises(TableError):
        table.lookup("k")
    assert [path.name for path in tmp_path.iterdir()] == []


@given(entries=st.dictionaries(st.binary(max_size=20), st.binary(max_size=20), max_size=40),
       other=st.binary(max_size=20))
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, entries: dict[bytes, bytes],
                                other: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.cdb"
    write_cdb(str(path), entries)
    table = CdbTable("cdb", str(path.with_suffix("")), SOURCE)
    file = table._current()
    assert {key: file.get(key) for key in entries} == entries
    assert file.get(other) == entries.get(other)


@pytest.mark.parametrize("cut", [2049, 2060, 2080])
def test_damaged(tmp_path: Path, cut: int) -> None:
    write_cdb(f"{tmp_path}/a.cdb", {b"key\0": b"value\0"})
    (tmp_path / "a.cdb").write_bytes((tmp_path / "a.cdb").read_bytes()[:cut])
    with pytest.raises(TableError):
        open_table(f"cdb:{tmp_path}/a", SOURCE).lookup("key")
