"""write_whole: all of the old or all of the new."""

import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from mailsuite.base.files import write_whole


def test_failed_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(target := tmp_path / "uidlist", b"old")
    monkeypatch.setattr(os, "rename", Mock(side_effect=OSError(28, "disk full")))
    with pytest.raises(OSError):
        write_whole(target, b"new")
    assert target.read_bytes() == b"old" and os.listdir(tmp_path) == ["uidlist"]


def test_mode_is_set_before_the_name_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda a, b: (modes.append(os.stat(a).st_mode & 0o777), rename(a, b)))
    write_whole(tmp_path / "key", b"secret", mode=0o600)
    assert modes == [0o600]
