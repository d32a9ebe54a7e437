"""A coroutine's first steps at once: a task only for what has to wait.

    begun = begin(loop, coroutine, StandIn())
    begun.done, begun.result            it ended without waiting (what it raised is raised by begin)
    begun.task                          else: the task that goes on with it

Most questions of a session are answered from memory; a task, its call by the event loop and the wake-up cost more than
such an answer. Python 3.12 knows this as eager tasks; this works from 3.11 on. While the first steps run,
`asyncio.current_task` is the stand-in, so that asyncio.timeout works and cancels the right task later.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Generator
from typing import Any, cast

# Once here: what a question costs counts. The types say Task; a stand-in does.
_enter_task = cast(Callable[[asyncio.AbstractEventLoop, Any], None], asyncio.tasks._enter_task)
_leave_task = cast(Callable[[asyncio.AbstractEventLoop, Any], None], asyncio.tasks._leave_task)


class StandIn:
    """What `asyncio.current_task` gives while there is no task yet; knows it afterwards."""

    __slots__ = ("_cancelled", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = 0

    def become(self, task: "asyncio.Task[Any]") -> None:
        self._task = task
        for _ in range(self._cancelled):
            task.cancel()

    def cancel(self, msg: object = None) -> bool:
        """As Task.cancel; before there is a task, at its first wait."""
        if self._task is not None:
            return self._task.cancel(msg)
        self._cancelled += 1
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


class Begun:
    """How far the first steps came."""

    __slots__ = ("done", "result", "task")

    def __init__(self, result: Any, task: "asyncio.Task[Any] | None") -> None:
        self.result, self.task, self.done = result, task, task is None


def begin(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], stand_in: StandIn) -> Begun:
    """Run until it ends or has to wait. Raises what the coroutine raises in its first steps."""
    before = asyncio.current_task(loop)
    context = contextvars.copy_context()
    if before is not None:
        _leave_task(loop, before)
    _enter_task(loop, stand_in)
    try:
        awaited = context.run(coroutine.send, None)
    except StopIteration as stop:
        return Begun(stop.value, None)
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
