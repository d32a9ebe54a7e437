"""Every type of table that needs no network: values, absence, and "could not be asked"."""

import asyncio
import errno
import logging
import os
from pathlib import Path

import pytest

from mailsuite.base.errors import TemporaryError
from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource, open_maps
from mailsuite.maps.index_file import write_index
from mailsuite.maps.maps import split_specs
from mailsuite.maps.opening import open_table
from mailsuite.maps.table import BadTable, TableError

SOURCE = MapSource(Settings.of({}), "smtpd")


def find(spec: str, key: str, *, partial: bool = False) -> str | None:
    return asyncio.run(open_maps(spec, SOURCE).find(key, partial=partial))


@pytest.mark.parametrize(("spec", "key", "want"), [
    pytest.param("static:OK", "any", "OK", id="static"),
    pytest.param("static:{two words}", "any", "two words", id="static in braces"),
    pytest.param("inline:{a=1, b=2}", "B", "2", id="inline folds keys"),
    pytest.param("inline:{ {a = one two}, { b = 2 } }", "a", "one two", id="inline with blanks"),
    pytest.param("inline:{a=1}", "c", None, id="inline absent"),
    pytest.param('inline:{ {"a=b c"d = one} }', '"a=b c"d', "one", id="quotes in a name stay"),
    pytest.param("inline:{a=1},inline:{a=2,c=3}", "a", "1", id="the first table answers"),
    pytest.param("inline:{a=1} inline:{a=2,c=3}", "c", "3", id="the next table is asked"),
    pytest.param("unionmap:{inline:{a=1}, inline:{b=2}, inline:{a=3}}", "a", "1,3", id="unionmap joins"),
    pytest.param("unionmap:{inline:{a=1}, inline:{b=2}}", "c", None, id="unionmap absent"),
    pytest.param("pipemap:{inline:{a=b}, inline:{b=c}}", "a", "c", id="pipemap chains"),
    pytest.param("pipemap:{inline:{a=x}, inline:{b=c}}", "a", None, id="pipemap breaks off"),
    pytest.param("randmap:{x,x}", "a", "x", id="randmap"),
    pytest.param("internal:x", "a", None, id="internal is empty"),
    pytest.param("unix:passwd.byname", "no-such-user-here", None, id="unknown user"),
    pytest.param("nis:mail.aliases", "a", None, id="nis is empty"),
])
def test_find(spec: str, key: str, want: str | None) -> None:
    assert find(spec, key) == want


def test_unix_knows_root_in_any_case() -> None:
    line = find("unix:passwd.byname", "ROOT")
    assert line is not None and line.startswith("root:x:0:0:")


def test_a_system_in_trouble_is_not_an_unknown_user(monkeypatch: pytest.MonkeyPatch) -> None:
    from mailsuite.maps import system

    with monkeypatch.context() as patch, pytest.raises(TemporaryError):
        patch.setattr(system, "_function", lambda _: lambda *_: errno.EMFILE)
        find("unix:passwd.byname", "no-such-user-there")
    with monkeypatch.context() as patch, pytest.raises(TemporaryError):
        patch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(OSError(errno.EMFILE, "Too many open files")))
        find("unix:passwd.byname", "no-such-user-yonder")


@pytest.mark.parametrize(("spec", "said"), [
    ("nosuch:x", "unsupported dictionary type: nosuch"),
    ("static:", 'open dictionary: expecting "type:name" form instead of "static:"'),
    ("inline:{}", 'bad syntax: "inline:{}"; need "inline:{name=value...}"'),
    ("inline:{a}", 'missing \'=\' after attribute name: "inline:{a}"; need "inline:{name=value...}"'),
    ('inline:{ {"a b = x} }', """unbalanced '"': "inline:{ {"a b = x} }"; need "inline:{name=value...}\""""),
    ("unionmap:inline", 'bad syntax: "unionmap:inline"; need "unionmap:{type:name...}"'),
    ("pipemap:{nosuch:x}", "unsupported dictionary type: nosuch"),
    ("randmap:x", 'bad syntax: "randmap:x"; need "randmap:{value...}"'),
    ("static:{a", "bad static:name syntax: missing '}' in \"{a\""),
    ("unix:foo", "unknown table: unix:foo"),
    ("regexp:{x}", "regexp map: no '{' at start of text in \"x\""),
    ("socketmap:foo", "socketmap requires server:socketmap argument"),
])
def test_bad_names(spec: str, said: str) -> None:
    with pytest.raises(BadTable) as caught:
        open_table(spec, SOURCE)
    assert str(caught.value) == said


@pytest.mark.parametrize("spec", ["fail:x", "hash:/nonexistent/x", "texthash:/nonexistent/x", "regexp:/nonexistent/x",
                                  "cidr:/nonexistent/x", "nosuch:x", "inline:{a=}", "unionmap:{static:x,fail:q}"])
def test_could_not_be_asked_is_never_absent(spec: str) -> None:
    with pytest.raises(TemporaryError):
        find(spec, "a")


def test_patterns_are_not_asked_for_parts() -> None:
    assert find("regexp:{{/./ yes}}", "x") == "yes"
    assert find("regexp:{{/./ yes}}", "x", partial=True) is None
    assert find("inline:{x=yes}", "x", partial=True) == "yes"


def test_a_failure_is_logged_once_with_the_table(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mailsuite.smtpd"), pytest.raises(TemporaryError):
        find("hash:/nonexistent/t", "a@b.test")
    assert [record.getMessage() for record in caplog.records] == [
        "open database /nonexistent/t.db: No such file or directory",
        "hash:/nonexistent/t is unavailable. open database /nonexistent/t.db: No such file or directory",
        'hash:/nonexistent/t lookup error for "a@b.test"']


@pytest.mark.parametrize(("text", "want"), [
    ("a:b c:d,e:f", ["a:b", "c:d", "e:f"]),
    ("inline:{a=1, {b = 2}}, hash:x", ["inline:{a=1, {b = 2}}", "hash:x"]),
    (" , ", []),
    ("a{b", ["a{b"]),
])
def test_split_specs(text: str, want: list[str]) -> None:
    assert split_specs(text) == want


class TestIndexed:
    def test_folds_and_finds(self, tmp_path: Path) -> None:
        write_index(f"{tmp_path}/t.db", [("key", "value"), ("ä", "umlaut")])
        assert find(f"hash:{tmp_path}/t", "KEY") == "value"
        assert find(f"btree:{tmp_path}/t", "Ä") == "umlaut"
        assert find(f"hash:{tmp_path}/t", "none") is None

    def test_long_keys(self, tmp_path: Path) -> None:
        long = "x" * 3000
        write_index(f"{tmp_path}/t.db", [(long, "1"), (long + "y", "2")])
        assert find(f"hash:{tmp_path}/t", long + "y") == "2"
        assert sorted(open_table(f"hash:{tmp_path}/t", SOURCE).items()) == [(long, "1"), (long + "y", "2")]

    def test_grows_as_needed(self, tmp_path: Path) -> None:
        write_index(f"{tmp_path}/t.db", [(f"{number}", "x" * 2100) for number in range(3000)])
        table = open_table(f"hash:{tmp_path}/t", SOURCE)
        assert table.lookup("2999") == "x" * 2100 and table.lookup("3000") is None

    def test_replaced_file_is_noticed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mailsuite.maps.table.CHECK_INTERVAL_S", 0.0)
        write_index(f"{tmp_path}/t.db", [("a", "1")])
        table = open_table(f"hash:{tmp_path}/t", SOURCE)
        assert table.lookup("a") == "1"
        write_index(f"{tmp_path}/t.db", [("a", "2")])
        assert table.lookup("a") == "2"
        os.unlink(tmp_path / "t.db")
        with pytest.raises(TableError):
            table.lookup("a")
        write_index(f"{tmp_path}/t.db", [("a", "3")])
        assert table.lookup("a") == "3"

    def test_made_after_the_start(self, tmp_path: Path) -> None:
        maps = open_maps(f"hash:{tmp_path}/t", SOURCE)
        write_index(f"{tmp_path}/t.db", [("a", "1")])
        assert asyncio.run(maps.find("a")) == "1"

    def test_failed_rename_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_index(f"{tmp_path}/t.db", [("a", "1")])

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", fail)
            with pytest.raises(OSError):
                write_index(f"{tmp_path}/t.db", [("a", "2")])
        assert find(f"hash:{tmp_path}/t", "a") == "1" and os.listdir(tmp_path) == ["t.db"]

    @pytest.mark.parametrize("magic", [0x061561, 0x053162])
    def test_berkeley_db_is_told_apart(self, tmp_path: Path, magic: int) -> None:
        (tmp_path / "t.db").write_bytes(bytes(12) + magic.to_bytes(4, "little") + bytes(4000))
        with pytest.raises(TableError):
            open_table(f"hash:{tmp_path}/t", SOURCE)

    def test_rubbish_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "t.db").write_bytes(b"rubbish")
        with pytest.raises(TableError, match="not a table"):
            open_table(f"hash:{tmp_path}/t", SOURCE)

    def test_child_processes_go_on(self, tmp_path: Path) -> None:
        write_index(f"{tmp_path}/t.db", [("a", "1")])
        table = open_table(f"hash:{tmp_path}/t", SOURCE)
        assert table.lookup("a") == "1"
        child = os.fork()
        if child == 0:
            os._exit(0 if table.lookup("a") == "1" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class TestTexthash:
    def test_lines(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        (tmp_path / "t").write_text('# comment\nKey value one\nkey2    two\n   more\ndup one\ndup two\nonly\n'
                                    '"a b" c\n')
        with caplog.at_level(logging.WARNING, "mailsuite.smtpd"):
            table = open_table(f"texthash:{tmp_path}/t", SOURCE)
        assert dict(table.items()) == {"key": "value one", "key2": "two   more", "dup": "one", '"a b"': "c"}
        assert [record.getMessage() for record in caplog.records] == [
            f'{tmp_path}/t, line 6: duplicate entry: "dup"',
            f"{tmp_path}/t, line 7: expected format: key whitespace value -- ignoring this line"]

    def test_changes_are_noticed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mailsuite.maps.table.CHECK_INTERVAL_S", 0.0)
        (tmp_path / "t").write_text("a 1\n")
        table = open_table(f"texthash:{tmp_path}/t", SOURCE)
        assert table.lookup("a") == "1"
        (tmp_path / "t").write_text("a 22\n")
        assert table.lookup("A") == "22"

    def test_a_large_file_is_read_aside(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mailsuite.maps.table.CHECK_INTERVAL_S", 0.0)
        monkeypatch.setattr("mailsuite.maps.texthash.LARGE_OCTETS", 3)
        (tmp_path / "t").write_text("a 1\n")
        table = open_table(f"texthash:{tmp_path}/t", SOURCE)
        (tmp_path / "t").write_text("a 22\n")
        assert table.lookup("a") == "1"
        table._reading.join()  # type: ignore[attr-defined]
        table.lookup("a")
        assert table.lookup("a") == "22"
