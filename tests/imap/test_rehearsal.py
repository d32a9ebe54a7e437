"""A worker in reserve plays a session through: all of it works, nothing is left, and nothing that fails is told."""

import threading
from pathlib import Path

import pytest

from mailsuite.imap import commands, server_rehearsal
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.reply import OK
from mailsuite.imap.session import Command


def test_all_commands_work_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[bytes] = []
    run = commands.run

    def noted(context: Context, command: Command) -> Run:
        reply = yield from run(context, command)
        said.append(command.name.encode() + b" " + reply.status)
        return reply

    monkeypatch.setattr(commands, "run", noted)
    threads = set(threading.enumerate())
    server_rehearsal.rehearse(str(tmp_path))
    assert set(threading.enumerate()) <= threads        # one that began with other rights would keep some of them
    assert said == [name.encode() + b" " + OK for name, _ in server_rehearsal._COMMANDS]
    assert list(tmp_path.iterdir()) == []


def test_a_rehearsal_that_fails_is_nobodys_loss(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "no room")

    monkeypatch.setattr(server_rehearsal, "open_store", broken)
    server_rehearsal.rehearse(str(tmp_path))


def test_what_a_killed_one_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "rehearsal-x" / "Maildir").mkdir(parents=True)
    (tmp_path / "auth-master").touch()
    server_rehearsal.tidy(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["auth-master"]
