"""Straight deliveries: qmgr to a worker of virtual without virtual, whatever happens to any of the three."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.base import wire
from mailsuite.base.log import FileTarget, PostfixFormat
from mailsuite.deliver import virtual
from mailsuite.deliver.straight import StraightGrants
from mailsuite.net.service import Listener, ServiceContext, new_event_loop
from mailsuite.net.workers import WorkerPool
from mailsuite.queue import straight
from mailsuite.queue.admin import Act, on_one
from mailsuite.queue.straight import Answer, Grant, Item
from mailsuite.queue.straight_links import StraightLinks
from tests.deliver.harness import ROOT, SOMEBODY
from tests.queue.running import MAIL, Running
from tests.queue.support import until
from tests.queue.test_journaled import needed, use_journal

KEY = straight.new_key()
GRANT = Grant("a@v.test", "/vmail/a/", "mx.test", 0, True, True, 1e12)
TOP = logging.getLogger("mailsuite")
LONG = {"queue_journal_time": "1000s"}          # nothing becomes a file because the machine is slow


# --- octets -----------------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(["\udc80", "\udcff"]), max_size=30)


@given(st.lists(st.tuples(TEXTS, TEXTS, st.binary(max_size=200))))
def test_packets_come_back_as_they_went(said: list[tuple[str, str, bytes]]) -> None:
    items = [Item(n, n, original, "4F", sender, original, 1.5, 2.5, len(content))
             for n, (sender, original, content) in enumerate(said)]
    parts = straight.packet([wire.encode(item) for item in items], [content for _, _, content in said])
    assert straight.read_packet(b"".join(parts)) == (items, [content for _, _, content in said])


@pytest.mark.parametrize("octets", [b"", b"\0\0\0", b"\0\0\0\x02{}", b"\0\0\0\x02[]x", b"\0\0\0\x09[]", b"\xff" * 40,
                                    b"".join(straight.packet([wire.encode(Item(1, 1, "", "q", "", "", 0, 0, 9))],
                                                             [b"short"])),
                                    b"".join(straight.packet([wire.encode(Item(1, 1, "", "q", "", "", 0, 0, -1))],
                                                             [b""]))])
def test_packets_that_make_no_sense(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        straight.read_packet(octets)


@given(TEXTS, TEXTS)
def test_a_grant_is_opened_by_its_key_only(address: str, path: str) -> None:
    grant = Grant(address, path, "mx.test", 5, True, False, 7.0)
    token = straight.seal(KEY, grant)
    assert straight.unseal(KEY, token) == grant
    assert straight.unseal(straight.new_key(), token) is None
    assert straight.unseal(KEY, token[:-2] + "0" + token[-2:]) is None
    assert straight.unseal(KEY, "") is None


# --- a worker ---------------------------------------------------------------------------------------------------------


class Linked:
    """A worker of virtual, its pool, and qmgr's end of a link to it."""

    def __init__(self, pool: WorkerPool, link: socket.socket, token: Callable[..., str]) -> None:
        self.pool, self.link, self.token = pool, link, token
        self.content = b"Subject: x\n\nbody\n"

    def send(self, *items: tuple[int, str]) -> None:
        """items: number and token."""
        made = [wire.encode(Item(seq, seq, token, "4FTEST", "s@far.test", "", time.time(), time.time(),
                                 len(self.content))) for seq, token in items]
        self.link.sendmsg(straight.packet(made, [self.content] * len(items)))

    async def answer(self) -> Answer | None:
        """None at the end of the link."""
        octets = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.link, 4096), 20)
        return straight.read_answer(octets) if octets else None


@contextlib.asynccontextmanager
async def linked(base: Path, **more: Any) -> AsyncIterator[Linked]:
    """As an agent and its qmgr come to it."""
    pool = WorkerPool(virtual.straight_main(virtual.mailbox.handle_batch, "virtual"), batch=16, depth=1,
                      told=lambda pid, what: grants.told(pid, what), **more)
    grants = StraightGrants(pool, 1.0)
    ours, theirs = socket.socketpair()
    grants.opened(theirs)
    identity = virtual.Identity(SOMEBODY.pw_uid, SOMEBODY.pw_gid).effective()
    question = virtual.mailbox.ask_maildir(f"{base}/first/", b"", 0, 0, host="mx.test", limit=0, sync_directory=True)
    file = os.open("/dev/null", os.O_RDONLY)
    await pool.ask(identity, question, [file])
    os.close(file)
    (pid,) = pool.pids()
    again = grants.again(identity, pid, lambda end: Grant("a@v.test", f"{base}/a/", "mx.test", 0, True, True, end))
    assert again is not None
    octets, fds, _, _ = socket.recv_fds(ours, 4096, 2)
    link = socket.socket(fileno=fds[0])
    link.setblocking(False)

    def token(path: str = "a", limit: int = 0, until: float = 1e12) -> str:
        key = grants._groups[identity].key
        return straight.seal(key, Grant("a@v.test", f"{base}/{path}/", "mx.test", limit, True, True, until))

    assert straight.read_link(octets).group == again.group
    try:
        yield Linked(pool, link, token)
    finally:
        link.close()
        ours.close()
        await pool.close()
        grants.close()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent) if ROOT else ():
        os.chmod(folder, 0o755)
    made = tmp_path / "vmail"
    made.mkdir()
    if ROOT:
        os.chown(made, SOMEBODY.pw_uid, SOMEBODY.pw_gid)
    return made


def with_link(base: Path, story: Callable[[Linked], Awaitable[None]]) -> None:
    async def run() -> None:
        async with linked(base) as made:
            await story(made)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_worker_does_what_was_granted_and_nothing_else(base: Path) -> None:
    async def story(worker: Linked) -> None:
        good = worker.token()
        forged = good.replace('/a/"', '/b/"')
        worker.send((1, good), (2, forged), (3, worker.token(limit=10)), (4, worker.token(until=1.0)), (5, ""))
        assert await worker.answer() == Answer([1], [2, 3, 4, 5])
        worker.send((1, ""))                        # the same grant, which it knows by now
        assert await worker.answer() == Answer([1])

    with_link(base, story)
    assert sorted(os.listdir(base)) == ["a", "first"]
    one, other = (path.read_bytes() for path in (base / "a/new").iterdir())
    assert one == other == (b"Return-Path: <s@far.test>\nX-Original-To: a@v.test\nDelivered-To: a@v.test\n"
                            b"Subject: x\n\nbody\n")
    assert not os.listdir(base / "a/tmp")


def test_a_failure_is_refused_and_leaves_nothing(base: Path) -> None:
    async def story(worker: Linked) -> None:
        (base / "file").write_text("")
        worker.send((1, worker.token("file")), (2, worker.token()))
        assert await worker.answer() == Answer([2], [1])

    with_link(base, story)


def test_nonsense_ends_the_link_and_not_the_worker(base: Path) -> None:
    async def story(worker: Linked) -> None:
        worker.link.send(b"nonsense")
        assert await worker.answer() is None
        assert worker.pool.count == 1

    with_link(base, story)


def test_who_shall_end_delivers_what_was_sent(base: Path) -> None:
    async def story(worker: Linked) -> None:
        (pid,) = worker.pool.pids()
        token = worker.token()
        os.kill(pid, signal.SIGSTOP)
        closing = asyncio.ensure_future(worker.pool.close(wait_s=30))
        await asyncio.sleep(0)                      # its socket is closed...
        worker.send((1, token))
        os.kill(pid, signal.SIGCONT)                # ...before it can have read the packet
        answers = [await worker.answer(), await worker.answer()]
        assert Answer(bye=True) in answers
        assert Answer([1]) in answers
        worker.link.close()
        await asyncio.wait_for(closing, 30)

    with_link(base, story)
    assert len(os.listdir(base / "a/new")) == 1


# --- qmgr's links -----------------------------------------------------------------------------------------------------


class Ends:
    def __init__(self) -> None:
        self.said: list[tuple[str, list[int]]] = []

    def delivered(self, seqs: list[int]) -> None:
        self.said.append(("delivered", seqs))

    def refused(self, seqs: list[int]) -> None:
        self.said.append(("refused", seqs))

    def lost(self, seqs: list[int], worker: int) -> None:
        self.said.append(("lost", seqs))


class Links(StraightLinks):
    """With a worker at the other end of a link, which the test plays."""

    def __init__(self) -> None:
        self.ends = Ends()
        super().__init__(self.ends)

    def link(self, group: int = 1) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._add_link("agent", straight.LinkTold(group, 99), ours.detach())
        theirs.setblocking(False)
        return theirs

    def grant(self, address: str = "a@v.test", until: float = 1e12) -> None:
        self._doors.setdefault("agent", socket.socket())
        self.learn("agent", address, straight.Again(1, until, "token of " + address))

    def offer(self, seq: int, address: str = "a@v.test", size: int = 10) -> bool:
        return self.usable("agent", address) and self.take(
            "agent", Item(seq, 0, "", "4F", "s@far.test", "", 0, 0, size), address, bytes(size))


async def packet_of(worker: socket.socket) -> list[Item]:
    octets = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(worker, 1 << 20), 20)
    return straight.read_packet(octets)[0]


def play(story: Callable[[Links], Awaitable[None]]) -> None:
    async def run() -> None:
        links = Links()
        try:
            await story(links)
        finally:
            for sock in links._doors.values():
                sock.close()
            links._doors.clear()
            links.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_what_comes_in_one_turn_goes_together_and_a_token_once() -> None:
    async def story(links: Links) -> None:
        links.grant()
        assert not links.offer(1)                       # no worker yet
        worker = links.link()
        assert all(links.offer(n) for n in range(20))
        first = await packet_of(worker)
        assert [item.seq for item in first] == list(range(16))
        assert {item.token for item in first} == {"token of a@v.test"}
        worker.send(wire.encode(Answer([0, 1, 2], [3, 999])))
        worker.send(wire.encode(Answer(list(range(4, 16)))))
        second = await packet_of(worker)
        assert [(item.seq, item.token, item.grant) for item in second] == [
            (n, "", first[0].grant) for n in range(16, 20)]
        assert links.ends.said == [("delivered", [0, 1, 2]), ("refused", [3]), ("delivered", list(range(4, 16)))]
        assert not links.offer(20)                      # what was refused is for the agent
        worker.close()
        await until(lambda: links.ends.said[-1] == ("lost", [16, 17, 18, 19]))

    play(story)


def test_a_second_worker_helps_and_more_than_enough_goes_by_the_agent() -> None:
    async def story(links: Links) -> None:
        links.grant()
        one, other = links.link(), links.link()
        taken = [n for n in range(100) if links.offer(n)]
        assert taken == list(range(32))
        assert [item.seq for item in await packet_of(one)] == list(range(16))
        assert [item.seq for item in await packet_of(other)] == list(range(16, 32))
        one.close()
        other.close()

    play(story)


def test_a_bye_is_no_loss() -> None:
    async def story(links: Links) -> None:
        links.grant()
        worker = links.link()
        assert [links.offer(n) for n in range(20)] == [True] * 20
        await packet_of(worker)
        worker.send(wire.encode(Answer(bye=True)))
        await until(lambda: links.ends.said == [("refused", [16, 17, 18, 19])])
        assert not links.offer(20)
        worker.send(wire.encode(Answer(list(range(16)))))
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(worker, 10), 20) == b""
        assert links.ends.said[-1] == ("delivered", list(range(16)))
        worker.close()

    play(story)


@pytest.mark.parametrize("answer", [b"nonsense", b'{"delivered":7}'])
def test_a_worker_that_talks_nonsense_has_perhaps_delivered(answer: bytes) -> None:
    async def story(links: Links) -> None:
        links.grant()
        worker = links.link()
        assert links.offer(1)
        await packet_of(worker)
        worker.send(answer)
        await until(lambda: links.ends.said == [("lost", [1])])
        worker.close()

    play(story)


def test_large_ones_travel_apart_and_old_grants_not_at_all() -> None:
    async def story(links: Links) -> None:
        links.grant()
        links.grant("old@v.test", until=1.0)
        worker = links.link()
        assert not links.offer(1, "old@v.test")
        assert links.offer(2, size=40_000)
        assert links.offer(3, size=40_000)
        assert links.offer(4, size=straight.PACKET_LIMIT)
        assert [item.seq for item in await packet_of(worker)] == [2]
        worker.send(wire.encode(Answer([2])))
        assert [item.seq for item in await packet_of(worker)] == [3]
        worker.send(wire.encode(Answer([3])))
        await until(lambda: len(links.ends.said) == 3)
        assert links.ends.said == [("delivered", [2]), ("refused", [4]), ("delivered", [3])] or links.ends.said == [
            ("delivered", [2]), ("delivered", [3]), ("refused", [4])]
        links.forget()
        assert not links.offer(5)
        worker.close()

    play(story)


def test_a_worker_that_hangs_is_given_up() -> None:
    async def story(links: Links) -> None:
        links.grant()
        worker = links.link()
        assert links.offer(1)
        await packet_of(worker)
        links.give_up("another agent")
        assert not links.ends.said
        links.give_up("agent")
        assert links.ends.said == [("lost", [1])]
        worker.close()

    play(story)


# --- qmgr, virtual and its workers ------------------------------------------------------------------------------------


class System(Running):
    """A qmgr, a virtual, a journal. straight: numbers of deliveries that went straight."""

    def __init__(self, top: Path, base: Path, **more: str) -> None:
        super().__init__(top, {}, **LONG, **{
            "virtual_mailbox_domains": "v.test", "virtual_mailbox_base": str(base), "myhostname": "mx.test",
            "virtual_mailbox_maps": "inline:{ {a@v.test = a/}, {b@v.test = b/}, {box@v.test = box} }",
            "virtual_uid_maps": f"static:{SOMEBODY.pw_uid}", "virtual_gid_maps": f"static:{SOMEBODY.pw_gid}",
            "virtual_minimum_uid": "1", "delivery_straight_time": "1000s", "minimal_backoff_time": "1000s", **more})
        self.straight: list[int] = []
        self.log = top / "log"
        self._logged = os.open(self.log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
        self._target = FileTarget(PostfixFormat("postfix"), self._logged)

    async def begin(self) -> None:
        self._level = TOP.level
        TOP.setLevel(logging.INFO)
        TOP.addHandler(self._target)
        for agent in self.agents.values():
            await agent.start()
        await self.start_virtual()
        await self.start()
        await use_journal(self)
        assert self.manager is not None
        links = self.manager.manager.straight._links
        take = links.take

        def noted(path: str, item: Item, address: str, content: bytes) -> bool:
            taken = take(path, item, address, content)
            if taken:
                self.straight.append(item.seq)
            return taken

        links.take = noted                                          # type: ignore[method-assign]

    async def start_virtual(self) -> None:
        path = f"{self.store.directory}/private/virtual"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(path)
        sock.listen()
        self.agent = ServiceContext("virtual", "virtual", self.settings, listeners=[Listener("virtual", sock, "unix")])
        self._agent_task = asyncio.ensure_future(virtual.serve(self.agent))

    async def stop_virtual(self) -> None:
        self.agent.stopping.set()
        await self._agent_task

    async def end(self) -> None:
        await self.stop()
        await self.stop_virtual()
        for agent in self.agents.values():
            agent.stop()
        TOP.removeHandler(self._target)
        TOP.setLevel(self._level)
        os.close(self._logged)

    async def mail(self, *to: str, count: int = 1) -> None:
        for _ in range(count):
            await self.put(MAIL, to=to or ("a@v.test",))

    def lines(self, what: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if what in line]

    async def warm(self) -> None:
        """Mail goes straight from here on."""
        while not self.straight:
            sent = len(self.lines("status="))
            await self.mail()
            await until(lambda sent=sent: len(self.lines("status=")) > sent)        # type: ignore[misc]

    def workers(self) -> set[int]:
        assert self.manager is not None
        return {link.worker for link in self.manager.manager.straight._links._links}


def run(top: Path, base: Path, story: Callable[[System], Awaitable[None]], **more: str) -> System:
    async def all_of_it() -> System:
        system = System(top, base, **more)
        await system.begin()
        try:
            await story(system)
        finally:
            await system.end()
        return system

    loop = new_event_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(all_of_it(), 90))
    finally:
        loop.close()


def arrived(base: Path, user: str = "a") -> int:
    return len(os.listdir(base / user / "new")) if (base / user / "new").exists() else 0


def test_mail_goes_straight_and_looks_like_any_other(tmp_path: Path, base: Path) -> None:
    async def story(system: System) -> None:
        await system.warm()
        before = arrived(base)
        await system.mail(count=40)
        await until(lambda: arrived(base) == before + 40 and not needed(system))

    system = run(tmp_path, base, story)
    assert len(system.straight) >= 20               # some may have found the workers full
    assert {path.read_bytes() for path in (base / "a/new").iterdir()} == {
        b"Return-Path: <a@far.test>\nX-Original-To: a@v.test\nDelivered-To: a@v.test\n" + MAIL}
    sent = [line.partition("]: ")[2].partition(": ") for line in system.lines("status=")]
    assert len(sent) == len({queue_id for queue_id, _, _ in sent}) == arrived(base)
    assert all(rest.startswith("to=<a@v.test>, relay=virtual, delay=") and rest.endswith(
        "dsn=2.0.0, status=sent (delivered to maildir)") for _, _, rest in sent)
    assert len(system.lines(": removed")) == arrived(base) + 1          # use_journal's own
    assert not system.where()


@pytest.mark.parametrize("more", [{"delivery_straight_time": "0"},
                                  {"virtual_delivery_status_filter": "inline:{ {x = y} }"},
                                  {"delay_logging_resolution_limit": "3"}])
def test_what_is_not_ordinary_goes_by_the_agent(tmp_path: Path, base: Path, more: dict[str, str]) -> None:
    async def story(system: System) -> None:
        for count in range(1, 6):
            await system.mail()
            await until(lambda count=count: arrived(base) == count)     # type: ignore[misc]

    assert not run(tmp_path, base, story, **more).straight


def test_several_recipients_and_mailbox_files_go_by_the_agent(tmp_path: Path, base: Path) -> None:
    async def story(system: System) -> None:
        await system.warm()
        before, straight_before = arrived(base), len(system.straight)
        await system.mail("a@v.test", "b@v.test", count=3)
        for _ in range(3):
            await system.mail("box@v.test")
        await until(lambda: arrived(base) == before + 3 and arrived(base, "b") == 3 and (base / "box").exists()
                    and (base / "box").read_bytes().count(b"\nReturn-Path") == 3)
        assert len(system.straight) == straight_before

    run(tmp_path, base, story)


def test_a_failure_is_told_by_the_agent(tmp_path: Path, base: Path) -> None:
    async def story(system: System) -> None:
        await system.warm()
        (base / "a").rename(base / "gone")
        (base / "a").write_text("")                     # no folder
        await system.mail(count=3)
        await until(lambda: len(system.where().get("deferred", [])) == 3)
        for line in system.lines("status=deferred"):
            assert "dsn=4.2.0, status=deferred (maildir delivery failed: create maildir file" in line
        assert len(system.lines("status=deferred")) == 3
        (base / "a").unlink()
        await system.mail()
        await until(lambda: arrived(base) == 1)

    run(tmp_path, base, story)


def test_a_worker_that_dies_has_perhaps_delivered(tmp_path: Path, base: Path) -> None:
    async def story(system: System) -> None:
        await system.warm()
        (worker,) = system.workers()
        assert system.manager is not None
        links = system.manager.manager.straight._links
        os.kill(worker, signal.SIGSTOP)
        await system.mail(count=3)
        await until(lambda: any(link.in_hand for link in links._links))
        os.kill(worker, signal.SIGKILL)
        await until(lambda: system.where().get("deferred"))
        await until(lambda: not needed(system))
        deferred = system.where()["deferred"]
        dead = system.lines("status=deferred (delivery process died)")
        assert len(dead) == len(deferred) > 0
        assert all(f"virtual worker {worker} died" in line for line in system.lines("warning: "))
        before = arrived(base)
        await system.mail()
        await until(lambda: arrived(base) > before)

    run(tmp_path, base, story)


def test_no_mail_waits_for_a_reload(tmp_path: Path, base: Path) -> None:
    """Under way while virtual gets new settings; grants of before are not used."""
    async def story(system: System) -> None:
        await system.warm()
        assert system.agent.on_reload is not None
        total = arrived(base)
        for _ in range(5):
            await system.mail(count=5)
            system.agent.on_reload(system.settings, None)
            total += 5
        await until(lambda: arrived(base) == total and not needed(system))
        assert not system.lines("status=deferred")
        system.agent.on_reload(system.settings, None)
        await until(lambda: not system.workers())       # links end with the settings that they were made under
        system.straight.clear()
        await system.warm()

    run(tmp_path, base, story)


def test_an_agent_that_stops_leaves_nothing_behind(tmp_path: Path, base: Path) -> None:
    async def story(system: System) -> None:
        await system.warm()
        total = arrived(base) + 20
        await system.mail(count=20)
        await until(lambda: len(system.straight) > 10)
        await system.stop_virtual()
        await until(lambda: not system.workers())
        await until(lambda: arrived(base) + len(system.where().get("deferred", [])) == total)
        assert not any("died" in line for line in system.lines("warning: "))
        await system.start_virtual()
        await system.mail()
        await until(lambda: arrived(base) + len(system.where().get("deferred", [])) == total + 1)

    run(tmp_path, base, story)


def test_a_table_is_looked_at_again(tmp_path: Path, base: Path) -> None:
    table = tmp_path / "boxes"
    table.write_text("a@v.test a/\n")

    async def story(system: System) -> None:
        await system.warm()
        table.write_text("b@v.test b/\n")
        os.utime(table, (1, 1))
        end = time.monotonic() + 30
        while not system.lines("status=bounced") and time.monotonic() < end:
            await system.mail()
            await asyncio.sleep(0.05)
        assert 'unknown user: "a@v.test"' in system.lines("status=bounced")[0]

    run(tmp_path, base, story, virtual_mailbox_maps=f"texthash:{table}", delivery_straight_time="1s",
        local_recipient_maps="")


def test_what_is_deleted_while_it_is_under_way_ends_in_peace(tmp_path: Path, base: Path) -> None:
    async def story(system: System) -> None:
        await system.warm()
        (worker,) = system.workers()
        assert system.manager is not None
        links = system.manager.manager.straight._links
        before = arrived(base)
        os.kill(worker, signal.SIGSTOP)
        try:
            await system.mail()
            await until(lambda: any(link.in_hand for link in links._links))
            await system.manager.manager.journaled.everything()
            (queue_id,) = system.where()["active"]
            assert on_one(system.store, Act.DELETE, queue_id, ["active"])
        finally:
            os.kill(worker, signal.SIGCONT)
        await until(lambda: arrived(base) == before + 1 and not system.manager.manager.active)
        assert not system.where()
        assert not needed(system)

    run(tmp_path, base, story)
