"""The frame of a delivery agent: requests from qmgr, one report and one log line per recipient.

    async def deliver(job: Job) -> None: job.report(recipient, SENT, "2.0.0", "delivered to mailbox", relay="local")
    await serve_agent(context, deliver)

Every recipient is reported: what `deliver` left out, and all when it raises, is deferred and stays in the queue.
No more requests are worked on at once than maxproc says in master.cf (DEFAULT_LIMIT where it says 0); the others wait.
With `sendmail -bv` (request.verify == "verify") the log's status is deliverable or undeliverable; `Job.probe` tells an
agent to deliver nothing.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mailsuite.base.errors import MailError
from mailsuite.base.log import logger
from mailsuite.deliver.status_filter import StatusFilter
from mailsuite.net.ipc import Link, serve_unix
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
)
from mailsuite.queue.envelope import Recipient

DEFAULT_LIMIT = 1000
CONFIGURATION_ERROR = "mail system configuration error"


class Job:
    """One request on its way through an agent."""

    def __init__(self, request: DeliveryRequest, send: Callable[[RecipientReport], None], log: logging.Logger,
                 status_filter: StatusFilter | None = None) -> None:
        self.request, self.log, self.times = request, log, Times()
        self._filter = status_filter
        self._send = send
        self.open_recipients = {recipient.number: recipient for recipient in request.recipients}

    @property
    def probe(self) -> bool:
        """Find out, but deliver nothing."""
        return self.request.verify == "verify"

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
               ends: "list[list[str]] | None" = None, owner: str = "") -> None:
        """Say how one recipient ended: to the log (unless quiet: that was done) and to qmgr.

        address: what the recipient had become when it ended, where that is not its own. ends, owner: RecipientReport's.
        """
        word = ""
        if not quiet:
            status, dsn, reason, word = self.outcome(status, dsn, reason)
        report = RecipientReport(self.request.seq, recipient.number, status, dsn, reason, relay=relay, action=action,
                                 diagnostic=diagnostic, remote_mta=remote_mta, dsn_done=dsn_done, owner=owner)
        if address and address != recipient.address:
            report.address = address
        report.ends = ends or []
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
        """The queue file, open for reading; whoever asks closes it. Raises OSError."""
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


class _Answers:
    """What qmgr is told of a request. A report that `done` follows at once travels with it."""

    __slots__ = ("_held", "_link", "_seq")

    def __init__(self, link: Link, seq: int) -> None:
        self._link, self._seq = link, seq
        self._held: dict[str, Any] | None = None

    def report(self, report: RecipientReport) -> None:
        if self._held is None:
            asyncio.get_running_loop().call_soon(self._send_held)
        else:
            self._link.send(self._held)
        self._held = report.to_json()

    def _send_held(self) -> None:
        if self._held is not None:
            self._link.send(self._held)
            self._held = None

    def done(self) -> None:
        if self._held is not None:
            self._held["done"] = True
            self._send_held()
        else:
            self._link.send(done(self._seq))


class Frame:
    """Takes requests of all qmgr connections and runs `deliver` for each."""

    def __init__(self, context: ServiceContext, deliver: Deliver) -> None:
        self._deliver, self.log = deliver, logger(context.command)
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = context
        self._settings, self._filter = context.settings, StatusFilter.of(context.settings, context.command)
        self._most = context.process_limit or DEFAULT_LIMIT
        self._waiting: deque[tuple[Link, DeliveryRequest]] = deque()

    async def on_link(self, link: Link) -> None:
        while (message := await link.receive()) is not None:
            try:
                request = DeliveryRequest.from_json(message)
            except (KeyError, TypeError, ValueError) as error:
                self.log.error("a delivery request makes no sense: %s", error)
                return
            if len(self._tasks) < self._most:
                self._start(link, request)
            else:
                self._waiting.append((link, request))

    def _start(self, link: Link, request: DeliveryRequest) -> None:
        task = asyncio.get_running_loop().create_task(self._run(link, request))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        while self._waiting and len(self._tasks) < self._most:
            self._start(*self._waiting.popleft())

    async def _run(self, link: Link, request: DeliveryRequest) -> None:
        answers = _Answers(link, request.seq)
        job = Job(request, answers.report, self.log, self._status_filter())
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
        job.report_rest(DEFERRED, "4.3.0", "unknown delivery error")
        answers.done()

    def _status_filter(self) -> StatusFilter:
        if self._context.settings is not self._settings:        # reloaded
            self._settings = self._context.settings
            self._filter = StatusFilter.of(self._settings, self._context.command)
        return self._filter

    async def finish(self) -> None:
        """Wait for what is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)
            await asyncio.sleep(0)          # those that waited for a place may have taken it


async def serve_agent(context: ServiceContext, deliver: Deliver) -> None:
    """Serve until the context stops; what is under way then is finished."""
    frame = Frame(context, deliver)
    servers = [await serve_unix(listener.sock, frame.on_link) for listener in context.listeners]
    context.ready()
    await context.stopping.wait()
    for server in servers:
        server.close()
    await frame.finish()
