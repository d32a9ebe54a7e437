"""Finds queue files that nobody told qmgr about: after a restart, a lost notice, and when deferred mail is due.

    scanner = Scanner(store, manager)
    await scanner.recover()                 active/ goes back to incoming/: a qmgr died
    scanner.scan_incoming(); scanner.scan_deferred(everything=False); scanner.flush(ids)
    scanner.feed()                          takes in as many as there is room for, incoming and deferred in turns

Folders are listed in a thread of the store's pool. Memory: CANDIDATES ids of each queue; what does not fit is found by
the next scan.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailsuite.base.log import logger

if TYPE_CHECKING:
    from mailsuite.queue.manager import Manager
    from mailsuite.queue.store import QueueStore

CANDIDATES = 100_000
CLOCK_SLACK_S = 60.0        # by so much two looks at the clock may differ
BATCH = 20                  # files read between two looks at the event loop
log = logger("qmgr")


class Scanner:
    """One per qmgr."""

    def __init__(self, store: "QueueStore", manager: "Manager", longest_wait_s: float = float("inf")) -> None:
        """longest_wait_s: maximal_backoff_time; a file that waits for a later time was made before the clock was put
        back, and is due."""
        self._store, self._manager, self.longest_wait_s = store, manager, longest_wait_s
        self._incoming: deque[str] = deque()
        self._deferred: deque[tuple[str, bool]] = deque()        # id, somebody asked for it
        self._scanning: set[str] = set()
        self._again: dict[str, Callable[[], None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._fed = False

    @property
    def incoming_waits(self) -> bool:
        """There is mail in incoming/ that was not taken yet, or there may be."""
        return bool(self._incoming) or "incoming" in self._scanning

    async def recover(self) -> None:
        """What a former qmgr had in hand is tried again."""
        await self._store.pool.run(self._recover)

    def _recover(self) -> None:
        for queue_id in list(self._store.scan("active")):
            try:
                self._store.move(queue_id, "active", "incoming")
            except OSError as error:
                log.error("%s: cannot move from active: %s", queue_id, error)

    def scan_incoming(self) -> None:
        """Look for mail without a notice."""
        self._start("incoming", lambda: list(self._store.scan("incoming")), self._found_incoming, self.scan_incoming)

    def scan_deferred(self, *, everything: bool = False) -> None:
        """Look for mail whose time has come; everything: all of it, whatever its time."""
        self._start("deferred", lambda: self._due(everything),
                    lambda found: self._found_deferred(found, everything),
                    lambda: self.scan_deferred(everything=everything))

    def flush(self, ids: list[str]) -> None:
        """Somebody asked for these messages of deferred/."""
        self._found_deferred(ids[:CANDIDATES], True)
        self.feed()

    def _start(self, name: str, look: Callable[[], list[str]], found: Callable[[list[str]], None],
               again: Callable[[], None]) -> None:
        if name in self._scanning:
            self._again[name] = again           # something changed meanwhile: once more afterwards
            return
        self._scanning.add(name)
        task = asyncio.get_running_loop().create_task(self._run(name, look, found))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, name: str, look: Callable[[], list[str]], found: Callable[[list[str]], None]) -> None:
        try:
            found(await self._store.pool.run(look))
        except OSError as error:
            log.warning("cannot scan %s: %s", name, error)
        finally:
            self._scanning.discard(name)
        self.feed()
        if (again := self._again.pop(name, None)) is not None:
            again()

    def _due(self, everything: bool) -> list[str]:
        now, due = time.time(), []
        for folder, queue_id in self._store.scan_paths("deferred"):
            if not everything:
                try:
                    wait = os.stat(f"{folder}/{queue_id}", follow_symlinks=False).st_mtime - now
                except FileNotFoundError:
                    continue
                if 0 < wait <= self.longest_wait_s + CLOCK_SLACK_S:
                    continue
            due.append(queue_id)
            if len(due) >= CANDIDATES:
                break
        return due

    def _found_incoming(self, found: list[str]) -> None:
        known = set(self._incoming)
        self._incoming.extend(queue_id for queue_id in found[:CANDIDATES] if queue_id not in known)

    def _found_deferred(self, found: list[str], asked: bool) -> None:
        known = {} if asked else dict(self._deferred)
        self._deferred.extend((queue_id, asked) for queue_id in found if queue_id not in known)

    def feed(self) -> None:
        """Take in what there is room for; goes on by itself while there is more."""
        if not self._fed and (self._incoming or self._deferred) and self._manager.has_room:
            self._fed = True
            asyncio.get_running_loop().call_soon(self._feed)

    def _feed(self) -> None:
        self._fed = False
        for _ in range(BATCH):
            if not self._manager.has_room:
                return
            # Neither new mail nor a large backlog keeps the other waiting.
            if self._incoming:
                self._manager.take(self._incoming.popleft(), "incoming")
            if self._deferred and self._manager.has_room:
                queue_id, asked = self._deferred.popleft()
                self._manager.take(queue_id, "deferred", flush=asked)
        self.feed()
