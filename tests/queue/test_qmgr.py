"""qmgr as a whole, over real sockets, with delivery agents that do as they are told."""

import asyncio
import os
from pathlib import Path

import pytest

from mailsuite.queue import deferlog
from mailsuite.queue.envelope import Notify, Recipient
from tests.queue.running import LATER, MAIL, NEVER, Running, ask, play, running
from tests.queue.support import World, until


def test_delivered_mail_is_gone(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        await world.put(MAIL, to=["b@mx.test", "x@far.test", "y@far.test"])
        await until(lambda: world.agents["smtp"].requests and not world.where())
        request = world.agents["smtp"].requests[0]
        assert [one[0] for one in request["recipients"]] == ["x@far.test", "y@far.test"]
        assert (request["nexthop"], request["sender"]) == ("[192.0.2.9]", "a@far.test")
        assert request["facts"]["client_address"] == "192.0.2.1"

    play(tmp_path, story)


def test_deferred_mail_waits_with_its_reasons(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        queue_id = (await world.put(MAIL, to=["b@mx.test", "x@far.test"])).queue_id
        await until(lambda: world.where() == {"deferred": [queue_id]})
        stored = world.store.read("deferred", queue_id)
        assert ([one.address for one in stored.recipients], stored.done) == (["x@far.test"], 1)
        assert list(deferlog.read(world.store.path("defer", queue_id)).of.values()) == ["busy"]
        assert os.stat(world.store.path("deferred", queue_id)).st_mtime > stored.envelope.arrival_time + 250
        world.answers.clear()
        assert await ask(world, {"op": "flush"}) == {"ok": True}
        await until(lambda: not world.where())
        assert len(world.agents["local"].requests) == 1
        assert not world.store.remove("defer", queue_id)

    play(tmp_path, story, {"x@far.test": LATER})


def test_a_bounce_is_mail_to_the_sender(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        await world.put(MAIL, sender="s@mx.test", to=["no@far.test", "ok@far.test"])
        await until(lambda: world.agents["local"].requests and not world.where())
        request = world.agents["local"].requests[0]
        assert (request["sender"], request["recipients"][0][0]) == ("", "s@mx.test")

    play(tmp_path, story, {"no@far.test": NEVER})


@pytest.mark.parametrize(("sender", "notify", "values", "told"), [
    pytest.param("", Notify.NONE, {}, None, id="never a bounce of a bounce"),
    pytest.param("", Notify.NONE, {"notify_classes": "2bounce"}, "postmaster@mx.test", id="double bounce"),
    pytest.param("double-bounce@mx.test", Notify.NONE, {"notify_classes": "2bounce, bounce"}, None, id="third"),
    pytest.param("s@mx.test", Notify.NEVER, {}, None, id="NOTIFY=NEVER"),
    pytest.param("s@mx.test", Notify.DELAY, {}, None, id="NOTIFY=DELAY"),
    pytest.param("s@mx.test", Notify.FAILURE, {}, "s@mx.test", id="NOTIFY=FAILURE"),
])
def test_who_is_told_of_a_failure(tmp_path: Path, sender: str, notify: Notify, values: dict[str, str],
                                  told: str | None) -> None:
    async def story(world: Running) -> None:
        await world.put(MAIL, sender=sender, to=[Recipient("no@far.test", notify=notify)])
        await until(lambda: world.agents["smtp"].requests and not world.where())
        assert [one["recipients"][0][0] for one in world.agents["local"].requests] == ([told] if told else [])

    play(tmp_path, story, {"no@far.test": NEVER}, **values)


def test_old_mail_is_returned(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        await world.put(MAIL, sender="s@mx.test", to=["x@far.test"], arrival_time=1e9)
        await until(lambda: world.agents["local"].requests and not world.where())

    play(tmp_path, story, {"x@far.test": LATER})


def test_a_success_notice(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        await world.put(MAIL, sender="s@mx.test", to=[Recipient("x@far.test", notify=Notify.SUCCESS)])
        await until(lambda: world.agents["local"].requests and not world.where())

    play(tmp_path, story)


def test_a_delay_is_told_once(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        import time
        await world.put(MAIL, sender="s@mx.test", to=["x@far.test"], arrival_time=time.time() - 8000)
        await until(lambda: world.agents["local"].requests and world.quiet())
        await ask(world, {"op": "flush"})
        await until(lambda: len(world.agents["smtp"].requests) == 2 and world.quiet())
        assert len(world.agents["local"].requests) == 1

    play(tmp_path, story, {"x@far.test": LATER}, delay_warning_time="1h")


def test_a_dying_agent_defers(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        queue_id = (await world.put(MAIL, to=["die@far.test"])).queue_id
        await until(lambda: world.where() == {"deferred": [queue_id]})

    play(tmp_path, story, {"die@far.test": {"status": "die"}})


def test_without_an_agent_mail_waits(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        queue_id = (await world.put(MAIL, to=["x@far.test"])).queue_id
        await until(lambda: world.where() == {"deferred": [queue_id]})
        assert list(deferlog.read(world.store.path("defer", queue_id)).of.values()) == ["mail transport unavailable"]

    play(tmp_path, story, default_transport="nowhere", relayhost="")


def test_lost_notices_and_a_crash(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(tmp_path)
        first = (await world.put(MAIL)).queue_id
        second = (await world.put(MAIL)).queue_id
        world.store.move(second, "incoming", "active")          # a qmgr died with it in hand
        damaged = (await world.put(MAIL)).queue_id
        path = world.store.path("incoming", damaged)
        os.truncate(path, os.stat(path).st_size - 1)
        async with running(tmp_path, {}) as now:
            await until(lambda: set(now.where()) == {"corrupt"})
            assert now.where() == {"corrupt": [damaged]}
            assert {one["queue_id"] for one in now.agents["local"].requests} == {first, second}

    asyncio.run(run())


def test_defer_transports_until_asked(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        await world.put(MAIL, to=["x@far.test"])
        await until(lambda: set(world.where()) == {"deferred"})
        assert not world.agents["smtp"].requests
        assert await ask(world, {"op": "flush", "site": "elsewhere.test"}) == {"ok": True}
        assert await ask(world, {"op": "flush", "site": "far.test"}) == {"ok": True}
        await until(lambda: not world.where())

    play(tmp_path, story, defer_transports="smtp", fast_flush_domains="far.test, elsewhere.test")


def test_no_more_messages_than_allowed_are_active(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        agent = world.agents["local"]
        agent.hold = asyncio.Event()
        for number in range(12):
            await world.put(MAIL, to=[f"u{number}@mx.test"])
        await until(lambda: len(agent.requests) == 1)
        assert world.manager is not None and len(world.manager.manager.active) == 3
        agent.hold.set()
        await until(lambda: len(agent.requests) == 12 and not world.where())

    play(tmp_path, story, qmgr_message_active_limit="3", in_flow_delay="0")


def test_mail_put_on_hold_while_it_is_delivered(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        agent = world.agents["local"]
        agent.hold = asyncio.Event()
        queue_id = (await world.put(MAIL, to=["b@mx.test", "x@far.test"])).queue_id
        await until(lambda: agent.requests and world.agents["smtp"].requests)
        world.store.move(queue_id, "active", "hold")
        agent.hold.set()
        assert world.manager is not None
        await until(lambda: not world.manager.manager.active)       # type: ignore[union-attr]
        await until(lambda: [one.address for one in world.store.read("hold", queue_id).recipients] == ["x@far.test"])

    play(tmp_path, story, {"x@far.test": LATER})


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{}\n", b'{"op": "new"}\n', b'{"op": "flush_one"}\n',
                                  b'{"op": "new", "id": "../x", "facts": {}, "to": []}\n', b"\xff\xfe\n", b"x" * 99])
def test_nonsense_is_survived(tmp_path: Path, line: bytes) -> None:
    async def story(world: Running) -> None:
        reader, writer = await asyncio.open_unix_connection(f"{world.store.directory}/public/qmgr")
        writer.write(line)
        writer.write_eof()
        await reader.read()
        await world.put(MAIL)
        await until(lambda: world.agents["local"].requests and not world.where())

    play(tmp_path, story)


def test_a_notice_that_cannot_be_made_stays_owed(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        queue_id = (await world.put(MAIL, sender="s@mx.test", to=["no@far.test"])).queue_id
        await until(lambda: world.where() == {"deferred": [queue_id]})
        assert world.store.read("deferred", queue_id).recipients == []
        assert world.manager is not None
        world.manager.rounds.bouncer._cleanup.size_limit = 0
        await ask(world, {"op": "flush"})
        await until(lambda: world.agents["local"].requests and not world.where())
        assert len(world.agents["smtp"].requests) == 1
        assert not world.store.remove("bounce", queue_id)

    play(tmp_path, story, {"no@far.test": NEVER}, message_size_limit="700")


def test_a_success_that_cannot_be_told_stays_owed(tmp_path: Path) -> None:
    async def story(world: Running) -> None:
        queue_id = (await world.put(MAIL, sender="s@mx.test", to=[Recipient("yes@far.test", notify=Notify.SUCCESS)]
                                    )).queue_id
        await until(lambda: world.where() == {"deferred": [queue_id]})
        assert world.store.read("deferred", queue_id).recipients == []
        assert world.manager is not None
        world.manager.rounds.bouncer._cleanup.size_limit = 0
        await ask(world, {"op": "flush"})
        await until(lambda: world.agents["local"].requests and not world.where())
        assert len(world.agents["smtp"].requests) == 1          # nobody gets it twice
        assert not world.store.remove("trace", queue_id)

    play(tmp_path, story, message_size_limit="700")


SECRET = b"Subject: secret\nTLS-Required: no\nX-Secret: in the header\n\nthe secret body\n"


@pytest.mark.parametrize(("asked", "redact", "want", "told"), [
    ("yes", "yes", "", "yes"), ("yes", "no", "yes", "yes"), ("", "yes", "no", "no")])
def test_bounces_of_mail_that_requires_tls(tmp_path: Path, asked: str, redact: str, want: str, told: str) -> None:
    """No body in them; REQUIRETLS as requiretls_redact_dsn says. Without REQUIRETLS the header counts."""
    async def story(world: Running) -> None:
        await world.put(SECRET, sender="s@mx.test", to=["gone@far.test"], require_tls=asked)
        await until(lambda: bool(world.where().get("deferred")))
        assert world.agents["smtp"].requests[0]["facts"].get("require_tls", "") == told
        notice = world.agents["local"].requests[0]
        assert notice["facts"].get("require_tls", "") == want
        content = world.content("deferred", notice["queue_id"])
        assert (b"the secret body" in content) is (told == "no") and b"X-Secret" in content

    play(tmp_path, story, {"gone@far.test": NEVER, "s@mx.test": LATER}, requiretls_redact_dsn=redact)
