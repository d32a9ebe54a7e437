"""Folders: nothing has a name before it is on disk, nothing is lost on the way."""

import asyncio
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import cast
from unittest.mock import Mock

import pytest

from mailsuite.base.uring import Operation, Ring
from mailsuite.queue.envelope import Envelope
from mailsuite.queue.folders import make_folders
from mailsuite.queue.ring_committer import RingCommitter
from mailsuite.queue.store import SPARES, QueueStore
from tests.queue.support import until


@pytest.fixture(params=["kernel", "threads", "renamed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> QueueStore:
    make_folders(str(tmp_path))
    made = QueueStore(str(tmp_path), by_kernel=request.param == "kernel")
    made._unnamed = request.param != "renamed"
    return made


def names(store: QueueStore, queue: str) -> list[str]:
    return os.listdir(f"{store.directory}/{queue}")


def test_a_file_has_its_name_after_the_commit(store: QueueStore) -> None:
    file = store.create()
    file.writer.add(b"x\n")
    file.finish(Envelope(arrival_time=1.0).facts(), [])
    assert file.queue_id not in names(store, "incoming")
    asyncio.run(store.commit(file))
    assert names(store, "incoming") == [file.queue_id]
    assert os.stat(store.path("incoming", file.queue_id)).st_mode & 0o777 == 0o600


def test_an_aborted_file_leaves_nothing(store: QueueStore) -> None:
    file = store.create()
    file.writer.add(b"x" * 200_000)
    file.close()
    file.close()
    assert names(store, "incoming") == []


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_failed_sync_leaves_no_name(store: QueueStore, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setattr(os, call, Mock(side_effect=OSError(errno.EIO, "disk broken")))
    file = store.create()
    file.finish(b"{}", [])
    with pytest.raises(OSError, match="disk broken"):
        store.commit_now(file, "incoming")
    assert names(store, "incoming") == []


def test_move_makes_subfolders(store: QueueStore) -> None:
    file = store.create()
    store.commit_now(file, "incoming")
    store.move(file.queue_id, "incoming", "deferred")
    assert store.find(file.queue_id) == "deferred"
    assert list(store.scan("deferred")) == [file.queue_id]
    with pytest.raises(FileNotFoundError):
        store.move(file.queue_id, "incoming", "deferred")
    assert store.remove("deferred", file.queue_id)
    assert not store.remove("deferred", file.queue_id)


def test_removal_does_not_wait(store: QueueStore) -> None:
    ends: list[OSError | None] = []

    async def run() -> None:
        made = [store.create() for _ in range(40)]
        for file in made:
            file.finish(b"{}", [])
        await asyncio.gather(*(store.commit(file) for file in made))
        for file in made:
            store.remove_soon("incoming", file.queue_id, ends.append)
        store.remove_soon("incoming", "4FNOTHERE", ends.append)
        assert ends == []
        await until(lambda: len(ends) == 41)

    asyncio.run(run())
    assert [type(end) for end in ends if end is not None] == [FileNotFoundError]
    assert names(store, "incoming") == []
    with pytest.raises(ValueError, match="queue id"):
        store.remove_soon("incoming", "../x", ends.append)


def test_foreign_names_are_passed_over(store: QueueStore) -> None:
    for name in (".new-1-1", "README.txt", "x"):
        Path(store.directory, "incoming", name).write_text("")
    assert list(store.scan("incoming")) == []


def test_where_the_name_needs_a_sync_of_its_own(store: QueueStore, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1])
    for promised, folders in ((True, 0), (False, 1)):
        monkeypatch.setattr("mailsuite.queue.store.syncs_new_names", lambda folder, promised=promised: promised)
        store.__dict__.pop("_names_are_synced", None)
        synced.clear()
        file = store.create()
        store.commit_now(file, "incoming")
        assert len(synced) == 1 + folders
        assert sum(path == f"{store.directory}/incoming" for path in synced) == folders


def test_a_file_that_was_taken_before_its_sync_failed(store: QueueStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """qmgr's scan may be faster than the disk: the client hears of the failure all the same."""
    file = store.create()

    def taken(fd: int) -> None:
        store.move(file.queue_id, "incoming", "active")
        raise OSError(errno.EIO, "disk broken")

    monkeypatch.setattr(os, "fsync", taken)
    with pytest.raises(OSError, match="disk broken"):
        store.commit_now(file, "incoming")
    assert store.find(file.queue_id) == "active"


def test_a_commit_outlives_who_waits_for_it(store: QueueStore) -> None:
    async def story() -> None:
        file = store.create()
        file.finish(Envelope(arrival_time=1.0).facts(), [])
        waiting = asyncio.ensure_future(store.commit(file))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        while not names(store, "incoming"):
            await asyncio.sleep(0.001)

    asyncio.run(story())


def test_many_commits_at_once(store: QueueStore) -> None:
    async def all_of_them() -> list[str]:
        files = [store.create() for _ in range(50)]
        await asyncio.gather(*(store.commit(file) for file in files))
        return [file.queue_id for file in files]

    assert sorted(asyncio.run(all_of_them())) == sorted(names(store, "incoming"))


def test_who_waits_for_the_disk_is_told_after_qmgr(store: QueueStore) -> None:
    async def story() -> list[str]:
        told: list[str] = []
        waiting = store.commit_soon(store.create(), "incoming", lambda: told.append("qmgr"))
        waiting.add_done_callback(lambda _: told.append("client"))
        await waiting
        return told

    assert asyncio.run(story()) == ["qmgr", "client"]


def test_a_missing_subfolder_is_made(tmp_path: Path) -> None:
    make_folders(str(tmp_path))
    store = QueueStore(str(tmp_path), hashed=("hold",))
    file = store.create()
    asyncio.run(store.commit(file, "hold"))
    assert store.find(file.queue_id) == "hold"


class BrokenRing:
    """A disk that says so: link and sync end with these errors."""

    room, entries, waiting = 256, 128, 0

    def __init__(self, path: Path, link_error: int, sync_error: int) -> None:
        self.read, self.write = os.pipe()
        self.fd, self.path = self.read, path
        self.errors, self.tokens = (link_error, sync_error), list[int]()

    def chain(self, token: int, operations: Sequence[Operation]) -> None:
        if len(operations) == 2:
            self.tokens.append(token)
            if not self.errors[0]:
                self.path.touch()

    def submit(self) -> list[tuple[int, int]]:
        os.write(self.write, b"x")
        return []

    def ended(self) -> Iterator[tuple[int, int, int]]:
        os.read(self.read, 100)
        while self.tokens:
            token = self.tokens.pop()
            yield from ((token, step, -error) for step, error in enumerate(self.errors))

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)


@pytest.mark.parametrize(("link_error", "sync_error", "kept"), [
    pytest.param(0, errno.EIO, False, id="sync"),
    pytest.param(errno.ENOMEM, 0, True, id="link: threads try again"),
])
def test_the_kernel_tells_of_a_broken_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link_error: int,
                                           sync_error: int, kept: bool) -> None:
    make_folders(str(tmp_path))

    async def story() -> None:
        store = QueueStore(str(tmp_path))
        file = store.create()
        ring = BrokenRing(Path(store.path("incoming", file.queue_id)), link_error, sync_error)
        monkeypatch.setattr(RingCommitter, "open", lambda: RingCommitter(cast(Ring, ring), asyncio.get_running_loop()))
        monkeypatch.setattr("mailsuite.queue.store.syncs_new_names", lambda folder: True)
        told: list[str] = []
        with nullcontext() if kept else pytest.raises(OSError, match="Input/output error"):
            await store.commit_soon(file, "incoming", lambda: told.append("qmgr"))
        assert names(store, "incoming") == ([file.queue_id] if kept else [])
        assert told == (["qmgr"] if kept else [])
        assert file.fd == -1
        store.close()

    asyncio.run(story())


def test_what_the_kernel_does_not_take_threads_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folders(str(tmp_path))
    monkeypatch.setattr("mailsuite.queue.store.syncs_new_names", lambda folder: True)
    monkeypatch.setattr(Ring, "submit", lambda ring: [(1, 0), (1, 1)])
    store = QueueStore(str(tmp_path))
    store._spares.extend((os.open(tmp_path, os.O_TMPFILE | os.O_RDWR), 0) for _ in range(SPARES))
    file = store.create()
    asyncio.run(store.commit(file))
    assert names(store, "incoming") == [file.queue_id]


def test_more_removals_than_the_ring_has_places(tmp_path: Path) -> None:
    make_folders(str(tmp_path))
    store = QueueStore(str(tmp_path))
    gone: list[OSError | None] = []
    queue_ids = [f"4F{number:05X}" for number in range(600)]
    for queue_id in queue_ids:
        Path(store.path("incoming", queue_id)).touch()

    async def story() -> None:
        for queue_id in queue_ids:
            store.remove_soon("incoming", queue_id, gone.append)
        await until(lambda: len(gone) == 600)

    asyncio.run(story())
    assert set(gone) == {None}
    assert names(store, "incoming") == []
