"""qmgr and the journal: what is delivered at once never is a file, all else becomes one, and nothing is lost."""

import asyncio
import errno
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailsuite.queue import deferlog, journal
from mailsuite.queue.admin import Act, on_one
from mailsuite.queue.envelope import Notify, Recipient
from mailsuite.queue.file import Damaged
from mailsuite.queue.journal import BLOCK, Place, Segment, copy_out
from mailsuite.queue.journal_reader import recover
from mailsuite.queue.listing import list_queue
from mailsuite.queue.notify import Notifier
from mailsuite.queue.store import QueueStore
from mailsuite.queue.to_files import bring_to_files
from tests.queue.running import LATER, MAIL, NEVER, Running, ask, running
from tests.queue.support import World, until

LONG = {"queue_journal_time": "1000s"}
SEGMENT = 64 * BLOCK


async def use_journal(world: Running) -> None:
    """From here on mail goes to the journal."""
    world.store.use_journal(size=SEGMENT, most=3)
    notifier = world.cleanup.notifier = Notifier(f"{world.store.directory}/public/qmgr", journal=True)
    await world.put(MAIL)
    await until(lambda: notifier.journal and world.store.journal and world.store.journal.in_use and not world.where())
    for agent in world.agents.values():
        agent.requests.clear()


def folder(store: QueueStore) -> str:
    return f"{store.directory}/{journal.FOLDER}"


def segments(store: QueueStore) -> Iterator[Segment]:
    return journal.opened(folder(store))


def unfinished(world: World) -> list[str]:
    return [one.queue_id for segment in segments(world.store) for one in segment.records()]


def needed(world: World) -> int:
    """Records whose blocks are not free."""
    return sum(not segment.is_free(place.block, place.generation)
               for segment in segments(world.store) for place, _ in segment.headers())


def play(top: Path, story: Callable[[Running], Awaitable[None]], answers: dict[str, dict[str, Any]] | None = None,
         **values: str) -> None:
    async def run() -> None:
        async with running(top, answers or {}, **{**LONG, **values}) as world:
            await use_journal(world)
            await story(world)
            world.store.close()
            world.cleanup.notifier.close()      # type: ignore[union-attr]

    asyncio.run(run())


def content_of(request: dict[str, Any]) -> bytes:
    place = Place(*request["at"])
    fd = copy_out(request["path"], place, request["queue_id"])
    try:
        return os.pread(fd, request["size"], request["offset"])
    finally:
        os.close(fd)


def test_mail_that_is_delivered_at_once_is_never_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: Running) -> None:
        made = []
        monkeypatch.setattr(QueueStore, "_new_file", lambda *_: made.append(1))
        hold = world.agents["smtp"].hold = asyncio.Event()
        queue_id = (await world.put(MAIL, to=["x@far.test", "y@far.test"])).queue_id
        await until(lambda: world.agents["smtp"].requests)
        request = world.agents["smtp"].requests[0]
        assert request["queue_id"] == queue_id
        assert MAIL.removeprefix(b"Date") in content_of(request)
        assert unfinished(world) == [queue_id]
        hold.set()
        await until(lambda: not needed(world))
        assert world.where() == {}
        assert made == []
        assert world.manager is not None
        await until(lambda: not world.manager.manager.active)       # type: ignore[union-attr]

    play(tmp_path, story)


def test_deferred_mail_gets_a_file(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        queue_id = (await world.put(MAIL, to=["b@mx.test", "x@far.test"])).queue_id
        await until(lambda: world.where() == {"deferred": [queue_id]})
        stored = world.store.read("deferred", queue_id)
        assert ([one.address for one in stored.recipients], stored.done) == (["x@far.test"], 1)
        assert list(deferlog.read(world.store.path("defer", queue_id)).of.values()) == ["busy"]
        assert MAIL in world.content("deferred", queue_id)
        await until(lambda: not needed(world))
        world.answers.clear()
        await ask(world, {"op": "flush"})
        await until(lambda: not world.where())
        assert len(world.agents["local"].requests) == 1

    play(tmp_path, story, {"x@far.test": LATER})


def test_a_bounce_quotes_the_message(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        await world.put(MAIL, sender="s@mx.test", to=["no@far.test"])
        await until(lambda: world.agents["local"].requests)
        request = world.agents["local"].requests[0]
        assert (request["sender"], request["recipients"][0][0]) == ("", "s@mx.test")
        await until(lambda: not world.where() and not needed(world))

    play(tmp_path, story, {"no@far.test": NEVER})


def test_a_notice_of_success_is_owed(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        await world.put(MAIL, sender="s@mx.test", to=[Recipient("x@far.test", notify=Notify.SUCCESS)])
        await until(lambda: world.agents["local"].requests)
        [notice] = world.agents["local"].requests
        assert (notice["sender"], notice["recipients"][0][0]) == ("", "s@mx.test")
        await until(lambda: not world.where() and not needed(world))

    play(tmp_path, story)


def test_who_is_done_is_marked_in_the_journal(tmp_path: Path) -> None:
    """And goes with the message into its file."""
    async def story(world: Running) -> None:
        hold = world.agents["smtp"].hold = asyncio.Event()
        queue_id = (await world.put(MAIL, to=["b@mx.test", "x@far.test"])).queue_id

        def marked() -> bool:
            return any(b"\nRx" in segment.read(one.place, one.queue_id)
                       for segment in segments(world.store) for one in segment.records())

        await until(marked)
        assert await ask(world, {"op": "files"}) == {"ok": True}
        assert world.where() == {"active": [queue_id]}
        stored = world.store.read("active", queue_id)
        assert ([one.address for one in stored.recipients], stored.done) == (["x@far.test"], 1)
        hold.set()
        await until(lambda: not world.where())

    play(tmp_path, story)


def test_who_looks_at_the_queue_sees_it(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        hold = world.agents["smtp"].hold = asyncio.Event()
        queue_id = (await world.put(MAIL, to=["x@far.test"])).queue_id
        await until(lambda: world.agents["smtp"].requests)
        await asyncio.to_thread(bring_to_files, world.store)
        assert [(one.queue, one.queue_id) for one in list_queue(world.store)] == [("active", queue_id)]
        assert unfinished(world) == []
        assert needed(world) == 1               # the agent may still read it
        assert b"body" in content_of(world.agents["smtp"].requests[0])
        hold.set()
        await until(lambda: not world.where())
        assert needed(world) == 0

    play(tmp_path, story)


def test_also_what_qmgr_was_not_told_of_yet(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        world.agents["smtp"].hold = hold = asyncio.Event()
        notifier, told = world.cleanup.notifier, []
        assert notifier is not None
        notifier.tell = told.append             # type: ignore[method-assign]
        queue_id = (await world.put(MAIL, to=["x@far.test"])).queue_id
        await ask(world, {"op": "files"})
        await until(lambda: world.agents["smtp"].requests)
        assert world.where() == {"active": [queue_id]}
        del notifier.tell
        notifier.tell(told[0])                  # the notice comes late: it is not taken in twice
        await ask(world, {"op": "files"})
        hold.set()
        await until(lambda: not world.where())
        assert len(world.agents["smtp"].requests) == 1

    play(tmp_path, story)


def test_only_the_owner_has_files_made(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        assert world.manager is not None
        assert "error" in await world.manager.to_files(os.geteuid() + 1)

    play(tmp_path, story)


def test_what_stays_for_long_becomes_a_file(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        hold = world.agents["smtp"].hold = asyncio.Event()
        queue_id = (await world.put(MAIL, to=["x@far.test"])).queue_id
        await until(lambda: world.where() == {"active": [queue_id]} and not unfinished(world))
        hold.set()
        await until(lambda: not world.where() and not needed(world))
        assert len(world.agents["smtp"].requests) == 1

    play(tmp_path, story, queue_journal_time="0s")


def test_postsuper_deletes_what_was_in_the_journal(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        hold = world.agents["smtp"].hold = asyncio.Event()
        queue_id = (await world.put(MAIL, to=["x@far.test"])).queue_id
        await until(lambda: world.agents["smtp"].requests)
        await asyncio.to_thread(bring_to_files, world.store)
        assert on_one(world.store, Act.DELETE, queue_id, Act.DELETE.queues)
        hold.set()
        await until(lambda: not needed(world))
        assert world.where() == {}
        assert world.manager is not None
        await until(lambda: not world.manager.manager.active)           # type: ignore[union-attr]

    play(tmp_path, story, {"x@far.test": LATER})


def test_no_room_in_the_active_queue(tmp_path: Path) -> None:
    """It waits in incoming/, and whoever brings more commits files."""
    async def story(world: Running) -> None:
        hold = world.agents["smtp"].hold = asyncio.Event()
        ids = [(await world.put(MAIL, to=["x@far.test"])).queue_id for _ in range(3)]
        await until(lambda: len(world.where().get("incoming", ())) == 2)
        notifier = world.cleanup.notifier
        assert notifier is not None
        await until(lambda: notifier.behind)
        hold.set()
        await until(lambda: len(world.agents["smtp"].requests) == 3 and not world.where())
        assert {one["queue_id"] for one in world.agents["smtp"].requests} == {*ids}
        await until(lambda: not needed(world))

    play(tmp_path, story, qmgr_message_active_limit="1", in_flow_delay="0s")


def test_more_recipients_than_memory(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        to = [f"x{number}@far.test" for number in range(25)]
        await world.put(MAIL, to=to)
        await until(lambda: sum(len(one["recipients"]) for one in world.agents["smtp"].requests) == 25)
        assert {one[0] for request in world.agents["smtp"].requests for one in request["recipients"]} == {*to}
        await until(lambda: not world.where() and not needed(world))

    play(tmp_path, story, qmgr_message_recipient_limit="12")


def test_an_orderly_stop_leaves_files(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path, {}, **LONG) as world:
            await use_journal(world)
            world.agents["smtp"].hold = asyncio.Event()
            queue_id = (await world.put(MAIL, to=["x@far.test"])).queue_id
            await until(lambda: world.agents["smtp"].requests)
            notifier = world.cleanup.notifier
            assert notifier is not None
            world.manager.manager.scheduler.forget_dead()       # type: ignore[union-attr]
            stop = asyncio.get_running_loop().create_task(world.stop())
            await until(lambda: not notifier.journal)
            await until(lambda: world.where() == {"active": [queue_id]})
            late = (await world.put(MAIL, to=["y@far.test"])).queue_id
            world.agents["smtp"].hold.set()
            await stop
            assert unfinished(world) == []
            assert world.where().get("incoming") == [late]
            await world.start()
            await until(lambda: not world.where())

    asyncio.run(run())


def test_a_disk_that_is_full_keeps_it_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> tuple[int, str, int]:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def story(world: Running) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(QueueStore, "_new_file", full)
            queue_id = (await world.put(MAIL, to=["x@far.test"])).queue_id
            await until(lambda: world.agents["smtp"].requests)
            await ask(world, {"op": "files"})
            assert unfinished(world) == [queue_id]
        await until(lambda: world.where() == {"deferred": [queue_id]})
        assert len(world.agents["smtp"].requests) == 1

    play(tmp_path, story, {"x@far.test": LATER}, minimal_backoff_time="1s", queue_run_delay="1000s")


def test_the_same_id_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are counted from a random start: two processes may, once in a lifetime, give the same."""
    async def story(world: Running) -> None:
        hold = world.agents["smtp"].hold = asyncio.Event()
        monkeypatch.setattr("mailsuite.queue.ids.counted_id", lambda *_, **__: "000010000001A")
        assert (await world.put(MAIL, to=["x@far.test"])).queue_id == "000010000001A"
        await until(lambda: world.agents["smtp"].requests)
        assert (await world.put(MAIL, to=["y@far.test"])).queue_id == "000010000001A"
        monkeypatch.undo()
        await until(lambda: world.where().get("active") or world.where().get("incoming"))
        await ask(world, {"op": "files"})
        hold.set()
        assert world.manager is not None
        await until(lambda: not world.manager.manager.active)           # type: ignore[union-attr]
        await ask(world, {"op": "scan"})        # one waited in incoming/ for the other to leave
        await until(lambda: len(world.agents["smtp"].requests) == 2 and not world.where() and not needed(world))
        assert {one["recipients"][0][0] for one in world.agents["smtp"].requests} == {"x@far.test", "y@far.test"}

    play(tmp_path, story)


# --- crashes --------------------------------------------------------------------------------------------------------

def journaled(top: Path, count: int = 3) -> tuple[World, list[str]]:
    """Messages that smtpd has committed and nobody has taken."""
    world = World(top)
    world.store.use_journal(size=SEGMENT, most=2)

    async def put() -> list[str]:
        writer = world.store.journal
        assert writer is not None
        await until(lambda: writer.in_use)
        world.journal = True                    # type: ignore[attr-defined]
        return [(await world.put(MAIL.replace(b"body", b"body %d" % number))).queue_id for number in range(count)]

    ids = asyncio.run(put())
    world.store.close()
    assert unfinished(world) == ids
    return world, ids


def warnings_of(world: World) -> tuple[int, list[str]]:
    said: list[str] = []
    return recover(world.store, said.append), said


def test_all_is_recovered(tmp_path: Path) -> None:
    world, ids = journaled(tmp_path)
    assert warnings_of(world) == (3, [])
    assert sorted(world.store.scan("incoming")) == sorted(ids)
    assert b"body 1" in world.content("incoming", ids[1])
    assert unfinished(world) == []
    assert warnings_of(world) == (0, [])


def test_a_crash_between_file_and_mark_makes_no_double(tmp_path: Path) -> None:
    world, ids = journaled(tmp_path)
    (segment,) = segments(world.store)
    for queue, queue_id in zip(("active", "deferred", "corrupt"), ids, strict=True):
        place = next(one.place for one in Segment.open(folder(world.store), segment.name).records()
                     if one.queue_id == queue_id)
        image = Segment.open(folder(world.store), segment.name).read(place, queue_id)
        world.store.commit_now(world.store.create_copy(queue_id, image, "incoming"), "incoming")
        world.store.move(queue_id, "incoming", queue)
    assert warnings_of(world) == (0, [])
    assert list(world.store.scan("incoming")) == []
    assert unfinished(world) == []


def test_another_message_of_that_id_is_not_lost(tmp_path: Path) -> None:
    world, ids = journaled(tmp_path, 1)
    other = World(tmp_path / "other" if (tmp_path / "other").mkdir() is None else tmp_path)
    accepted = asyncio.run(other.put(MAIL, to=["z@mx.test"]))
    os.rename(other.store.path("incoming", accepted.queue_id), world.store.path("hold", ids[0]))
    count, said = warnings_of(world)
    (new,) = world.store.scan("incoming")
    assert (count, new != ids[0]) == (1, True)
    assert said == [f"{ids[0]}: there is another message of that id: renamed to {new}"]
    assert [one.address for one in world.store.read("hold", ids[0]).recipients] == ["z@mx.test"]
    assert [one.address for one in world.store.read("incoming", new).recipients] == ["b@mx.test"]


def test_a_rename_never_replaces_a_message(tmp_path: Path) -> None:
    world, ids = journaled(tmp_path, 1)
    recover(world.store, lambda text: None)
    Path(world.store.path("deferred", ids[0])).parent.mkdir(exist_ok=True)
    Path(world.store.path("deferred", ids[0])).write_text("another")
    with pytest.raises(FileExistsError):
        world.store.move(ids[0], "incoming", "deferred")
    assert Path(world.store.path("deferred", ids[0])).read_text() == "another"


def test_damage_costs_one_message_only(tmp_path: Path) -> None:
    world, ids = journaled(tmp_path)
    (segment,) = segments(world.store)
    opened = Segment.open(folder(world.store), segment.name)
    places = {one.queue_id: one.place for one in opened.records()}
    os.pwrite(opened.fd, b"?", places[ids[1]].block * BLOCK + 300)
    count, _ = warnings_of(world)
    assert count == 2
    assert sorted(world.store.scan("incoming")) == sorted([ids[0], ids[2]])
    assert journal.finished(opened) > 0             # what is damaged does not stop the segment from being used again
    opened.close()


def test_a_disk_that_fails_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, ids = journaled(tmp_path)

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        count, said = warnings_of(world)
    assert (count, len(said)) == (0, 3)
    assert segment_names(world)[0] not in " ".join(said)            # it is a secret
    assert unfinished(world) == ids
    assert warnings_of(world) == (3, [])


def segment_names(world: World) -> list[str]:
    return journal.names(folder(world.store))


def test_while_all_is_down_commands_recover(tmp_path: Path) -> None:
    world, ids = journaled(tmp_path)
    bring_to_files(world.store)
    assert sorted(one.queue_id for one in list_queue(world.store)) == sorted(ids)


def test_a_journal_that_is_not_wanted_any_more_is_removed(tmp_path: Path) -> None:
    world, ids = journaled(tmp_path)
    assert recover(world.store, lambda text: None, keep=False) == 3
    assert os.listdir(folder(world.store)) == []
    assert len(ids) == 3


def test_a_new_qmgr_delivers_what_the_old_one_had(tmp_path: Path) -> None:
    _, ids = journaled(tmp_path)

    async def run() -> None:
        async with running(tmp_path, {}, **LONG) as world:
            await until(lambda: len(world.agents["local"].requests) == 3 and not world.where())
            assert {one["queue_id"] for one in world.agents["local"].requests} == {*ids}
            assert unfinished(world) == []

    asyncio.run(run())


def test_mail_of_an_smtpd_that_died_is_found(tmp_path: Path) -> None:
    """It was on disk and the client had its 250, but qmgr was not told."""
    async def story(world: Running) -> None:
        notifier = world.cleanup.notifier
        assert notifier is not None
        notifier.tell = lambda notice: None     # type: ignore[method-assign]
        queue_id = (await world.put(MAIL, to=["x@far.test"])).queue_id
        world.store.close()                     # as its death does it: the lock, and the connection
        notifier.close()
        await until(lambda: world.agents["smtp"].requests)
        assert world.agents["smtp"].requests[0]["queue_id"] == queue_id
        await until(lambda: not world.where() and not needed(world))

    play(tmp_path, story)


def test_a_lost_notice_is_found_by_the_second_look(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        notifier = world.cleanup.notifier
        assert notifier is not None
        notifier.tell = lambda notice: None     # type: ignore[method-assign]
        await world.put(MAIL, to=["x@far.test"])
        assert world.manager is not None
        await world.manager.manager.journaled.look()
        await asyncio.sleep(0)
        assert unfinished(world) and not world.agents["smtp"].requests
        await world.manager.manager.journaled.look()
        await until(lambda: world.agents["smtp"].requests and not world.where() and not needed(world))

    play(tmp_path, story)


def test_without_a_qmgr_mail_becomes_files(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path, {}, **LONG) as world:
            await use_journal(world)
            await world.stop()
            queue_id = (await world.put(MAIL, to=["x@far.test"])).queue_id
            assert world.where() == {"incoming": [queue_id]}
            await world.start()
            await until(lambda: not world.where())

    asyncio.run(run())


def test_qmgr_may_not_want_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path, {}, queue_journal="no") as world:
            world.store.use_journal(size=SEGMENT, most=2)
            world.agents["smtp"].hold = hold = asyncio.Event()
            world.cleanup.notifier = Notifier(f"{world.store.directory}/public/qmgr", journal=True)
            for _ in range(3):
                await world.put(MAIL, to=["x@far.test"])
            await until(lambda: len(world.agents["smtp"].requests) == 1)
            assert unfinished(world) == []
            hold.set()
            await until(lambda: not world.where())

    asyncio.run(run())


def test_a_notice_that_makes_no_sense(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        _, writer = connection = await asyncio.open_unix_connection(f"{world.store.directory}/public/qmgr")
        for at in (["../../etc/passwd", 1, 1, 100], ["0" * 32, 1, 1, 100], [segment_names(world)[0], 1 << 30, 1, 1]):
            notice = {"op": "new", "id": "4A2F10C83D1E2", "facts": {"sender": "a@b.test"}, "at": at}
            writer.write(json.dumps(notice).encode() + b"\n")
            assert json.loads(await connection[0].readline()) == {"error": "bad request"}
        writer.close()
        assert world.manager is not None
        assert "4A2F10C83D1E2" not in world.manager.manager.active

    play(tmp_path, story)


def test_damaged_tail_is_no_message(tmp_path: Path) -> None:
    world, ids = journaled(tmp_path, 1)
    (segment,) = segments(world.store)
    opened = Segment.open(folder(world.store), segment.name)
    (one,) = opened.records()
    os.pwrite(opened.fd, b"?", one.place.block * BLOCK + journal.HEADER + one.place.size - 5)
    with pytest.raises(Damaged):
        opened.read(one.place, ids[0])
    opened.close()

