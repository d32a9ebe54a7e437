"""Folders: nothing has a name before it is on disk, nothing is lost on the way."""

import asyncio
import errno
import os
from pathlib import Path
from unittest.mock import Mock

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


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_failed_sync_leaves_no_name(store: QueueStore, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setattr(os, call, Mock(side_effect=OSError(errno.EIO, "disk broken")))
    file = store.create()
    file.finish({}, [])
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
        file.finish({"sender": "", "arrival_time": 1.0, "origin": {}}, [])
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
