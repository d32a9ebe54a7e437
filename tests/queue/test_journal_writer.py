"""smtpd's end of the journal: nothing is promised before the sync that covers it, a failed sync promises nothing."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailsuite.queue import journal, journal_writer
from mailsuite.queue.envelope import Envelope
from mailsuite.queue.folders import make_folders
from mailsuite.queue.journal import BLOCK, FOLDER, Place, Segment
from mailsuite.queue.store import QueueFile, QueueStore
from tests.queue.support import until

SIZE = 16 * BLOCK


class Disk:
    """Syncs end when the test says so."""

    def __init__(self) -> None:
        self.begun: list[Callable[[int], None]] = []

    def sync(self, fd: int, done: Callable[[int], None]) -> None:
        os.fstat(fd)
        self.begun.append(done)

    def end(self, code: int = 0, at: int = 0) -> None:
        self.begun.pop(at)(code)


class Site:
    """A store with a journal, on a disk of the test's or on the real one."""

    def __init__(self, top: Path, disk: Disk | None, *, size: int = SIZE, most: int = 2,
                 by_kernel: bool = True) -> None:
        make_folders(str(top))
        self.store = QueueStore(str(top), by_kernel=by_kernel)
        self.store.use_journal(size=size, most=most)
        assert self.store.journal is not None
        self.writer = self.store.journal
        self.folder = f"{top}/{FOLDER}"
        if disk is not None:
            self.writer._sync = disk.sync
        self.told: list[Place | None] = []

    async def ready(self) -> None:
        await until(lambda: self.writer.in_use)

    def begin(self, content: bytes = b"x\n") -> tuple[QueueFile, "asyncio.Future[None]"]:
        file = self.store.create()
        file.writer.add(content)
        file.finish(Envelope(arrival_time=1.0).facts(), [])
        return file, self.store.commit_soon(file, "incoming", lambda: self.told.append(file.place), to_journal=True)

    def files(self) -> list[str]:
        return sorted(self.store.scan("incoming"))

    def records(self) -> list[str]:
        return [one.queue_id for segment in journal.opened(self.folder) for one in segment.records()]

    def free(self, place: Place | None) -> None:
        assert place is not None
        segment = Segment.open(self.folder, place.segment)
        segment.set_free(place)
        segment.close()


@asynccontextmanager
async def open_site(top: Path, disk: Disk | None, *, size: int = SIZE, most: int = 2,
                    by_kernel: bool = True) -> AsyncIterator[Site]:
    site = Site(top, disk, size=size, most=most, by_kernel=by_kernel)
    try:
        await site.ready()
        yield site
    finally:
        site.store.close()


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await test()

    asyncio.run(limited())


def test_nothing_is_promised_before_its_sync(tmp_path: Path) -> None:
    async def test() -> None:
        disk = Disk()
        async with open_site(tmp_path, disk) as site:
            first, one = site.begin()
            await turn()
            assert len(disk.begun) == 1
            assert not one.done()
            assert site.told == []
            disk.end()
            await one
            assert site.told == [first.place]
            assert site.records() == [first.queue_id]
            assert site.files() == []

    run(test)


def test_what_comes_during_a_sync_shares_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        disk = Disk()
        async with open_site(tmp_path, disk) as site:
            ends = []
            for _ in range(journal_writer.SYNCS):
                ends.append(site.begin()[1])
                await turn()
            assert len(disk.begun) == journal_writer.SYNCS
            for _ in range(4):
                ends.append(site.begin()[1])
                await turn()
            assert len(disk.begun) == journal_writer.SYNCS        # no sync of its own for any of them
            disk.end(at=1)
            await turn()
            assert [end.done() for end in ends] == [False, True, False, False, False, False]
            disk.end(at=1)              # that of the four, which began after they were written
            await turn()
            assert [end.done() for end in ends] == [False, True, True, True, True, True]
            disk.end()
            await asyncio.gather(*ends)
            assert len(site.records()) == 6

    run(test)


def test_a_failed_sync_promises_nothing(tmp_path: Path) -> None:
    """Neither do others that were under way: the kernel may have told of their error before."""
    async def test() -> None:
        disk = Disk()
        async with open_site(tmp_path, disk, most=3) as site:
            good, kept = site.begin()
            await turn()
            disk.end()
            await kept
            _, one = site.begin()
            await turn()
            _, other = site.begin()
            await turn()
            disk.end(errno.EIO)
            disk.end()
            for end in (one, other):
                with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                    await end
            assert site.told == [good.place]
            assert site.records() == [good.queue_id]            # what was promised is not voided
            (segment,) = [one for one in journal.opened(site.folder) if one.retired]
            await site.ready()
            later, third = site.begin()
            await turn()
            disk.end()
            await third
            assert later.place is not None
            assert later.place.segment != segment.name

    run(test)


def test_a_failed_write_promises_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        disk = Disk()
        async with open_site(tmp_path, disk) as site:
            monkeypatch.setattr(os, "pwritev", lambda *_: BLOCK // 2)
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                await site.begin()[1]
            monkeypatch.undo()
            assert disk.begun == []
            assert site.records() == []
            assert site.told == []

    run(test)


def test_who_is_cancelled_stops_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        disk = Disk()
        async with open_site(tmp_path, disk) as site:
            file, end = site.begin()
            await turn()
            end.cancel()
            disk.end()
            await turn()
            assert site.told == [file.place]
            assert site.records() == [file.queue_id]

    run(test)


def test_large_mail_becomes_a_file(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_site(tmp_path, Disk(), size=1 << 20) as site:
            for content in (b"x" * 70_000, b"x\n" * 40_000):
                file, end = site.begin(content)
                await end
                assert file.place is None
            assert len(site.files()) == 2

    run(test)


def test_a_full_journal_leaves_it_to_files(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_site(tmp_path, None, size=4 * BLOCK, most=1) as site:
            ends = [site.begin() for _ in range(8)]
            await asyncio.gather(*(end for _, end in ends))
            assert len(site.records()) == 3             # as many as there are blocks
            assert len(site.files()) == 5
            assert sorted(site.records() + site.files()) == sorted(file.queue_id for file, _ in ends)
            assert len(site.told) == 8

    run(test)


@pytest.mark.parametrize("by_kernel", [True, False])
def test_segments_take_turns(tmp_path: Path, by_kernel: bool) -> None:
    """A segment is written again when all of it is free, and not before."""
    async def test() -> None:
        async with open_site(tmp_path, None, size=4 * BLOCK, most=2, by_kernel=by_kernel) as site:
            kept: list[Place] = []
            for number in range(60):
                await site.ready()
                file, end = site.begin(b"%d\n" % number)
                await end
                if file.place is None:
                    continue
                if number == 1:
                    kept.append(file.place)
                else:
                    site.free(file.place)
            (segment,) = [one for one in journal.opened(site.folder) if one.name == kept[0].segment]
            assert {one.place for found in journal.opened(site.folder) for one in found.records()} == set(kept)
            assert max(place.generation for found in journal.opened(site.folder)
                       for place, _ in found.headers()) > 2
            assert segment.name == kept[0].segment

    run(test)


def test_what_is_left_of_another_process_is_taken_over(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_site(tmp_path, None) as site:
            file, end = site.begin()
            await end
            other, end = site.begin()
            await end
            site.free(file.place)
        async with open_site(tmp_path, None) as site:       # one record is still needed
            assert len(journal.names(site.folder)) == 2
            site.free(other.place)
        async with open_site(tmp_path, None) as site:
            assert len(journal.names(site.folder)) == 2
            file, end = site.begin()
            await end
            assert site.records() == [file.queue_id]

    run(test)


def test_a_retired_segment_is_removed_when_nobody_needs_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_site(tmp_path, None, most=1) as site:
            file, end = site.begin()
            await end
            segment = Segment.open(site.folder, journal.names(site.folder)[0])
            segment.retire()
        site = Site(tmp_path, None, most=1)
        assert await site.store.pool.run(site.writer._find) is None
        segment.set_free(file.place or Place("", 0, 0, 0))
        assert await site.store.pool.run(site.writer._find) is None         # removed, and there were enough
        assert journal.names(site.folder) == []
        segment.close()

    run(test)


def test_a_full_disk_gets_no_segments(tmp_path: Path) -> None:
    async def test() -> None:
        site = Site(tmp_path, None, size=1 << 50)
        assert await site.store.pool.run(site.writer._find) is None
        assert os.listdir(site.folder) == []

    run(test)


def test_the_last_generation_is_not_written(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_site(tmp_path, None, most=1) as site:
            assert site.writer._spare is not None
            site.writer._spare.generation = journal.LAST_GENERATION
            file, end = site.begin()
            await end
            site.free(file.place)
            assert site.writer._current is not None
            assert site.writer._current.is_free
            assert not site.writer._current.reusable

    run(test)


def test_a_segment_that_cannot_be_made_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    caplog: pytest.LogCaptureFixture) -> None:
    """And looked for again later, not with each message."""
    tries = 0

    def broken(*_: object) -> Segment:
        nonlocal tries
        tries += 1
        raise OSError(errno.EIO, "Input/output error", "the-segments-name")

    monkeypatch.setattr(journal_writer, "RETRY_S", 0.01)
    monkeypatch.setattr(Segment, "create", broken)

    async def test() -> None:
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        site = Site(tmp_path, None)
        await until(lambda: not site.writer.in_use and tries >= 3)
        await until(lambda: site.writer._preparing is None)
        assert site.writer._look_at > 0
        site.store.close()
        assert failures == []

    with caplog.at_level("WARNING"):
        asyncio.run(test())
    said = [record.getMessage() for record in caplog.records if "segment of the journal" in record.getMessage()]
    assert len(said) == 1
    assert "the-segments-name" not in said[0]


def test_a_client_that_is_alone_does_not_wait_for_a_turn(tmp_path: Path) -> None:
    async def test() -> None:
        disk = Disk()
        async with open_site(tmp_path, disk) as site:
            _, first = site.begin()
            assert not disk.begun                       # others may come in this turn
            await turn()
            disk.end()
            await first
            _, second = site.begin()
            assert len(disk.begun) == 1                 # nobody came: it has begun already
            _, third = site.begin()
            _, fourth = site.begin()
            await turn()
            assert len(disk.begun) == 2                 # what comes meanwhile goes together
            disk.end()
            disk.end()
            await asyncio.gather(second, third, fourth)
            _, fifth = site.begin()
            assert not disk.begun                       # the last were two
            await turn()
            disk.end()
            await fifth

    run(test)


def test_a_write_that_fails_at_once_is_told_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, buffers: object, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def test() -> None:
        disk = Disk()
        async with open_site(tmp_path, disk) as site:
            _, first = site.begin()
            await turn()
            disk.end()
            await first
            monkeypatch.setattr("mailsuite.queue.journal_writer.os.pwritev", full)
            _, second = site.begin()
            assert not second.done()                    # whoever commits is not called from within
            with pytest.raises(OSError, match="No space"):
                await second

    run(test)
