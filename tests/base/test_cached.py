"""base.cached: files in the kernel's memory, read without waiting."""

import gc
import os
from pathlib import Path

import pytest

from mailsuite.base import cached


def test_what_was_just_written_is_read_or_left_to_a_thread(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"content")
    path.read_bytes()
    # None: a file system, or a sandbox, that does not tell.
    assert cached.read_cached(os.fsencode(path), 7) in (b"content", None)
    assert cached.read_cached(os.fsencode(path), 6) is None


def test_what_is_none_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    for name in ("absent", "link", "."):
        assert cached.read_cached(os.fsencode(tmp_path / name), 100) is None


def test_a_kernel_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"content")
    monkeypatch.setattr(cached, "_syscall", lambda *_: -1)
    assert cached.read_cached(os.fsencode(path), 100) is None


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"content")
    gc.collect()            # what other tests left is closed now, not meanwhile
    before = set(os.listdir("/proc/self/fd"))
    for most in (3, 100):
        cached.read_cached(os.fsencode(path), most)
    assert set(os.listdir("/proc/self/fd")) <= before
