"""postsuper beside what Postfix 3.7.11's does with the same words; recorded there."""

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest

from mailsuite.cli import postsuper
from mailsuite.queue import deferlog
from mailsuite.queue.store import QueueStore
from tests.cli.conftest import Run
from tests.queue.support import World

MAIL = b"Date: Sat, 21 Nov 2026 05:00:00 +0000\nFrom: a@far.test\nMessage-Id: <1@far.test>\n\nbody\n"
USAGE = f"postsuper: fatal: {postsuper.USAGE}\n"


def put(world: World, count: int = 1) -> list[str]:
    return [asyncio.run(world.put(MAIL)).queue_id for _ in range(count)]


@pytest.mark.parametrize(("words", "status", "err"), [
    (["-d", "ABCDEF0123"], 0, "Deleted: 0 messages\n"),
    (["-d", "a/b"], 0, "warning: invalid mail queue id: a/b\npostsuper: Deleted: 0 messages\n"),
    (["-d", ""], 0, "warning: invalid mail queue id: \npostsuper: Deleted: 0 messages\n"),
    (["-d", "ab"], 0, "Deleted: 0 messages\n"), (["-d", "all"], 0, "Deleted: 0 messages\n"),
    (["-d", "ALL", "nowhere"], 1, "fatal: invalid directory name: nowhere\n"),
    (["-d", "ALL", "corrupt"], 1, "fatal: invalid directory name: corrupt\n"),
    (["-d", "ALL", "bounce"], 0, "Deleted: 0 messages\n"),
    (["-x"], 1, f"invalid option -- 'x'\n{USAGE}"), (["-d"], 1, f"option requires an argument -- 'd'\n{USAGE}"),
    (["-d", "A", "-h", "B", "-f", "C", "-e", "ALL", "-r", "D", "-H", "E"], 0,
     "Requeued: 0 messages\npostsuper: Deleted: 0 messages\npostsuper: Force-expired: 0 messages\n"
     "postsuper: Placed on hold: 0 messages\npostsuper: Released from hold: 0 messages\n"),
])
def test_words(world: World, run: Run, words: list[str], status: int, err: str) -> None:
    assert run(postsuper.main, *words) == (status, "", f"postsuper: {err}")


def test_each_option_sees_what_the_one_before_did(world: World, run: Run) -> None:
    one, = put(world)
    assert run(postsuper.main, "-h", one, "-H", one, "-h", one)[2].splitlines() == [
        f"postsuper: {one}: placed on hold", f"postsuper: {one}: released from hold",
        f"postsuper: {one}: placed on hold", "postsuper: Placed on hold: 2 messages",
        "postsuper: Released from hold: 1 message"]
    assert run(postsuper.main, "-r", one, "-H", one, "-d", one)[2].splitlines() == [
        f"postsuper: {one}: requeued", f"postsuper: {one}: removed", "postsuper: Requeued: 1 message",
        "postsuper: Deleted: 1 message", "postsuper: Released from hold: 0 messages"]


def test_expiry(world: World, run: Run) -> None:
    one, two = put(world, 2)
    run(postsuper.main, "-h", one)
    assert run(postsuper.main, "-f", one)[2].splitlines() == [
        f"postsuper: {one}: expired", f"postsuper: {one}: released from hold", "postsuper: Force-expired: 1 message",
        "postsuper: Released from hold: 1 message"]
    assert run(postsuper.main, "-e", one)[2] == "postsuper: Force-expired: 0 messages\n"
    assert run(postsuper.main, "-e", "ALL")[2] == "postsuper: Force-expired: 1 message\n"
    run(postsuper.main, "-h", "ALL")
    assert run(postsuper.main, "-f", "ALL")[2] == ("postsuper: Force-expired: 0 messages\n"
                                                   "postsuper: Released from hold: 2 messages\n")
    assert world.store.find(two) == "deferred"


def test_ids_from_standard_input(world: World, run: Run) -> None:
    one, two = put(world, 2)
    assert run(postsuper.main, "-h", "-", stdin=f"{one}\n\nbad/id\nABCDEF99\n{two}\n".encode())[2].splitlines() == [
        f"postsuper: {one}: placed on hold", "postsuper: warning: invalid mail queue id: ",
        "postsuper: warning: invalid mail queue id: bad/id", f"postsuper: {two}: placed on hold",
        "postsuper: Placed on hold: 2 messages"]


def test_all_says_no_ids_and_comes_first(world: World, run: Run) -> None:
    one, _ = put(world, 2)
    assert run(postsuper.main, "-d", one, "-d", "ALL")[2] == "postsuper: Deleted: 2 messages\n"


def test_deleting_takes_the_logs_too(world: World, run: Run) -> None:
    one, = put(world)
    for folder in ("defer", "bounce", "trace"):
        path = world.store.path(folder, one)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_text("x")
    run(postsuper.main, "-d", one)
    assert not any(os.path.exists(world.store.path(folder, one)) for folder in ("defer", "bounce", "trace"))


# --- structure ------------------------------------------------------------------------------------------------------


def other_inode(store: QueueStore, queue: str, queue_id: str) -> str:
    """Copy a file in its place, as a restored backup would; returns the name that fits it."""
    path = store.path(queue, queue_id)
    shutil.copy2(path, f"{path}.copy")
    Path(f"{store.directory}/keep").touch()         # takes the inode of what goes
    os.rename(f"{path}.copy", path)
    return f"{queue_id[:5]}{os.stat(path).st_ino:X}"


def deferred(world: World) -> str:
    queue_id, = put(world)
    os.makedirs(os.path.dirname(world.store.path("deferred", queue_id)), exist_ok=True)
    world.store.move(queue_id, "incoming", "deferred")
    deferlog.write(world.store.path("defer", queue_id), [], warned=True)
    return queue_id


def test_a_restored_file_gets_the_name_of_its_inode(world: World, run: Run) -> None:
    fit = other_inode(world.store, "deferred", deferred(world))
    assert run(postsuper.main, "-s")[2] == (
        "postsuper: Renamed to match inode number: 1 message\n"
        "postsuper: warning: QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS\n")
    assert list(world.store.scan("deferred")) == [fit] and deferlog.read(world.store.path("defer", fit)).warned
    assert run(postsuper.main) == (0, "", "")


def test_long_names_become_short_when_they_are_off(world: World, run: Run) -> None:
    world.store.long_ids = True
    queue_id, = put(world)
    assert len(queue_id) > 12
    assert "Renamed to match inode number: 1 message" in run(postsuper.main)[2]
    short, = world.store.scan("incoming")
    assert short.endswith(f"{os.stat(world.store.path('incoming', short)).st_ino:X}") and len(short) < 13
    assert run(postsuper.main) == (0, "", "")


def test_another_hash_depth(world: World, run: Run, tmp_path: Path) -> None:
    queue_id = deferred(world)
    main_cf = tmp_path / "etc" / "main.cf"
    for setting, place in (("hash_queue_depth = 2", f"deferred/{queue_id[0]}/{queue_id[1]}/{queue_id}"),
                           ("hash_queue_names = defer", f"deferred/{queue_id}")):
        before = main_cf.read_text()
        main_cf.write_text(f"{before}{setting}\n")
        assert run(postsuper.main, "-s") == (0, "", "")
        assert Path(world.store.directory, place).is_file()
        main_cf.write_text(before)
    assert [path.name for path in Path(world.store.directory, "deferred").iterdir()] == [queue_id]


def test_a_name_that_is_taken_stays(world: World, run: Run) -> None:
    queue_id = deferred(world)
    fit = other_inode(world.store, "deferred", queue_id)
    Path(world.store.path("hold", fit)).write_text("another")
    assert f"should be named {fit}" in run(postsuper.main, "-s", "deferred")[2]
    assert list(world.store.scan("deferred")) == [queue_id]


def test_foreign_files_are_named_and_left(world: World, run: Run) -> None:
    Path(world.store.directory, "maildrop", "12345.678").touch()
    Path(world.store.directory, "deferred", "folder").mkdir()
    assert run(postsuper.main)[2].splitlines() == ["postsuper: warning: bogus file name: deferred/folder",
                                                  "postsuper: warning: bogus file name: maildrop/12345.678"]
    assert Path(world.store.directory, "maildrop", "12345.678").exists()


def test_purge(world: World, run: Run) -> None:
    old, new = (Path(world.store.directory, "incoming", f".new-{name}") for name in "ab")
    for path in (old, new):
        path.touch()
    os.utime(old, (time.time() - 90000,) * 2)
    assert run(postsuper.main, "-p") == (0, "", "")
    assert not old.exists() and new.exists()
