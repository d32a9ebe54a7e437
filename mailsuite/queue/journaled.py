"""Messages of the active queue that have no file: they are in the journal and in qmgr's memory.

    journaled = Journaled(store, active, take)
    journaled.begin(message)                    its place is set
    journaled.delivered(message)                that was all: no file was ever needed
    await journaled.to_file(message)            an ordinary file of active/ from here on; raises OSError, MailError
    await journaled.everything()                the same for all, and for records that nobody told us of
    journaled.spill(place, queue_id)            no room in the active queue: a file of incoming/

A message leaves the journal by a file when anything but its delivery at once becomes of it: a deferral, a notice, more
recipients than memory has room for, a command that looks at the queue (queue/requests.py, "files"), `age_s` seconds in
the active queue, a stop. A delivery agent that was sent to the journal may still read the record then: it is marked as
left at once, and as free when these requests have ended.
Records that are not ours and stay (their notice was lost, smtpd died) are found by `look`: they are taken at once
where their writer has gone, else the second time.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mailsuite.base.errors import MailError
from mailsuite.base.log import logger
from mailsuite.queue.committer import Committer
from mailsuite.queue.journal import Found, Place
from mailsuite.queue.journal_reader import Journal, Move

if TYPE_CHECKING:
    from mailsuite.queue.active import Message
    from mailsuite.queue.store import QueueStore

THREADS = 2
SWEEP_S = 0.5
RETRY_S = 5.0               # after the disk did not let us make files
log = logger("qmgr")


class Journaled:
    """One per qmgr. take(queue_id): there is a new file in incoming/."""

    def __init__(self, store: "QueueStore", active: Mapping[str, "Message"], take: Callable[[str], object],
                 age_s: float) -> None:
        self.journal = Journal(store)
        self.age_s = age_s
        self._store, self._active, self._take = store, active, take
        self._messages: dict[Place, Message] = {}               # in the order they came
        self._leaving: dict[Place, asyncio.Future[None]] = {}   # those whose file is being made
        self._seen: frozenset[Place] = frozenset()              # records without a notice at the last look
        self._committer: Committer[Move] = Committer(THREADS, self.journal.write_files)
        self._sweeps = False
        self._retry_at = 0.0
        self._looks: set[asyncio.Task[None]] = set()
        self._marks: Callable[[Message], set[asyncio.Task[None]]] = lambda message: set()

    def watch_marks(self, marks: "Callable[[Message], set[asyncio.Task[None]]]") -> None:
        """marks: what is writing into a message's record; its file is made afterwards."""
        self._marks = marks

    @property
    def busy(self) -> bool:
        return bool(self._leaving)

    def is_new(self, place: Place) -> bool:
        """Whether a notice tells of something that we do not know yet. Raises OSError, ValueError."""
        return place not in self._messages and place not in self._leaving and self.journal.is_open(place)

    def begin(self, message: "Message") -> None:
        assert message.place is not None
        message.path = self.journal.path(message.place)
        self._messages[message.place] = message
        if not self._sweeps:
            self._sweeps = True
            asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def delivered(self, message: "Message") -> None:
        """Nobody needs it any more."""
        place, message.place = message.place, None
        assert place is not None
        self._messages.pop(place, None)
        self.journal.set_free(place)

    def read(self, message: "Message") -> None:
        """A request that was sent to the record has ended."""
        message.readers -= 1
        if not message.readers and message.held is not None:
            self.journal.set_free(message.held)
            message.held = None

    # --- files ------------------------------------------------------------------------------------------------------

    def leaving(self, message: "Message") -> "asyncio.Future[None] | None":
        """Done, or failed, when its file has been made; None: nobody is about to make one."""
        return self._leaving.get(message.place) if message.place is not None else None

    def to_file(self, message: "Message") -> "asyncio.Future[None]":
        """Done when the message has a file in active/, and nothing but that. Fails with OSError or MailError."""
        place = message.place
        if place is None:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        future = self._leaving.get(place)
        if future is None:
            marks = set(self._marks(message))
            future = self._leaving[place] = asyncio.get_running_loop().create_task(self._to_file(message, place, marks))
            future.add_done_callback(lambda ended: self._left(place, ended))
        return asyncio.shield(future)

    def _left(self, place: Place, ended: "asyncio.Future[None]") -> None:
        self._leaving.pop(place, None)
        if not ended.cancelled():
            ended.exception()               # whoever waits is told as well

    async def _to_file(self, message: "Message", place: Place, marks: "set[asyncio.Task[None]]") -> None:
        if marks:
            await asyncio.wait(marks)
        move = Move(place, message.queue_id, "active")
        await self._committer.commit(move)
        if move.queue_id != message.queue_id:
            # Its own name is another message's: only that of the file has changed, which is known by it from now on.
            log.warning("%s: there is another message of that id: renamed to %s", message.queue_id, move.queue_id)
            self._rename(message, move.queue_id)
        message.place, message.path = None, self._store.path("active", message.queue_id)
        del self._messages[place]
        if message.readers:
            message.held = place
            self.journal.set_left(place)
        else:
            self.journal.set_free(place)

    def _rename(self, message: "Message", queue_id: str) -> None:
        active = self._active
        assert isinstance(active, dict)
        active[queue_id] = active.pop(message.queue_id)
        message.queue_id = queue_id

    def spill(self, place: Place, queue_id: str) -> None:
        """Make it a file of incoming/; what fails is found by the next look."""
        if place not in self._leaving:
            task = self._leaving[place] = asyncio.get_running_loop().create_task(self._spill(place, queue_id))
            task.add_done_callback(lambda ended: self._left(place, ended))

    async def _spill(self, place: Place, queue_id: str) -> None:
        move = Move(place, queue_id, "incoming")
        try:
            await self._committer.commit(move)
        except MailError:                   # its writer is at it: perhaps we did not listen to its notice meanwhile
            asyncio.get_running_loop().call_later(RETRY_S, self._look_again)
            return
        except (OSError, ValueError) as error:
            log.warning("%s: cannot take from the journal: %s", queue_id, reason_of(error))
            return
        if move.queue_id != queue_id:
            log.warning("%s: there is another message of that id: renamed to %s", queue_id, move.queue_id)
        self.journal.set_free(place)
        self._take(move.queue_id)

    def _look_again(self) -> None:
        task = asyncio.get_running_loop().create_task(self.look())
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    # --- sweeps -----------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """What is in hand for long becomes a file: who looks at the folders sees it, smtpd gets its room back."""
        loop = asyncio.get_running_loop()
        limit = time.time() - self.age_s
        for message in self._messages.values():
            if message.active_time > limit or loop.time() < self._retry_at:
                break
            if message.place not in self._leaving:
                self.to_file(message).add_done_callback(self._swept)
        self._sweeps = bool(self._messages)
        if self._sweeps:
            loop.call_later(SWEEP_S, self._sweep)

    def _swept(self, ended: "asyncio.Future[None]") -> None:
        error = None if ended.cancelled() else ended.exception()
        if error is not None:
            log.warning("cannot make a file of a message of the journal: %s; it is tried again", reason_of(error))
            self._retry_at = asyncio.get_running_loop().time() + RETRY_S

    async def everything(self) -> None:
        """All that is in the journal becomes files, also what nobody told us of. What fails is logged, and stays."""
        await self.look(all_of_it=True)
        futures = [*map(self.to_file, list(self._messages.values())), *self._leaving.values()]
        if futures:
            for error in await asyncio.gather(*futures, return_exceptions=True):
                if isinstance(error, Exception):
                    log.warning("cannot make a file of a message of the journal: %s", reason_of(error))

    async def look(self, *, all_of_it: bool = False, twice: bool = False) -> None:
        """Find records that are not in our hands; twice: and soon once more, should there be some."""
        try:
            found = await self._store.pool.run(self.journal.look)
        except OSError as error:
            log.warning("cannot look through the journal: %s", reason_of(error))
            return
        unknown: list[tuple[Found, bool]] = []
        for record, orphan in found:
            try:
                if self.is_new(record.place):
                    unknown.append((record, orphan))
            except (OSError, ValueError):
                continue                    # its segment has gone
        for record, orphan in unknown:
            if orphan or all_of_it or record.place in self._seen:
                self.spill(record.place, record.queue_id)
        self._seen = frozenset(record.place for record, _ in unknown)
        if self._seen and twice:
            asyncio.get_running_loop().call_later(RETRY_S, self._look_again)


def reason_of(error: BaseException) -> str:
    """Without the name of a file: that of a segment is a secret."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
