"""Folders: nothing has a name before it is on disk, nothing is lost on the way."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from mailsuite.queue.store import QueueStore, make_folders


@pytest.fixture(params=[True, False], ids=["unnamed", "renamed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> QueueStore:
    make_folders(str(tmp_path))
    made = QueueStore(str(tmp_path))
    made._unnamed = request.param
    return made


def names(store: QueueStore, queue: str) -> list[str]:
    return os.listdir(f"{store.directory}/{queue}")


def test_a_file_has_its_name_after_the_commit(store: QueueStore) -> None:
    file = store.create()
    file.writer.add(b"x\n")
    file.finish({"sender": "", "arrival_time": 1.0, "origin": {}}, [])
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


@pytest.mark.parametrize("fail_at", [1, 2])
def test_a_failed_sync_leaves_no_name(store: QueueStore, monkeypatch: pytest.MonkeyPatch, fail_at: int) -> None:
    calls = []

    def fsync(fd: int) -> None:
        calls.append(fd)
        if len(calls) == fail_at:
            raise OSError(errno.EIO, "disk broken")

    monkeypatch.setattr(os, "fsync", fsync)
    file = store.create()
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


def test_foreign_names_are_passed_over(store: QueueStore) -> None:
    for name in (".new-1-1", "README.txt", "x"):
        Path(store.directory, "incoming", name).write_text("")
    assert list(store.scan("incoming")) == []


def test_many_commits_at_once(store: QueueStore) -> None:
    async def all_of_them() -> list[str]:
        files = [store.create() for _ in range(50)]
        await asyncio.gather(*(store.commit(file) for file in files))
        return [file.queue_id for file in files]

    assert sorted(asyncio.run(all_of_them())) == sorted(names(store, "incoming"))
