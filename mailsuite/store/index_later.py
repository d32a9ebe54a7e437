"""What waits to be written into an index, so that no client waits for it: a thread writes it in the next pause.

    later = Later(write)                    write(): puts what waits into the database; called in the thread
    with later.lock: ...                    the index's own
    later.of(mailbox).cache[uid] = row;  later.added(octets)
    later.of(mailbox).discard(uids);  later.forget(mailbox)

Only what is found out again when it is lost waits here: what was read out of messages, and, of a Maildir, flags that
are in the files' names, with MODSEQs of many messages at once (store/index_box.py tells why that is safe). Readers look
here first. Limits: MAX_OCTETS wait in a process, then who adds more writes by himself; PAUSE_S.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from typing import NamedTuple, TypeVar

PAUSE_S = 1.0
MAX_OCTETS = 32 * 1024 * 1024
ROW_OCTETS = 250            # of a row besides its text, about

V = TypeVar("V")
Batch = tuple[Sequence[int], Sequence[int], Sequence[int]]


class Cached(NamedTuple):
    """What was found out about a message; None: not yet."""

    size: int | None = None
    date: int | None = None
    envelope: bytes | None = None
    body: bytes | None = None
    structure: bytes | None = None

    def octets(self) -> int:
        return ROW_OCTETS + len(self.envelope or b"") + len(self.body or b"") + len(self.structure or b"")


@dataclass
class Waiting:
    """Of one mailbox, by UID. flags: (flags, modseq). fields: by the list of their names.

    batches: uids, flags and modseqs as they came, newer than `flags`."""

    flags: dict[int, tuple[int, int]] = field(default_factory=dict)
    cache: dict[int, Cached] = field(default_factory=dict)
    fields: dict[bytes, dict[int, bytes]] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)

    def _settle(self) -> None:
        for uids, flags, modseqs in self.batches:
            self.flags.update(zip(uids, zip(flags, modseqs, strict=True), strict=True))
        self.batches.clear()

    def rows(self) -> int:
        return len(self.flags) + len(self.cache) + sum(map(len, self.fields.values()))

    def split(self, limit: int) -> "Waiting":
        """Take out up to limit of each kind."""
        self._settle()
        some = Waiting(_some(self.flags, limit), _some(self.cache, limit))
        for names in list(self.fields):
            if found := _some(self.fields[names], limit):
                some.fields[names] = found
            else:
                del self.fields[names]
        return some

    def discard(self, uids: Iterable[int]) -> None:
        """Nothing more of these messages, but for their flags."""
        for uid in uids:
            self.cache.pop(uid, None)
            for found in self.fields.values():
                found.pop(uid, None)

    def discard_flags(self, uids: Iterable[int]) -> None:
        self._settle()
        if self.flags:
            for uid in uids:
                self.flags.pop(uid, None)


def _some(rows: dict[int, V], limit: int) -> dict[int, V]:
    return {uid: rows.pop(uid) for uid in list(islice(rows, limit))}


class Later:
    """Of one index. Used under the index's lock."""

    def __init__(self, write: Callable[[], None]) -> None:
        self.write = write
        self._mailboxes: dict[int, Waiting] = {}
        self._octets = 0

    def of(self, mailbox: int) -> Waiting:
        """mailbox: its number in the index."""
        waiting = self._mailboxes.get(mailbox)
        if waiting is None:
            waiting = self._mailboxes[mailbox] = Waiting()
        return waiting

    def forget(self, mailbox: int) -> None:
        self._mailboxes.pop(mailbox, None)

    def added(self, octets: int) -> None:
        """Something waits now."""
        self._octets += octets
        if _writer().note(self, octets):
            self.write()

    def take(self, limit: int) -> list[tuple[int, Waiting]]:
        """Up to about limit rows, to be written now: (mailbox, what waited) each. []: nothing waits any more."""
        taken = []
        while self._mailboxes and limit > 0:
            mailbox, waiting = next(iter(self._mailboxes.items()))
            some = waiting.split(limit)
            if some.rows():
                taken.append((mailbox, some))
                limit -= some.rows()
            else:
                del self._mailboxes[mailbox]
        if not taken:
            self.clear()
        return taken

    def clear(self) -> None:
        """Nothing waits, written or not."""
        self._mailboxes.clear()
        if self._octets:
            _writer().done(self, self._octets)
            self._octets = 0


class _Writer:
    """The process's thread, and how much waits in all its indexes."""

    def __init__(self) -> None:
        self._lock, self._work = threading.Lock(), threading.Semaphore(0)
        self._waiting: set[Later] = set()
        self._octets = 0
        threading.Thread(target=self._run, name="index", daemon=True).start()

    def note(self, later: Later, octets: int) -> bool:
        """True: too much waits, write at once."""
        with self._lock:
            self._octets += octets
            if later not in self._waiting:
                self._waiting.add(later)
                self._work.release()
            return self._octets > MAX_OCTETS

    def done(self, later: Later, octets: int) -> None:
        with self._lock:
            self._octets -= octets
            self._waiting.discard(later)

    def _run(self) -> None:
        pause = threading.Event()       # never set
        while True:
            self._work.acquire()
            pause.wait(PAUSE_S)
            with self._lock:
                waiting = list(self._waiting)
            for later in waiting:
                later.write()


@cache
def _writer() -> _Writer:
    """Made after the fork, by the first who has something to write."""
    return _Writer()
