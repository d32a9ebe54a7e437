"""What is done with mail, told to who wants to know: the contract between a store and the mail_log plugin.

    with telling(events): ...            what this thread does with mail meanwhile is told to events
    call = told(call, events)            the same around a call for another thread; events None: the call itself
    if (events := hearing()) is not None: events.saved(mailbox, uids)

A store serves several sessions of a user at once, and each has a log prefix and settings of its own: so it is the
thread that knows for whom it works. What events do must raise nothing; they may read messages.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from mailsuite.store.mailbox_api import Mailbox

T = TypeVar("T")
Removed = Callable[[Collection[int]], None]


class MailEvents(Protocol):
    """Each is called after the fact, with the mailbox's lock held; names as clients say them (modified UTF-7)."""

    def flags_changed(self, mailbox: Mailbox, changes: Sequence[tuple[int, int, int]]) -> None:
        """changes: (UID, flags before, flags now) as bits of the mailbox's flag table."""
        ...

    def removing(self, mailbox: Mailbox, uids: Sequence[int], *, moved: bool = False) -> Removed:
        """Before messages go, while they can be read: returns what is to be called with the UIDs that went."""
        ...

    def saved(self, mailbox: Mailbox, uids: Sequence[int]) -> None: ...

    def copied(self, source: Mailbox, target: Mailbox, uids: Sequence[int], new: Sequence[int]) -> None: ...

    def created(self, name: str) -> None: ...

    def deleting(self, mailbox: Mailbox | None, name: str) -> Callable[[], None]:
        """As removing, of a mailbox with all that is in it."""
        ...

    def renamed(self, old: str, new: str) -> None: ...


class _Hearing(threading.local):
    events: MailEvents | None = None


_here = _Hearing()


def hearing() -> MailEvents | None:
    """Who wants to know what this thread does."""
    return _here.events


@contextmanager
def telling(events: MailEvents | None) -> Iterator[None]:
    before, _here.events = _here.events, events
    try:
        yield
    finally:
        _here.events = before


def told(call: Callable[[], T], events: MailEvents | None) -> Callable[[], T]:
    """The call for a thread."""
    if events is None:
        return call

    def run() -> T:
        with telling(events):
            return call()

    return run
