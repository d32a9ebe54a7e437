"""What becomes of a message when every recipient of a round has an outcome.

    rounds = Rounds(settings, store, bouncer, forget)
    rounds.settle(message)          never raises; what takes time runs as a task
    rounds.mark(message)            while others are still under way: who is done is noted in the file

All sent: the file goes. Some bounced: their notice is durable before they are marked. Some deferred: the file is
marked and synced, the reasons written to defer/, and it goes to deferred/ with the time of its next attempt as its
modification time. Too old: what was deferred is returned. When a notice cannot be made, what it should tell is kept
in bounce/ and the message stays until it can; after a crash a notice or a delivery may happen twice, never zero times.
What the disk does not let us do (it is full, read-only, broken) is tried again after a while: the message stays in the
active queue meanwhile, and none of its recipients gets it again.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from mailsuite.address.syntax import quote_local
from mailsuite.base.errors import MailError
from mailsuite.base.log import logger
from mailsuite.queue import bouncelog, deferlog, params
from mailsuite.queue.active import Message
from mailsuite.queue.bounce import Bouncer, Owed
from mailsuite.queue.file import mark_done
from mailsuite.queue.flushlog import FlushLogs
from mailsuite.queue.journaled import Journaled, reason_of
from mailsuite.queue.probes import Probed, is_probe, tell_outcome

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.store import QueueStore

MOVED_TO = ("hold", "deferred", "incoming", "maildrop")     # where postsuper may have put what is in the active queue
LONGEST_RETRY_S = 60.0      # until the end of a round is tried again that the disk did not allow
log = logger("qmgr")


class Rounds:
    """The end of rounds. forget(message): it left the active queue. probed: what became of a probe of verify(8)."""

    def __init__(self, settings: "Settings", store: "QueueStore", bouncer: Bouncer,
                 forget: Callable[[Message], None], probed: Probed = lambda address, status, text: None) -> None:
        self.store, self._forget, self._probed = store, forget, probed
        self.flush_logs = FlushLogs(settings, store.directory, store.pool)
        self._tasks: set[asyncio.Task[None]] = set()
        self.journaled: Journaled               # set by who wires us
        self._removing = 0
        self._marking: dict[str, set[asyncio.Task[None]]] = {}      # queue id -> marks that are being written
        self.configure(settings, bouncer)

    def configure(self, settings: "Settings", bouncer: Bouncer) -> None:
        self.bouncer = bouncer
        self.flush_logs.configure(settings)
        self._least, self._most = settings[params.MINIMAL_BACKOFF_TIME], settings[params.MAXIMAL_BACKOFF_TIME]
        self._lifetime = settings[params.MAXIMAL_QUEUE_LIFETIME]
        self._bounce_lifetime = settings[params.BOUNCE_QUEUE_LIFETIME]
        self._warn_after = settings[params.DELAY_WARNING_TIME]

    @property
    def busy(self) -> bool:
        return bool(self._tasks) or self._removing > 0

    def settle(self, message: Message) -> None:
        """The round is over."""
        if message.queue_id in self._marking:
            self._start(self._settle_marked(message))
        elif message.place is not None and (
                message.more or message.sent or message.deferred or message.bounced or message.envelope.verify
                or not message.fresh or self.journaled.leaving(message) is not None):
            self._start(self._settle_in_file(message))
        elif message.more:
            self._start(self._moved(message))       # it has recipients that were not read: whoever moved it decides
        elif message.sent or message.deferred or message.bounced or message.envelope.verify:
            self._start(self._settle(message))
        else:
            self._remove(message)

    async def _settle_in_file(self, message: Message) -> None:
        """More becomes of it than a delivery: it leaves the journal."""
        try:
            await self.journaled.to_file(message)
        except (OSError, MailError) as error:
            log.error("%s: cannot leave the journal: %s; it is tried again", message.queue_id, reason_of(error))
            self._settle_later(message, self.settle)
            return
        self.settle(message)

    def mark(self, message: Message) -> None:
        """Note in the file who needs no delivery any more."""
        numbers, message.unmarked = message.unmarked, []
        task = self._start(self._mark(message, numbers, self.journaled.leaving(message)))
        self._marking.setdefault(message.queue_id, set()).add(task)
        task.add_done_callback(lambda done: self._marked(message.queue_id, done))

    def marks_of(self, message: Message) -> set[asyncio.Task[None]]:
        """Marks that are being written."""
        return self._marking.get(message.queue_id, set())

    def _marked(self, queue_id: str, task: asyncio.Task[None]) -> None:
        tasks = self._marking.get(queue_id, set())
        tasks.discard(task)
        if not tasks:
            self._marking.pop(queue_id, None)

    async def _settle_marked(self, message: Message) -> None:
        """The file must not move away under a mark: its recipient would get the mail twice."""
        while tasks := self._marking.get(message.queue_id):
            await asyncio.wait(list(tasks))
        self.settle(message)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _mark(self, message: Message, numbers: list[int], leaving: "asyncio.Future[None] | None") -> None:
        """leaving: its file was being made already; else a file that is made meanwhile waits for us."""
        try:
            if leaving is not None:
                await asyncio.wait([leaving])
            if message.place is not None:
                await self.store.pool.run(self.journaled.journal.mark_done, message.place, numbers)
            else:
                await self.store.pool.run(self._mark_in, message, numbers)
        except FileNotFoundError:
            pass                                    # postsuper deleted it
        except (OSError, ValueError) as error:
            log.warning("%s: cannot mark recipients: %s", message.queue_id, error)
            message.unmarked += numbers         # the next mark, or the end of the round, tries again

    def _mark_in(self, message: Message, numbers: list[int]) -> str:
        """Mark recipients where the file is now; in a thread. The queue where it is. Raises OSError, ValueError."""
        for _ in range(2):                          # it may move between two looks
            for queue in ("active", *MOVED_TO):
                try:
                    _mark_file(self.store.path(queue, message.queue_id), numbers)
                except FileNotFoundError:
                    continue
                return queue
        raise FileNotFoundError(message.path)

    def _settle_later(self, message: Message, work: Callable[[Message], None]) -> None:
        message.fresh = False       # some of defer/ and bounce/ may have been written
        wait = min(max(1.0, self._least), LONGEST_RETRY_S)
        asyncio.get_running_loop().call_later(wait, work, message)

    def _remove(self, message: Message) -> None:
        if message.place is not None:           # nothing else was ever made of it
            self.journaled.delivered(message)
            self._removed(message, None)
            return
        try:
            if not message.fresh:
                deferlog.remove(self.store.path("defer", message.queue_id))
        except OSError as error:
            self._removed(message, error)
            return
        self._removing += 1
        self.store.remove_soon("active", message.queue_id, lambda error: self._unlinked(message, error))

    def _unlinked(self, message: Message, error: OSError | None) -> None:
        self._removing -= 1
        try:
            if isinstance(error, FileNotFoundError):
                error = None
                self._remove_moved(message)
        except OSError as other:
            error = other
        self._removed(message, error)

    def _removed(self, message: Message, error: OSError | None) -> None:
        if error is not None:
            log.error("%s: cannot remove: %s; it is tried again", message.queue_id, error)
            self._settle_later(message, self._remove)
            return
        log.info("%s: removed", message.queue_id)
        self._forget(message)

    def _remove_moved(self, message: Message) -> None:
        """postsuper moved it while it was delivered: released from hold, nobody gets it twice."""
        queue = self.store.find(message.queue_id, MOVED_TO)
        if queue is not None:
            self.store.remove(queue, message.queue_id)

    async def _settle(self, message: Message) -> None:
        try:
            if is_probe(message.envelope):
                tell_outcome(message, self._probed)
                self._remove(message)
                return
            owed = await self._notices(message)
            if message.deferred or owed:
                await self._defer(message)
            else:
                self._remove(message)
        except FileNotFoundError:
            await self._moved(message)
        except OSError as error:
            log.error("%s: cannot defer: %s; it is tried again", message.queue_id, error)
            self._settle_later(message, self.settle)
        except Exception:
            log.exception("%s: unforeseen at the end of a round", message.queue_id)
            self._settle_later(message, self.settle)

    async def _moved(self, message: Message) -> None:
        """postsuper deleted it, put it on hold or requeued it: there it keeps who is done, and why others wait."""
        try:
            await self.store.pool.run(self._note_moved, message)
        except FileNotFoundError:
            pass                                    # deleted
        except (OSError, ValueError) as error:
            log.warning("%s: cannot mark recipients: %s", message.queue_id, error)
        self._forget(message)

    def _note_moved(self, message: Message) -> None:
        """In a thread. Raises OSError, ValueError."""
        if self._mark_in(message, message.unmarked) != "maildrop" and message.deferred:
            log_path = self.store.path("defer", message.queue_id)
            deferlog.write(log_path, message.deferred, warned=deferlog.read(log_path).warned)

    def _lifetime_of(self, message: Message) -> int:
        return self._lifetime if message.envelope.sender else self._bounce_lifetime

    async def _notices(self, message: Message) -> bool:
        """Send what is due. True: something could not be told of yet; it is kept in bounce/ or trace/."""
        envelope = message.envelope
        if envelope.verify == "verify":
            await self._report(message)
        expired = time.time() >= envelope.arrival_time + self._lifetime_of(message)
        if message.deferred and (expired or message.expire):
            log.info("%s: from=<%s>, status=%s, returned to sender", message.queue_id,
                     quote_local(envelope.sender), "force-expired" if message.expire else "expired")
            message.bounced += message.deferred
            message.deferred = []
        untold = False
        owed = await self._failure(message) if message.bounced else False       # bad news first, as Postfix
        if message.sent and not envelope.verify:
            untold = await self._success(message, keep=not expired)
        if envelope.verify:
            await self._report(message)
        if message.bounced and not owed:
            message.bounced = []        # told: should the round have to end once more, nobody hears it again
            if not message.fresh:
                bouncelog.remove(self.store.path("bounce", message.queue_id))
        return owed or untold

    async def _success(self, message: Message, *, keep: bool) -> bool:
        """The notice of deliveries; True: it could not be put into the queue, so it stays owed, in trace/."""
        path = self.store.path("trace", message.queue_id)
        untold = False
        try:
            await self.bouncer.success(message, message.sent)
        except (MailError, OSError) as error:
            log.warning("%s: delivery status notification failed: %s", message.queue_id, error)
            untold = keep
        if untold:
            await self.store.pool.run(bouncelog.write, path, message.sent)
        elif not message.fresh:
            bouncelog.remove(path)
        message.sent = []       # told or noted: should the round have to end once more, nobody hears it twice
        return untold

    async def _failure(self, message: Message) -> bool:
        """The notice of a failure; True: it could not be kept in the queue, so it stays owed."""
        path = self.store.path("bounce", message.queue_id)
        owed = False
        try:
            await self.bouncer.failure(message, message.bounced)
        except (MailError, OSError) as error:
            log.warning("%s: non-delivery notification failed: %s", message.queue_id, error)
            await self.store.pool.run(bouncelog.write, path, error.owed if isinstance(error, Owed) else message.bounced)
            owed = True
        message.unmarked += [number for ended in message.bounced if (number := ended.recipient.number) >= 0]
        return owed

    async def _report(self, message: Message) -> None:
        """sendmail -bv and -v: one report of all, and for -bv that is all."""
        everything = [*message.sent, *message.bounced, *message.deferred, *message.traced]
        try:
            await self.bouncer.success(message, everything)
        except MailError as error:
            log.warning("%s: delivery status notification failed: %s", message.queue_id, error)
        if message.envelope.verify == "verify":
            message.deferred.clear()
            message.bounced.clear()
        message.envelope.verify = ""
        message.sent.clear()
        message.traced.clear()

    async def _defer(self, message: Message) -> None:
        now = time.time()
        age = now - message.envelope.arrival_time
        wait = min(max(age, self._least), self._most)
        log_path = self.store.path("defer", message.queue_id)
        warned = False if message.fresh else deferlog.read(log_path).warned
        if self._warn_after and age >= self._warn_after and not warned:
            try:
                await self.bouncer.delay(message, message.deferred, self._lifetime_of(message))
                warned = True
            except MailError as error:
                log.warning("%s: delay notification failed: %s", message.queue_id, error)
        await self.flush_logs.add(message.queue_id, [ended.recipient.address for ended in message.deferred])
        await self.store.pool.run(self._defer_now, message, log_path, warned, now + wait)
        self._forget(message)

    def _defer_now(self, message: Message, log_path: str, warned: bool, retry_at: float) -> None:
        """In a thread. Raises OSError."""
        if message.unmarked:
            _mark_file(message.path, message.unmarked)
        os.utime(message.path, (retry_at, retry_at))        # it may have gone: then no note of it shall be left
        try:
            deferlog.write(log_path, message.deferred, warned=warned)
        except OSError as error:
            log.warning("%s: cannot note why it waits: %s", message.queue_id, error)
        self.store.move(message.queue_id, "active", "deferred")


def _mark_file(path: str, numbers: list[int]) -> None:
    """Mark and sync; in a thread. Raises OSError, ValueError."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        mark_done(fd, numbers)
        os.fdatasync(fd)
    finally:
        os.close(fd)
