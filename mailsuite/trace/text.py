"""A trace for people.

    for line in as_text(trace, time.time(), details=False): ...          (text, style) of each line; style "" for none

details: the programs' names, where the time went, and lines that add nothing to the story.
"""

import time
from collections.abc import Iterator

from mailsuite.trace.model import Event, Life, Trace
from mailsuite.trace.words import where_time_went

Line = tuple[str, str]
STYLES = {"sent": "green", "deferred": "yellow", "bounced": "red", "expired": "red", "held": "yellow", "refused": "red",
          "deleted": "red", "discarded": "red"}
MINOR = ("message-id",)


def as_text(trace: Trace, now: float, *, details: bool = False) -> Iterator[Line]:
    """now: epoch seconds."""
    if trace.passed_over:
        yield f"{trace.passed_over} older stories are left out (--limit 0 shows all)", "dim"
        yield "", ""
    for number, story in enumerate(trace.stories):
        if number:
            yield "", ""
        yield from _story(story, now, details)
    if trace.refused:
        if trace.stories:
            yield "", ""
        yield "said before there was a queue id:", "bold"
        for event in trace.refused:
            yield f"  {_when(event.at)}  {event.told}", STYLES.get(event.kind, "")
    if trace.truncated:
        yield "", ""
        yield "there was more than is looked at: ask for a queue id or a Message-ID", "yellow"


def _story(story: list[Life], now: float, details: bool) -> Iterator[Line]:
    first = story[0]
    named = next((life.message_id for life in story if life.message_id), "")
    yield f"Message {named or first.queue_id}" + (f" from <{first.sender}>" if first.sender is not None else ""), "bold"
    known = {life.queue_id for life in story}
    for life in story:
        facts = [f"{life.size} octets"] if life.size >= 0 else []
        yield f"  {life.queue_id}" + (f"  ({', '.join(facts)})" if facts else ""), "cyan"
        for event in life.events:
            if event.kind not in MINOR or details:
                yield from _event(event, known, details)
        if life.skipped:
            yield f"    ... and {life.skipped} more lines", "dim"
        yield from _next(life, now)


def _event(event: Event, known: set[str], details: bool) -> Iterator[Line]:
    who = f"{event.recipient}: " if event.recipient else ""
    if event.original:
        who = f"{event.recipient} (first {event.original}): "
    reason = f": {event.reason}" if event.reason else ""
    dsn = f" [{event.dsn}]" if event.dsn and event.kind != "sent" else ""
    program = f"  ({event.program})" if details else ""
    link = f", as {event.link}" if event.link and event.how != "before" and (
        event.link in known and event.link not in event.reason) else ""
    yield f"    {_when(event.at)}  {who}{event.told}{dsn}{reason}{link}{program}", STYLES.get(event.kind, "")
    if details and (spent := where_time_went(event.delays)):
        yield f"                     {spent}", "dim"


def _next(life: Life, now: float) -> Iterator[Line]:
    found = life.now
    if found is None:
        if not life.over and life.events:
            yield "    the log does not tell how it ended, and it is not in the queue (any more)", "yellow"
        return
    told = f"    now in {found.queue}: {found.next}"
    if found.retry_at > now:
        told += f", at {_when(found.retry_at)} ({_from_now(found.retry_at - now)})"
    if found.expires_at > now:
        told += f"; returned to its sender if it is still here at {_when(found.expires_at)}"
    yield told, "yellow"
    for address, reason in found.recipients:
        yield f"      {address}" + (f": {reason}" if reason else ""), ""


def _when(at: float) -> str:
    return time.strftime("%b %e %H:%M:%S", time.localtime(at)) if at else "               "


def _from_now(seconds: float) -> str:
    if seconds < 120:
        return f"in {seconds:.0f} s"
    return f"in {seconds / 60:.0f} min" if seconds < 7200 else f"in {seconds / 3600:.1f} h"
