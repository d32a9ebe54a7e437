"""What decided, for `mailsuite explain`: the code that decides tells it, while somebody listens.

    with tracing() as trace:  await rewriter.resolve("", address)
    trace.steps -> [Step(by="transport_maps", subject="x@a.test", result="smtp:b.test", hit=Hit(...))]

In the code that decides:

    if (trace := TRACE.get()) is not None:
        trace.step("virtual_alias_maps", address, new)

Tables report what they found (`Trace.found`); the next step takes that for its reason. Nobody listens in a service: a
look at a context variable (some 30 ns) at the few places where something was found or decided is all that it costs.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field

STEPS_LIMIT = 100_000       # of one trace; an expansion has limits of its own, far below


@dataclass(frozen=True, slots=True)
class Hit:
    """What a table answered. line: where its text says so, 0 when there is no text (or it is not known)."""

    table: str
    key: str
    value: str
    file: str = ""
    line: int = 0


@dataclass(slots=True)
class Step:
    """One decision. by: the parameter or rule that made it. inner: what was decided on the way.

    results: where one address became several, all of them.
    """

    by: str
    subject: str
    result: str = ""
    hit: Hit | None = None
    results: tuple[str, ...] = ()
    inner: "list[Step]" = field(default_factory=list)


class Trace:
    """Steps in their order. hits: what tables answered since the last step.

    passed_over: restrictions that are told of, but not carried out: asking them would change something elsewhere.
    """

    def __init__(self) -> None:
        self.passed_over: frozenset[str] = frozenset()
        self.steps: list[Step] = []
        self.hits: list[Hit] = []
        self.notes: list[str] = []
        self._count = 0

    def found(self, hit: Hit) -> None:
        """A table has a value for a key."""
        if len(self.hits) < STEPS_LIMIT:
            self.hits.append(hit)

    def note(self, by: str) -> None:
        """A rule was applied; the step that follows takes all names that were noted."""
        self.notes.append(by)

    def step(self, by: str, subject: str, result: str = "", *, table: bool = True) -> Step:
        """Something was decided. table: by what a table answered last."""
        hit = None
        if table:
            hit = next((hit for hit in reversed(self.hits) if hit.key == subject), self.hits[-1] if self.hits else None)
            self.hits.clear()
        return self.add(Step(by, subject, result, hit))

    def add(self, step: Step) -> Step:
        """One more step of the listener's own."""
        self._count += 1
        if self._count <= STEPS_LIMIT:
            self.steps.append(step)
        return step

    @contextmanager
    def inside(self, step: Step) -> Iterator[None]:
        """Steps made meanwhile belong to that step."""
        outer, self.steps = self.steps, step.inner
        try:
            yield
        finally:
            self.steps = outer


TRACE: ContextVar[Trace | None] = ContextVar("TRACE", default=None)


@contextmanager
def tracing() -> Iterator[Trace]:
    """Listen to what is decided in this context."""
    trace = Trace()
    token = TRACE.set(trace)
    try:
        yield trace
    finally:
        TRACE.reset(token)


def inside(by: str, subject: str, result: str = "") -> AbstractContextManager[None]:
    """A step, and what belongs to it, as one `with`; nothing while nobody listens."""
    trace = TRACE.get()
    return nullcontext() if trace is None else trace.inside(trace.step(by, subject, result))
