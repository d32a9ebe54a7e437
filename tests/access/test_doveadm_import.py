"""doveadm export and import between a user's mail and another place."""

import os
from pathlib import Path
from typing import Any

import pytest

from mailsuite.access.doveadm import Job, open_user, run
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.sasl.user import UserInfo
from tests.store.support import append


def said(home: Path, command: str, *arguments: str) -> list[dict[str, Any]]:
    settings, user = DovecotSettings.of("mail_location = maildir:~/Maildir\nmail_fsync = never\n"), UserInfo(
        "alice", home=str(home))
    store = open_user(user, settings)
    lines: list[dict[str, Any]] = []
    try:
        if not store.open("INBOX").status().messages:
            append(store.open("INBOX"), b"Subject: one\n\nx\n", flags=["\\Seen", "Work"])
        run(Job(store, user, settings, {"command": command, "arguments": list(arguments), "options": {}}), None,
            lines.append)
    finally:
        store.close()
    return lines


def test_export_and_back(tmp_path: Path) -> None:
    assert said(tmp_path, "export", f"maildir:{tmp_path}/backup", "all") == [{"status": 0}]
    copied = list((tmp_path / "backup/cur").iterdir())
    assert [path.name.partition(":")[2] for path in copied] == ["2,Sa"]
    assert (tmp_path / "backup/dovecot-keywords").read_text() == "0 Work\n"
    assert said(tmp_path, "import", f"maildir:{tmp_path}/backup", "Old", "all") == [{"status": 0}]
    assert len(list((tmp_path / "Maildir/.Old.INBOX/cur").iterdir())) == 1


def test_a_folder_that_is_closed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, real = f"{tmp_path}/closed", os.mkdir

    def mkdir(path: Any, *mode: Any) -> None:
        if os.fsdecode(path).startswith(closed):
            raise PermissionError(13, "Permission denied", path)
        real(path, *mode)

    monkeypatch.setattr(os, "mkdir", mkdir)             # root, as whom tests run, may go everywhere
    told, status = said(tmp_path, "export", f"maildir:{closed}/backup", "all")
    assert "failed: Permission denied: " in str(told) and f"'{closed}" in str(told) and status == {"status": 77}, told
