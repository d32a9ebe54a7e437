"""The second pass: the lives of the queue ids that belong together, joined into stories.

    collector = Collector(question, family)
    collector.start(clock); collector.read(lines); collector.finish(last_change)        for each file, oldest first
    trace = collector.trace()               all stories; once the queue was asked: trace.keep_last(10)

A queue id lives from its first line to "removed"; a short id may live again as another message. Lives are joined by
what the log says (forwarded as, queued as, notification) where the other life began near that time, and by one
Message-ID.
Limits: EVENTS of one life, LIVES in all, REFUSED lines of mail that never got an id.
"""

from collections import deque
from collections.abc import Iterable

from mailsuite.trace.lines import NO_QUEUE, Clock, LogLine, queue_id_of
from mailsuite.trace.model import Event, Life, Trace
from mailsuite.trace.search import Question
from mailsuite.trace.words import event_of, sender_and_size

EVENTS = 2_000
LIVES = 20_000
REFUSED = 100
NEAR_S = 3600.0             # between "forwarded as X" and the first line of X
BEGINNINGS = ("accepted", "message-id", "queued")
ENDINGS = ("removed", "deleted", "requeued")


class Collector:
    """One per trace."""

    def __init__(self, question: Question, family: set[int]) -> None:
        self._question, self._family = question, family
        self._pending: list[tuple[LogLine, bool]] = []      # of this file, whose years are not known yet
        self._clock = Clock()
        self._lives: dict[str, list[Life]] = {}
        self._count = 0
        self._refused: deque[Event] = deque(maxlen=REFUSED)
        self.truncated = False

    def start(self) -> None:
        """A new file."""
        self._clock, self._pending = Clock(), []

    def read(self, lines: Iterable[bytes]) -> None:
        family, core, clock = self._family, self._question.core, self._clock
        for line in lines:
            queue_id = queue_id_of(line)
            wanted = queue_id is not None and hash(queue_id) in family
            if not wanted and (queue_id != b"NOQUEUE" or core not in line.lower() or not self._question.fits(line)):
                clock.see(line)
                continue
            parsed = clock.parse(line)
            if parsed is not None:
                self._pending.append((parsed, self._question.fits(line)))
                if len(self._pending) >= LIVES * 10:
                    self._pending = self._pending[len(self._pending) // 2:]     # an old story must give way
                    self.truncated = True

    def finish(self, last_change: float) -> None:
        """The file is over: its last line was written at last_change (epoch seconds)."""
        for line, fits in self._pending:
            self._add(line, self._clock.epoch(line.stamp, last_change), fits)
        self._pending = []

    def _add(self, line: LogLine, at: float, fits: bool) -> None:
        event = event_of(at, line.program, line.text)
        if line.queue_id == NO_QUEUE:
            self._refused.append(event)
            return
        life = self._life(line.queue_id, event)
        if life is None:
            return
        life.fits = life.fits or fits or line.queue_id == self._question.word
        if len(life.events) < EVENTS:
            life.events.append(event)
        else:
            life.skipped += 1
        if event.kind == "message-id" and not line.text.startswith("resent"):
            life.message_id = line.text.partition("=")[2]
        elif event.kind == "queued" and (facts := sender_and_size(line.text)) is not None:
            life.sender, life.size = facts
        elif event.kind == "accepted":
            life.came_from = event.told
        life.over = life.over or event.kind in ENDINGS

    def _life(self, queue_id: str, event: Event) -> Life | None:
        lives = self._lives.setdefault(queue_id, [])
        if not lives or (lives[-1].over and event.kind in BEGINNINGS):
            if self._count >= LIVES:
                self.truncated = True
                return None
            self._count += 1
            lives.append(Life(queue_id))
        return lives[-1]

    # --- joining ------------------------------------------------------------------------------------------------

    def trace(self) -> Trace:
        """The stories that have to do with the question."""
        lives = [life for of_id in self._lives.values() for life in of_id]
        groups = _Groups(len(lives))
        place = {id(life): number for number, life in enumerate(lives)}
        by_message_id: dict[str, int] = {}
        for number, life in enumerate(lives):
            if life.message_id:
                groups.join(number, by_message_id.setdefault(life.message_id, number))
            for event in life.events:
                other = self._nearest(event) if event.link else None
                if other is not None:
                    groups.join(number, place[id(other)])
                    # "postsuper -r ALL" names no ids: the new one tells of it.
                    other.over = other.over or (event.how == "before" and event.program == "pickup")
        stories: dict[int, list[Life]] = {}
        for number, life in enumerate(lives):
            stories.setdefault(groups.find(number), []).append(life)
        wanted = [sorted(story, key=lambda life: life.begin) for story in stories.values()
                  if any(life.fits for life in story)]
        return Trace(self._question.word, wanted, list(self._refused), truncated=self.truncated)

    def _nearest(self, event: Event) -> Life | None:
        """The life of the linked id that began, or was, near the event."""
        lives = self._lives.get(event.link, [])
        near = min(lives, key=lambda life: _distance(life, event.at), default=None)
        return near if near is not None and _distance(near, event.at) <= NEAR_S else None


def _distance(life: Life, at: float) -> float:
    return 0.0 if life.begin <= at <= life.end else min(abs(life.begin - at), abs(life.end - at))


class _Groups:
    """Sets that are joined again and again."""

    def __init__(self, count: int) -> None:
        self._up = list(range(count))

    def find(self, one: int) -> int:
        while self._up[one] != one:
            self._up[one] = self._up[self._up[one]]
            one = self._up[one]
        return one

    def join(self, one: int, other: int) -> None:
        self._up[self.find(one)] = self.find(other)
