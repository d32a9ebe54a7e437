"""What qmgr does when somebody asks: flush logs, postkick's characters, postsuper's changes while mail is delivered."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from mailsuite.queue import deferlog
from mailsuite.queue.envelope import Notify, Recipient
from mailsuite.queue.file import EXPIRE
from tests.queue.running import LATER, MAIL, Running, ask, play
from tests.queue.support import until

BUSY = {"x@far.test": LATER, "y@far.test": LATER, "x@away.test": LATER}


def attempts(world: Running) -> list[str]:
    """Recipients of all requests to smtp, in their order."""
    return [to[0] for request in world.agents["smtp"].requests for to in request["recipients"]]


async def kick(world: Running, characters: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(f"{world.store.directory}/public/qmgr")
    writer.write(characters)
    assert await reader.read() == b""       # closed, not answered
    writer.close()


# --- flush logs -------------------------------------------------------------------------------------------------------

def test_a_site_is_flushed_by_its_log(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        mine = (await world.put(MAIL, to=["x@far.test"])).queue_id
        both = (await world.put(MAIL, to=["y@far.test", "x@away.test"])).queue_id
        other = (await world.put(MAIL, to=["x@away.test"])).queue_id
        await until(lambda: world.where() == {"deferred": sorted([mine, both, other])})
        folder = Path(world.store.directory) / "flush"
        assert {path.name: sorted(path.read_text().split()) for path in folder.iterdir()} == {
            "far_test": sorted([mine, both]), "away_test": sorted([both, other])}
        before = len(attempts(world))
        await ask(world, {"op": "flush", "site": "FAR.test"})
        await until(lambda: len(attempts(world)) == before + 3 and world.quiet())
        assert sorted(attempts(world)[before:]) == ["x@away.test", "x@far.test", "y@far.test"]
        assert sorted((folder / "far_test").read_text().split()) == sorted([mine, both])        # deferred again

    play(tmp_path, story, BUSY, fast_flush_domains="far.test, away.test")


@pytest.mark.parametrize("site", ["nowhere.test", "../defer", "", "a/b", ".", "x" * 300])
def test_what_has_no_log_flushes_nothing(tmp_path: Path, site: str) -> None:
    async def story(world: Running) -> None:
        await world.put(MAIL, to=["x@far.test"])
        await until(lambda: set(world.where()) == {"deferred"})
        assert await ask(world, {"op": "flush", "site": site}) == {"ok": True}
        await world.put(MAIL, to=["b@mx.test"])
        await until(world.quiet)
        assert attempts(world) == ["x@far.test"]

    play(tmp_path, story, BUSY, fast_flush_domains="far.test")


# --- postkick ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("characters", "tried"), [
    pytest.param([b"D"], False, id="D alone: it is not due"),
    pytest.param([b"A"], False, id="A alone waits for the next scan"),
    pytest.param([b"A", b"D"], True, id="A, then D"),
    pytest.param([b"FAD"], True, id="as postqueue -f"),
    pytest.param([b"F"], False, id="F alone"),
    pytest.param([b"I"], False, id="incoming only"),
    pytest.param([b"X"], False, id="unknown"),
])
def test_postkick(tmp_path: Path, characters: list[bytes], tried: bool) -> None:
    async def story(world: Running) -> None:
        await world.put(MAIL, to=["x@far.test"])
        await until(lambda: set(world.where()) == {"deferred"})
        for one in characters:
            await kick(world, one)
        if tried:
            await until(lambda: len(attempts(world)) == 2)
        else:
            await world.put(MAIL, to=["b@mx.test"])
            await until(lambda: world.agents["local"].requests and world.quiet())
            assert len(attempts(world)) == 1

    play(tmp_path, story, BUSY)


# --- postsuper --------------------------------------------------------------------------------------------------------

async def held_while(world: Running, act: str) -> str:
    """A message whose delivery is under way while its file goes to `act`; returns its id when the round is over."""
    agent = world.agents["local"]
    agent.hold = asyncio.Event()
    queue_id = (await world.put(MAIL, to=["b@mx.test", "x@far.test"])).queue_id
    await until(lambda: agent.requests and world.agents["smtp"].requests)
    if act == "delete":
        world.store.remove("active", queue_id)
    else:
        world.store.move(queue_id, "active", act)
    agent.hold.set()
    await until(lambda: world.manager is not None and not world.manager.manager.active)
    return queue_id


@pytest.mark.parametrize("queue", ["hold", "deferred", "maildrop"])
def test_mail_that_is_moved_while_it_is_delivered_keeps_who_is_done(tmp_path: Path, queue: str) -> None:
    async def story(world: Running) -> None:
        queue_id = await held_while(world, queue)
        assert [one.address for one in world.store.read(queue, queue_id).recipients] == ["x@far.test"]
        reasons = deferlog.read(world.store.path("defer", queue_id)).of
        assert list(reasons.values()) == ([] if queue == "maildrop" else ["busy"])

    play(tmp_path, story, BUSY)


def test_mail_that_is_deleted_while_it_is_delivered_leaves_nothing(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        queue_id = await held_while(world, "delete")
        assert not world.where() and not world.store.remove("defer", queue_id)

    play(tmp_path, story, BUSY)


def test_released_mail_is_not_taken_twice(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        agent = world.agents["local"]
        agent.hold = asyncio.Event()
        queue_id = (await world.put(MAIL, to=["b@mx.test", "x@far.test"])).queue_id
        await until(lambda: agent.requests and world.agents["smtp"].requests)
        world.store.move(queue_id, "active", "deferred")
        await ask(world, {"op": "flush"})
        await ask(world, {"op": "flush_one", "id": queue_id})
        agent.hold.set()
        await until(lambda: world.manager is not None and not world.manager.manager.active)
        assert len(agent.requests) == 1
        world.answers.clear()
        await ask(world, {"op": "flush"})
        await until(lambda: not world.where())
        assert len(agent.requests) == 1

    play(tmp_path, story, BUSY)


def expire(world: Running, queue: str, queue_id: str) -> None:
    path = world.store.path(queue, queue_id)
    os.chmod(path, os.stat(path).st_mode | EXPIRE)


def test_expired_mail_is_returned_with_its_last_reason_and_not_tried(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        queue_id = (await world.put(MAIL, sender="s@mx.test", to=["x@far.test"])).queue_id
        await until(lambda: world.where() == {"deferred": [queue_id]})
        expire(world, "deferred", queue_id)
        agent = world.agents["local"]
        agent.hold = asyncio.Event()
        await ask(world, {"op": "flush"})
        await until(lambda: agent.requests)
        notice = world.content("active", agent.requests[0]["queue_id"])
        assert b"<x@far.test>: busy" in notice and b"Status: 4.2.0" in notice
        agent.hold.set()
        await until(lambda: not world.where())
        assert attempts(world) == ["x@far.test"]

    play(tmp_path, story, BUSY)


def test_expired_mail_that_was_never_tried(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        queue_id = (await world.put(MAIL, sender="s@mx.test", to=["x@far.test"], hold=True)).queue_id
        expire(world, "hold", queue_id)
        world.store.move(queue_id, "hold", "deferred")
        agent = world.agents["local"]
        agent.hold = asyncio.Event()
        await ask(world, {"op": "flush"})
        await until(lambda: agent.requests)
        notice = world.content("active", agent.requests[0]["queue_id"])
        assert b"<x@far.test>: message is administratively expired" in notice and b"Status: 4.7.0" in notice
        agent.hold.set()
        await until(lambda: not world.where())
        assert attempts(world) == []

    play(tmp_path, story, BUSY)


# --- confirm_delay_cleared --------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("confirm", "notify", "told"), [
    pytest.param("yes", Notify.NONE, True, id="told of the delay, told of its end"),
    pytest.param("yes", Notify.FAILURE, False, id="did not want to hear of delays"),
    pytest.param("no", Notify.NONE, False, id="switched off")])
def test_the_end_of_a_delay(tmp_path: Path, confirm: str, notify: Notify, told: bool) -> None:
    async def story(world: Running) -> None:
        agent = world.agents["local"]
        await world.put(MAIL, sender="s@mx.test", to=[Recipient("x@far.test", notify=notify)],
                        arrival_time=time.time() - 7200)
        await until(lambda: set(world.where()) == {"deferred"} and len(agent.requests) == bool(not notify))
        world.answers.clear()
        agent.hold = asyncio.Event()
        await ask(world, {"op": "flush"})
        await until(lambda: len(attempts(world)) == 2)
        if told:
            await until(lambda: len(agent.requests) == 2)
            notice = world.content("active", agent.requests[1]["queue_id"])
            assert b"Subject: Successful Mail Delivery Report" in notice
        agent.hold.set()
        await until(lambda: not world.where())
        assert len(agent.requests) == bool(not notify) + told

    play(tmp_path, story, BUSY, confirm_delay_cleared=confirm, delay_warning_time="1h")
