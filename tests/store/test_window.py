"""FileData: the same as octets, wherever the window lies; a file that shrinks is an error of one call."""

import os
from pathlib import Path
from random import Random

import pytest

from mailsuite.store.mbox import window
from mailsuite.store.mbox.window import FileData


@pytest.mark.parametrize("seed", range(40))
def test_as_octets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(window, "WINDOW", 37)
    monkeypatch.setattr(window, "ASIDE", 5)
    chance = Random(seed)
    octets = bytes(chance.choice(b"\nFrom ab") for _ in range(600))
    (tmp_path / "box").write_bytes(octets)
    fd = os.open(tmp_path / "box", os.O_RDONLY)
    try:
        data = FileData(fd)
        assert len(data) == 600
        for _ in range(300):
            a, b = sorted((chance.randrange(700), chance.randrange(700)))
            assert data[a:b] == octets[a:b]
            wanted = chance.choice([b"\n", b"\nFrom ", b"ab", b"\n\n", b"zz"])
            assert data.find(wanted, a, b) == octets.find(wanted, a, b)
            assert data.find(wanted, a) == octets.find(wanted, a)
    finally:
        os.close(fd)


def test_a_file_that_shrinks(tmp_path: Path) -> None:
    (tmp_path / "box").write_bytes(b"x" * 100)
    fd = os.open(tmp_path / "box", os.O_RDWR)
    try:
        data = FileData(fd)
        os.ftruncate(fd, 10)
        with pytest.raises(OSError):
            data.find(b"y")
        with pytest.raises(OSError):
            data[50:60]
    finally:
        os.close(fd)
