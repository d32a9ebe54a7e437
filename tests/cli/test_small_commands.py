"""postlog, postkick, postlock, postdrop, postmulti as Postfix 3.7.11's behave; recorded there."""

import os
import re
import socket
import threading
from pathlib import Path

import pytest

from mailsuite.cli import postdrop, postkick, postlock, postlog, postmulti
from tests.cli.conftest import Run
from tests.queue.support import World

LOCKED = "open file {}: unable to lock for exclusive access: Resource temporarily unavailable\n"


@pytest.mark.parametrize(("words", "stdin", "logged"), [
    (["hello", "world"], b"", ["postfix/postlog: hello world"]),
    (["-i", "-t", "mytag", "-p", "warn", "something"], b"", ["mytag: warning: something"]),
    (["-p", "INFO", "text"], b"", ["postfix/postlog: text"]),
    (["-p", "error", "x"], b"", ["postfix/postlog: error: x"]),
    (["-p", "fatal", "x"], b"", ["postfix/postlog: fatal: x"]),
    (["-p", "panic", "x"], b"", ["postfix/postlog: panic: x"]),
    (["-t", "a/b", "--", "-x"], b"", ["a/b: -x"]), ([""], b"", ["postfix/postlog: "]),
    ([], b"one\n\nlast", ["postfix/postlog: one", "postfix/postlog: ", "postfix/postlog: last"]),
    (["a\tb\x01c"], b"", ["postfix/postlog: a?b?c"]),
])
def test_postlog(world: World, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str],
                 stdin: bytes, logged: list[str]) -> None:
    monkeypatch.setattr(postlog, "PAUSE_S", 0)
    assert run(postlog.main, *words, stdin=stdin) == (0, "", "")
    lines = (tmp_path / "log").read_text().splitlines()
    assert [re.sub(r"^\w+ +\d+ [\d:]+ \S+ ([^\[]+)\[\d+\]", r"\1", line) for line in lines] == logged


def test_postlog_says_what_it_does_not_know(world: World, run: Run) -> None:
    status, _, err = run(postlog.main, "-p", "bogus", "x")
    assert status == 1 and 'unknown severity: "bogus"' in err


# --- postkick -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_text", ["A", "DFAI", ""])
def test_postkick_hands_over_the_request(world: World, run: Run, request_text: str) -> None:
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(f"{world.store.directory}/public/qmgr")
        service.listen()

        def listen() -> None:
            peer, _ = service.accept()
            with peer, peer.makefile("rb") as octets:
                heard.append(octets.read())

        thread = threading.Thread(target=listen)
        thread.start()
        assert run(postkick.main, "public", "qmgr", request_text) == (0, "", "")
        thread.join(10)
    assert heard == [request_text.encode()]


@pytest.mark.parametrize(("words", "err"), [
    (["public", "nosuch", "W"], "warning: unable to look up public/nosuch: No such file or directory\n"
     "postkick: warning: Cannot contact class public service nosuch - perhaps the mail system is down\n"),
    (["public", "qmgr"], f"fatal: {postkick.USAGE}\n"), (["public", "qmgr", "A", "B"], f"fatal: {postkick.USAGE}\n"),
    (["-x"], f"invalid option -- 'x'\npostkick: fatal: {postkick.USAGE}\n"),
])
def test_postkick_says_no(world: World, run: Run, words: list[str], err: str) -> None:
    assert run(postkick.main, *words) == (1, "", f"postkick: {err}")


def test_postkick_while_nobody_listens(world: World, run: Run) -> None:
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(f"{world.store.directory}/public/qmgr")
    assert run(postkick.main, "public", "qmgr", "A") == (
        1, "", "postkick: warning: Cannot contact class public service qmgr - perhaps the mail system is down\n")


# --- postlock -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "status", "seen"), [
    ([], 0, "mbox mbox.lock "), (["-l", "dotlock"], 0, "mbox mbox.lock "), (["-l", "flock"], 0, "mbox "),
    (["-l", "fcntl, dotlock"], 0, "mbox mbox.lock ")])
def test_postlock(world: World, run: Run, tmp_path: Path, words: list[str], status: int, seen: str) -> None:
    command = f"cd {tmp_path}; ls -d mbox* | tr '\\n' ' ' > seen"
    assert run(postlock.main, *words, str(tmp_path / "mbox"), "sh", "-c", command) == (status, "", "")
    assert (tmp_path / "seen").read_text() == seen
    assert not (tmp_path / "mbox.lock").exists() and (tmp_path / "mbox").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("command", "status", "err"), [
    (["sh", "-c", "exit 7"], 7, ""), (["sh", "-c", "kill -9 $$"], 1, ""),
    (["/nonexistent"], 1, "postlock: fatal: execvp /nonexistent: No such file or directory\n"),
    (["-x"], 1, "postlock: fatal: execvp -x: No such file or directory\n")])
def test_postlock_exit_status(world: World, run: Run, tmp_path: Path, command: list[str], status: int,
                              err: str) -> None:
    assert run(postlock.main, str(tmp_path / "mbox"), *command) == (status, "", err)


@pytest.mark.parametrize(("words", "err"), [
    ([], f"fatal: {postlock.USAGE}\n"), (["/tmp/x"], f"fatal: {postlock.USAGE}\n"),
    (["-l", "bogus", "/tmp/x", "true"], 'fatal: unknown mailbox_delivery_lock value "bogus" in "bogus"\n'),
    (["/nonexistent/m", "true"], "fatal: open file /nonexistent/m: unable to create lock file /nonexistent/m.lock: No "
                                 "such file or directory\n"),
    (["-l", "flock", "/tmp", "true"], "fatal: open file /tmp: cannot open file: Is a directory\n")])
def test_postlock_says_no(world: World, run: Run, words: list[str], err: str) -> None:
    assert run(postlock.main, *words) == (75, "", f"postlock: {err}")


@pytest.mark.parametrize(("style", "err"), [
    ("dotlock", "open file {0}: unable to create lock file {0}.lock: File exists\n"), ("flock", LOCKED)])
def test_a_locked_mailbox(world: World, run: Run, tmp_path: Path, style: str, err: str) -> None:
    import fcntl
    with (tmp_path / "etc/main.cf").open("a") as main_cf:
        main_cf.write("deliver_lock_attempts = 1\n")
    path = tmp_path / "mbox"
    (tmp_path / "mbox.lock").write_text(f"{os.getpid()}:{socket.gethostname()}")
    with path.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert run(postlock.main, "-l", style, str(path), "true") == (75, "", f"postlock: fatal: {err.format(path)}")


# --- postdrop, postmulti --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stdin", "want"), [
    (b"", (0, "", "")), (b"hello", (1, "", f"postdrop: fatal: uid={os.getuid()}: malformed input\n"))])
def test_postdrop(world: World, run: Run, stdin: bytes, want: tuple[int, str, str]) -> None:
    assert run(postdrop.main, "-r", stdin=stdin) == want
    assert list(world.store.scan("maildrop")) == []


def test_postmulti(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    directory = world.settings.config_directory
    monkeypatch.setenv("MAIL_CONFIG", directory)
    monkeypatch.setattr("sys.argv", ["postmulti", "-l"])
    assert postmulti.main() == 0
    assert capsys.readouterr().out == f"-               -               y         {directory}\n"
    monkeypatch.setattr("sys.argv", ["postmulti", "-e", "init"])
    with pytest.raises(SystemExit):
        postmulti.main()
    assert "mailsuite -c FOLDER start" in capsys.readouterr().err
