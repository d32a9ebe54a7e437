"""qmgr's work: takes messages into the active queue, splits them into deliveries, collects the outcomes.

    manager = Manager(settings, rewriter, store, rounds, sender)
    await manager.take(queue_id, "incoming")          reads the file;   take_notice(notice) needs not even that
    manager.report(report); manager.done(seq); manager.lost(transport, seqs, was_up)       from the agents

A message is resolved recipient by recipient (rewrite/resolve), grouped by transport and destination, and handed to the
scheduler in deliveries of at most *_destination_recipient_limit recipients. When the last recipient of a round has an
outcome, `rounds.py` settles it. Limits: qmgr_message_active_limit messages; recipients in memory
(room.py). What comes beyond stays in incoming/ and deferred/ and is taken in by the scans; of a message with more
recipients than there is room for, the next ones are read when some of the first ones have their outcomes.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from mailsuite.address.syntax import quote_local, split_domain
from mailsuite.base.eager import StandIn, begin
from mailsuite.base.errors import MailError
from mailsuite.base.log import logger
from mailsuite.queue import bouncelog, deferlog, params
from mailsuite.queue.active import Ended, Message, expansions
from mailsuite.queue.agent import (
    BOUNCED,
    DEFERRED,
    SENT,
    DeliveryRequest,
    RecipientReport,
    Times,
    log_delivery,
)
from mailsuite.queue.clog import ClogWarnings
from mailsuite.queue.envelope import Recipient
from mailsuite.queue.file import EXPIRE, Damaged, Stored, Unfinished, read
from mailsuite.queue.journal import Place
from mailsuite.queue.journaled import Journaled
from mailsuite.queue.limits import TransportTable
from mailsuite.queue.notify import QueueNotice
from mailsuite.queue.probes import is_probe
from mailsuite.queue.resolving import Group, Resolver, Verdict
from mailsuite.queue.room import Room
from mailsuite.queue.scheduler import Entry, Outcome, Scheduler
from mailsuite.queue.straightaway import Straightaway
from mailsuite.queue.verp import verp_sender
from mailsuite.smtp.params import SOFT_BOUNCE

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.store import QueueStore
    from mailsuite.rewrite.rewriter import Rewriter

log = logger("qmgr")
error_log = logger("error")

UNAVAILABLE = "mail transport unavailable"
RESOLVED_AT_ONCE = 100      # recipients of a message between two looks at the event loop
REFILL_RETRY_S = 60.0       # before the file is read again that could not be read
Work = tuple[Message, list[Recipient]]


class Manager:
    """The active queue and what is under way. settle(message): the round is over (rounds.Rounds.settle)."""

    def __init__(self, settings: "Settings", rewriter: "Rewriter", store: "QueueStore",
                 send: Callable[[str, DeliveryRequest], None], settle: Callable[[Message], None],
                 mark: Callable[[Message], None]) -> None:
        self.store = store
        self._send_request, self._settle, self._mark = send, settle, mark
        self.active: dict[str, Message] = {}
        self.stopping = False                   # nothing new is taken in
        self.refused_notice = False             # incoming/ has mail that we had no room for
        self._timer: asyncio.TimerHandle | None = None
        self._refills: dict[str, asyncio.TimerHandle] = {}      # of messages whose next recipients are read later
        self._seq = 0
        self._requests: dict[int, tuple[Entry[Work], dict[int, Recipient], list[RecipientReport]]] = {}
        self._from_journal: set[int] = set()     # requests that were sent to the journal
        self.journaled = Journaled(store, self.active, self._take_spilled, settings[params.QUEUE_JOURNAL_TIME])
        self._sent_at: dict[int, float] = {}     # in the order they were sent
        self._tasks: set[asyncio.Task[None]] = set()
        self.table = TransportTable(settings)
        self.room = Room(settings, self.table)
        self.straight = Straightaway(self)
        self.scheduler: Scheduler[Work] = Scheduler(self.table, self._send, self._suspended, self._wake_at)
        self._configure(settings, rewriter)

    def _configure(self, settings: "Settings", rewriter: "Rewriter") -> None:
        self._resolver = Resolver(settings, rewriter, self.table)
        digits = settings[params.DELAY_LOGGING_RESOLUTION_LIMIT]
        self.straight.configure(digits == 2)
        self._facts = {"soft_bounce": "yes"} if settings[SOFT_BOUNCE] else {}
        if digits != 2:
            self._facts["delay_digits"] = str(digits)
        self.active_limit = settings[params.QMGR_MESSAGE_ACTIVE_LIMIT]
        self.room.configure(settings, self.table)
        self.journaled.age_s = settings[params.QUEUE_JOURNAL_TIME]
        self._confirms_delay = settings[params.CONFIRM_DELAY_CLEARED]
        clog = ClogWarnings(settings)
        self.scheduler.dead_limit = self.room.limit
        self.scheduler.crowd, self.scheduler.crowded = clog.threshold, clog.crowded

    def reload(self, settings: "Settings", rewriter: "Rewriter") -> None:
        """New settings for what comes; what is under way ends as it began."""
        self.table = TransportTable(settings)
        self._configure(settings, rewriter)
        self.scheduler.reload(self.table)

    @property
    def has_room(self) -> bool:
        return len(self.active) < self.active_limit and not self.room.is_full

    @property
    def busy(self) -> bool:
        """Deliveries are under way."""
        return bool(self._requests)

    # --- taking in ----------------------------------------------------------------------------------------------

    def take_notice(self, notice: QueueNotice) -> None:
        """A message whose envelope came with the notice. Raises ValueError for nonsense."""
        queue_id = notice.id
        if notice.at is not None:
            if not self.journaled.is_new(notice.at):
                return          # told twice, or found by a look before
            if queue_id in self.active or not self.has_room:        # another message may have the same id
                self.refused_notice = not self.has_room
                self.journaled.spill(notice.at, queue_id)
                return
        if queue_id in self.active:
            return
        if not self.has_room:
            self.refused_notice = True
            return
        if notice.facts is None:
            raise ValueError("a message without an envelope")
        stored = Stored(notice.facts, notice.to, 0, notice.offset, notice.size)
        if notice.at is not None:
            message = self._begin(queue_id, stored, fresh=True, flush=False, place=notice.at)
            message.sent += expansions(stored.envelope)
            return
        try:
            self.store.move(queue_id, "incoming", "active")
        except FileNotFoundError:
            return              # a scan was faster, or postsuper took it away
        except OSError as error:
            log.warning("%s: cannot take from incoming: %s", queue_id, error)
            return              # the next scan finds it
        message = self._begin(queue_id, stored, fresh=True, flush=False)
        message.sent += expansions(stored.envelope)

    def take(self, queue_id: str, queue: str, *, flush: bool = False) -> bool:
        """Take a message from incoming/ or deferred/. False: no room, or it is not there."""
        if queue_id in self.active or not self.has_room:
            return False
        try:
            stored, expire = self._read(queue, queue_id)
            owed = bouncelog.read(self.store.path("bounce", queue_id))
            untold = bouncelog.read(self.store.path("trace", queue_id))
            self.store.move(queue_id, queue, "active")
        except FileNotFoundError:
            return False
        except Unfinished:
            return False        # begun by a program that still writes
        except Damaged as error:
            log.warning("%s: saving corrupt file %s of queue %s: %s", queue_id, queue_id, queue, error)
            try:
                self.store.move(queue_id, queue, "corrupt")
            except OSError as failure:
                log.error("%s: cannot move to corrupt: %s", queue_id, failure)
            return False
        except OSError as error:
            log.warning("%s: cannot take from %s: %s", queue_id, queue, error)
            return False
        message = self._begin(queue_id, stored, fresh=False, flush=flush, expire=expire)
        if self._confirms_delay and queue == "deferred":
            message.clears_delay = deferlog.read(self.store.path("defer", queue_id)).warned
        message.bounced += owed
        message.sent += untold
        if queue == "incoming":
            message.sent += expansions(stored.envelope)
        return True

    def _take_spilled(self, queue_id: str) -> None:
        """There is a new file in incoming/."""
        if self.stopping:
            return
        if not self.has_room:
            self.refused_notice = True
        else:
            self.take(queue_id, "incoming")

    def _read(self, queue: str, queue_id: str) -> tuple[Stored, bool]:
        """The file, and whether postsuper -e wants its mail back. Raises OSError, Damaged."""
        fd = self.store.open(queue, queue_id)
        try:
            return read(fd), bool(os.fstat(fd).st_mode & EXPIRE)
        finally:
            os.close(fd)

    def _begin(self, queue_id: str, stored: Stored, *, fresh: bool, flush: bool,
               expire: bool = False, place: Place | None = None) -> Message:
        message = Message(queue_id, stored.envelope, stored.offset, stored.size, stored.recipients, time.time(),
                          self.store.path("active", queue_id), fresh=fresh, flush=flush, expire=expire, place=place)
        self.active[queue_id] = message
        if place is not None:
            self.journaled.begin(message)
        message.recipients = self._admit(message, stored.recipients)
        message.pending = 1             # our own, until all are handed on
        log.info("%s: from=<%s>, size=%d, nrcpt=%d (queue active)", queue_id, quote_local(stored.envelope.sender),
                 stored.shown_size, len(stored.recipients) + stored.done)
        self._start(self._distribute(message, message.recipients), at_once=fresh)
        return message

    def _start(self, work: Coroutine[None, None, None], *, at_once: bool = False) -> None:
        """at_once: its first steps are made here, and mostly there are no others; a scan, which brings many messages,
        leaves them to the event loop."""
        loop = asyncio.get_running_loop()
        task = begin(loop, work, StandIn()).task if at_once else loop.create_task(work)
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _admit(self, message: Message, recipients: list[Recipient]) -> list[Recipient]:
        """Those that there is room for in memory."""
        most = self.room.left(message)
        message.more = 0
        if len(recipients) > most:
            recipients = recipients[:most]
            message.more = recipients[-1].number
            message.filled_at = time.monotonic()
        self.room.take(message, len(recipients))
        return recipients

    async def _refill(self, message: Message) -> None:
        """There is room for the next recipients of a large message. Its round is kept open meanwhile."""
        try:
            await self.journaled.to_file(message)
            stored = await self.store.pool.run(self.store.read, "active", message.queue_id)
        except FileNotFoundError:           # postsuper moved it: nobody reads any more
            message.pending -= 1
            if not message.pending:
                self._settle(message)
            return
        except (OSError, MailError) as error:
            log.warning("%s: cannot read more recipients: %s", message.queue_id, error)
            asyncio.get_running_loop().call_later(REFILL_RETRY_S, lambda: self._start(self._refill(message)))
            return
        recipients = self._admit(message, [one for one in stored.recipients if one.number > message.more])
        message.reading = False
        await self._distribute(message, recipients)

    def forget(self, message: Message) -> None:
        """The message has left the active queue."""
        if self.active.pop(message.queue_id, None) is not None:
            self.room.forget(message)

    # --- resolving ----------------------------------------------------------------------------------------------

    async def _distribute(self, message: Message, batch: list[Recipient]) -> None:
        """Hand recipients that were read on to the scheduler, and give back one of `pending`."""
        groups: dict[Group, list[Recipient]] = {}
        if message.expire:
            self._expire(message, batch)
            return
        for count, recipient in enumerate(sorted(batch, key=_by_domain), 1):
            try:
                resolved = await self._resolver.resolve(message, recipient)
            except Exception as error:
                if not isinstance(error, MailError):
                    log.exception("%s: unforeseen while resolving", message.queue_id)
                resolved = Verdict(DEFERRED, "4.3.0", "address resolver failure")
            if isinstance(resolved, Verdict):
                self._end_here(message, recipient, resolved)
            else:
                recipient, group = resolved
                groups.setdefault(group, []).append(recipient)
            if not count % RESOLVED_AT_ONCE:
                await asyncio.sleep(0)
        now = time.monotonic()
        verp = bool(message.envelope.verp)
        sizes = self._deliveries(groups, verp=verp) if len(batch) > 1 else {}
        for (transport, key, nexthop), recipients in groups.items():
            recipients.sort(key=_by_domain)
            message.transports.add(transport)
            self.room.assign(transport, len(recipients))
            most = 1 if verp else self.table.of(transport).recipients or len(recipients)
            for start in range(0, len(recipients), most):
                message.pending += 1
                self.scheduler.add(Entry(transport, key, nexthop, (message, recipients[start:start + most]), message,
                                         sizes.get(transport, 1)), now)
        self._one_less(message)

    def _expire(self, message: Message, batch: list[Recipient]) -> None:
        """postsuper -e: it is returned with the reasons of its last attempt, and not tried again."""
        reasons = deferlog.recall(self.store.path("defer", message.queue_id))
        for recipient in batch:
            if (report := reasons.get(recipient.number)) is not None:
                self._take(message, Ended(recipient, report))
            else:
                self._end_here(message, recipient, Verdict(DEFERRED, "4.7.0", "message is administratively expired"))
        self._one_less(message)

    def _deliveries(self, groups: dict[Group, list[Recipient]], *, verp: bool) -> dict[str, int]:
        """How many deliveries each transport has to make."""
        sizes: dict[str, int] = {}
        for (transport, _, _), recipients in groups.items():
            most = 1 if verp else self.table.of(transport).recipients or len(recipients)
            sizes[transport] = sizes.get(transport, 0) + -(-len(recipients) // most)
        return sizes

    def _one_less(self, message: Message) -> None:
        """A delivery has ended; the last one ends the round."""
        message.pending -= 1
        if message.more and (not message.reading or message.queue_id in self._refills):
            self._read_on(message)
        elif not message.pending:
            self._settle(message)

    def _read_on(self, message: Message) -> None:
        """A large message has fewer recipients in memory than before: have the next ones read when it is time."""
        wait_s = self.room.reads_in(message, time.monotonic())
        if message.reading:
            if not wait_s:                      # all that were read have their outcomes meanwhile
                self._refills.pop(message.queue_id).cancel()
                self._start(self._refill(message))
            return
        if wait_s is None:
            return
        if message.unmarked:
            self._mark(message)
        message.reading = True
        message.pending += 1                    # so that its round stays open
        if wait_s:
            self._refills[message.queue_id] = asyncio.get_running_loop().call_later(wait_s, self._refill_now, message)
        else:
            self._start(self._refill(message))

    def _refill_now(self, message: Message) -> None:
        del self._refills[message.queue_id]
        self._start(self._refill(message))

    def _take(self, message: Message, ended: Ended, transport: str = "") -> None:
        """A recipient's round is over."""
        self.room.give(message, transport)
        message.take(ended)

    def _end_here(self, message: Message, recipient: Recipient, verdict: Verdict, transport: str = "") -> None:
        """An outcome without an agent, logged as error(8) would. transport: where the recipient was to go."""
        report = RecipientReport(0, recipient.number, *verdict)
        log_delivery(log if verdict.status == SENT else error_log, self.request(message, "error", "", []), recipient,
                     report, Times())
        self._take(message, Ended(recipient, report), transport)

    def _suspended(self, entry: Entry[Work], reason: str) -> None:
        """The scheduler will not make this delivery now."""
        message, recipients = entry.work
        dsn, _, text = reason.partition(" ")
        verdict = Verdict(DEFERRED, dsn, text if text == UNAVAILABLE else f"delivery temporarily suspended: {text}")
        for recipient in recipients:
            self._end_here(message, recipient, verdict, entry.transport)
        self._one_less(message)

    def _wake_at(self, when: float) -> None:
        """The scheduler wants to be called then."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, when - time.monotonic()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.scheduler.tick(time.monotonic())

    # --- deliveries ---------------------------------------------------------------------------------------------

    def request(self, message: Message, transport: str, nexthop: str, recipients: list[Recipient],
                seq: int = 0) -> DeliveryRequest:
        """What an agent is asked."""
        envelope = message.envelope
        sender = envelope.sender
        if envelope.verp and sender and len(recipients) == 1:
            sender = verp_sender(envelope.verp, sender, recipients[0])
        return DeliveryRequest(
            seq, message.queue_id, message.path, message.offset, message.size, sender, transport,
            nexthop, recipients, envelope.arrival_time, message.active_time, time.time(), envelope.encoding,
            envelope.smtputf8, envelope.envid, envelope.ret.value, "verify" if is_probe(envelope) else envelope.verify,
            message.facts() | self._facts if self._facts else message.facts(), envelope.utf8_header, message.place)

    def _send(self, entry: Entry[Work]) -> None:
        message, recipients = entry.work
        self._seq += 1
        self._sent_at[self._seq] = time.monotonic()
        self._requests[self._seq] = (entry, {recipient.number: recipient for recipient in recipients}, [])
        if not self.straight.take(self._seq, self.table.path(entry.transport), message, recipients):
            self.ask_agent(self._seq)

    def ask_agent(self, seq: int) -> None:
        """Send a request under way to its agent."""
        entry = self._requests[seq][0]
        message, recipients = entry.work
        request = self.request(message, entry.transport, entry.nexthop, recipients, seq)
        if message.place is not None:
            message.readers += 1
            self._from_journal.add(seq)
        self._send_request(self.table.path(entry.transport), request)

    def unfinished(self, seq: int) -> tuple[Message, list[Recipient]]:
        """A request under way: its message, and who of its recipients has no outcome yet."""
        entry, open_recipients, _ = self._requests[seq]
        return entry.work[0], list(open_recipients.values())

    def report(self, report: RecipientReport) -> None:
        """An agent told how a recipient ended; a second word about the same one is not listened to."""
        under_way = self._requests.get(report.seq)
        if under_way is None:
            return
        entry, open_recipients, reports = under_way
        recipient = open_recipients.pop(report.number, None)
        if recipient is None or report.status not in (SENT, DEFERRED, BOUNCED):
            return
        reports.append(report)
        if report.again is not None:
            self.straight.learn(self.table.path(entry.transport), recipient.address, report.again)
        self._take(entry.work[0], Ended(recipient, report), entry.transport)

    def done(self, seq: int) -> None:
        """An agent has finished a request."""
        self._end_request(seq, "4.3.0", "unknown mail transport error", None)

    def lost(self, transport: str, seqs: list[int], was_up: bool) -> None:
        """The connection broke, or could not be made."""
        if was_up:
            log.warning("private/%s socket: lost connection", transport)
        for seq in seqs:
            if was_up:
                self._end_request(seq, "4.3.0", "unknown mail transport error", None)
            else:
                self._end_request(seq, "4.3.0", UNAVAILABLE, Outcome.NO_AGENT)

    def overdue(self, now: float, timeout_s: float) -> list[str]:
        """Sockets of agents that have been silent about a request for too long. now: of the monotonic clock."""
        paths = []
        for seq, sent_at in self._sent_at.items():
            if now - sent_at < timeout_s:
                break
            paths.append(self.table.path(self._requests[seq][0].transport))
        return paths

    def _end_request(self, seq: int, dsn: str, reason: str, outcome: Outcome | None) -> None:
        under_way = self._requests.pop(seq, None)
        self._sent_at.pop(seq, None)
        if under_way is None:
            return
        entry, open_recipients, reports = under_way
        message = entry.work[0]
        if seq in self._from_journal:
            self._from_journal.discard(seq)
            self.journaled.read(message)
        why = f"{dsn} {reason}"
        if outcome is None:
            outcome, why = _judge(reports) if not open_recipients else (Outcome.GOOD, why)
        for recipient in open_recipients.values():
            self._end_here(message, recipient, Verdict(DEFERRED, dsn, reason), entry.transport)
        if message.unmarked and message.pending > 1:
            self._mark(message)
        self.scheduler.ended(entry, outcome, time.monotonic(), why)
        self._one_less(message)


def _by_domain(recipient: Recipient) -> tuple[str, str]:
    """The order of recipients within a delivery, and so in bounces; as Postfix's, before and after resolving."""
    return split_domain(recipient.address)[1].lower(), recipient.address


def _judge(reports: list[RecipientReport]) -> tuple[Outcome, str]:
    """Whether the site was reached: it was not when all recipients were deferred for 4.4.x without a host's answer."""
    for report in reports:
        if report.status != DEFERRED or not report.dsn.startswith("4.4.") or " said: " in report.reason:
            return Outcome.GOOD, ""
    if not reports:
        return Outcome.GOOD, ""
    return Outcome.SITE_DOWN, f"{reports[-1].dsn} {reports[-1].reason}"
