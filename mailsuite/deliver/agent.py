"""The frame of a delivery agent: requests from qmgr, one report and one log line per recipient.

    async def deliver(job: Job) -> None: job.report(recipient, SENT, "2.0.0", "delivered to mailbox", relay="local")
    await serve_agent(context, deliver)

Every recipient is reported: what `deliver` left out, and all when it raises, is deferred and stays in the queue.
An agent whose answer comes from a worker need not wait for it in a task: it may `job.hold()`, return, and
`job.release()` after the report.
No more requests are worked on at once than maxproc says in master.cf (DEFAULT_LIMIT where it says 0); the others wait.
With `sendmail -bv` (request.verify == "verify") the log's status is deliverable or undeliverable; `Job.probe` tells an
agent to deliver nothing.
"""

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

from mailsuite.base import wire
from mailsuite.base.eager import StandIn, begin
from mailsuite.base.errors import MailError
from mailsuite.base.log import logger
from mailsuite.deliver.status_filter import StatusFilter
from mailsuite.net.accepting import accept_protocols
from mailsuite.net.ipc import LINE_LIMIT
from mailsuite.net.service import ServiceContext
from mailsuite.queue.agent import (
    BOUNCED,
    DEFERRED,
    SENT,
    DeliveryRequest,
    RecipientReport,
    Times,
    done,
    log_delivery,
    read_request,
)
from mailsuite.queue.envelope import Recipient
from mailsuite.queue.journal import copy_out
from mailsuite.queue.straight import DOOR, Again

DEFAULT_LIMIT = 1000
CONFIGURATION_ERROR = "mail system configuration error"


class Job:
    """One request on its way through an agent."""

    def __init__(self, request: DeliveryRequest, send: Callable[[RecipientReport], None], log: logging.Logger,
                 status_filter: StatusFilter | None = None, over: Callable[[], None] = lambda: None) -> None:
        """over: called when all that held it has let go."""
        self.request, self.log, self.times = request, log, Times()
        self._filter = status_filter
        self._send, self._over = send, over
        self._holds = 1                 # that of `deliver` itself
        self.open_recipients = {recipient.number: recipient for recipient in request.recipients}

    def hold(self) -> None:
        """The job goes on when `deliver` has returned: somebody will report later, and then `release` it."""
        self._holds += 1

    def release(self) -> None:
        """The last one ends the job: who has no report yet is deferred."""
        self._holds -= 1
        if not self._holds:
            self.report_rest(DEFERRED, "4.3.0", "unknown delivery error")
            self._over()

    @property
    def probe(self) -> bool:
        """Find out, but deliver nothing."""
        return self.request.verify == "verify"

    @property
    def ordinary(self) -> bool:
        """Nothing about it is unusual, so that the like of it may go straight to a worker (queue/straight.py)."""
        request = self.request
        return (request.at is not None and len(request.recipients) == 1 and not request.verify
                and (self._filter is None or self._filter.empty))

    @property
    def queue_id(self) -> str:
        return self.request.queue_id

    def outcome(self, status: str, dsn: str, reason: str) -> tuple[str, str, str, str]:
        """Status, code and reason after *_delivery_status_filter and soft_bounce, and the log's word for the status."""
        if self._filter is not None:
            dsn, reason = self._filter.apply(dsn, reason)
            if status != SENT:
                status = DEFERRED if dsn[0] == "4" else BOUNCED
        if status == BOUNCED and "soft_bounce" in self.request.facts and not self.probe:
            return DEFERRED, "4" + dsn[1:], reason, "SOFTBOUNCE"
        return status, dsn, reason, ""

    def report(self, recipient: Recipient, status: str, dsn: str, reason: str, *, relay: str = "none",
               action: str = "", diagnostic: str = "", remote_mta: str = "", dsn_done: bool = False,
               times: Times | None = None, quiet: bool = False, address: str = "",
               ends: "list[list[str]] | None" = None, owner: str = "", again: Again | None = None) -> None:
        """Say how one recipient ended: to the log (unless quiet: that was done) and to qmgr.

        address: what the recipient had become when it ended, where that is not its own. ends, owner, again:
        RecipientReport's.
        """
        word = ""
        if not quiet:
            status, dsn, reason, word = self.outcome(status, dsn, reason)
        report = RecipientReport(self.request.seq, recipient.number, status, dsn, reason, relay=relay, action=action,
                                 diagnostic=diagnostic, remote_mta=remote_mta, dsn_done=dsn_done, owner=owner)
        if address and address != recipient.address:
            report.address = address
        report.ends = ends or []
        report.again = again
        if not quiet:
            self.log_line(recipient, report, times, word=word)
        report.reason = report.reason.strip()
        if not report.reason and report.status != SENT:
            report.reason = "(description unavailable)"
        self.open_recipients.pop(recipient.number, None)
        self._send(report)

    def log_line(self, recipient: Recipient, report: RecipientReport, times: Times | None = None, *,
                 word: str = "") -> None:
        """The delivery's line in the log; word: what stands there for the status."""
        if self.probe:
            word = "deliverable" if report.status == SENT else "undeliverable"
        log_delivery(self.log, self.request, recipient, report, times or self.times, status=word)

    def report_rest(self, status: str, dsn: str, reason: str, *, relay: str = "none") -> None:
        """The same end for all recipients that have none yet."""
        for recipient in list(self.open_recipients.values()):
            self.report(recipient, status, dsn, reason, relay=relay)

    def open_message(self) -> int:
        """The queue file, or a copy of what the journal has in its place; open for reading, whoever asks closes it.
        Raises OSError."""
        if self.request.at is not None:
            return copy_out(self.request.path, self.request.at, self.request.queue_id)
        return os.open(self.request.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    @contextmanager
    def message_file(self) -> Iterator[int]:
        """The same for a `with`. Raises OSError."""
        fd = self.open_message()
        try:
            yield fd
        finally:
            os.close(fd)


Deliver = Callable[[Job], Awaitable[None]]


class Doors(Protocol):
    """What takes connections by which qmgr wants links to workers (deliver/straight.py)."""

    def opened(self, door: socket.socket) -> None: ...

    def closed(self, door: socket.socket) -> None: ...


class QmgrLink(asyncio.Protocol):
    """A connection of qmgr: requests come in, reports go out. What one turn of the event loop says travels together:
    each write wakes the other process."""

    def __init__(self, frame: "Frame", doors: "Doors | None" = None) -> None:
        self._frame, self._doors = frame, doors
        self._door: socket.socket | None = None
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._outgoing: list[RecipientReport] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, octets: bytes) -> None:
        lines = (self._rest + octets).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LINE_LIMIT:
            self._abort()
            return
        for line in lines:
            if line == DOOR and self._doors is not None:
                self._open_door(self._doors)
                continue
            try:
                request = read_request(line)
            except ValueError as error:
                self._frame.log.error("a delivery request makes no sense: %s", error)
                self._abort()
                return
            self._frame.take(self, request)

    def _open_door(self, doors: "Doors") -> None:
        """From here on what this connection says comes with descriptors, past the transport."""
        if self._door is None and self._transport is not None:
            try:
                self._door = socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))
            except OSError:
                self._abort()
                return
            self._door.setblocking(False)
            doors.opened(self._door)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._door is not None and self._doors is not None:
            self._doors.closed(self._door)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def report(self, report: RecipientReport) -> None:
        """Never raises: to a qmgr that is gone nothing can be said."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(report)

    def done(self, seq: int) -> None:
        """The request is over; the last report says so itself, if it has not gone yet."""
        last = self._outgoing[-1] if self._outgoing else None
        if last is not None and last.seq == seq:
            last.done = True
        else:
            self.report(done(seq))

    def _flush(self) -> None:
        reports, self._outgoing = self._outgoing, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"\n".join([*map(wire.encode, reports), b""]))


class Frame:
    """Takes requests of all qmgr connections and runs `deliver` for each."""

    def __init__(self, context: ServiceContext, deliver: Deliver) -> None:
        self._deliver, self.log = deliver, logger(context.command)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._idle = asyncio.Event()
        self._context = context
        self._settings, self._filter = context.settings, StatusFilter.of(context.settings, context.command)
        self._most = context.process_limit or DEFAULT_LIMIT
        self._waiting: deque[tuple[QmgrLink, DeliveryRequest]] = deque()

    def take(self, link: QmgrLink, request: DeliveryRequest) -> None:
        """Begin, or wait for a place."""
        if self._under_way < self._most:
            self._start(link, request)
        else:
            self._waiting.append((link, request))

    def _start(self, link: QmgrLink, request: DeliveryRequest) -> None:
        self._under_way += 1
        job = Job(request, link.report, self.log, self._status_filter(), lambda: self._over(link, request.seq))
        task = begin(self._loop, self._run(job), StandIn()).task
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _over(self, link: QmgrLink, seq: int) -> None:
        link.done(seq)
        self._under_way -= 1
        if self._waiting:
            self._loop.call_soon(self._start_waiting)
        elif not self._under_way:
            self._idle.set()

    def _start_waiting(self) -> None:
        while self._waiting and self._under_way < self._most:
            self._start(*self._waiting.popleft())

    async def _run(self, job: Job) -> None:
        request = job.request
        try:
            await self._deliver(job)
        except MailError as error:
            self.log.warning("%s: %s", request.queue_id, error)
            job.report_rest(DEFERRED, "4.3.0" if not error.status.startswith("4") else error.status, error.public)
        except OSError as error:
            self.log.warning("%s: %s", request.queue_id, error)
            job.report_rest(DEFERRED, "4.3.0", "local system error")
        except Exception:
            self.log.exception("%s: unforeseen in a delivery", request.queue_id)
            job.report_rest(DEFERRED, "4.3.0", "internal software error")
        finally:
            job.release()

    def _status_filter(self) -> StatusFilter:
        if self._context.settings is not self._settings:        # reloaded
            self._settings = self._context.settings
            self._filter = StatusFilter.of(self._settings, self._context.command)
        return self._filter

    async def finish(self) -> None:
        """Wait for what is under way."""
        while self._under_way or self._waiting:
            self._idle.clear()
            await self._idle.wait()


async def serve_agent(context: ServiceContext, deliver: Deliver, doors: Doors | None = None) -> None:
    """Serve until the context stops; what is under way then is finished. doors: of an agent that lets qmgr deliver
    straight."""
    frame = Frame(context, deliver)
    entrances = [accept_protocols(listener.sock, lambda: QmgrLink(frame, doors)) for listener in context.listeners]
    context.ready()
    await context.stopping.wait()
    for entrance in entrances:
        entrance.stop()
    await frame.finish()
