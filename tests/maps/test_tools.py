"""postmap and postalias: what they build, print and complain of; expected texts are Postfix 3.7's."""

import io
import os
import sys
from pathlib import Path

import pytest

from mailsuite.cli import postalias, postmap

USAGE = "postmap: fatal: " + postmap.USAGE + "\n"


class Output(io.TextIOWrapper):
    """Standard output with a buffer, as the commands write octets."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    (tmp_path / "main.cf").write_text("compatibility_level = 3.7\n")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, stdin: str = "", alias: bool = False) -> tuple[int, str, str]:
        out = Output()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            patch.setattr(sys, "stdout", out)
            program, flags, usage = (("postalias", "Nfinoprsuvw", postalias.USAGE) if alias
                                     else ("postmap", postmap.FLAGS, postmap.USAGE))
            status = postmap.command(program, flags, usage, ["-c", str(tmp_path), *arguments])
            out.flush()
        assert isinstance(out.buffer, io.BytesIO)
        return status, out.buffer.getvalue().decode(), capsys.readouterr().err

    return call


T = ('# comment\nkey1     value one\nKey2     two\n  more\n"quoted key" v\ndup first\ndup second\nlonely\n<> null\n'
     'x: y\n')


def test_build_and_ask(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "t").write_text(T)
    assert run("hash:t") == (0, "", "postmap: warning: t.db: duplicate entry: \"dup\"\n"
                             "postmap: warning: t, line 8: expected format: key whitespace value\n"
                             "postmap: warning: t, line 10: record is in \"key: value\" format; "
                             "is this an alias file?\n")
    assert run("-q", "KEY2", "hash:t") == (0, "two  more\n", "")
    assert run("-q", '"quoted key"', "t") == (0, "v\n", "")
    assert run("-q", "none", "hash:t") == (1, "", "")
    assert run("-q", "-", "hash:t", stdin="KEY1\nnone\n<>\n") == (0, "KEY1\tvalue one\n<>\tnull\n", "")
    assert sorted(run("-s", "hash:t")[1].splitlines()) == [
        '"quoted key"\tv', "<>\tnull", "dup\tfirst", "key1\tvalue one", "key2\ttwo  more", "x:\ty"]


def test_change(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "t").write_text("a 1\nb 2\n")
    run("hash:t")
    assert run("-d", "a", "hash:t") == (0, "", "") and run("-d", "a", "hash:t") == (1, "", "")
    assert run("-i", "hash:t", stdin="c 3\nb 9\n") == (0, "", 'postmap: warning: t.db: duplicate entry: "b"\n')
    assert run("-i", "-r", "hash:t", stdin="b 9\n") == (0, "", "")
    assert sorted(run("-s", "hash:t")[1].splitlines()) == ["b\t9", "c\t3"]
    assert run("-d", "-", "hash:t", stdin="b\nnone\n") == (0, "", "")
    assert run("-i", "hash:new", stdin="x y\n") == (0, "", "") and run("-q", "x", "hash:new")[1] == "y\n"


def test_modes(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "t").write_text("a 1\n")
    os.chmod(tmp_path / "t", 0o640)
    run("hash:t")
    assert (tmp_path / "t.db").stat().st_mode & 0o777 == 0o640
    os.unlink(tmp_path / "t.db")
    run("-p", "hash:t")
    assert (tmp_path / "t.db").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("arguments", "said"), [
    ([], USAGE), (["-q", "a"], USAGE), (["-Z"], "postmap: invalid option -- 'Z'\n" + USAGE),
    (["-q"], "postmap: option requires an argument -- 'q'\n" + USAGE),
    (["-q", "a", "-d", "b", "t"], "postmap: fatal: specify only one of -s -q or -d\n"),
    (["-h", "-q", "a", "t"], "postmap: fatal: specify -b -h or -m only with \"-q -\"\n"),
    (["hash:none"], "postmap: fatal: open none: No such file or directory\n"),
    (["-q", "a", "hash:none"], "postmap: fatal: open database none.db: No such file or directory\n"),
    (["-q", "a", "texthash:none"], "postmap: fatal: open database none: No such file or directory\n"),
    (["-q", "a", "nosuch:x"], "postmap: fatal: unsupported dictionary type: nosuch\n"),
    (["regexp:main.cf"], "postmap: fatal: unsupported dictionary type: regexp does not support bulk-mode creation.\n"),
    (["-s", "static:x"], "postmap: fatal: table static:x: sequence operation is not supported\n"),
    (["-d", "a", "texthash:x"], "postmap: fatal: texthash:x map requires O_RDONLY access mode\n"),
    (["-q", "a", "fail:x"], "postmap: fatal: table fail:x: query error: Application error\n"),
])
def test_errors(arguments: list[str], said: str, run) -> None:  # type: ignore[no-untyped-def]
    assert run(*arguments) == (1, "", said)


def test_aliases(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a").write_text('Postmaster: root\nlist: a, b,\n c@d.test\n"quoted name": x\nno colon\nempty:\n'
                                'cmd: "|/bin/prog -a \'b c\'"\nA@b.c: d\ni: :include:/x/y, |"cmd x", /file\n')
    assert run("hash:a", alias=True) == (0, "", "postalias: warning: a, line 5: need name:value pair\n"
                                         "postalias: warning: a, line 6: need name:value pair\n"
                                         "postalias: warning: a, line 8: name must be local\n")
    listed = sorted(run("-s", "hash:a", alias=True)[1].splitlines())
    assert [line.split("\t")[0] for line in listed[:3]] == ["@:", "YP_LAST_MODIFIED:", "YP_MASTER_NAME:"]
    assert listed[3:] == [
        "cmd:\t\"|/bin/prog -a 'b c'\"", 'i:\t:include:/x/y, |"cmd x", /file', "list:\ta, b, c@d.test",
        "postmaster:\troot", "quoted name:\tx"]
    assert run("-q", "LIST", "hash:a", alias=True) == (0, "a, b, c@d.test\n", "")


MESSAGE = ("a: b\nContent-Type: multipart/mixed; boundary=xx\n c\n\nbody\n--xx\nContent-type: message/rfc822\n\n"
           "sub: q\n\nq\n--xx--\n")


@pytest.mark.parametrize(("letters", "keys"), [
    ("-h", ["a: b", "Content-Type: multipart/mixed; boundary=xx\n c"]),
    ("-hm", ["a: b", "Content-Type: multipart/mixed; boundary=xx\n c", "Content-type: message/rfc822", "sub: q"]),
    ("-bm", ["", "body", "--xx", "", "", "q", "--xx--"]),
])
def test_message_keys(letters: str, keys: list[str], run) -> None:  # type: ignore[no-untyped-def]
    assert run(letters, "-q", "-", "static:x", stdin=MESSAGE)[1] == "".join(f"{key}\tx\n" for key in keys)


def test_values_from_files(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "v").write_text("one\n")
    (tmp_path / "t").write_text("a v\nb none\n")
    assert run("-F", "hash:t") == (0, "", "postmap: warning: t, line 2: open none: No such file or directory: "
                                   "skipping this entry\n")
    assert run("-q", "a", "hash:t")[1] == "b25lCg==\n" and run("-F", "-q", "a", "hash:t")[1] == "one\n\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_root_builds_with_the_owners_rights(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "t").write_text("a 1\n")
    os.chown(tmp_path / "t", 1, 1)
    os.chmod(tmp_path, 0o755)
    assert run("hash:t") == (1, "", "postmap: fatal: open database t.db: Permission denied\n")
    assert run("-o", "hash:t")[0] == 0 and os.geteuid() == 0
