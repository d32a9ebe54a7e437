"""virtual(8): mailboxes of virtual_mailbox_maps, as Maildir (the path ends in "/") or mbox.

Each delivery happens in a worker with the uid and gid of virtual_uid_maps and virtual_gid_maps, up to
delivery_workers_per_user of them per uid. The recipients of a request are delivered to at the same time, except those
of one mailbox file, which its lock keeps apart.
An unknown recipient bounces; no uid, a table that cannot be asked, a worker that died: the mail waits.
"""

import asyncio
import errno
import os
import zlib
from typing import Any

from mailsuite.address.syntax import quote_local
from mailsuite.base.errors import MailError
from mailsuite.config.settings import Settings
from mailsuite.deliver import mailbox
from mailsuite.deliver.agent import CONFIGURATION_ERROR, Job, serve_agent
from mailsuite.deliver.headers import delivery_header
from mailsuite.deliver.locking import mbox_locks
from mailsuite.deliver.lookups import MailboxTables
from mailsuite.deliver.params import (
    DELIVERY_STRAIGHT_TIME,
    DELIVERY_WORKER_IDLE,
    DELIVERY_WORKERS_PER_USER,
    MAILBOX_FULL_TEMPFAIL,
    MAILDIR_SYNC_DIRECTORY,
    STRICT_MAILBOX_OWNERSHIP,
    VIRTUAL_MAILBOX_LIMIT,
    VIRTUAL_MAILBOX_LOCK,
)
from mailsuite.deliver.straight import StraightGrants
from mailsuite.deliver.straight_worker import straight_main
from mailsuite.deliver.table_worker import TableWorkers
from mailsuite.net.privileges import Identity
from mailsuite.net.service import ServiceContext
from mailsuite.net.workers import WorkerPool
from mailsuite.queue.agent import BOUNCED, DEFERRED, SENT
from mailsuite.queue.envelope import Recipient
from mailsuite.queue.params import ENABLE_ORIGINAL_RECIPIENT
from mailsuite.queue.straight import REASON, Again, Grant
from mailsuite.smtp.params import MESSAGE_SIZE_LIMIT

RELAY = "virtual"
UNKNOWN = "4.2.0"       # what is no fault of the recipient's quota may be mended: the mail waits


class VirtualAgent:
    """Delivers jobs; takes new settings at a reload."""

    def __init__(self, settings: Settings, pool: WorkerPool, straight: StraightGrants | None = None) -> None:
        self._pool, self._straight = pool, straight
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        self._settings = settings
        self._tables = MailboxTables(settings, "virtual")
        self._host = settings.text("myhostname")
        self._tells_original = settings[ENABLE_ORIGINAL_RECIPIENT]
        self._limit = settings[VIRTUAL_MAILBOX_LIMIT]
        self._sync = settings[MAILDIR_SYNC_DIRECTORY]
        self._locks = mbox_locks(settings, VIRTUAL_MAILBOX_LOCK)
        self._spread = settings[DELIVERY_WORKERS_PER_USER]
        self.full_tempfail = settings[MAILBOX_FULL_TEMPFAIL]
        self._mistake = mailbox.limit_problem(self._limit, VIRTUAL_MAILBOX_LIMIT.name, settings[MESSAGE_SIZE_LIMIT])
        self._strict = settings[STRICT_MAILBOX_OWNERSHIP]
        if self._straight is not None:
            self._straight.renew(settings[DELIVERY_STRAIGHT_TIME])

    async def deliver(self, job: Job) -> None:
        if self._mistake:
            job.log.critical("%s", self._mistake)
            job.report_rest(DEFERRED, "4.3.5", CONFIGURATION_ERROR, relay=RELAY)
            return
        recipients = job.request.recipients
        if len(recipients) == 1:
            await self.one(job, recipients[0])
        else:
            await asyncio.gather(*(self.one(job, recipient) for recipient in recipients))

    async def one(self, job: Job, recipient: Recipient) -> None:
        """Deliver to one recipient, and report it; the worker's answer is not waited for."""
        try:
            path = await self._tables.mailbox(recipient.address)
            if path is None:
                job.report(recipient, BOUNCED, "5.1.1", f'unknown user: "{recipient.address.lower()}"', relay=RELAY)
                return
            owner = await self._tables.owner(recipient.address)
            if job.probe:
                kind = "maildir" if path.endswith("/") else "mailbox"
                job.report(recipient, SENT, "2.0.0", f"delivers to {kind}", relay=RELAY)
                return
            await self._deliver(_Delivery(self, job, recipient, path, owner))
        except MailError as error:
            _failed(job, recipient, error)
        except OSError as error:
            job.log.warning("%s: %s", job.queue_id, error)
            job.report(recipient, DEFERRED, "4.3.0", "local system error")

    async def _deliver(self, delivery: "_Delivery") -> None:
        job, path, owner = delivery.job, delivery.path, delivery.owner
        request, recipient = job.request, delivery.recipient
        header = delivery_header(request.sender,
                                 (recipient.original or recipient.address) if self._tells_original else "",
                                 recipient.address)
        if path.endswith("/"):
            question = mailbox.ask_maildir(path, header, request.offset, request.size, host=self._host,
                                           limit=self._limit, sync_directory=self._sync, default=UNKNOWN)
            key = ""
        else:
            question = mailbox.ask_mbox(path, quote_local(request.sender), header, request.offset, request.size,
                                        locks=self._locks, limit=self._limit, make_parents=True, default=UNKNOWN,
                                        owner=owner.effective().uid if self._strict else None)
            # Who waits for a lock sleeps deliver_lock_delay: let one process do one file's messages in turn.
            key = f"mbox{zlib.crc32(path.encode('utf-8', 'surrogateescape')) % self._spread}"
        fd = job.open_message()
        job.hold()
        try:
            while not (pid := self._pool.start(owner, question, [fd], delivery.over, key=key)):
                await self._pool.room()
            delivery.pid = pid
        except BaseException:
            os.close(fd)
            job.release()
            raise


    def again(self, delivery: "_Delivery") -> Again | None:
        """Whether qmgr may do the same again by itself."""
        if self._straight is None or not delivery.job.ordinary:
            return None
        return self._straight.again(delivery.owner.effective(), delivery.pid, lambda until: Grant(
            delivery.recipient.address, delivery.path, self._host, self._limit, self._sync, self._tells_original,
            until))


class _Delivery:
    """One in a worker's hands."""

    __slots__ = ("agent", "job", "owner", "path", "pid", "recipient")

    def __init__(self, agent: VirtualAgent, job: Job, recipient: Recipient, path: str, owner: Identity) -> None:
        self.agent, self.job, self.recipient, self.path, self.owner = agent, job, recipient, path, owner
        self.pid = 0

    def over(self, answer: dict[str, Any] | MailError) -> None:
        """The worker has answered, or died."""
        job, recipient = self.job, self.recipient
        if isinstance(answer, MailError):
            _failed(job, recipient, answer)
        elif answer["ok"]:
            if self.path.endswith("/"):
                job.report(recipient, SENT, "2.0.0", REASON, relay=RELAY, again=self.agent.again(self))
            else:
                job.report(recipient, SENT, "2.0.0", "delivered to mailbox", relay=RELAY)
        else:
            self._refused(answer)
        job.release()

    def _refused(self, answer: dict[str, Any]) -> None:
        job, path, owner = self.job, self.path, self.owner
        if path.endswith("/"):
            prefix = "maildir delivery failed: "
            if answer["errno"] == errno.EACCES:
                job.log.warning("maildir access problem for UID/GID=%d/%d: %s", owner.uid, owner.gid, answer["reason"])
                job.log.warning("perhaps you need to create the maildirs in advance")
        else:
            prefix = f"delivery failed to mailbox {path}: "
        if answer["errno"] == errno.EPERM:
            job.log.warning("specify \"strict_mailbox_ownership = no\" to ignore mailbox ownership mismatch")
        dsn = mailbox.full_status(answer["status"], self.agent.full_tempfail)
        job.report(self.recipient, DEFERRED if dsn.startswith("4") else BOUNCED, dsn, prefix + answer["reason"],
                   relay=RELAY)


def _failed(job: Job, recipient: Recipient, error: MailError) -> None:
    if error.detail and error.detail != error.public:
        job.log.warning("%s: %s: %s", job.queue_id, recipient.address, error.detail)
    job.report(recipient, DEFERRED, error.status, error.public, relay=RELAY)


async def serve(context: ServiceContext) -> None:
    settings = context.settings
    pool = WorkerPool(straight_main(mailbox.handle_batch, "virtual"), name="virtual worker",
                      most=context.process_limit or 100,
                      most_each=min(settings[DELIVERY_WORKERS_PER_USER], 2 * (os.cpu_count() or 1)), depth=1,
                      batch=mailbox.TOGETHER, alone=mailbox.goes_alone, idle_s=settings[DELIVERY_WORKER_IDLE],
                      told=lambda pid, what: straight.told(pid, what))
    straight = StraightGrants(pool, settings[DELIVERY_STRAIGHT_TIME])
    tables = TableWorkers(settings)
    agent = VirtualAgent(settings, pool, straight)

    def reload(new: Settings, dovecot: object) -> None:
        tables.renew(new)
        agent.configure(new)

    context.on_reload = reload
    try:
        await serve_agent(context, agent.deliver, straight)
    finally:
        straight.close()
        await tables.close()
        await pool.close()
