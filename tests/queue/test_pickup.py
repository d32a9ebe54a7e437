"""Local submission: maildrop/, the socket, and who may."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mailsuite.queue.envelope import Envelope, Recipient
from mailsuite.queue.pickup_server import Pickup
from mailsuite.queue.submit import Draft, SubmitError, TooBig
from tests.queue.support import World, context_for, until

CONTENT = b"Subject: s\n\nbody\n"


def submit(world: World, content: bytes = CONTENT) -> Draft:
    draft = Draft(world.settings)
    try:
        draft.write(content)
        draft.send(Envelope(sender="me", full_name="My Self"), [Recipient("b@mx.test", "b")])
    finally:
        draft.abort()
    return draft


def with_pickup(world: World, story: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        context = context_for(world.settings, "pickup")
        task = asyncio.get_running_loop().create_task(Pickup(context).run())
        try:
            await story()
        finally:
            context.stopping.set()
            await task

    asyncio.run(run())


@pytest.fixture(params=["maildrop", "socket"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    if request.param == "socket":
        monkeypatch.setattr(Draft, "_into_maildrop", lambda self: None)
    return made


@pytest.mark.parametrize("size", [0, 300_000])
def test_a_submission_gets_into_the_queue(world: World, size: int) -> None:
    content = CONTENT + b"x" * 79 + b"\n" + b"y\n" * (size // 2)

    async def story() -> None:
        await asyncio.to_thread(submit, world, content)
        await until(lambda: list(world.store.scan("incoming")))

    with_pickup(world, story)
    queue_id, = world.store.scan("incoming")
    stored = world.store.read("incoming", queue_id)
    assert (stored.envelope.sender, stored.envelope.program) == ("me@mx.test", "pickup")
    assert [(one.address, one.original) for one in stored.recipients] == [("b@mx.test", "b")]
    got = world.content("incoming", queue_id)
    assert got.startswith(f"Received: by mx.test (Postfix, from userid {os.getuid()})\n\tid {queue_id}; ".encode())
    assert got.endswith(b"From: My Self <me@mx.test>\n\n" + content.partition(b"\n\n")[2])
    assert list(world.store.scan("maildrop")) == []


def test_it_is_taken_after_a_start(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert submit(world).warning.startswith("unable to look up public/pickup")

    async def story() -> None:
        await until(lambda: list(world.store.scan("incoming")))

    with_pickup(world, story)
    assert list(world.store.scan("maildrop")) == []


def test_too_big(world: World) -> None:
    async def story() -> None:
        def big() -> None:
            with contextlib.closing(_Closing(Draft(world.settings))) as draft:
                draft.draft.write(b"x" * (world.cleanup.size_limit + 1))

        with pytest.raises(TooBig):
            await asyncio.to_thread(big)

    with_pickup(world, story)


class _Closing:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def close(self) -> None:
        self.draft.abort()


def test_without_a_suite_and_without_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Draft, "_into_maildrop", lambda self: None)
    with pytest.raises(SubmitError, match="mail system is down"):
        submit(World(tmp_path))


def test_a_damaged_file_is_kept_apart(tmp_path: Path) -> None:
    world = World(tmp_path)
    draft = submit(world)
    path = world.store.path("maildrop", draft.queue_id)
    os.truncate(path, os.path.getsize(path) - 3)
    Path(world.store.directory, "maildrop", "ABCDEF12").write_bytes(b"")        # somebody still writes

    async def story() -> None:
        await until(lambda: list(world.store.scan("corrupt")) == [draft.queue_id])

    with_pickup(world, story)
    assert list(world.store.scan("maildrop")) == ["ABCDEF12"]


def test_what_checks_refuse_goes_back_to_the_sender(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("/^Subject: s/ REJECT 5.7.7 not this\n")
    world = World(tmp_path, header_checks=f"regexp:{tmp_path}/rules")
    submit(world)

    async def story() -> None:
        await until(lambda: list(world.store.scan("incoming")))

    with_pickup(world, story)
    queue_id, = world.store.scan("incoming")
    stored = world.store.read("incoming", queue_id)
    assert (stored.envelope.sender, [one.address for one in stored.recipients]) == ("", ["me@mx.test"])
    content = world.content("incoming", queue_id)
    assert b"<b@mx.test> (expanded from <b>): not this\n" in content
    assert b"Status: 5.7.7\n" in content
    assert content.endswith(b"\nSubject: s\nMessage-Id: " + content.rpartition(b"Subject: s\nMessage-Id: ")[2])
    assert b"\nbody\n" not in content
    assert list(world.store.scan("maildrop")) == []
