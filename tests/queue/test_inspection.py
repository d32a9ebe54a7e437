"""Those who look at whole messages, and their edits."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailsuite.base.errors import TemporaryError
from mailsuite.queue.cleanup import Refused
from mailsuite.queue.envelope import Envelope, Notify, Recipient
from mailsuite.queue.file import HEAD, RESERVE
from mailsuite.queue.inspection import (
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    Edit,
    InsertHeader,
    Inspected,
    Inspection,
    Quarantine,
    RemoveFields,
    RemoveRecipient,
    ReplaceBody,
)
from tests.queue.support import World

HEADER = (b"Received: by mx.test\nDate: x\nFrom: a@far.test\nMessage-Id: <1@far.test>\n"
          b"X-A: 1\nX-B: 2\n\tfolded\nX-A: 3\n")
SIZES = pytest.mark.parametrize("body", [
    pytest.param(b"one\ntwo\n", id="in memory"), pytest.param(b"", id="empty"),
    pytest.param(b"0123456789abcde\n" * 20_000, id="in the file"),
    pytest.param(b"0123456789abcde\n" * 200_000, id="for a thread")])


class Asks:
    """An inspector that keeps what it saw and wants what it was made with."""

    def __init__(self, *edits: Edit, refusal: Refused | None = None, discard: bool = False) -> None:
        self.answer = Inspection(list(edits), refusal, discard)
        self.header = self.body = b""
        self.calls = 0

    async def inspect(self, message: Inspected) -> Inspection:
        self.calls += 1
        self.header, self.body = message.header(), b"".join(message.body())
        assert self.header == b"".join(field.name + b":" + field.value + b"\n" for field in message.fields)
        assert message.size - len(self.header) - len(self.body) in (0, 1)       # the empty line
        return self.answer


class Calls:
    def __init__(self, function: Callable[[Inspected], Awaitable[Inspection]]) -> None:
        self.inspect = function


def world_of(top: Path, *inspectors: Any, **values: str) -> World:
    world = World(top, **values)
    world.cleanup.last = list(inspectors)
    return world


def kept(world: World, content: bytes, queue: str = "incoming", **more: Any) -> bytes:
    return world.content(queue, asyncio.run(world.put(content, **more)).queue_id)


@SIZES
@pytest.mark.parametrize(("edits", "header"), [
    pytest.param([], HEADER, id="none"),
    pytest.param([InsertHeader(0, "X-N", "v=1;\n\tb=x")], b"X-N: v=1;\n\tb=x\n" + HEADER, id="top"),
    pytest.param([InsertHeader(1, "X-N", "n")], HEADER.replace(b"Date", b"X-N: n\nDate"), id="second"),
    pytest.param([InsertHeader(99, "X-N", "n")], HEADER + b"X-N: n\n", id="beyond the end"),
    pytest.param([AddHeader("X-N", "n"), AddHeader("X-N", "m", verbatim=True)], HEADER + b"X-N: n\nX-N:m\n", id="add"),
    pytest.param([ChangeHeader("x-a", 2, "9")], HEADER.replace(b"X-A: 3", b"x-a: 9"), id="change the second"),
    pytest.param([ChangeHeader("X-B", 1, None)], HEADER.replace(b"X-B: 2\n\tfolded\n", b""), id="a folded one goes"),
    pytest.param([ChangeHeader("X-A", 1, None), ChangeHeader("X-A", 1, None)],
                 HEADER.replace(b"X-A: 1\n", b"").replace(b"X-A: 3\n", b""), id="both, one after the other"),
    pytest.param([RemoveFields(frozenset({4, 6, 99})), InsertHeader(0, "X-N", "n")],
                 b"X-N: n\n" + HEADER.replace(b"X-A: 1\n", b"").replace(b"X-A: 3\n", b""), id="by place"),
    pytest.param([ChangeHeader("X-A", 3, None), ChangeHeader("X-None", 1, None)], HEADER, id="none to take away"),
    pytest.param([ChangeHeader("X-None", 1, "new")], HEADER + b"X-None: new\n", id="none to change: added"),
    pytest.param([AddHeader("X-N", "a\nBcc: x\r\n\nbody\n\n")], HEADER + b"X-N: a\n\tBcc: x\n\t\n\tbody\n",
                 id="no field or body is smuggled in"),
    pytest.param([AddHeader("X-N", "v" * 990)] * 100, HEADER + (b"X-N: " + b"v" * 990 + b"\n") * 100,
                 id="over the reserve"),
])
def test_header_edits(edits: list[Edit], header: bytes, body: bytes, tmp_path: Path) -> None:
    first, second = Asks(*edits), Asks()
    world = world_of(tmp_path, first, second, message_size_limit="0")
    assert kept(world, HEADER + b"\n" + body, blocks=30_000) == header + b"\n" + body
    assert (first.header, first.body) == (HEADER, body)
    assert (second.header, second.body) == (header, body)


@SIZES
@pytest.mark.parametrize("new", [b"", b"new\n", b"fifteen octets.\n" * 50_000], ids=["empty", "small", "large"])
def test_another_body(new: bytes, body: bytes, tmp_path: Path) -> None:
    blocks = [new[at:at + 65536] for at in range(0, len(new), 65536)]
    world = world_of(tmp_path, Asks(ReplaceBody(blocks), AddHeader("X-N", "n")), last := Asks(), message_size_limit="0")
    assert kept(world, HEADER + b"\n" + body) == HEADER + b"X-N: n\n\n" + new
    assert last.body == new


@SIZES
def test_qmgr_is_told_where_the_content_begins(body: bytes, tmp_path: Path) -> None:
    world = world_of(tmp_path, Asks(InsertHeader(0, "X-N", "n")), message_size_limit="0")
    queue_id = asyncio.run(world.put(HEADER + b"\n" + body)).queue_id
    stored = world.store.read("incoming", queue_id)
    assert [(told["offset"], told["size"]) for told in world.told] == [(stored.offset, stored.size)]


def test_a_body_made_of_the_old_one(tmp_path: Path) -> None:
    async def footer(message: Inspected) -> Inspection:
        return Inspection([ReplaceBody([*message.body(), b"-- \nfooter\n"])])

    body = b"0123456789abcde\n" * 20_000
    assert kept(world_of(tmp_path, Calls(footer)), HEADER + b"\n" + body) == HEADER + b"\n" + body + b"-- \nfooter\n"


def test_a_header_without_a_body(tmp_path: Path) -> None:
    async def look(message: Inspected) -> Inspection:
        assert list(message.body()) == [] and message.size == len(HEADER)
        return Inspection([AddHeader("X-N", "n")])

    assert kept(world_of(tmp_path, Calls(look)), HEADER) == HEADER + b"X-N: n\n"


def test_their_order(tmp_path: Path) -> None:
    async def go() -> bytes:
        world = World(tmp_path)
        world.cleanup.first = [Asks(AddHeader("X", "first"))]
        world.cleanup.last = [Asks(AddHeader("X", "last"))]
        intake = world.cleanup.begin(Envelope(sender="a@far.test"))
        intake.inspectors = [Asks(AddHeader("X", "own 1")), Asks(AddHeader("X", "own 2"))]
        await intake.recipient(Recipient("b@mx.test"))
        intake.write(HEADER + b"\nbody\n")
        return world.content("incoming", (await intake.commit()).queue_id)

    assert asyncio.run(go()) == HEADER + b"X: first\nX: own 1\nX: own 2\nX: last\n\nbody\n"


def test_the_body_is_not_moved_while_the_header_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "copy_file_range", lambda *_: pytest.fail("the body was copied"))
    world = world_of(tmp_path, Asks(InsertHeader(0, "X-N", "v" * 20_000)))
    content = HEADER + b"\n" + b"0123456789abcde\n" * 20_000
    accepted = asyncio.run(world.put(content))
    stored = world.store.read("incoming", accepted.queue_id)
    assert stored.offset == HEAD + RESERVE - 20_006
    assert accepted.size == stored.size == len(content) + 20_006


def test_without_inspectors_the_file_has_no_hole(tmp_path: Path) -> None:
    world = World(tmp_path)
    accepted = asyncio.run(world.put(HEADER + b"\n" + b"0123456789abcde\n" * 20_000))
    assert world.store.read("incoming", accepted.queue_id).offset == HEAD


def test_where_the_kernel_cannot_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: object) -> int:
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "copy_file_range", cannot)
    body = b"0123456789abcde\n" * 200_000
    world = world_of(tmp_path, Asks(AddHeader("X-N", "v" * 40_000)))
    assert kept(world, HEADER + b"\n" + body) == HEADER + b"X-N: " + b"v" * 40_000 + b"\n\n" + body


# --- decisions --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("body", [b"x\n", b"x\n" * 100_000])
@pytest.mark.parametrize(("code", "status"), [(550, "5.7.1"), (451, "4.7.1"), (571, "5.7.1")])
def test_refusal(code: int, status: str, body: bytes, tmp_path: Path) -> None:
    world = world_of(tmp_path, Asks(refusal=Refused(code, status, "no")), after := Asks())
    with pytest.raises(Refused) as raised:
        kept(world, HEADER + b"\n" + body)
    assert (raised.value.code, raised.value.status, raised.value.public, after.calls) == (code, status, "no", 0)
    assert not list(world.store.scan("incoming")) and not world.told


def test_discard(tmp_path: Path) -> None:
    world = world_of(tmp_path, Asks(discard=True), after := Asks())
    assert asyncio.run(world.put(HEADER)).queue_id
    assert not list(world.store.scan("incoming")) and not world.told and not after.calls


def test_quarantine(tmp_path: Path) -> None:
    world = world_of(tmp_path, Asks(Quarantine("looks odd")))
    accepted = asyncio.run(world.put(HEADER + b"\nx\n"))
    assert world.store.read("hold", accepted.queue_id).envelope.hold_reason == "looks odd"
    assert not world.told


@pytest.mark.parametrize(("error", "public"), [
    (TemporaryError("try later"), "Error: try later"), (ZeroDivisionError("x"), "Error: internal error")])
def test_an_inspector_that_fails(error: Exception, public: str, tmp_path: Path) -> None:
    async def fail(message: Inspected) -> Inspection:
        raise error

    world = world_of(tmp_path, Calls(fail))
    with pytest.raises(Refused) as raised:
        kept(world, HEADER)
    assert (raised.value.code, raised.value.public) == (451, public)
    assert not list(world.store.scan("incoming"))


def test_mail_that_is_refused_or_discarded_already_is_not_shown(tmp_path: Path) -> None:
    table = tmp_path / "checks"
    table.write_text("/reject/ REJECT\n/discard/ DISCARD\n")
    world = world_of(tmp_path, asks := Asks(), header_checks=f"regexp:{table}")
    with pytest.raises(Refused):
        kept(world, b"Subject: reject\n\n")
    asyncio.run(world.put(b"Subject: discard\n\n"))
    assert not asks.calls


# --- envelope ---------------------------------------------------------------------------------------------------

def recipients(world: World, **more: Any) -> list[Recipient]:
    accepted = asyncio.run(world.put(HEADER + b"\nx\n", **more))
    return [Recipient(one.address, one.original, one.orcpt, one.notify)
            for one in world.store.read("incoming", accepted.queue_id).recipients]


@pytest.fixture
def aliases(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "virtual").write_text("/^list@mx.test$/ c@mx.test, d@mx.test\n")
    return {"virtual_alias_maps": f"regexp:{tmp_path}/virtual"}


def test_added_recipients_are_expanded_without_doubles(tmp_path: Path, aliases: dict[str, str]) -> None:
    world = world_of(tmp_path, Asks(AddRecipient("list@mx.test"), AddRecipient("list@mx.test")), **aliases)
    assert [(one.address, one.original) for one in recipients(world)] == [
        ("b@mx.test", "b@mx.test"), ("c@mx.test", "list@mx.test"), ("d@mx.test", "list@mx.test")]


def test_parameters_of_an_added_recipient(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = world_of(tmp_path, Asks(AddRecipient("c@mx.test", "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;q+2Bx@mx.test"),
                                    AddRecipient("d@mx.test", "NOTIFY=NEVER,DELAY SIZE=3")))
    assert recipients(world)[1:] == [
        Recipient("c@mx.test", "c@mx.test", "rfc822;q+x@mx.test", Notify.SUCCESS | Notify.DELAY),
        Recipient("d@mx.test", "d@mx.test", "rfc822;d@mx.test")]
    assert [text for text in caplog.messages if "ignoring" in text] and "SIZE=3" in caplog.text


@pytest.mark.parametrize(("removed", "left"), [
    pytest.param("list@mx.test", ["b@mx.test"], id="before expansion"),
    pytest.param("d@mx.test", ["b@mx.test", "c@mx.test", "d@mx.test"], id="after it: the milter does not know it"),
    pytest.param("b@mx.test", ["c@mx.test", "d@mx.test"], id="not expanded"),
    pytest.param("z@mx.test", ["b@mx.test", "c@mx.test", "d@mx.test"], id="not there")])
def test_removed_recipients(removed: str, left: list[str], tmp_path: Path, aliases: dict[str, str]) -> None:
    world = world_of(tmp_path, Asks(RemoveRecipient(removed)), **aliases)
    assert [one.address for one in recipients(world, to=("b@mx.test", "list@mx.test"))] == left


def test_removed_and_added_again(tmp_path: Path) -> None:
    world = world_of(tmp_path, Asks(RemoveRecipient("b@mx.test"), AddRecipient("b@mx.test")))
    assert [one.address for one in recipients(world)] == ["b@mx.test"]


def test_nobody_is_left(tmp_path: Path) -> None:
    world = world_of(tmp_path, Asks(RemoveRecipient("b@mx.test")))
    assert asyncio.run(world.put(HEADER)).queue_id
    assert not list(world.store.scan("incoming")) and not world.told


def test_another_sender(tmp_path: Path) -> None:
    (tmp_path / "canonical").write_text("/^new@mx.test$/ mapped@mx.test\n")
    world = world_of(tmp_path, Asks(ChangeSender("new@mx.test", "RET=HDRS ENVID=a+3Db")),
                     sender_canonical_maps=f"regexp:{tmp_path}/canonical")
    accepted = asyncio.run(world.put(HEADER))
    envelope = world.store.read("incoming", accepted.queue_id).envelope
    assert (envelope.sender, envelope.ret.value, envelope.envid) == ("mapped@mx.test", "HDRS", "a=b")
    assert world.told[0]["facts"]["sender"] == "mapped@mx.test"


def test_the_null_sender(tmp_path: Path) -> None:
    world = world_of(tmp_path, Asks(ChangeSender("")))
    accepted = asyncio.run(world.put(HEADER))
    assert world.store.read("incoming", accepted.queue_id).envelope.sender == ""


def test_nothing_is_synced_while_they_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr("mailsuite.queue.ring_committer.Ring.open", lambda entries: None)   # threads can be watched
    for name in ("fsync", "pwritev", "link"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real, **k: (synced.append(name), real(*a, **k))[1])

    async def look(message: Inspected) -> Inspection:
        assert not synced
        return Inspection([AddHeader("X-N", "n")])

    kept(world_of(tmp_path, Calls(look)), HEADER + b"\n" + b"x\n" * 100_000)
    assert {"fsync", "link"} <= set(synced)


@pytest.mark.parametrize("lines", [10, 100_000])
def test_a_body_is_readable_after_its_message_has_gone(lines: int, tmp_path: Path) -> None:
    saved: list[Iterator[bytes]] = []

    async def look(message: Inspected) -> Inspection:
        saved.append(message.body())
        await asyncio.sleep(60)
        raise AssertionError

    async def go() -> None:
        world = world_of(tmp_path, Calls(look))
        intake = world.cleanup.begin(Envelope(sender="a@far.test"))
        await intake.recipient(Recipient("b@mx.test"))
        intake.write(HEADER + b"\n" + b"x\n" * lines)
        commit = asyncio.create_task(intake.commit())
        while not saved:
            await asyncio.sleep(0)
        commit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await commit
        assert not list(world.store.scan("incoming"))

    asyncio.run(go())
    assert b"".join(saved[0]) == b"x\n" * lines
