"""qmgr: the only process that schedules mail. `serve(context)` is its service.

Listens on public/qmgr for one JSON object a line:

    {"op": "new", "id": ..., "offset": ..., "size": ..., "facts": {...}, "to": [...]}     a message in incoming/
    {"op": "flush"} {"op": "flush_one", "id": ...} {"op": "flush", "site": ...}      try deferred mail now
    {"op": "scan"}                                                         look into incoming/

Who says "answer": true gets {"ok": true} or {"error": "..."}. "new" and "scan" are taken from mail_owner and root only
(SO_PEERCRED: an envelope from anybody else could make us read files for him), flushes from authorized_flush_users.

manager.py keeps the active queue, scheduler.py says what goes next, client.py talks to the agents, rounds.py settles,
scanner.py finds what nobody told us of: incoming/ every INCOMING_SCAN_S seconds, deferred/ every queue_run_delay.
On a stop, deliveries under way may finish; the rest waits in active/ and is taken back at the next start.
"""

import asyncio
import json
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, cast

from mailsuite.auth_results.wiring import add_signer, load_keys, reload_keys
from mailsuite.base.log import logger
from mailsuite.net.service import ServiceContext
from mailsuite.queue import params
from mailsuite.queue.access import allowed, user_name
from mailsuite.queue.bounce import Bouncer
from mailsuite.queue.cleanup import Cleanup
from mailsuite.queue.client import Agents
from mailsuite.queue.ids import is_id
from mailsuite.queue.manager import Manager
from mailsuite.queue.rounds import Rounds
from mailsuite.queue.scanner import Scanner
from mailsuite.queue.store import open_store
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.smtp.milter.server_local import LocalMilters
from mailsuite.verify.client import VerifyClient, service_path

if TYPE_CHECKING:
    from mailsuite.auth_results.key_ring import KeyRing
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings
    from mailsuite.queue.active import Message

NOTICE_LIMIT = 64 * 1024 * 1024     # octets of one line from a trusted peer
REQUEST_LIMIT = 4096                # from anybody else
INCOMING_SCAN_S = 60.0
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
                             lambda name, seqs, was_up: self.manager.lost(name, seqs, was_up))
        rewriter = Rewriter(settings)
        self._verifier = VerifyClient(service_path(settings))
        self.rounds = Rounds(settings, self.store, self._bouncer(settings, rewriter), self._forget,
                             self._verifier.update)
        self.manager = Manager(settings, rewriter, self.store, self.agents.send, self.rounds.settle, self.rounds.mark)
        self.scanner = Scanner(self.store, self.manager, settings[params.MAXIMAL_BACKOFF_TIME])
        self.stopping = False

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

    # --- requests -----------------------------------------------------------------------------------------------

    def told(self, message: dict[str, Any], uid: int) -> dict[str, Any] | None:
        """Act on one line; returns the answer. Raises KeyError, TypeError, ValueError for nonsense."""
        trusted = uid in (0, os.geteuid())
        op = message["op"]
        if self.stopping:
            return {"error": "mail system is going down"}
        if op == "new":
            if trusted:
                self.manager.take_notice(message)
            return None
        if op == "scan":
            if trusted:
                self.scanner.scan_incoming()
            return {"ok": True}
        return {"error": f"unknown request {op}"}

    async def flush(self, message: dict[str, Any], uid: int) -> dict[str, Any]:
        """Somebody wants mail to be tried now."""
        if self.stopping:
            return {"error": "mail system is going down"}
        if uid not in (0, os.geteuid()) and not await allowed(self.settings, "authorized_flush_users", uid):
            return {"error": f"User {user_name(uid)}({uid}) is not allowed to flush the mail queue"}
        op = message["op"]
        self.manager.scheduler.forget_dead()
        if "site" in message:
            self.scanner.scan_site(str(message["site"]))
        elif op == "flush":
            self.scanner.scan_incoming()
            self.scanner.scan_deferred(everything=True)
        elif is_id(message["id"]):
            self.manager.take(message["id"], "deferred", flush=True)
        return {"ok": True}

    # --- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the context stops."""
        loop, context = asyncio.get_running_loop(), self._context
        await self.scanner.recover()
        servers = [await loop.create_unix_server(lambda: Notices(self), sock=listener.sock)
                   for listener in context.listeners]
        context.on_reload = self.reload
        context.ready()
        ticks = loop.create_task(self._ticks())
        try:
            await context.stopping.wait()
        finally:
            self.stopping = True
            ticks.cancel()
            for server in servers:
                server.close()
        until = loop.time() + STOP_WAIT_S
        while (self.manager.busy or self.rounds.busy) and loop.time() < until:
            await asyncio.sleep(0.02)
        self.agents.close()
        self._verifier.close()

    async def _ticks(self) -> None:
        """Scans by the clock."""
        loop = asyncio.get_running_loop()
        self.scanner.scan_incoming()
        self.scanner.scan_deferred()
        deferred_at = loop.time() + self.settings[params.QUEUE_RUN_DELAY]
        while True:
            await asyncio.sleep(min(INCOMING_SCAN_S, max(0.05, deferred_at - loop.time())))
            self.manager.scheduler.forget_dead(time.monotonic())
            for path in self.manager.overdue(time.monotonic(), self.settings[params.DAEMON_TIMEOUT]):
                self.agents.give_up(path)
            self.scanner.scan_incoming()
            if loop.time() >= deferred_at:
                self.scanner.scan_deferred()
                deferred_at = loop.time() + self.settings[params.QUEUE_RUN_DELAY]


class _Own:
    """The notifier of our own bounces."""

    def __init__(self, queue_manager: QueueManager) -> None:
        self._queue_manager = queue_manager

    def tell(self, message: dict[str, Any]) -> None:
        self._queue_manager.manager.take_notice(message)


class Notices(asyncio.Protocol):
    """One connection to public/qmgr."""

    def __init__(self, queue_manager: QueueManager) -> None:
        self._queue_manager = queue_manager
        self._rest = b""
        self._uid = -1
        self._limit = REQUEST_LIMIT
        self._transport: asyncio.Transport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._uid = peer_uid(transport.get_extra_info("socket"))
        if self._uid in (0, os.geteuid()):
            self._limit = NOTICE_LIMIT

    def data_received(self, octets: bytes) -> None:
        lines = (self._rest + octets).split(b"\n") if self._rest else octets.split(b"\n")
        self._rest = lines.pop()
        assert self._transport is not None
        for line in lines:
            self._line(line)
        if len(self._rest) > self._limit:
            self._transport.abort()

    def _line(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            if message["op"] in ("flush", "flush_one"):
                task = asyncio.get_running_loop().create_task(self._flush(message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif (answer := self._queue_manager.told(message, self._uid)) is not None and message.get("answer"):
                self._answer(answer)
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            log.warning("a request on public/qmgr makes no sense: %s", error)
            self._answer({"error": "bad request"})

    async def _flush(self, message: dict[str, Any]) -> None:
        try:
            answer = await self._queue_manager.flush(message, self._uid)
        except (ValueError, TypeError, KeyError) as error:
            answer = {"error": f"bad request: {error}"}
        if message.get("answer"):
            self._answer(answer)

    def _answer(self, answer: dict[str, Any]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(json.dumps(answer).encode() + b"\n")


def peer_uid(sock: socket.socket) -> int:
    """Who is at the other end of a Unix socket, by the kernel's word."""
    return int(struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1])


def prepare(context: ServiceContext) -> "KeyRing | None":
    """Read the keys that sign our own notices; called while root still may."""
    return load_keys(context.settings)


async def serve(context: ServiceContext) -> None:
    """qmgr(8)'s place in master.cf."""
    await QueueManager(context).run()
