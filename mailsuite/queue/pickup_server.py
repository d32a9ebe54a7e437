"""pickup(8): local submissions become mail in the queue. `serve(context)` is the service.

Two ways in:
  * maildrop/: queue files (queue/file.py) that `sendmail` wrote where it may; the owner of the file is who sent it.
  * the socket public/pickup, for users who may not write there: one JSON line, {"op": "submit"} with a sealed memory
    file (memfd) that holds a queue file, answered by {"ok": queue_id} once it is durable, or {"error": text}. The
    kernel tells who asks (SO_PEERCRED). {"op": "wake"}, or a character as postkick(1) sends it: look into maildrop/
    now; not answered.

A file in maildrop/ goes when its copy in incoming/ is on disk; a crash between the two makes a double, never a loss.
What postsuper -r put there belongs to the queue's owner and keeps the facts of its first arrival.
Mail that header or body checks refuse is returned to its sender. A file that is damaged goes to corrupt/, one that
cannot be taken now stays where it is for the next scan.
Limits: CONNECTIONS at once, message_size_limit for the memory file.
"""

import asyncio
import fcntl
import json
import logging
import os
import socket
import stat
import time
from typing import TYPE_CHECKING, Any, cast

from mailsuite.address.syntax import quote_local
from mailsuite.auth_results.wiring import add_signer, load_keys, reload_keys
from mailsuite.base.errors import MailError
from mailsuite.base.log import logger
from mailsuite.net.accepting import Accepting
from mailsuite.net.ipc import receive_with_fds
from mailsuite.net.service import ServiceContext
from mailsuite.queue.access import allowed, refused_sender, user_name
from mailsuite.queue.active import Ended, Message
from mailsuite.queue.agent import BOUNCED, DeliveryRequest, RecipientReport, Times, log_delivery
from mailsuite.queue.bounce import Bouncer
from mailsuite.queue.cleanup import Accepted, Cleanup, Refused
from mailsuite.queue.envelope import Envelope, Handling, Origin
from mailsuite.queue.file import Damaged, Stored, Unfinished, read
from mailsuite.queue.notify import Notifier
from mailsuite.queue.peer import peer_uid
from mailsuite.queue.sole import hold
from mailsuite.queue.store import open_store
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.smtp.milter.server_local import LocalMilters
from mailsuite.smtp.received import header_date

if TYPE_CHECKING:
    from mailsuite.auth_results.key_ring import KeyRing
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings

CONNECTIONS = 200
SCAN_S = 60.0
STALE_S = 86400.0           # an unfinished file in maildrop/ older than this is forgotten
BLOCK = 256 * 1024
REQUEST = 4096
SUBMIT_S = 300.0
STOP_WAIT_S = 12.0          # how long a former pickup may take to end
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
log = logger("pickup")
cleanup_log = logger("cleanup")


class NotAllowed(MailError):
    """A user gave a sender that local_login_sender_maps does not let him use."""


class Pickup:
    """The service's parts."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self.store = open_store(context.settings)
        self._notifier = Notifier(f"{self.store.directory}/public/qmgr")
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._complained: set[str] = set()
        self._keys = cast("KeyRing | None", context.prepared)
        self._configure(context.settings)

    def reload(self, settings: "Settings", dovecot: "DovecotSettings | None" = None) -> None:
        """Take new settings."""
        self._keys = reload_keys(self._keys, settings)
        self._configure(settings)

    def _configure(self, settings: "Settings") -> None:
        self.settings = settings
        overrides = self._context.library.get("cleanup")
        own = settings.with_overrides(overrides) if overrides else settings
        rewriter = Rewriter(settings)
        self._cleanup = Cleanup(own, rewriter, self.store, self._notifier)
        self._cleanup.local_inspectors = LocalMilters(settings).inspectors
        add_signer(self._cleanup, settings, rewriter, self._keys)
        self._bouncer = Bouncer(settings, self._cleanup)
        self._hostname, self._mail_name = settings.text("myhostname"), settings.text("mail_name")
        self._handling = handling_of(settings.text("receive_override_options"))

    async def run(self) -> None:
        loop, context = asyncio.get_running_loop(), self._context
        lock = await hold(f"{self.store.directory}/maildrop", wait_s=STOP_WAIT_S)
        entrances = [Accepting(listener.sock, self._take) for listener in context.listeners]
        for entrance in entrances:
            entrance.start()
        context.on_reload = self.reload
        context.ready()
        stopping = loop.create_task(context.stopping.wait())
        try:
            while not context.stopping.is_set():
                await self._scan()
                wakes = [loop.create_task(event.wait()) for event in (self._wake, context.wakeup)]
                await asyncio.wait([stopping, *wakes], timeout=SCAN_S, return_when=asyncio.FIRST_COMPLETED)
                for wake in wakes:
                    wake.cancel()
                self._wake.clear()
                context.wakeup.clear()
        finally:
            for entrance in entrances:
                entrance.stop()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=5)
            self._notifier.close()
            if lock >= 0:
                os.close(lock)

    # --- maildrop -----------------------------------------------------------------------------------------------

    async def _scan(self) -> None:
        try:
            found = await self.store.pool.run(lambda: list(self.store.scan("maildrop")))
        except OSError as error:
            log.warning("cannot scan maildrop: %s", error)
            return
        for queue_id in found:
            if self._context.stopping.is_set():
                return
            try:
                await self._take_file(queue_id)
            except (OSError, MailError) as error:
                if queue_id not in self._complained:
                    log.warning("maildrop/%s: %s", queue_id, error)
                    if len(self._complained) < 10_000:
                        self._complained.add(queue_id)
            except Exception:
                log.exception("maildrop/%s: unforeseen", queue_id)

    async def _take_file(self, queue_id: str) -> None:
        path = self.store.path("maildrop", queue_id)
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                log.warning("uid=%d: %s is not a regular file of one name", status.st_uid, path)
                return
            try:
                await self._submit(fd, status.st_uid, mine=status.st_uid == os.geteuid(), queue_id=queue_id)
            except Unfinished:
                if time.time() - status.st_mtime > STALE_S:
                    os.unlink(path)
                return
            except Damaged as error:
                log.warning("%s: saving corrupt file of queue maildrop: %s", queue_id, error)
                self.store.move(queue_id, "maildrop", "corrupt")
                return
            os.unlink(path)
        finally:
            os.close(fd)

    async def _submit(self, fd: int, uid: int, *, mine: bool, queue_id: str = "", handed: bool = False) -> Accepted:
        """Copy one file through cleanup. queue_id: its name in maildrop/. handed: a user's, over the socket.

        Raises Damaged, NotAllowed, Refused, OSError.
        """
        stored = read(fd)
        if handed and (refusal := await refused_sender(self.settings, uid, stored.envelope.sender)):
            raise NotAllowed(refusal)
        envelope = self._envelope(stored, mine=mine)
        intake = self._cleanup.begin(envelope)
        intake.returnable = True
        try:
            before = f" orig_id={queue_id}" if stored.envelope.program != "sendmail" and queue_id else ""
            log.info("%s: uid=%d from=<%s>%s", intake.queue_id, uid, quote_local(stored.envelope.sender), before)
            for recipient in stored.recipients:
                await intake.recipient(recipient)
            intake.write(f"Received: by {self._hostname} ({self._mail_name}, from userid {uid})\n\tid "
                         f"{intake.queue_id}; {header_date(envelope.arrival_time)}\n".encode())
            at, end = stored.offset, stored.offset + stored.size
            if os.pread(fd, 1, at) in (b" ", b"\t"):
                intake.write(b"\n")      # else it would continue our own header
            while at < end and not intake.failed:
                block = os.pread(fd, min(BLOCK, end - at), at)
                if not block:
                    raise Damaged("queue file damaged", detail="the content is shorter than the head says")
                intake.write(block)
                at += len(block)
                await asyncio.sleep(0)
            return await intake.commit()
        except Refused as error:
            if error.returned is None:
                raise
            return await self._return(error.returned, error)
        finally:
            intake.abort()

    async def _return(self, message: Message, error: Refused) -> Accepted:
        """Checks refused the message: its sender is told by mail, as whoever submitted it has gone. Raises Refused."""
        reason = error.public.removeprefix("Error: ")
        request = DeliveryRequest(0, message.queue_id, "", 0, 0, message.envelope.sender, "", "", [],
                                  message.envelope.arrival_time, message.active_time)
        ended = [Ended(to, RecipientReport(0, to.number, BOUNCED, error.status, reason)) for to in message.recipients]
        try:
            for one in ended:
                log_delivery(cleanup_log, request, one.recipient, one.report, Times())
            await self._bouncer.failure(message, ended, headers_only=error.code == 550)
        finally:
            os.close(message.fd)
        return Accepted(message.queue_id, message.size)

    def _envelope(self, stored: Stored, *, mine: bool) -> Envelope:
        """What a user's file says is believed as far as a user may decide it; our own as a whole."""
        said = stored.envelope
        if mine and said.program != "sendmail":
            said.program, said.handling = "pickup", self._handling
            said.hold = False
            return said
        return Envelope(
            sender=said.sender, origin=Origin(message_origin="local"), local=said.local, handling=self._handling,
            arrival_time=min(said.arrival_time, time.time()), encoding=said.encoding, smtputf8=said.smtputf8,
            envid=said.envid, ret=said.ret, full_name=said.full_name, verify=said.verify, verp=said.verp,
            program="pickup")

    # --- the socket ---------------------------------------------------------------------------------------------

    def _take(self, peer: socket.socket) -> None:
        if len(self._tasks) >= CONNECTIONS:
            peer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, peer: socket.socket) -> None:
        fds: list[int] = []
        try:
            message, fds = await asyncio.wait_for(_receive(peer), SUBMIT_S)
            if message is None:
                return
            if message.get("op") == "wake":
                self._wake.set()
            elif message.get("op") == "submit" and len(fds) == 1:
                answer = await self._submitted(fds[0], peer_uid(peer))
                await asyncio.get_running_loop().sock_sendall(peer, json.dumps(answer).encode() + b"\n")
        except (OSError, TimeoutError, ValueError, AssertionError) as error:
            log.log(logging.INFO, "lost a submission: %s", error)
        except Exception:
            log.exception("unforeseen in a submission")
        finally:
            for fd in fds:
                os.close(fd)
            peer.close()

    async def _submitted(self, fd: int, uid: int) -> dict[str, Any]:
        if not await allowed(self.settings, "authorized_submit_users", uid):
            return {"error": f"User {user_name(uid)}({uid}) is not allowed to submit mail"}
        try:
            # Sealed memory cannot change under us, and reading it cannot wait for a file system of the peer's.
            if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
                return {"error": "the submitted file is not sealed"}
            accepted = await self._submit(fd, uid, mine=False, handed=True)
        except NotAllowed as error:
            return {"error": error.public}
        except Refused as error:
            return {"error": error.public, "code": error.code}
        except (Damaged, OSError) as error:
            return {"error": str(error)}
        return {"ok": accepted.queue_id}


async def _receive(peer: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """One request with its descriptors. Raises OSError, ValueError."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            if peer.recv(1, socket.MSG_PEEK) not in (b"", b"{"):
                return {"op": "wake"}, []           # a character of postkick(1)
            return receive_with_fds(peer, REQUEST)
        except BlockingIOError:
            readable: asyncio.Future[None] = loop.create_future()
            loop.add_reader(peer.fileno(), _set, readable)
            try:
                await readable
            finally:
                loop.remove_reader(peer.fileno())


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def handling_of(override_options: str) -> Handling:
    """What receive_override_options leaves of the usual handling."""
    handling = Handling.EXTERNAL
    without = {"no_address_mappings": Handling.MAP | Handling.BCC, "no_header_body_checks": Handling.FILTER,
               "no_milters": Handling.MILTER}
    for word in override_options.replace(",", " ").split():
        handling &= ~without.get(word, Handling.NONE)
    return handling


def prepare(context: ServiceContext) -> "KeyRing | None":
    """Read the keys that sign mail; called while root still may."""
    return load_keys(context.settings)


async def serve(context: ServiceContext) -> None:
    """pickup(8)'s place in master.cf."""
    await Pickup(context).run()
