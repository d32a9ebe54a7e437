"""qmgr: the only process that schedules mail. `serve(context)` is its service.

Listens on public/qmgr; what is said there is in requests.py.

manager.py keeps the active queue, scheduler.py says what goes next, client.py talks to the agents, rounds.py settles,
scanner.py finds what nobody told us of: incoming/ every INCOMING_SCAN_S seconds, deferred/ every queue_run_delay.
On a stop, deliveries under way may finish; the rest waits in active/ and is taken back at the next start.
"""

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any, cast

from mailsuite.auth_results.wiring import add_signer, load_keys, reload_keys
from mailsuite.base.log import logger
from mailsuite.net.accepting import accept_protocols
from mailsuite.net.service import ServiceContext
from mailsuite.queue import params
from mailsuite.queue.access import allowed, user_name
from mailsuite.queue.bounce import Bouncer
from mailsuite.queue.cleanup import Cleanup
from mailsuite.queue.client import Agents
from mailsuite.queue.ids import is_id
from mailsuite.queue.journal_reader import recover
from mailsuite.queue.manager import Manager
from mailsuite.queue.notify import QueueNotice
from mailsuite.queue.requests import Requests
from mailsuite.queue.rounds import Rounds
from mailsuite.queue.scanner import Scanner
from mailsuite.queue.sole import hold
from mailsuite.queue.store import open_store
from mailsuite.queue.watchdog import Watchdog
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.smtp.milter.server_local import LocalMilters
from mailsuite.verify.client import VerifyClient, service_path

if TYPE_CHECKING:
    from mailsuite.auth_results.key_ring import KeyRing
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings
    from mailsuite.queue.active import Message

INCOMING_SCAN_S = 60.0
LOOK_SOON_S = 1.0           # after an smtpd has gone
FLUSH_LOGS_S = 1000.0       # between two looks for flush logs that nobody reads
STOP_WAIT_S = 8.0
log = logger("qmgr")


class QueueManager:
    """The parts of a qmgr, wired."""

    def __init__(self, context: ServiceContext) -> None:
        self.settings = settings = context.settings
        self._context = context
        self.store = open_store(settings)
        self.keys = cast("KeyRing | None", context.prepared)
        self.agents = Agents(lambda report: self.manager.report(report), lambda seq: self.manager.done(seq),
                             lambda name, seqs, was_up: self.manager.lost(name, seqs, was_up),
                             connect_s=settings[params.QMGR_IPC_TIMEOUT])
        rewriter = Rewriter(settings)
        self._verifier = VerifyClient(service_path(settings))
        self.rounds = Rounds(settings, self.store, self._bouncer(settings, rewriter), self._forget,
                             self._verifier.update)
        self.manager = Manager(settings, rewriter, self.store, self.agents.send, self.rounds.settle, self.rounds.mark)
        self.rounds.journaled = self.manager.journaled
        self.manager.journaled.watch_marks(self.rounds.marks_of)
        self.scanner = Scanner(self.store, self.manager, settings[params.MAXIMAL_BACKOFF_TIME])
        self.stopping = False
        self.notifiers: set[Requests] = set()       # connections that tell us of new mail
        self.behind = False                         # see _note_behind
        self._looking: asyncio.Task[None] | None = None
        self._scan_all = False                      # the next scan of deferred/ takes what is not yet due as well

    def _bouncer(self, settings: "Settings", rewriter: Rewriter) -> Bouncer:
        """Bounces come back to us without the detour of a socket."""
        overrides = self._context.library.get("cleanup")
        own = settings.with_overrides(overrides) if overrides else settings
        cleanup = Cleanup(own, rewriter, self.store)
        cleanup.notifier = cast(Any, _Own(self))
        cleanup.local_inspectors = LocalMilters(settings).inspectors
        add_signer(cleanup, settings, rewriter, self.keys)
        return Bouncer(settings, cleanup)

    def reload(self, settings: "Settings", dovecot: "DovecotSettings | None" = None) -> None:
        self.settings = settings
        self.agents.connect_s = settings[params.QMGR_IPC_TIMEOUT]
        self.keys = reload_keys(self.keys, settings)
        rewriter = Rewriter(settings)
        self.rounds.configure(settings, self._bouncer(settings, rewriter))
        self.manager.reload(settings, rewriter)
        self.scanner.longest_wait_s = settings[params.MAXIMAL_BACKOFF_TIME]
        self.scanner.scan_incoming()
        self.scanner.scan_deferred()

    def _forget(self, message: "Message") -> None:
        self.manager.forget(message)
        if self.stopping:
            return
        if self.manager.refused_notice and self.manager.has_room:
            self.manager.refused_notice = False
            self.scanner.scan_incoming()
        self.scanner.feed()
        if self.behind:
            self._note_behind()

    # --- requests -----------------------------------------------------------------------------------------------

    def told(self, notice: QueueNotice, uid: int) -> dict[str, Any] | None:
        """Act on one line; returns the answer. Raises ValueError for nonsense."""
        trusted = uid in (0, os.geteuid())
        op = notice.op
        if self.stopping:
            return {"error": "mail system is going down"}
        if op == "new":
            if trusted:
                self.manager.take_notice(notice)
                if self.manager.refused_notice:
                    self._note_behind()
            return None
        if op == "journal":
            return None
        if op == "scan":
            if trusted:
                self.scanner.scan_incoming()
            return {"ok": True}
        return {"error": f"unknown request {op}"}

    async def flush(self, notice: QueueNotice, uid: int) -> dict[str, Any]:
        """Somebody wants mail to be tried now."""
        if self.stopping:
            return {"error": "mail system is going down"}
        if uid not in (0, os.geteuid()) and not await allowed(self.settings, "authorized_flush_users", uid):
            return {"error": f"User {user_name(uid)}({uid}) is not allowed to flush the mail queue"}
        self.manager.scheduler.forget_dead()
        if notice.site is not None:
            await self._flush_site(notice.site)
        elif notice.op == "flush":
            self.scanner.scan_incoming()
            self.scanner.scan_deferred(everything=True)
        elif is_id(notice.id):
            self.manager.take(notice.id, "deferred", flush=True)
        return {"ok": True}

    @property
    def takes_journal(self) -> bool:
        """Whether smtpd may put mail into the journal."""
        return not self.stopping and self.settings[params.QUEUE_JOURNAL]

    async def to_files(self, uid: int) -> dict[str, Any]:
        """Somebody looks at the queue's folders: all that is in the journal becomes files."""
        if uid not in (0, os.geteuid()):
            return {"error": f"User {user_name(uid)}({uid}) is not allowed to do that"}
        await self.manager.journaled.everything()
        return {"ok": True}

    def notifier_lost(self, connection: Requests) -> None:
        """Who told us of new mail has gone; perhaps he did not get to tell of the last."""
        self.notifiers.discard(connection)
        if not self.stopping:
            asyncio.get_running_loop().call_later(LOOK_SOON_S, self._look_soon)

    def _look_soon(self) -> None:
        if not self.stopping and self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self.manager.journaled.look(twice=True))
            self._looking.add_done_callback(lambda _: setattr(self, "_looking", None))

    async def _flush_site(self, site: str) -> None:
        try:
            self.scanner.flush(await self.rounds.flush_logs.take(site))
        except OSError as error:
            log.warning("cannot read the flush log of %s: %s", site, error)

    def triggered(self, characters: bytes) -> None:
        """What postkick(1) asks for; each character once, in the order that makes sense."""
        if self.stopping:
            return
        if b"F" in characters:
            self.manager.scheduler.forget_dead()
        if b"A" in characters:
            self._scan_all = True
        if b"D" in characters:
            self._scan_deferred()
        if b"I" in characters or b"W" in characters:
            self.scanner.scan_incoming()

    def _scan_deferred(self) -> None:
        self.scanner.scan_deferred(everything=self._scan_all)
        self._scan_all = False

    async def _refresh_flush_logs(self) -> None:
        try:
            self.scanner.flush(await self.rounds.flush_logs.refresh())
        except OSError as error:
            log.warning("cannot read the flush logs: %s", error)

    def _note_behind(self) -> None:
        """Mail waits in incoming/ that there is no room for, or does not any more: tell who brings it."""
        behind = self.manager.refused_notice or (self.behind and self.scanner.incoming_waits)
        if behind != self.behind:
            self.behind = behind
            for notifier in self.notifiers:
                notifier.tell_behind(behind)

    # --- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the context stops."""
        loop, context = asyncio.get_running_loop(), self._context
        lock = await hold(f"{self.store.directory}/active", wait_s=STOP_WAIT_S + 4)
        await self.scanner.recover()
        await self._recover_journal()
        entrances = [accept_protocols(listener.sock, lambda: Requests(self)) for listener in context.listeners]
        context.on_reload = self.reload
        context.ready()
        ticks = loop.create_task(self._ticks())
        watchdog = Watchdog(self.settings[params.QMGR_DAEMON_TIMEOUT])
        watchdog.start()
        try:
            await context.stopping.wait()
        finally:
            self.stopping = self.manager.stopping = True
            for notifier in self.notifiers:
                notifier.tell_journal(False)
            ticks.cancel()
            for entrance in entrances:
                entrance.stop()
        early = loop.create_task(self.manager.journaled.everything())
        until = loop.time() + STOP_WAIT_S
        while (self.manager.busy or self.rounds.busy) and loop.time() < until:
            await asyncio.sleep(0.02)
        await early
        self.manager.straight.close()
        await self._leave_journal()
        watchdog.stop()
        self.agents.close()
        self._verifier.close()
        if lock >= 0:
            os.close(lock)

    async def _recover_journal(self) -> None:
        """What a former qmgr, or its smtpd, left there is taken in like all of incoming/."""
        try:
            count = await self.store.pool.run(self._recover_now)
        except OSError as error:
            log.error("cannot read the journal: %s", error)
            return
        if count:
            log.info("journal: %d message%s recovered", count, "" if count == 1 else "s")

    def _recover_now(self) -> int:
        """In a thread. Raises OSError."""
        return recover(self.store, lambda text: log.warning("%s", text), keep=self.settings[params.QUEUE_JOURNAL])

    async def _leave_journal(self) -> None:
        """At our end nothing shall be left in the journal, so that the queue can be looked at while we are down."""
        await self.manager.journaled.everything()
        self.manager.journaled.journal.close()

    async def _ticks(self) -> None:
        """Scans by the clock."""
        loop = asyncio.get_running_loop()
        self.scanner.scan_incoming()
        self.scanner.scan_deferred()
        deferred_at = refresh_at = loop.time() + self.settings[params.QUEUE_RUN_DELAY]
        while True:
            await asyncio.sleep(min(INCOMING_SCAN_S, max(0.05, deferred_at - loop.time())))
            self.manager.scheduler.forget_dead(time.monotonic())
            for path in self.manager.overdue(time.monotonic(), self.settings[params.DAEMON_TIMEOUT]):
                self.agents.give_up(path)
                self.manager.straight.give_up(path)
            self.scanner.scan_incoming()
            self._look_soon()
            self._note_behind()
            if loop.time() >= deferred_at:
                self._scan_deferred()
                deferred_at = loop.time() + self.settings[params.QUEUE_RUN_DELAY]
            if loop.time() >= refresh_at:
                await self._refresh_flush_logs()
                refresh_at = loop.time() + FLUSH_LOGS_S


class _Own:
    """The notifier of our own bounces, which wait for nobody."""

    behind = False

    def __init__(self, queue_manager: QueueManager) -> None:
        self._queue_manager = queue_manager

    def tell(self, notice: QueueNotice) -> None:
        self._queue_manager.manager.take_notice(notice)


def prepare(context: ServiceContext) -> "KeyRing | None":
    """Read the keys that sign our own notices; called while root still may."""
    return load_keys(context.settings)


async def serve(context: ServiceContext) -> None:
    """qmgr(8)'s place in master.cf."""
    await QueueManager(context).run()
