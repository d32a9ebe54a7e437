"""What the queue says of a message, and what happens next.

    fill_in(settings, trace, listed)         fills in Life.now where the id is in the queue
    for listed in in_queue(store, {"4A2F1C83D"}): ...

Only who may read the queue's folders sees it; for others the caller asks showq. A message that the log does not know
(any more) becomes a story of its own.
"""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from mailsuite.queue import params
from mailsuite.queue.ids import is_id
from mailsuite.queue.listing import QUEUES, Listed, list_one
from mailsuite.trace.model import Life, Now, Trace

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.store import QueueStore


def in_queue(store: "QueueStore", ids: Iterable[str]) -> Iterator[Listed]:
    """The messages of these ids that are there. Raises PermissionError where the folders may not be read."""
    for queue_id in ids:
        if not is_id(queue_id):
            continue
        for queue in (*QUEUES, *QUEUES):            # it may move on between two looks
            listed = list_one(store, queue, queue_id)
            if listed is not None:
                yield listed
                break


def fill_in(settings: "Settings", trace: Trace, listed: Iterable[Listed], *, running: bool) -> None:
    """Tell each life that is in the queue what happens next."""
    last = {life.queue_id: life for story in trace.stories for life in story}
    for entry in listed:
        life = last.get(entry.queue_id)
        if life is None or life.over:
            sender = "" if entry.sender == "MAILER-DAEMON" else entry.sender
            life = Life(entry.queue_id, sender=sender, size=entry.size, fits=True,
                        arrived_at=entry.arrival_time)
            trace.stories.append([life])
        life.now = now_of(settings, entry, time.time(), running=running)


def now_of(settings: "Settings", entry: Listed, now: float, *, running: bool) -> Now:
    """now: epoch seconds; running: the mail system is up."""
    null = entry.sender == "MAILER-DAEMON"
    lifetime = settings[params.BOUNCE_QUEUE_LIFETIME if null else params.MAXIMAL_QUEUE_LIFETIME]
    expires_at = entry.arrival_time + lifetime
    told, retry_at = "", 0.0
    if entry.queue == "hold":
        told = f"on hold until it is released (postsuper -H {entry.queue_id}, mailsuite queue release {entry.queue_id})"
        expires_at = 0.0
    elif entry.queue == "maildrop":
        told = "waits for pickup to take it in"
        expires_at = 0.0
    elif entry.queue == "incoming":
        told = "waits for the queue manager"
    elif entry.queue == "active":
        told = "is being delivered"
    else:
        retry_at = entry.retry_at
        told = "is tried again" if retry_at > now else "is due: tried at the next queue run"
        if entry.expire:
            told = "is returned to its sender at the next attempt"
        elif expires_at <= max(now, retry_at):
            told += "; returned to its sender if that fails"
    if not running:
        told += "; the mail system is not running"
    return Now(entry.queue, entry.recipients, told, retry_at, expires_at)
