"""io_uring: what the kernel does with files by itself, and what it says of it."""

import errno
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailsuite.base import uring
from mailsuite.base.uring import Ring, link, open_file, sync


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = Ring.open(16)
    if made is None:
        pytest.skip("this kernel, or who confines us, has no io_uring")
    yield made
    made.close()


def results(ring: Ring, number: int) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    waiter = select.poll()                  # which has no limit on the descriptor's number
    waiter.register(ring.fd, select.POLLIN)
    while len(found) < number:
        assert waiter.poll(10_000), "nothing more ends"
        found += ring.ended()
    return found


def nameless(folder: Path, content: bytes = b"") -> int:
    fd = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, content)
    return fd


def test_a_file_gets_its_name(ring: Ring, tmp_path: Path) -> None:
    fd = nameless(tmp_path, b"mail\n")
    ring.chain(7, [link(fd, str(tmp_path / "a")), sync(fd)])
    assert ring.submit() == []
    assert results(ring, 2) == [(7, 0, 0), (7, 1, 0)]
    assert (tmp_path / "a").read_bytes() == b"mail\n"
    os.close(fd)


def test_each_operation_tells_its_failure(ring: Ring, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    fd = nameless(tmp_path)
    ring.chain(1, [link(fd, str(tmp_path / "a")), sync(fd)])
    ring.chain(2, [link(fd, str(tmp_path / "none/a")), sync(fd)])
    ring.submit()
    found = {(token, step): result for token, step, result in results(ring, 4)}
    assert found[1, 0] == -errno.EEXIST
    assert found[2, 0] == -errno.ENOENT
    os.close(fd)


def test_files_are_opened(ring: Ring, tmp_path: Path) -> None:
    ring.chain(3, [open_file(str(tmp_path), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)] * 4)
    ring.submit()
    fds = [result for _, _, result in results(ring, 4)]
    assert len(set(fds)) == 4
    assert not any(os.get_inheritable(fd) for fd in fds)
    for fd in fds:
        os.write(fd, b"x")
        os.close(fd)


def test_the_rings_turn(ring: Ring, tmp_path: Path) -> None:
    """Far more operations than there are entries."""
    fd = nameless(tmp_path)
    for turn in range(50):
        for token in range(8):
            ring.chain(turn * 8 + token, [sync(fd)])
        ring.submit()
        assert sorted(results(ring, 8)) == [(turn * 8 + token, 0, 0) for token in range(8)]
    os.close(fd)


def test_what_the_kernel_does_not_take_is_told_and_never_done(ring: Ring, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    fd = nameless(tmp_path)
    ring.chain(1, [link(fd, str(tmp_path / "a")), sync(fd)])
    with monkeypatch.context() as patch:
        patch.setattr(uring, "_call", lambda *args: -1)
        assert ring.submit() == [(1, 0), (1, 1)]
    ring.chain(2, [sync(fd)])
    assert ring.submit() == []
    assert results(ring, 1) == [(2, 0, 0)]
    assert os.listdir(tmp_path) == []
    os.close(fd)


def test_a_kernel_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uring, "_call", lambda *args: -1)
    assert Ring.open() is None
