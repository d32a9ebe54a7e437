"""What a trace finds: stories of messages, each the lives of one or more queue ids.

    as_json(trace) -> {"asked": ..., "stories": [...], "refused": [...], ...}      docs/trace.md names the fields
"""

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Event:
    """One line of the log. at: epoch seconds. kind: "accepted", "queued", "sent", "deferred", "bounced", "notice",
    "removed"...; told: in plain words. link: the queue id that it leads to, `how` in words."""

    at: float
    program: str
    kind: str
    told: str
    recipient: str = ""
    original: str = ""
    relay: str = ""
    dsn: str = ""
    reason: str = ""
    delay: str = ""
    delays: str = ""
    link: str = ""
    how: str = ""


@dataclass(slots=True)
class Now:
    """A message that is in the queue. retry_at, expires_at: epoch seconds, 0 for none. next: in plain words."""

    queue: str
    recipients: list[tuple[str, str]]
    next: str
    retry_at: float = 0.0
    expires_at: float = 0.0


@dataclass(slots=True)
class Life:
    """One queue id from its first line to its last. skipped: events beyond the limit."""

    queue_id: str
    events: list[Event] = field(default_factory=list)
    message_id: str = ""
    sender: str | None = None
    size: int = -1
    came_from: str = ""
    over: bool = False
    fits: bool = False                  # what was asked for is here
    skipped: int = 0
    now: Now | None = None
    arrived_at: float = 0.0             # epoch seconds, of a message that only the queue knows

    @property
    def begin(self) -> float:
        return self.events[0].at if self.events else self.arrived_at

    @property
    def end(self) -> float:
        return self.events[-1].at if self.events else 0.0

    def outcomes(self) -> dict[str, Event]:
        """The last word about each recipient."""
        return {event.recipient: event for event in self.events if event.recipient}


@dataclass(slots=True)
class Trace:
    """stories: the lives of each in order; the stories oldest first after `keep_last`. refused: lines of smtpd without
    an id: mail that was refused, and what was decided before the id was known."""

    asked: str
    stories: list[list[Life]] = field(default_factory=list)
    refused: list[Event] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    lines: int = 0
    passed_over: int = 0                # older stories that were left out
    truncated: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.stories and not self.refused

    def keep_last(self, limit: int) -> None:
        """Put the stories in order and leave out all but the last `limit` (0: none is left out)."""
        self.stories.sort(key=lambda story: story[0].begin)
        self.passed_over = max(0, len(self.stories) - limit) if limit else 0
        self.stories = self.stories[self.passed_over:]


def stamp(at: float) -> str:
    """RFC 3339, local time; "" for no time."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(at)) if at else ""


def as_json(trace: Trace) -> dict[str, Any]:
    """What is empty is left out."""
    return _filled({"asked": trace.asked, "stories": [[_life(life) for life in story] for story in trace.stories],
                    "refused": [_event(event) for event in trace.refused], "files": trace.files, "lines": trace.lines,
                    "older_stories": trace.passed_over, "truncated": trace.truncated})


def _filled(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value not in ("", [], {}, None, False)}


def _event(event: Event) -> dict[str, Any]:
    return _filled({"time": stamp(event.at),
                    **{name: getattr(event, name) for name in Event.__slots__ if name != "at"}})


def _life(life: Life) -> dict[str, Any]:
    now = life.now
    sender = {} if life.sender is None else {"sender": life.sender}         # "": the null sender
    return {"queue_id": life.queue_id, **sender} | _filled({
        "message_id": life.message_id,
        "size": life.size if life.size >= 0 else None, "from": life.came_from, "asked_for": life.fits,
        "events": [_event(event) for event in life.events], "events_left_out": life.skipped or None,
        "recipients": {address: _filled({"status": event.kind, "dsn": event.dsn, "relay": event.relay,
                                         "reason": event.reason}) for address, event in life.outcomes().items()},
        "now": None if now is None else _filled({
            "queue": now.queue, "next": now.next, "next_attempt": stamp(now.retry_at),
            "expires": stamp(now.expires_at),
            "recipients": [_filled({"address": address, "reason": reason}) for address, reason in now.recipients]})})
