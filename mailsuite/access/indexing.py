"""Building full text in the background: one thread a process, which rests as long as it works, and longer while
commands of sessions run.

    store.text_wanted = partial(indexer().want, store)      UserMail sets it; any thread may call it
    indexer().leave(store)                                  before the store is closed; returns when nothing uses it

A mailbox waits once, however often it is wanted. What was looked at when the work is cut short is kept.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache

from mailsuite.access.threads import pool, search_pool
from mailsuite.base.errors import MailError
from mailsuite.base.log import access_logger
from mailsuite.imap.search_words import looked_at
from mailsuite.store.api import MailStore

SLICE_S = 0.002         # how long the thread works at a time
IDLE_RESTS = 1          # rests of this length in between...
BUSY_RESTS = 4          # ...while sessions have something to do
SWITCH_S = 0.001        # after which the thread gives the interpreter to another that wants it
WAITING = 1000          # mailboxes
DELAY_S = 1.0           # before a mailbox is begun with: who wanted it is still at work

log = access_logger("indexer")


class Pace:
    """Called often; sleeps now and then, until there is a hurry."""

    def __init__(self, hurry: Callable[[], bool], busy: Callable[[], bool]) -> None:
        self._hurry, self._busy = hurry, busy
        self._began = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._began >= SLICE_S and not self._hurry():
            time.sleep(SLICE_S * (BUSY_RESTS if self._busy() else IDLE_RESTS))
            self._began = time.monotonic()


class Indexer:
    """The thread, and what waits for it."""

    def __init__(self, busy: Callable[[], bool] = lambda: False, *, delay_s: float = DELAY_S) -> None:
        self._busy, self._delay_s = busy, delay_s
        self._changed = threading.Condition()
        self._waiting: dict[tuple[int, str], MailStore] = {}
        self._current: tuple[int, str] | None = None
        self._runs = False
        self._leaving: set[int] = set()

    def want(self, store: MailStore, name: str) -> None:
        """Have a mailbox looked at, soon."""
        with self._changed:
            if id(store) in self._leaving or len(self._waiting) >= WAITING:
                return
            self._waiting.setdefault((id(store), name), store)
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._work, name="indexer", daemon=True).start()

    def works_on(self, store: MailStore) -> bool:
        """Is something of the store waiting or under way?"""
        with self._changed:
            return any(number == id(store) for number, _ in self._all())

    def leave(self, store: MailStore) -> None:
        """Begin nothing more for the store, and wait until nothing of it is under way. Blocks for some ms."""
        with self._changed:
            self._leaving.add(id(store))
            for key in [key for key in self._waiting if key[0] == id(store)]:
                del self._waiting[key]
            self._changed.notify_all()
            self._changed.wait_for(lambda: not any(number == id(store) for number, _ in self._all()))
            self._leaving.discard(id(store))

    def _all(self) -> list[tuple[int, str]]:
        return [*self._waiting, *([self._current] if self._current is not None else [])]

    def _work(self) -> None:
        """The thread: it ends when nothing waits."""
        while True:
            with self._changed:
                if not self._waiting:
                    self._runs = False
                    return
                key = next(iter(self._waiting))
                if self._changed.wait_for(lambda: key not in self._waiting, timeout=self._delay_s):  # noqa: B023
                    continue
                self._current, store = key, self._waiting.pop(key)
            try:
                self._look_at(store, key[1])
            except MailError as error:
                log.info("%s: %s: full text: %s", store.user, key[1], error.detail or error.public)
            except Exception:
                log.exception("unforeseen while full text was built")
            del store
            with self._changed:
                self._current = None
                self._changed.notify_all()

    def _look_at(self, store: MailStore, name: str) -> None:
        number = id(store)

        def leaving() -> bool:
            return number in self._leaving

        pace = Pace(leaving, self._busy)
        with _polite(), closing(looked_at(store.open(name), pace)) as steps:
            for _ in steps:
                if leaving():
                    return
                pace()


@contextmanager
def _polite() -> Iterator[None]:
    """Other threads wait less for the interpreter."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@cache
def indexer() -> Indexer:
    """The process's."""
    return Indexer(lambda: pool().busy or search_pool().busy)
