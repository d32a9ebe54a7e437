"""base/filesystems.py: what fsync of a file makes durable."""

import os
from pathlib import Path

import pytest

from mailsuite.base import filesystems


def test_the_type_is_the_kernels(tmp_path: Path) -> None:
    assert filesystems.type_of("/proc") == "proc"
    assert filesystems.type_of(str(tmp_path)) == filesystems.type_of(str(tmp_path.parent)) != ""


@pytest.mark.parametrize(("kind", "promised"), [("ext4", True), ("xfs", True), ("btrfs", True), ("overlay", False),
                                                ("nfs4", False), ("", False)])
def test_only_known_file_systems_are_trusted(kind: str, promised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystems, "type_of", lambda path: kind)
    assert filesystems.syncs_new_names("/") is promised


def test_what_is_not_there_has_no_type(tmp_path: Path) -> None:
    assert filesystems.type_of(str(tmp_path / "nothing")) == ""
    assert not os.path.exists(tmp_path / "nothing")
