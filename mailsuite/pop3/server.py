"""POP3 after login: ties a session to its socket and to the user's INBOX.

    await serve_user(sock, handover, user, world)       access/worker calls it; returns when the session is over

The login is answered before INBOX is opened: what the client says meanwhile waits in the socket, and a mailbox that
cannot be opened is told of by an error behind the "+OK", and the end.
A command's steps run in a thread, unless it needs nothing but memory, ours or the kernel's; what a step yields is
written, and read by the client, before the next step.
Messages are removed at QUIT and never otherwise: a connection that breaks leaves all as it was.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from mailsuite.access import user_mail
from mailsuite.access.conversation import converse
from mailsuite.access.handover import HandOver
from mailsuite.access.last_login import noting
from mailsuite.access.mail_log import logging_to, mail_log
from mailsuite.access.threads import Job
from mailsuite.access.user_mail import UserMail
from mailsuite.access.world import UserWorld
from mailsuite.base.errors import MailError
from mailsuite.base.log import access_logger
from mailsuite.config.variables import user_variables
from mailsuite.net.driver import Connection
from mailsuite.net.handler import Channel
from mailsuite.pop3 import commands
from mailsuite.pop3.commands import Context, Run
from mailsuite.pop3.logout import logout_text, refused_text
from mailsuite.pop3.maildrop import Maildrop
from mailsuite.pop3.params import Params
from mailsuite.pop3.reply import INTERNAL, error, ok
from mailsuite.pop3.session import Command, Done, Session
from mailsuite.sasl.user import UserInfo
from mailsuite.store.api import NoPermission
from mailsuite.store.events import MailEvents, told

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

log = access_logger("pop3")
GREETING = ok("Logged in.")
STEP = 64 * 1024        # octets that a step makes before they are written
LOCK_WAIT_S = 2.0       # how long a login waits for a session that is just ending (pop3_lock_session)
REASONS = {"": "Connection closed", "lost connection": "Connection closed"}


class Handler:
    """One connection: runs the session's commands against the maildrop."""

    def __init__(self, mail: UserMail, context: Context, variables: Mapping[str, str],
                 greeting: bytes = GREETING) -> None:
        self.mail, self.context, self.variables, self.greeting = mail, context, variables, greeting
        self.extra = context.extra
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._running: Job[tuple[bytes, Done | None]] | None = None
        self._begun: _Begun | None = None
        self.events: MailEvents | None = None   # who hears what becomes of messages (mail_log)

    def open(self, channel: Channel) -> Session:
        self.channel = channel
        self.session = Session(greeting=self.greeting)
        self.session.octets_out = len(GREETING) - len(self.greeting)
        return self.session

    def at_once(self, question: object) -> Done | None:
        """What needs nothing but memory, and is said in one step, needs no task."""
        begun = self._begin(question)
        self._begun = begun if begun.done is None else None
        return begun.done

    async def answer(self, question: object) -> object:
        begun, self._begun = self._begun or self._begin(question), None
        steps, octets, done = begun
        while done is None:
            if octets:
                self.channel.send(octets)
                self.session.octets_out += len(octets)
                await self.channel.drain()
            # When the client leaves meanwhile, finish() still waits for the step's end.
            job = self._running = self.mail.start(told(lambda: _step(steps), self.events))
            octets, done = await job.future
        return done

    def _begin(self, question: object) -> "_Begun":
        """As far as it goes without waiting."""
        assert isinstance(question, Command)
        waits = commands.waits(self.context, question)
        if question.name == "RETR":
            self._read_ahead(question, waited=waits)
        steps = commands.run(self.context, question)
        return _Begun(steps, b"", None) if waits else _Begun(steps, *_step(steps))

    def _read_ahead(self, question: Command, *, waited: bool) -> None:
        maildrop, number = self.context.maildrop, question.arguments[:10]
        if number.isdecimal() and (uids := maildrop.wanted_next(int(number) - 1, waited=waited)):
            self.mail.start(lambda: maildrop.mailbox.will_need(uids))

    def body(self, octets: bytes) -> None:
        """No command of POP3 has content."""

    def closed(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    async def finish(self, reason: str) -> None:
        """Leave the mailbox and write the log line."""
        if self._running is not None:
            await self._running.ended()
        text = await self.mail.run(told(self._leave, self.events))
        await self.mail.expire()
        log.info("Disconnected: %s %s", REASONS.get(reason, reason), text, extra=self.extra)

    def _leave(self) -> str:
        """What RETR has marked as read stays so, whether or not the client said QUIT. Returns what the log tells."""
        context = self.context
        try:
            if not context.updated:
                context.maildrop.keep_seen()
        except MailError as problem:
            log.error("marking what was read: %s", problem.detail or problem.public, extra=context.extra)
        finally:
            context.maildrop.close()
        try:
            return logout_text(context, self.session.octets_in, self.session.octets_out, self.variables)
        except MailError as problem:            # sizes that cannot be told: the client heard of it at LIST
            return f"({problem.detail or problem.public})"


class _Begun(NamedTuple):
    """A command that is under way: what it said first, and its end if that was all."""

    steps: Run
    octets: bytes
    done: Done | None


def _step(steps: Run) -> tuple[bytes, Done | None]:
    """Go on until there is enough to write or the command is over; a short reply needs one thread and one write."""
    out: list[bytes] = []
    size = 0
    while size < STEP:
        try:
            octets = next(steps)
        except StopIteration as end:
            done: Done = end.value
            if out:
                done = Done(b"".join(out) + done.octets, done.bad, done.close, done.reason)
            return b"", done
        out.append(octets)
        size += len(octets)
    return b"".join(out), None


@lru_cache(maxsize=16)
def _params(settings: "DovecotSettings") -> Params:
    return Params.of(settings)


def get_ready(settings: "DovecotSettings") -> None:
    """What sessions ask of the settings, once for the processes that are forked from this one."""
    with contextlib.suppress(MailError):            # told in a session
        _params(settings)
    user_mail.get_ready(settings)


async def serve_user(sock: socket.socket, handover: HandOver, user: UserInfo, world: UserWorld) -> None:
    """One session from its greeting to its end. Owns the socket; raises nothing that concerns one session only."""
    settings = world.dovecot.for_protocol("pop3")
    extra = {"prefix": f"pop3({user.user})<{os.getpid()}><{handover.session_id}>"}
    greeting = GREETING
    with contextlib.suppress(MailError):            # of the settings; told below
        # Said before INBOX is opened, which takes its time with many new messages; Dovecot does so as well.
        if not _params(settings).lock_session:
            greeting = _say(sock, GREETING)
    with UserMail.of(user, settings, world) as mail:
        locked = False
        try:
            params = _params(settings)
            if params.lock_session and not (locked := await _lock(mail)):
                log.info("Disconnected: Couldn't lock POP3 session %s", refused_text(params), extra=extra)
                await _refuse(sock, error("[IN-USE] Mailbox is locked by another POP3 session."))
                return
            greeting = _say(sock, greeting)
            maildrop = await _maildrop(mail, params)
            events = mail_log(settings, logging_to(log, extra))
        except Exception as problem:
            detail = getattr(problem, "detail", "") or str(problem)
            log.error("Couldn't open INBOX: %s", detail, extra=extra, exc_info=not isinstance(problem, MailError))
            why = error(f"[SYS/PERM] {problem.public}") if isinstance(problem, NoPermission) else INTERNAL
            await _refuse(sock, greeting + why)
        else:
            peer = handover.peer
            variables = user_variables(user.user, service="pop3", home=user.home, local_ip=peer.server_address,
                                       remote_ip=peer.address, session=handover.session_id)
            handler = Handler(mail, Context(maildrop, params, extra=extra, utf8=handover.utf8), variables, greeting)
            handler.events = events
            note = noting(user, settings, partial(log.error, "%s", extra=extra), peer=peer,
                          session=handover.session_id)
            noted = None if note is None else mail.start(note)
            reason = await converse(sock, handover, Connection(handler, peer=peer), handler.ended, world,
                                    goodbye=lambda: handler.session.end("Server shutting down."))
            await handler.finish(reason)
            if noted is not None:
                await noted.ended()
        finally:
            if locked:
                mail.pop3_locked = False


async def _maildrop(mail: UserMail, params: Params) -> Maildrop:
    """INBOX as it is now; without a thread where it is open, and unchanged. Raises MailError."""
    store = await mail.opened()
    if store.hold("INBOX", claims=not params.no_flag_updates):
        try:
            return Maildrop(store, params)
        finally:
            store.release("INBOX")
    return await mail.run(lambda: Maildrop(store, params))


def _say(sock: socket.socket, octets: bytes) -> bytes:
    """Say it at once; returns what could not be said yet."""
    try:
        return octets[sock.send(octets):] if octets else b""
    except OSError:             # the session finds out
        return octets


async def _lock(mail: UserMail) -> bool:
    """The user's one POP3 session; a client that comes again right after QUIT is not refused."""
    loop = asyncio.get_running_loop()
    end = loop.time() + LOCK_WAIT_S
    while mail.pop3_locked:
        if loop.time() > end:
            return False
        await asyncio.sleep(0.05)
    mail.pop3_locked = True
    return True


async def _refuse(sock: socket.socket, octets: bytes) -> None:
    with contextlib.suppress(OSError), sock:
        await asyncio.get_running_loop().sock_sendall(sock, octets)
