"""Change notices for all sessions of a process, by one inotify descriptor.

    watched = Watched(Watching.of(loop), most=4000)
    watched.update({"/home/anna/Maildir/new": told})        these and no others; what can't be watched: watched.missed
    told(event)                                 in the event loop, for each change; an Event with LOST: look at all
    watched.stop()

The descriptor lives as long as somebody watches. A path that several want is watched once.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from mailsuite.base.log import access_logger
from mailsuite.store.watch import GONE, LOST, Event, Inotify

Told = Callable[[Event], None]
log = access_logger("imap")
_LOST = Event(-1, LOST, "")
_of_loop: dict[asyncio.AbstractEventLoop, "Watching"] = {}


class Watched:
    """What one session has asked for. missed: paths that have no watch. Blocks; run it in a thread."""

    def __init__(self, watching: "Watching", most: int = 1 << 30) -> None:
        self._watching, self._most = watching, most
        self._numbers: dict[str, tuple[int, Told]] = {}
        self.missed: list[str] = []

    def update(self, wanted: Mapping[str, Told]) -> list[str]:
        """Watch these paths and no others; those that are watched already keep who is told. The new ones."""
        gone = [path for path in self._numbers if path not in wanted]
        self._watching.forget(self._numbers.pop(path) for path in gone)
        fresh, self.missed = [], []
        for path, told in wanted.items():
            if path in self._numbers:
                continue
            number = self._watching.add(path, told) if len(self._numbers) < self._most else None
            if number is None:
                self.missed.append(path)
            else:
                self._numbers[path] = number, told
                fresh.append(path)
        return fresh

    def lost(self, path: str) -> None:
        """Its folder is gone: the next update tries again."""
        self._numbers.pop(path, None)

    def stop(self) -> None:
        self.update({})


class Watching:
    """Of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._lock = loop, threading.Lock()
        self._inotify: Inotify | None = None
        self._told: dict[int, list[Told]] = {}

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "Watching":
        """In any thread."""
        found = _of_loop.get(loop)
        if found is not None:
            return found
        for old in [each for each in _of_loop if each.is_closed()]:
            del _of_loop[old]
        return _of_loop.setdefault(loop, cls(loop))

    def add(self, path: str, told: Told) -> int | None:
        """The watch's number; None: it cannot be watched."""
        with self._lock:        # an event that comes meanwhile waits until it is known whom to tell
            inotify = self._opened()
            number = inotify.add(path) if inotify is not None else None
            if number is not None:
                self._told.setdefault(number, []).append(told)
            elif inotify is not None and not self._told:
                self._close(inotify)
            return number

    def _opened(self) -> Inotify | None:
        if self._inotify is None:
            try:
                self._inotify = Inotify()
            except OSError:
                return None
            self._loop.call_soon_threadsafe(self._listen, self._inotify)
        return self._inotify

    def _listen(self, inotify: Inotify) -> None:
        if inotify.fd >= 0:
            self._loop.add_reader(inotify.fd, self._noticed)

    def forget(self, numbers: Iterable[tuple[int, Told]]) -> None:
        with self._lock:
            inotify = self._inotify
            for number, told in numbers:
                left = self._told.get(number)
                if left is None or told not in left:
                    continue                # the folder is gone
                left.remove(told)
                if not left:
                    del self._told[number]
                    if inotify is not None:
                        inotify.remove(number)
            if inotify is not None and not self._told:
                self._close(inotify)

    def _close(self, inotify: Inotify) -> None:
        """Nobody watches: the next one begins anew. The loop has to forget the descriptor first."""
        self._inotify = None
        with suppress(RuntimeError):            # the loop may be closed
            self._loop.call_soon_threadsafe(self._end, inotify)

    def _end(self, inotify: Inotify) -> None:
        self._loop.remove_reader(inotify.fd)
        inotify.close()

    def _noticed(self) -> None:
        with self._lock:
            events = self._inotify.read() if self._inotify is not None else []
            calls: list[tuple[Told, Event]] = []
            for event in events:
                if event.mask & LOST:
                    calls = [(told, _LOST) for every in self._told.values() for told in every]
                    break
                calls += [(told, event) for told in self._told.get(event.number, ())]
                if event.mask & GONE:
                    self._told.pop(event.number, None)
        for told, event in calls:
            try:
                told(event)
            except Exception:
                log.exception("unforeseen in a change notice")
