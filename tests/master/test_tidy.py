"""What every start puts in order before anything runs on the queue."""

import asyncio
import logging
import os
import pwd
import shutil
from pathlib import Path

import pytest

from mailsuite.master.accounts import Accounts
from mailsuite.master.prepare import tidy_queue
from mailsuite.queue.store import open_store
from tests.queue.support import World

MAIL = b"Subject: s\n\nbody\n"


def restored(world: World) -> tuple[str, str]:
    """A message as a backup brings it back, with another inode; (its name, the name that fits)."""
    queue_id = asyncio.run(world.put(MAIL)).queue_id
    path = world.store.path("incoming", queue_id)
    shutil.copy2(path, f"{path}.copy")
    (Path(world.store.directory) / "keep").touch()
    os.rename(f"{path}.copy", path)
    return queue_id, f"{queue_id[:5]}{os.stat(path).st_ino:X}"


def test_a_restored_queue(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path)
    _, fit = restored(world)
    with caplog.at_level(logging.INFO, "mailsuite.postsuper"):
        tidy_queue(world.settings, Accounts(False))
    assert list(world.store.scan("incoming")) == [fit]
    assert "Renamed to match inode number: 1 message" in caplog.text


def test_a_queue_that_is_not_there_stops_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    shutil.rmtree(world.store.directory)
    tidy_queue(world.settings, Accounts(False))
    assert not os.path.exists(world.store.directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has an owner's rights to take")
def test_root_works_with_the_owners_rights(tmp_path: Path) -> None:
    world = World(tmp_path)
    _, fit = restored(world)
    nobody = pwd.getpwnam("nobody")
    # A link that the owner of the queue put there must not make root touch what is behind it.
    secret = tmp_path / "secret"
    secret.write_text("x")
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.owner() == "root" and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    for top, folders, names in os.walk(world.store.directory):
        for name in [top, *(f"{top}/{one}" for one in (*folders, *names))]:
            os.chown(name, nobody.pw_uid, nobody.pw_gid)
    os.symlink(secret, f"{world.store.directory}/deferred/ABCDEF12")
    tidy_queue(world.settings, Accounts(True, ("nobody", nobody.pw_uid, nobody.pw_gid)))
    store = open_store(world.settings)
    assert list(store.scan("incoming")) == [fit]
    assert os.stat(store.path("incoming", fit)).st_uid == nobody.pw_uid
    assert secret.stat().st_uid == 0 and secret.read_text() == "x"
