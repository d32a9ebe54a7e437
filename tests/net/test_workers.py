"""Worker processes: requests with descriptors, size, crash, idleness, rights."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from mailsuite.base.errors import PermanentError, TemporaryError
from mailsuite.net.service import new_event_loop
from mailsuite.net.spare import Spare
from mailsuite.net.worker_channel import Batch, Main
from mailsuite.net.workers import (
    Identity,
    WorkerChannel,
    WorkerGone,
    WorkerPool,
    serve_batches,
    serve_requests,
)

ROOT = os.geteuid() == 0
NOBODY = Identity(65534, 65534)
ME = Identity(65534, 65534) if ROOT else Identity(os.geteuid(), os.getegid())


def run(work: Coroutine[Any, Any, Any]) -> Any:
    loop = new_event_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(work, 60))
    finally:
        loop.close()


def act(message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    match message["do"]:
        case "echo":
            return {"back": message["text"], "read": [os.pread(fd, 100, 0).decode() for fd in fds], "pid": os.getpid()}
        case "who":
            return {"ids": [os.getresuid(), os.getresgid()], "groups": os.getgroups(),
                    "fds": len(os.listdir("/proc/self/fd"))}
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "permanent":
            raise PermanentError("no", status="5.7.1", detail="inside")
    raise ValueError("unknown")


async def with_pool(work: Any, **options: Any) -> Any:
    pool = WorkerPool(serve_requests(act), **options)
    try:
        return await work(pool)
    finally:
        await pool.close()


@pytest.mark.parametrize("size", [10, 59_000, 100_000, 3_000_000])
def test_requests_of_any_size_and_descriptors(tmp_path: Path, size: int) -> None:
    (tmp_path / "a").write_text("content of a")
    file = os.open(tmp_path / "a", os.O_RDONLY)

    async def work(pool: WorkerPool) -> dict[str, Any]:
        return await pool.ask(ME, {"do": "echo", "text": "x" * size}, [file])

    answer = run(with_pool(work))
    os.close(file)
    assert answer["back"] == "x" * size
    assert answer["read"] == ["content of a"]


def test_one_warm_worker_answers_many() -> None:
    async def work(pool: WorkerPool) -> list[dict[str, Any]]:
        return await asyncio.gather(*(pool.ask(ME, {"do": "echo", "text": str(n)}) for n in range(300)))

    answers = run(with_pool(work))
    assert [answer["back"] for answer in answers] == [str(n) for n in range(300)]
    assert len({answer["pid"] for answer in answers}) == 1


def test_load_is_spread_up_to_most_each() -> None:
    async def work(pool: WorkerPool) -> list[dict[str, Any]]:
        return await asyncio.gather(*(pool.ask(ME, {"do": "echo", "text": ""}) for _ in range(50)))

    assert len({answer["pid"] for answer in run(with_pool(work, most_each=3, depth=1))}) == 3


def test_a_key_always_meets_the_same_worker() -> None:
    async def work(pool: WorkerPool) -> list[dict[str, Any]]:
        return [await pool.ask(ME, {"do": "echo", "text": ""}, key=str(n % 2)) for n in range(10)]

    pids = [answer["pid"] for answer in run(with_pool(work))]
    assert pids[0] != pids[1] and pids == pids[:2] * 5


def test_a_crash_fails_what_was_in_hand_and_the_next_gets_a_new_worker() -> None:
    async def work(pool: WorkerPool) -> tuple[int, int]:
        before = (await pool.ask(ME, {"do": "echo", "text": ""}))["pid"]
        with pytest.raises(WorkerGone):
            await pool.ask(ME, {"do": "die"})
        return before, (await pool.ask(ME, {"do": "echo", "text": ""}))["pid"]

    before, after = run(with_pool(work))
    assert before != after


@pytest.mark.parametrize(("do", "kind", "status"), [
    ("permanent", PermanentError, "5.7.1"), ("nonsense", TemporaryError, "4.3.0")])
def test_errors_come_back(do: str, kind: type[Exception], status: str) -> None:
    async def work(pool: WorkerPool) -> None:
        with pytest.raises(kind) as caught:
            await pool.ask(ME, {"do": do})
        assert caught.value.status == status  # type: ignore[attr-defined]

    run(with_pool(work))


def test_idle_workers_leave() -> None:
    async def work(pool: WorkerPool) -> None:
        await pool.ask(ME, {"do": "echo", "text": ""})
        assert pool.count == 1
        while pool.count:
            await asyncio.sleep(0.01)

    run(with_pool(work, idle_s=0.05))


def test_a_full_pool_makes_room_and_makes_others_wait() -> None:
    async def work(pool: WorkerPool) -> None:
        answers = await asyncio.gather(*(pool.ask(ME, {"do": "echo", "text": key}, key=key) for key in "abcdefgh"))
        assert [answer["back"] for answer in answers] == list("abcdefgh")
        assert pool.count <= 2

    run(with_pool(work, most=2))


def test_a_busy_worker_is_not_idle() -> None:
    def main(channel: WorkerChannel) -> None:
        while (request := channel.receive()) is not None:
            channel.report_busy(request.message["busy"])
            channel.answer(request.number, {})

    async def work() -> None:
        pool = WorkerPool(main, idle_s=0.02)
        await pool.ask(ME, {"busy": 1})
        await asyncio.sleep(0.1)
        assert pool.count == 1
        await pool.ask(ME, {"busy": 0})
        while pool.count:
            await asyncio.sleep(0.01)
        await pool.close()

    run(work())


@pytest.mark.skipif(not ROOT, reason="changing uid needs root")
def test_rights_are_dropped_and_descriptors_closed(tmp_path: Path) -> None:
    secret = os.open(tmp_path, os.O_RDONLY)

    async def work(pool: WorkerPool) -> dict[str, Any]:
        first = await pool.ask(Identity(65534, 65533), {"do": "who"})
        other = await pool.ask(Identity(65533, 65533, groups=(7,)), {"do": "who"})
        assert other["groups"] == [7]
        assert first["groups"] == []
        assert first["fds"] == other["fds"]
        return first

    answer = run(with_pool(work))
    os.close(secret)
    assert answer["ids"] == [[65534] * 3, [65533] * 3]
    assert answer["fds"] <= 6           # 0, 1, 2, the socket, the folder being listed, pytest's log at most


@pytest.mark.skipif(not ROOT, reason="only root could become root")
def test_a_root_worker_is_refused() -> None:
    async def work(pool: WorkerPool) -> None:
        with pytest.raises(WorkerGone):
            await pool.ask(Identity(0, 0), {"do": "who"})

    run(with_pool(work))


# --- batches --------------------------------------------------------------------------------------------------------

def act_together(requests: Batch) -> list[Mapping[str, Any] | BaseException]:
    """Waits for a word at the first descriptor, then answers how many came together; "fail" gets an error."""
    for message, fds in requests:
        if message["do"] == "wait":
            os.read(fds[0], 1)
    return [PermanentError("no", status="5.7.1") if message["do"] == "fail"
            else {"together": len(requests), "read": [os.pread(fd, 100, 0).decode() for fd in fds[message["skip"]:]]}
            for message, fds in requests]


def test_what_gathers_meanwhile_travels_together(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content of a")

    async def work() -> list[Any]:
        pool = WorkerPool(serve_batches(act_together), depth=1, batch=4,
                          alone=lambda message: "alone" in message)
        ours, theirs = os.pipe()
        file = os.open(tmp_path / "a", os.O_RDONLY)
        try:
            first = asyncio.ensure_future(pool.ask(ME, {"do": "wait", "skip": 1}, [ours]))
            rest = [asyncio.ensure_future(pool.ask(ME, question | {"skip": 0}, fds)) for question, fds in (
                ({"do": "read"}, [file, file]), ({"do": "fail"}, []), ({"do": "read"}, [file]), ({"do": "read"}, []),
                ({"do": "read"}, []), ({"do": "read", "alone": True}, []), ({"do": "read"}, []))]
            await asyncio.sleep(0)
            os.write(theirs, b"x")
            return await asyncio.gather(first, *rest, return_exceptions=True)
        finally:
            for fd in (ours, theirs, file):
                os.close(fd)
            await pool.close()

    first, two, failed, one, none, *others = run(work())
    assert first == {"together": 1, "read": []}
    assert two == {"together": 4, "read": ["content of a"] * 2} and one == {"together": 4, "read": ["content of a"]}
    assert none == {"together": 4, "read": []} and isinstance(failed, PermanentError)
    assert [answer["together"] for answer in others] == [1, 1, 1]


def test_a_worker_that_dies_fails_the_whole_batch() -> None:
    def die(requests: Batch) -> list[Mapping[str, Any] | BaseException]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    async def work() -> list[Any]:
        pool = WorkerPool(serve_batches(die), depth=1, batch=4)
        try:
            return await asyncio.gather(*(pool.ask(ME, {}) for _ in range(3)), return_exceptions=True)
        finally:
            await pool.close()

    assert [type(end) for end in run(work())] == [WorkerGone] * 3


# --- spare workers ----------------------------------------------------------------------------------------------------


def rehearsed() -> Main:
    """In the spare: what it finds there tells that nothing was dropped yet."""
    before = os.geteuid(), len(os.listdir("/proc/self/fd"))

    def answer(message: dict[str, Any], fds: list[int]) -> Mapping[str, Any]:
        return {**act(message, fds), "before": before}

    return serve_requests(answer)


def spares_of(pool: WorkerPool) -> list[Spare]:
    return list(pool._spares or ())


def test_a_spare_becomes_whoever_is_needed_first() -> None:
    async def work(pool: WorkerPool) -> tuple[int, dict[str, Any], dict[str, Any]]:
        pool.keep_spares(rehearsed)
        [spare] = spares_of(pool)
        first = await pool.ask(ME, {"do": "echo", "text": "x"}, key="0")
        return spare.pid, first, await pool.ask(ME, {"do": "who"}, key="0")

    pid, first, second = run(with_pool(work))
    assert first["pid"] == pid
    assert first["before"][0] == os.geteuid()
    assert second["ids"] == [[ME.uid] * 3, [ME.gid] * 3]
    assert second["groups"] == [] or not ROOT
    assert second["fds"] <= 5               # its own, the log's, the listing's


def test_a_spare_takes_its_key_and_the_next_is_forked() -> None:
    async def work(pool: WorkerPool) -> list[int]:
        pool.keep_spares(rehearsed)
        pids = []
        for key in "012":
            while not (waiting := spares_of(pool)):
                await asyncio.sleep(0.005)
            pids.append((waiting[0].pid, (await pool.ask(ME, {"do": "echo", "text": ""}, key=key))["pid"]))
        return pids

    pids = run(with_pool(work))
    assert all(spare == worker for spare, worker in pids)
    assert len(set(pids)) == 3


def test_a_dead_spare_harms_nobody() -> None:
    async def work(pool: WorkerPool) -> tuple[int, dict[str, Any]]:
        pool.keep_spares(rehearsed)
        [spare] = spares_of(pool)
        os.kill(spare.pid, signal.SIGKILL)
        await asyncio.to_thread(os.waitid, os.P_PID, spare.pid, os.WEXITED | os.WNOWAIT)
        return spare.pid, await pool.ask(ME, {"do": "echo", "text": "x"}, key="0")

    pid, answer = run(with_pool(work))
    assert answer["pid"] != pid
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_a_spare_is_renewed_and_leaves_with_its_pool() -> None:
    async def work(pool: WorkerPool) -> list[int]:
        pool.keep_spares(rehearsed, 2)
        pids = []
        for _ in range(2):
            pids += [spare.pid for spare in spares_of(pool)]
            pool.renew_spares()
        return [*pids, *(spare.pid for spare in spares_of(pool))]

    pids = run(with_pool(work))
    assert len(set(pids)) == 6
    for pid in pids:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_a_spare_never_becomes_root() -> None:
    async def work(pool: WorkerPool) -> None:
        pool.keep_spares(rehearsed)
        with pytest.raises(WorkerGone):
            await pool.ask(Identity(0, 0), {"do": "who"}, key="0")

    run(with_pool(work))
