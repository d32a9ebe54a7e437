"""A coroutine's first steps at once: a task only for what has to wait.

    begun = begin(loop, coroutine, StandIn())
    begun.done, begun.result            it ended without waiting (what it raised is raised by begin)
    begun.task                          else: the task that goes on with it
    errand = Errand(loop, coroutine, over); errand.begin()      the same for what waits once, perhaps for long: a task
                                        only when it waits again, over(errand) at its end

Most questions of a session are answered from memory; a task, its call by the event loop and the wake-up cost more than
such an answer. Python 3.12 knows this as eager tasks; this works from 3.11 on. While the first steps run,
`asyncio.current_task` is the stand-in, so that asyncio.timeout works and cancels the right task later.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Generator
from typing import Any, cast

from msgspec import Struct

# Once here: what a question costs counts. The types say Task; a stand-in does.
_enter_task = cast(Callable[[asyncio.AbstractEventLoop, Any], None], asyncio.tasks._enter_task)
_leave_task = cast(Callable[[asyncio.AbstractEventLoop, Any], None], asyncio.tasks._leave_task)


# What current_task looks into; without its checks where it can be had.
_current: Callable[[asyncio.AbstractEventLoop], Any] = (
    asyncio.tasks._current_tasks.get if hasattr(asyncio.tasks, "_current_tasks") else asyncio.current_task)


class StandIn(Struct, eq=False):
    """What `asyncio.current_task` gives while there is no task yet; knows it afterwards."""

    _errand: "Errand | None" = None
    _task: asyncio.Task[Any] | None = None
    _cancelled: int = 0

    def become(self, task: "asyncio.Task[Any]") -> None:
        self._task = task
        for _ in range(self._cancelled):
            task.cancel()

    def cancel(self, msg: object = None) -> bool:
        """As Task.cancel; before there is a task, at its first wait."""
        if self._task is not None:
            return self._task.cancel(msg)
        self._cancelled += 1
        if self._errand is not None:
            self._errand.cancelled()
        return True

    def cancelling(self) -> int:
        """As Task.cancelling."""
        return self._task.cancelling() if self._task is not None else self._cancelled

    def uncancel(self) -> int:
        """As Task.uncancel."""
        if self._task is not None:
            return self._task.uncancel()
        self._cancelled = max(0, self._cancelled - 1)
        return self._cancelled

    def done(self) -> bool:
        """As Task.done."""
        return self._task is not None and self._task.done()


class Begun(Struct):
    """How far the first steps came."""

    result: Any
    task: asyncio.Task[Any] | None = None

    @property
    def done(self) -> bool:
        """There is nothing left of it."""
        return self.task is None


def begin(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], stand_in: StandIn) -> Begun:
    """Run until it ends or has to wait. Raises what the coroutine raises in its first steps."""
    before = _current(loop)
    context = contextvars.copy_context()
    if before is not None:
        _leave_task(loop, before)
    _enter_task(loop, stand_in)
    try:
        awaited = context.run(coroutine.send, None)
    except StopIteration as stop:
        return Begun(stop.value)
    finally:
        _leave_task(loop, stand_in)
        if before is not None:
            _enter_task(loop, before)
    task = loop.create_task(_Rest(coroutine, awaited), context=context)
    stand_in.become(task)
    return Begun(None, task)


class _Rest(Coroutine[Any, Any, Any]):
    """A coroutine that was begun, as a task takes it: it waits for `awaited` already."""

    __slots__ = ("_awaited", "_begun", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], awaited: object) -> None:
        self._coroutine, self._awaited, self._begun = coroutine, awaited, False

    def send(self, value: Any) -> Any:
        """What it waits for next."""
        if self._begun:
            return self._coroutine.send(value)
        self._begun = True
        awaited, self._awaited = self._awaited, None
        return awaited

    def throw(self, *error: Any) -> Any:
        """A cancellation, usually; also before the task's first step."""
        self._begun, self._awaited = True, None
        return self._coroutine.throw(*error)

    def close(self) -> None:
        """Nobody goes on with it."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise TypeError("only a task goes on with it")


class Errand:
    """A coroutine without a task while it waits for its first future, as a session does for its end.

    Nobody can cancel it but itself (asyncio.timeout). What it raises goes to the event loop's exception handler.
    """

    __slots__ = ("_awaited", "_context", "_coroutine", "_loop", "_over", "_stand_in", "_waiter", "done")

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any],
                 over: Callable[["Errand"], None]) -> None:
        self._loop, self._coroutine, self._over = loop, coroutine, over
        self._context = contextvars.copy_context()
        self._stand_in = StandIn(self)
        self._awaited: Any = None               # while there is no task
        self._waiter: asyncio.Future[None] | None = None
        self.done = False

    def begin(self) -> bool:
        """The first steps. False: they were all; `over` is not called then. Raises what they raise."""
        loop, stand_in = self._loop, self._stand_in
        before = _current(loop)
        if before is not None:
            _leave_task(loop, before)
        _enter_task(loop, stand_in)
        try:
            awaited = self._context.run(self._coroutine.send, None)
        except StopIteration:
            self.done = True
            return False
        finally:
            _leave_task(loop, stand_in)
            if before is not None:
                _enter_task(loop, before)
        if getattr(awaited, "_asyncio_future_blocking", None) and not stand_in._cancelled:
            self._awaited = awaited
            awaited.add_done_callback(self._go_on, context=self._context)
        else:
            self._have_task(awaited)
        return True

    def _go_on(self, awaited: object) -> None:
        """What it waited for is there. It runs as a task's step would."""
        if awaited is not self._awaited:
            return                              # a task waits for it by now
        self._awaited = None
        loop, stand_in = self._loop, self._stand_in
        _enter_task(loop, stand_in)
        try:
            following = self._coroutine.send(None)
        except BaseException as problem:
            self._ended()
            if not isinstance(problem, StopIteration):
                raise
            return
        finally:
            _leave_task(loop, stand_in)
        self._have_task(following)

    def cancelled(self) -> None:
        """The stand-in's: only a task can be thrown something. While it runs, that has to wait."""
        if self._awaited is not None:
            self._have_task(self._awaited)

    def _have_task(self, awaited: object) -> None:
        self._awaited = None
        task = self._loop.create_task(_Rest(self._coroutine, awaited), context=self._context)
        task.add_done_callback(self._ended)
        self._stand_in.become(task)

    def _ended(self, _: object = None) -> None:
        self.done = True
        self._over(self)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """For its end. Once."""
        if not self.done:
            self._waiter = self._loop.create_future()
            await self._waiter
