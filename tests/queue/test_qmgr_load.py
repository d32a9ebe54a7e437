"""qmgr under more than it can take at once: large messages, a full active queue, crowded destinations."""

import asyncio
import logging
import time
from pathlib import Path

import pytest

from mailsuite.config.settings import Settings
from mailsuite.queue.active import Message
from mailsuite.queue.envelope import Envelope
from mailsuite.queue.limits import TransportTable
from mailsuite.queue.notify import Notifier
from mailsuite.queue.room import Room
from tests.queue.running import LATER, MAIL, Running, ask, play
from tests.queue.support import until

FIFTY = [f"u{number:02d}@far.test" for number in range(50)]


def test_a_large_message_is_read_in_portions(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        queue_id = (await world.put(MAIL, to=FIFTY)).queue_id
        await until(lambda: world.where() == {"deferred": [queue_id]})
        requests = world.agents["smtp"].requests
        assert [len(request["recipients"]) for request in requests] == [20, 20, 10]
        assert [one.address for one in world.store.read("deferred", queue_id).recipients] == [FIFTY[3], FIFTY[45]]
        await until(lambda: world.manager is not None and not world.manager.manager.room.total)
        world.answers.clear()
        await ask(world, {"op": "flush"})
        await until(lambda: not world.where())
        assert sorted(to[0] for request in requests[3:] for to in request["recipients"]) == [FIFTY[3], FIFTY[45]]

    play(tmp_path, story, {FIFTY[3]: LATER, FIFTY[45]: LATER}, qmgr_message_recipient_limit="20")


@pytest.mark.parametrize(("refill", "delay"), [("10", "1h"), ("1000", "1s")])
def test_a_slow_transport_does_not_hold_up_a_large_message(tmp_path: Path, refill: str, delay: str) -> None:
    """Its next recipients are read when there is room for some, or after a while for fewer."""
    async def story(world: Running) -> None:
        slow, agent = world.agents["local"], world.agents["smtp"]
        slow.hold = asyncio.Event()
        await world.put(MAIL, to=["slow@mx.test", *FIFTY[:30]])
        await until(lambda: sum(len(request["recipients"]) for request in agent.requests) == 30)
        assert (manager := world.manager) is not None
        await until(lambda: manager.manager.room.total == 1)        # outcomes come back after the requests
        slow.hold.set()
        await until(lambda: not world.where() and manager.manager.room.total == 0)
        assert len(slow.requests) == 1
        assert sorted(to[0] for request in agent.requests for to in request["recipients"]) == FIFTY[:30]

    play(tmp_path, story, qmgr_message_recipient_limit="20", default_recipient_refill_limit=refill,
         default_recipient_refill_delay=delay)


def test_pools_of_transports(tmp_path: Path) -> None:
    settings = Settings.of({"default_recipient_limit": "10", "default_extra_recipient_limit": "3",
                            "smtp_recipient_limit": "40", "qmgr_message_recipient_limit": "100",
                            "qmgr_message_recipient_minimum": "2", "config_directory": str(tmp_path)})
    room = Room(settings, TransportTable(settings))

    def message(*transports: str) -> Message:
        return Message("1", Envelope(sender=""), 0, 0, [], 0.0, "", transports=set(transports))

    assert room.left(message()) == 100 and room.left(message("smtp", "local")) == 10
    first, second = message("local"), message("local")
    room.take(first, 12)
    room.assign("local", 12)
    assert room.left(first) == 0 and room.reads_in(first, 0.0) is None     # it has its share
    assert room.left(second) == 3                                         # another one may overtake it
    room.take(second, 1)
    assert room.left(second) == 1                                         # each may have some
    for _ in range(12):
        room.give(first, "local")
    assert room.left(first) == 10 and room.reads_in(first, 0.0) == 0.0
    room.forget(second)
    assert room.total == 0


def test_a_list_of_5000_does_not_delay_a_letter(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        agent = world.agents["smtp"]
        agent.hold = asyncio.Event()
        await world.put(MAIL, to=[f"u{number}@far.test" for number in range(5000)])
        await until(lambda: agent.requests)
        letter = (await world.put(MAIL, to=["letter@far.test"])).queue_id
        assert world.manager is not None
        await until(lambda: letter in world.manager.manager.active)     # type: ignore[union-attr]
        agent.hold.set()
        await until(lambda: not world.where())
        order = [request["queue_id"] for request in agent.requests]
        assert len(order) == 101 and order.index(letter) < 10

    play(tmp_path, story)


@pytest.mark.parametrize("parameter", ["smtp_destination_rate_delay", "smtp_transport_rate_delay"])
def test_a_rate_delay_ends(tmp_path: Path, parameter: str) -> None:
    async def story(world: Running) -> None:
        first = (await world.put(MAIL, to=["x@far.test"])).queue_id
        second = (await world.put(MAIL, to=["y@far.test"])).queue_id
        await until(lambda: world.where() == {"active": [second]})
        assert [request["queue_id"] for request in world.agents["smtp"].requests] == [first]
        assert world.manager is not None
        timer = world.manager.manager._timer
        assert timer is not None and 3500 < timer.when() - asyncio.get_running_loop().time() <= 3600
        world.manager.manager.scheduler.tick(time.monotonic() + 3600)
        await until(lambda: not world.where())

    play(tmp_path, story, **{parameter: "1h"})


def test_every_message_may_have_some_recipients_in_memory(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        await world.put(MAIL, to=FIFTY)
        await until(lambda: not world.where())
        assert {len(request["recipients"]) for request in world.agents["smtp"].requests} == {5}

    play(tmp_path, story, qmgr_message_recipient_limit="1", qmgr_message_recipient_minimum="5")


def test_a_large_message_that_is_put_on_hold_loses_nobody(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        agent = world.agents["smtp"]
        agent.hold = asyncio.Event()
        queue_id = (await world.put(MAIL, to=FIFTY)).queue_id
        await until(lambda: agent.requests)
        world.store.move(queue_id, "active", "hold")
        agent.hold.set()
        await until(lambda: world.manager is not None and not world.manager.manager.active)
        assert [one.address for one in world.store.read("hold", queue_id).recipients] == FIFTY[20:]

    play(tmp_path, story, qmgr_message_recipient_limit="20")


def test_who_brings_mail_hears_that_it_is_too_much(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        notifier, agent = world.cleanup.notifier, world.agents["local"]
        assert isinstance(notifier, Notifier)
        agent.hold = asyncio.Event()
        for number in range(6):
            await world.put(MAIL, to=[f"u{number}@mx.test"])
        await until(lambda: notifier.behind)
        agent.hold.set()
        await until(lambda: not world.where())
        await world.put(MAIL, to=["last@mx.test"])
        await until(lambda: not notifier.behind)

    play(tmp_path, story, qmgr_message_active_limit="3", in_flow_delay="0")


def test_mail_waits_a_little_while_qmgr_is_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note(delay: float) -> None:
        slept.append(delay)
        await sleep(0)

    async def story(world: Running) -> None:
        world.behind = True
        world.cleanup.notifier = world      # type: ignore[assignment]
        with monkeypatch.context() as patched:
            patched.setattr("mailsuite.queue.cleanup.asyncio.sleep", note)
            await world.put(MAIL)
        assert 7 in slept

    play(tmp_path, story, in_flow_delay="7s")


@pytest.mark.parametrize(("values", "warned"), [
    pytest.param({}, True, id="default"),
    pytest.param({"qmgr_clog_warn_time": "0"}, False, id="switched off"),
    pytest.param({"helpful_warnings": "no"}, False, id="no helpful warnings")])
def test_a_destination_that_fills_the_active_queue(tmp_path: Path, values: dict[str, str], warned: bool,
                                                   caplog: pytest.LogCaptureFixture) -> None:
    async def story(world: Running) -> None:
        agent = world.agents["smtp"]
        agent.hold = asyncio.Event()
        for _ in range(8):
            await world.put(MAIL, to=["x@far.test"])
        await until(lambda: world.manager is not None and len(world.manager.manager.active) == 8)
        agent.hold.set()
        await until(lambda: not world.where())
        lines = [line for line in caplog.messages if "active queue entries" in line]
        assert lines == (["mail for [192.0.2.9] is using up 5 of 20 active queue entries"] if warned else [])
        assert ("you may need to increase the main.cf smtp_destination_concurrency_limit from 2"
                in caplog.messages) is warned

    caplog.set_level(logging.WARNING)
    play(tmp_path, story, qmgr_message_active_limit="20", smtp_destination_concurrency_limit="2", **values)
