"""Maildir and mbox delivery: what is on disk afterwards, also when something fails."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from random import Random
from unittest.mock import Mock

import pytest

from mailsuite.base.writeback import start_sync
from mailsuite.store import maildir_delivery
from mailsuite.store.delivery import (
    DeliveryFailed,
    MboxLocks,
    append_mbox,
    from_line,
    quote_from,
    read_blocks,
)
from mailsuite.store.locks import LockBusy, MailboxLock, parse_methods
from mailsuite.store.maildir_delivery import Delivery, deliver_maildir, deliver_maildirs

LOCKS = MboxLocks(wait_s=0.0)
HEADER = b"Return-Path: <a@b.test>\nDelivered-To: c@d.test\n"
MESSAGE = b"Subject: x\n\nbody\n"


# --- Maildir --------------------------------------------------------------------------------------------------------

def test_maildir_is_made_and_holds_the_message(tmp_path: Path) -> None:
    path = deliver_maildir(f"{tmp_path}/a/b/", HEADER, [MESSAGE[:4], MESSAGE[4:]], host="mx.test", now=1700000000.25)
    assert Path(path).read_bytes() == HEADER + MESSAGE
    assert re.fullmatch(r"1700000000\.V[0-9a-f]+I[0-9a-f]+M250000\.mx\.test", os.path.basename(path))
    for name in ("", "new", "cur", "tmp"):
        assert (tmp_path / "a/b" / name).stat().st_mode & 0o777 == 0o700
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path / "a/b/tmp") == []


def test_a_last_line_without_an_end_gets_one(tmp_path: Path) -> None:
    assert Path(deliver_maildir(str(tmp_path / "m"), b"", [b"A: b\n\nx"], host="h")).read_bytes() == b"A: b\n\nx\n"


def test_large_messages_stream(tmp_path: Path) -> None:
    blocks = [bytes([65 + n % 26]) * 50_000 + b"\n" for n in range(30)]
    path = deliver_maildir(str(tmp_path / "m"), HEADER, blocks, host="h")
    assert Path(path).read_bytes() == HEADER + b"".join(blocks)


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    deliver_maildir(str(tmp_path / "m"), b"", [b"first\n"], host="h")
    before = sorted(path.name for path in (tmp_path / "m").rglob("*"))
    monkeypatch.setattr(os, call, Mock(side_effect=OSError(errno.ENOSPC, "full")))
    with pytest.raises(DeliveryFailed) as caught:
        deliver_maildir(str(tmp_path / "m"), HEADER, [MESSAGE], host="h")
    assert caught.value.status == "4.3.0"
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "m").rglob("*")) == before


def test_new_is_synced_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    rename, fsync = os.rename, os.fsync
    monkeypatch.setattr(os, "rename", lambda a, b: (done.append("rename"), rename(a, b)))
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    (tmp_path / "m").mkdir()
    for name in ("new", "tmp", "cur"):
        (tmp_path / "m" / name).mkdir()
    deliver_maildir(str(tmp_path / "m"), b"", [MESSAGE], host="h")
    assert done[0].startswith(f"{tmp_path}/m/tmp/")
    assert done[1:] == ["rename", f"{tmp_path}/m/new"]


def test_several_at_once_share_the_sync_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path | str] = []
    deliver_maildir(str(tmp_path / "a"), b"", [MESSAGE], host="h")
    deliver_maildir(str(tmp_path / "b"), b"", [MESSAGE], host="h")
    monkeypatch.setattr(maildir_delivery, "fsync_directory", synced.append)
    ends = deliver_maildirs([Delivery(str(tmp_path / name), HEADER, [MESSAGE], "h") for name in "aabba"])
    assert [Path(str(end)).read_bytes() for end in ends] == [HEADER + MESSAGE] * 5
    assert len(set(map(str, ends))) == 5
    assert synced == [f"{tmp_path}/a/new", f"{tmp_path}/b/new"]


def test_the_disk_begins_with_all_before_one_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync = os.fsync
    deliver_maildir(str(tmp_path / "a"), b"", [MESSAGE], host="h")
    monkeypatch.setattr(maildir_delivery, "start_sync", lambda fd: done.append("start"))
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("fsync"), fsync(fd)))
    ends = deliver_maildirs([Delivery(str(tmp_path / "a"), HEADER, [MESSAGE], "h")] * 3)
    assert all(isinstance(end, str) for end in ends)
    assert done == ["start"] * 3 + ["fsync"] * 4


def test_starting_a_sync_never_fails(tmp_path: Path) -> None:
    start_sync(-1)
    with open(tmp_path / "f", "wb") as file:
        file.write(MESSAGE)
        file.flush()
        start_sync(file.fileno())
    assert (tmp_path / "f").read_bytes() == MESSAGE


def test_a_failure_of_one_is_not_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver_maildir(str(tmp_path / "a"), b"", [MESSAGE], host="h")
    deliver_maildir(str(tmp_path / "b"), b"", [MESSAGE], host="h")

    def short() -> Iterator[bytes]:
        yield b"half"
        raise DeliveryFailed("queue file is too short", status="4.3.0")

    def sync(path: str) -> None:
        if path.endswith("b/new"):
            raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(maildir_delivery, "fsync_directory", sync)
    ends = deliver_maildirs([Delivery(str(tmp_path / "a"), b"", [MESSAGE], "h"),
                             Delivery(str(tmp_path / "a"), b"", short(), "h"),
                             Delivery(str(tmp_path / "b"), b"", [MESSAGE], "h")])
    assert isinstance(ends[0], str) and os.path.exists(ends[0])
    assert [getattr(end, "public", "") for end in ends] == [
        "", "queue file is too short", f"sync {tmp_path}/b/new: Input/output error"]
    assert [len(list((tmp_path / name).rglob("*.h"))) for name in "ab"] == [2, 1]


# --- mbox -----------------------------------------------------------------------------------------------------------

def quoted(text: bytes) -> bytes:
    text = re.sub(rb"(?m)^From ", b">From ", text)
    return text if text.endswith(b"\n") else text + b"\n"


@pytest.mark.parametrize("seed", range(300))
def test_from_quoting_does_not_depend_on_blocks(seed: int) -> None:
    random = Random(seed)
    words = [b"From ", b"\n", b"Fr", b"o", b"m", b" ", b">", b"\nFrom ", b"x"]
    text = b"".join(random.choice(words) for _ in range(random.randint(1, 12)))
    blocks, start = [], 0
    while start < len(text):
        size = random.randint(1, 6)
        blocks.append(text[start:start + size])
        start += size
    assert b"".join(quote_from(blocks)) == quoted(text)


def test_mbox_format(tmp_path: Path) -> None:
    path = str(tmp_path / "box")
    append_mbox(path, "a@b.test", HEADER, [b"Subject: x\n\nFrom here\n>From there\nno end"], locks=LOCKS, now=0.0)
    append_mbox(path, "", b"", [MESSAGE], locks=LOCKS, now=0.0)
    assert Path(path).read_bytes() == (
        from_line("a@b.test", 0.0) + HEADER + b"Subject: x\n\n>From here\n>From there\nno end\n\n"
        + from_line("", 0.0) + MESSAGE + b"\n")
    assert from_line("", 0.0).startswith(b"From MAILER-DAEMON  ")
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["box"]


def test_limit_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.write_bytes(b"old\n")
    with pytest.raises(DeliveryFailed) as caught:
        append_mbox(str(box), "a@b.test", HEADER, [MESSAGE] * 20000, locks=LOCKS, limit=200_000)
    assert (caught.value.status, caught.value.public) == ("5.2.2", "error writing message: File too large")
    assert box.read_bytes() == b"old\n"


def test_failed_sync_cuts_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = tmp_path / "box"
    box.write_bytes(b"old\n")
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError(errno.EIO, "disk")))
    with pytest.raises(DeliveryFailed) as caught:
        append_mbox(str(box), "a@b.test", b"", [MESSAGE], locks=LOCKS)
    assert caught.value.temporary
    assert box.read_bytes() == b"old\n"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "box").symlink_to(tmp_path / "target")
    tmp_path.chmod(0o777)               # so that anybody could have put the link there
    with pytest.raises(DeliveryFailed):
        append_mbox(str(tmp_path / "box"), "a@b.test", b"", [MESSAGE], locks=LOCKS)
    assert (tmp_path / "target").read_bytes() == b""


def test_dev_null_takes_mail() -> None:
    append_mbox("/dev/null", "a@b.test", b"", [MESSAGE], locks=LOCKS)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode) and not os.path.exists("/dev/null.lock")


def test_a_held_dotlock_defers(tmp_path: Path) -> None:
    (tmp_path / "box.lock").write_text("1:elsewhere.test")
    with pytest.raises(DeliveryFailed) as caught:
        append_mbox(str(tmp_path / "box"), "a@b.test", b"", [MESSAGE], locks=LOCKS)
    assert caught.value.public == f"unable to create lock file {tmp_path}/box.lock: File exists"
    assert caught.value.temporary
    assert not (tmp_path / "box").exists()


@pytest.mark.parametrize(("size", "ok"), [(5, True), (6, False)])
def test_a_short_queue_file_is_no_message(tmp_path: Path, size: int, ok: bool) -> None:
    (tmp_path / "q").write_bytes(b"12345")
    fd = os.open(tmp_path / "q", os.O_RDONLY)
    try:
        if ok:
            assert b"".join(read_blocks(fd, 0, size)) == b"12345"
        else:
            with pytest.raises(DeliveryFailed):
                list(read_blocks(fd, 0, size))
    finally:
        os.close(fd)


# --- locks ----------------------------------------------------------------------------------------------------------

def test_dotlock_comes_and_goes(tmp_path: Path) -> None:
    lock = MailboxLock(str(tmp_path / "box"), parse_methods("fcntl, dotlock"), wait_s=0)
    with lock.dotlock():
        assert (tmp_path / "box.lock").read_text().startswith(f"{os.getpid()}:")
        with pytest.raises(LockBusy), MailboxLock(str(tmp_path / "box"), ("dotlock",), wait_s=0).dotlock():
            pass
    assert not (tmp_path / "box.lock").exists()


@pytest.mark.parametrize(("content", "age_s", "taken"), [
    ("", 1000, True), ("", 0, False), ("999999:HOST", 0, True), ("1:HOST", 0, False), ("999999:other", 0, False)])
def test_stale_dotlocks(tmp_path: Path, content: str, age_s: int, taken: bool) -> None:
    import socket
    import time
    file = tmp_path / "box.lock"
    file.write_text(content.replace("HOST", socket.gethostname()))
    os.utime(file, (time.time() - age_s,) * 2)
    lock = MailboxLock(str(tmp_path / "box"), ("dotlock",), wait_s=0, stale_s=500)
    if taken:
        with lock.dotlock():
            pass
    else:
        with pytest.raises(LockBusy), lock.dotlock():
            pass


def test_flock_excludes(tmp_path: Path) -> None:
    (tmp_path / "box").write_bytes(b"")
    one, two = (os.open(tmp_path / "box", os.O_RDWR) for _ in range(2))
    lock = MailboxLock(str(tmp_path / "box"), ("flock",), wait_s=0)
    try:
        with lock.held(one), pytest.raises(LockBusy):
            lock.descriptor(two)
        lock.descriptor(two)
    finally:
        os.close(one)
        os.close(two)
