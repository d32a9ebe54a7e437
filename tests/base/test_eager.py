"""First steps at once: the same results, waits, time-outs and cancellations as with a task."""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

import pytest

from mailsuite.base.eager import Begun, Errand, StandIn, begin

SEEN: contextvars.ContextVar[str] = contextvars.ContextVar("SEEN", default="")


def start(coroutine: Coroutine[Any, Any, Any]) -> tuple[Begun, StandIn]:
    stand_in = StandIn()
    return begin(asyncio.get_running_loop(), coroutine, stand_in), stand_in


async def immediate(result: object) -> object:
    return result


async def waits(result: object, *, rounds: int = 1) -> object:
    for _ in range(rounds):
        await asyncio.sleep(0)
    return result


def test_what_need_not_wait_has_no_task() -> None:
    async def story() -> None:
        begun, _ = start(immediate(7))
        assert (begun.done, begun.result, begun.task) == (True, 7, None)
        with pytest.raises(ValueError, match="x"):
            start(raises(ValueError("x")))

    asyncio.run(story())


async def raises(error: BaseException, *, first: bool = True) -> None:
    if not first:
        await asyncio.sleep(0)
    raise error


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_what_waits_goes_on_as_a_task(rounds: int) -> None:
    async def story() -> None:
        begun, _ = start(waits("end", rounds=rounds))
        assert begun.task is not None
        assert await begun.task == "end"
        future = asyncio.get_running_loop().create_future()

        async def on_future() -> str:
            return str(await future)

        begun, _ = start(on_future())
        assert begun.task is not None
        future.set_result("future")
        assert await begun.task == "future"

    asyncio.run(story())


def test_exceptions_go_both_ways() -> None:
    async def story() -> None:
        begun, _ = start(raises(KeyError("later"), first=False))
        assert begun.task is not None
        with pytest.raises(KeyError):
            await begun.task

        async def survives() -> str:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return await survives_too()
            return "no"

        async def survives_too() -> str:
            await asyncio.sleep(0)
            return "cancelled"

        begun, stand_in = start(survives())
        assert begun.task is not None
        stand_in.cancel()
        assert await begun.task == "cancelled"

    asyncio.run(story())


@pytest.mark.parametrize("before", [False, True], ids=["later", "before it waits"])
def test_a_cancelled_stand_in(before: bool) -> None:
    async def story() -> None:
        async def cancelled() -> None:
            if before:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            await asyncio.sleep(60)

        begun, stand_in = start(cancelled())
        assert begun.task is not None
        if not before:
            stand_in.cancel()
        with pytest.raises(asyncio.CancelledError):
            await begun.task
        assert stand_in.done()

    asyncio.run(story())


@pytest.mark.parametrize("nested", [1, 3])
def test_timeouts(nested: int) -> None:
    async def slow(depth: int) -> str:
        try:
            async with asyncio.timeout(0.01):
                if depth > 1:
                    return await slow(depth - 1)
                await asyncio.sleep(60)
        except TimeoutError:
            return f"late {depth}"
        return "no"

    async def story() -> object:
        begun, _ = start(slow(nested))
        assert begun.task is not None
        return await begun.task

    assert str(asyncio.run(story())).startswith("late")


def test_a_timeout_that_is_not_met() -> None:
    async def quick() -> str:
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        async with asyncio.TaskGroup() as group:
            one = group.create_task(waits("one"))
        return str(one.result())

    async def story() -> object:
        begun, _ = start(quick())
        assert begun.task is not None
        return await begun.task

    assert asyncio.run(story()) == "one"


def test_the_running_task_is_what_it_was() -> None:
    async def story() -> None:
        before = asyncio.current_task()

        async def inside() -> bool:
            return asyncio.current_task() is before

        assert start(inside())[0].result is False
        assert asyncio.current_task() is before

    asyncio.run(story())


def test_variables_stay_inside() -> None:
    async def sets() -> str:
        SEEN.set("inside")
        await asyncio.sleep(0)
        return SEEN.get()

    async def story() -> None:
        begun, _ = start(sets())
        assert SEEN.get() == ""
        assert begun.task is not None
        assert await begun.task == "inside"

    asyncio.run(story())


async def run_errand(coroutine: Coroutine[Any, Any, Any]) -> bool:
    """Whether it had to wait; returns at its end."""
    over: list[Errand] = []
    errand = Errand(asyncio.get_running_loop(), coroutine, over.append)
    waits = errand.begin()
    await asyncio.wait_for(errand.wait(), 30)
    assert errand.done and over == [errand] * waits
    return waits


def test_an_errand_waits_without_a_task() -> None:
    async def story() -> None:
        future, heard = asyncio.get_running_loop().create_future(), list[object]()

        async def listens() -> None:
            SEEN.set("listening")
            heard.append(await future)
            heard.append(SEEN.get())

        before = asyncio.all_tasks()
        errand = Errand(asyncio.get_running_loop(), listens(), lambda _: None)
        assert errand.begin() and not errand.done
        assert asyncio.all_tasks() == before
        future.set_result("word")
        await asyncio.wait_for(errand.wait(), 30)
        assert heard == ["word", "listening"] and SEEN.get() == ""

    asyncio.run(story())


@pytest.mark.parametrize("rounds", [0, 1, 4])
def test_an_errand_that_waits_again_is_a_task(rounds: int) -> None:
    async def story() -> None:
        steps: list[object] = []

        async def several() -> None:
            for number in range(rounds):
                future = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_soon(future.set_result, number)
                steps.append(await future)
            steps.append(await asyncio.gather(waits("a"), waits("b")) if rounds else None)

        assert await run_errand(several()) is bool(rounds)
        assert steps == [*range(rounds), ["a", "b"] if rounds else None]

    asyncio.run(story())


def test_timeouts_of_an_errand() -> None:
    async def story() -> None:
        said: list[str] = []

        async def slow(*, past: bool) -> None:
            try:
                async with asyncio.timeout(-1 if past else 0.01):
                    await asyncio.get_running_loop().create_future()
            except TimeoutError:
                said.append("late")
            async with asyncio.timeout(60):
                await asyncio.sleep(0)
            said.append("on")

        for past in (False, True):
            assert await run_errand(slow(past=past))
        assert said == ["late", "on"] * 2

    asyncio.run(story())


def test_what_an_errand_raises() -> None:
    async def story() -> None:
        found: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, about: found.append(about["exception"]))
        future = asyncio.get_running_loop().create_future()

        async def fails() -> None:
            await future
            raise KeyError("x")

        with pytest.raises(ValueError, match="at once"):
            Errand(asyncio.get_running_loop(), raises(ValueError("at once")), lambda _: None).begin()
        asyncio.get_running_loop().call_soon(future.set_result, None)
        assert await run_errand(fails())
        await asyncio.sleep(0)
        assert [type(error) for error in found] == [KeyError]

    asyncio.run(story())
