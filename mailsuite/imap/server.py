"""IMAP after login: ties a session to its socket and to the user's mail.

    await serve_user(sock, handover, user, world)       access/worker calls it; returns when the session is over

A command's steps run in a thread; what a step yields is written, and read by the client, before the next step. In
IDLE a change notice starts a sync of its own; one lock a session keeps the two apart. A session that fails tells
"[SERVERBUG]", the log has the traceback, and it lives on.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from mailsuite.access import user_mail
from mailsuite.access.conversation import converse
from mailsuite.access.handover import HandOver
from mailsuite.access.last_login import noting
from mailsuite.access.mail_log import logging_to, mail_log
from mailsuite.access.threads import Job, search_pool
from mailsuite.access.user_mail import UserMail
from mailsuite.access.way_back import GivenBack
from mailsuite.access.world import AtLeisure, UserWorld, at_once
from mailsuite.base.errors import MailError
from mailsuite.base.log import access_logger
from mailsuite.config.variables import expand_variables
from mailsuite.imap import commands
from mailsuite.imap.commands.append import Appending
from mailsuite.imap.commands.at_hand import Hold, at_hand
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.commands.replace import Replacing
from mailsuite.imap.notify_server import Notifier
from mailsuite.imap.params import Params
from mailsuite.imap.reply import BAD, OK, Reply, string, took
from mailsuite.imap.session import AppendEnd, AppendPart, Command, Done, Go, IdleEnd, Session
from mailsuite.imap.teller import Teller
from mailsuite.net.deflate import DeflatingConnection
from mailsuite.net.driver import Connection
from mailsuite.net.handler import Channel
from mailsuite.sasl.user import UserInfo
from mailsuite.store.events import MailEvents, told

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

T = TypeVar("T")
log = access_logger("imap")
IDLING = b"+ idling\r\n"
UNSENT_WAIT_S = 30.0    # how long a client may take to read that it has no user any more
STEP = 256 * 1024       # octets that a step makes before they are written: each costs two switches of threads
STEP_AT_HAND = 64 * 1024    # those that the event loop makes itself: less than a ms
FAILED = b"* BYE Internal error occurred. Refer to server log for more information.\r\n"


class Handler:
    """One connection: runs the session's questions against the user's mail."""

    def __init__(self, mail: UserMail, params: Params, greeting: bytes, log_prefix: str,
                 at_leisure: AtLeisure = at_once) -> None:
        """at_leisure: UserWorld's."""
        self._at_leisure = at_leisure
        self.mail, self.params, self.greeting = mail, params, greeting
        self.context = Context(mail, params)
        self.events: MailEvents | None = None   # who hears what commands do with mail (mail_log)
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.extra = {"prefix": log_prefix}
        self._appending: Appending | None = None
        self._turn = asyncio.Lock()             # commands and notices, one at a time
        self._idle: _Idle | None = None
        self._idle_began = 0.0
        self._idle_from = 0                     # octets that had been written then
        self._idling = False                    # the client went away in IDLE
        self._notifier: Notifier | None = None
        self._running: Job[Any] | None = None
        self.octets_in = self.octets_out = 0
        self._why = ""                          # the end, in our words
        self._command = ""                      # the one that is running
        self._last: tuple[str, float] | None = None     # the last command, and when it ended
        self.given_back: GivenBack | None = None

    # --- net.driver.Handler ---------------------------------------------------------------------------------------

    def open(self, channel: Channel) -> Session:
        self.channel = channel
        if not isinstance(channel, DeflatingConnection):
            self.context.params = replace(self.params, withheld=self.params.withheld | {"COMPRESS"})
        self.session = Session(greeting=self.greeting, max_line_length=self.params.max_line_length,
                               known=commands.known(self.context.params.withheld),
                               literal_minus=self.params.literal_minus,
                               literal8="IMAP4rev2" in self.params.offered)
        return self.session

    def at_once(self, question: object) -> Done | None:
        """A command that waits for nothing, nor for a notice that is being told, needs no task."""
        if not self._is_instant(question) or self._turn.locked():
            return None
        return self._instant(question, time.monotonic())

    def _is_instant(self, question: object) -> TypeGuard[Command]:
        return type(question) is Command and question.name in commands.INSTANT and self.context.selected is None \
            and self.context.notices is None

    async def answer(self, question: object) -> object:
        async with self._turn:
            started = time.monotonic()
            match question:
                case Command(name="IDLE"):
                    return await self._begin_idle()
                case Command() if self._is_instant(question):
                    return self._instant(question, started)
                case Command():
                    self._command = question.name
                    done = await self._drive(question.tag, commands.run(self.context, question), started,
                                             searches=question.name in commands.SEARCHES,
                                             hold=at_hand(self.context, question))
                    await self._arrange_notices()
                    return done
                case AppendPart():
                    self._command = "APPEND"
                    return await self._append_part(question, started)
                case AppendEnd():
                    return await self._append_end(question, started)
                case IdleEnd():
                    return await self._end_idle(question)
        raise AssertionError(question)

    def body(self, octets: bytes) -> None:
        if self._appending is not None:
            self._appending.body(octets)

    def closed(self, reason: str) -> None:
        self.context.left = True
        self._idling = self._idle is not None
        self._stop_idle()
        if self._notifier is not None:
            self._notifier.stop()
        if self.context.selected is None and self._running is None and self._appending is None:
            self._at_leisure(partial(self._end, reason))        # nothing is left but a line in the log
        else:
            self._end(reason)

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    async def _run(self, call: Callable[[], T], *, searches: bool = False) -> T:
        """A blocking call in a thread; when the client leaves meanwhile, finish() still waits for its end."""
        call = told(call, self.events)
        job = self._running = search_pool().start(call) if searches else self.mail.start(call)
        result: T = await job.future
        return result

    # --- commands -------------------------------------------------------------------------------------------------

    async def _drive(self, tag: bytes, steps: Run, started: float, *, searches: bool = False,
                     hold: Hold | None = None) -> Done:
        """Run the steps, in threads unless all is at hand; write each block and wait until it is read. The last goes
        with the tagged line."""
        # Between a command's own replies nothing else may be said, so progress is told only before the first.
        progress: _Progress | None = None
        if hold is None and self.params.progress_s:
            progress = _Progress(self, tag)
        while True:
            if hold is not None and hold.take():
                try:
                    octets, reply = _step(steps, STEP_AT_HAND)
                finally:
                    hold.release()
            else:
                try:
                    octets, reply = await self._run(lambda: _step(steps), searches=searches)
                finally:
                    if progress is not None:
                        progress.stop()
            if reply is not None:
                done = self._done(tag, octets, reply, started)
                return await self._give_back(done) if self.context.given_back else done
            await self._write(octets)
            if hold is not None:
                await asyncio.sleep(0)          # other sessions have their turn

    async def _give_back(self, done: Done) -> Done:
        """UNAUTHENTICATE: say OK to the last octet, then keep the descriptor and what was read behind the command."""
        assert isinstance(self.channel, Connection)
        self.octets_out -= len(done.octets)     # counted already
        await self._write(done.octets)
        transport = self.channel.hold()
        end = time.monotonic() + UNSENT_WAIT_S
        while transport.get_write_buffer_size():
            if time.monotonic() > end or transport.is_closing():
                return Done(b"", close=True)
            await asyncio.sleep(0.005)
        if not transport.is_closing():
            fd = os.dup(transport.get_extra_info("socket").fileno())
            transport.get_extra_info("plain").shared = False        # it goes on elsewhere
            self.given_back = GivenBack(fd, self.session.remaining())
        return Done(b"", close=True)

    async def _write(self, octets: bytes) -> None:
        """Say it and wait until the client has read enough. Raises ConnectionError: it is gone, or does not read."""
        self.octets_out += len(octets)
        self.channel.send(octets)
        try:
            async with asyncio.timeout(self.params.output_timeout_s or None):
                await self.channel.drain()
        except TimeoutError:
            self._why = "Disconnected for inactivity in reading our output"
            self.channel.abort()
            raise ConnectionResetError(self._why) from None

    def _instant(self, command: Command, started: float) -> Done:
        self._command = command.name
        octets, reply = _step(commands.run(self.context, command))
        assert reply is not None
        return self._done(command.tag, octets, reply, started)

    def _done(self, tag: bytes, octets: bytes, reply: Reply, started: float) -> Done:
        if self.context.farewell:
            return Done(octets + self.context.farewell, close=True)
        ended = time.monotonic()
        self._last = self._command, ended
        octets += reply.line(tag, took(ended - started))
        self.octets_out += len(octets)
        if self.context.compress and isinstance(self.channel, DeflatingConnection) and not self.channel.deflating:
            self.channel.send(octets)               # the last plain words
            self.channel.deflate(self.params.compress_level)
            return Done(b"")
        return Done(octets, bad=reply.counts, close=reply.close)

    # --- APPEND ---------------------------------------------------------------------------------------------------

    async def _append_part(self, question: AppendPart, started: float) -> Done | Go:
        if question.first:
            replaces = question.name != "APPEND"
            self._appending = Replacing(self.context, uid=question.uid) if replaces else Appending(self.context)
        appending = self._appending
        assert appending is not None

        def announce() -> Run:
            appending.part(question)
            yield from ()
            return Reply(OK, "")

        _, reply = await self._run(lambda: _step(commands.answered(question.name, announce())))
        assert reply is not None
        if reply.status == OK:
            return Go(b"+ OK\r\n" if question.literal.sync else b"")
        await self._drop_append()
        return self._done(question.tag, b"", reply, started)

    async def _append_end(self, question: AppendEnd, started: float) -> Done:
        assert self._appending is not None
        try:
            return await self._drive(question.tag, commands.answered("APPEND", self._appending.end(question)), started)
        finally:
            await self._drop_append()
            if self._notifier is not None:
                self._notifier.wake()           # nothing was told meanwhile

    async def _drop_append(self) -> None:
        appending, self._appending = self._appending, None
        if appending is not None:
            if self._running is not None:       # a client that leaves ends the wait for a commit, not the commit
                await self._running.ended()
            await self._run(appending.abort)

    # --- IDLE (RFC 2177) ------------------------------------------------------------------------------------------

    async def _begin_idle(self) -> Go:
        self._idle_began = time.monotonic()
        self._command, self._idle_from = "IDLE", self.octets_out
        self._idle = _Idle(self)
        return Go(IDLING)

    async def _end_idle(self, question: IdleEnd) -> Done:
        self._stop_idle()
        reply = Reply(OK, "Idle completed") if question.regular else Reply(BAD, "Expected DONE")
        return await self._drive(question.tag, self._last_sync(reply), self._idle_began)

    def _last_sync(self, reply: Reply) -> Run:
        yield from self.context.sync()
        return reply

    def _stop_idle(self) -> None:
        if self._idle is not None:
            self._idle.stop()
            self._idle = None

    # --- news, in IDLE and by NOTIFY ------------------------------------------------------------------------------

    async def tell_news(self) -> None:
        """Something may have happened that the client wants to know. Not while it sends a message."""
        async with self._turn:
            if self._appending is not None or self.ended.done() or (
                    self._idle is None and self.context.notices is None):
                return
            steps = self.context.news(idle=self._idle is not None)
            over = False
            while not over:
                out, over = await self._run(lambda: _news_step(steps))
                if out:
                    await self._write(out)
            if self.context.farewell:
                self.channel.send(self.context.farewell)
                self.channel.abort()
            else:
                await self._arrange_notices()

    async def _arrange_notices(self) -> None:
        """After a command or news: other mailboxes may have to be watched now."""
        if self._notifier is None:
            if self.context.notices is None:
                return
            self._notifier = Notifier(self)
        if not self.ended.done():
            await self._notifier.arranged()

    # --- the end --------------------------------------------------------------------------------------------------

    def _reason(self, reason: str) -> str:
        """Why it ended, for the log; of a client that went away in silence, what it did last."""
        if reason not in ("", "lost connection"):
            return reason
        now = time.monotonic()
        if self._idling:
            return (f"Connection closed (IDLE running for 0.001 + waiting input for {now - self._idle_began:.3f} secs, "
                    f"2 B in + {self.octets_out - self._idle_from + len(IDLING)} B out, state=wait-input)")
        if self._last is None:
            return "Connection closed (No commands sent)"
        return f"Connection closed ({self._last[0]} finished {now - self._last[1]:.3f} secs ago)"

    async def finish(self, reason: str) -> None:
        """Leave the mailbox and write the log line."""
        if self._running is not None:
            await self._running.ended()
        await self._drop_append()
        if self.context.selected is not None:
            await self._run(self.context.leave)
        expired = await self.mail.expire()
        counts = self.context.counts
        values = {"input": str(self.octets_in), "output": str(self.octets_out), "i": str(self.octets_in),
                  "o": str(self.octets_out), "deleted": str(counts.deleted), "expunged": str(counts.expunged),
                  "trashed": "0", "fetch_hdr_count": str(counts.headers), "appended": "0", "autoexpunged": str(expired),
                  "fetch_hdr_bytes": str(counts.header_octets), "fetch_body_count": str(counts.bodies),
                  "fetch_body_bytes": str(counts.body_octets)}
        log.info("Disconnected: %s %s", self._why or self._reason(reason),
                 expand_variables(self.params.logout_format, values), extra=self.extra)


class _Progress:
    """INPROGRESS (RFC 9585): a command that takes long says every progress_s that it is under way."""

    def __init__(self, handler: Handler, tag: bytes) -> None:
        self._handler, self._tag = handler, tag
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(handler.params.progress_s, self._tell)

    def _tell(self) -> None:
        selected = self._handler.context.selected
        done, goal = selected.progress if selected is not None and selected.progress is not None else (b"NIL", b"NIL")
        line = b"* OK [INPROGRESS (%b %b %b)] Still working.\r\n" % (string(self._tag), done, goal)
        self._handler.octets_out += len(line)
        self._handler.channel.send(line)
        self._timer = self._loop.call_later(self._handler.params.progress_s, self._tell)

    def stop(self) -> None:
        self._timer.cancel()


class _Idle:
    """The notices of one IDLE."""

    def __init__(self, handler: Handler) -> None:
        self.handler, self._loop = handler, asyncio.get_running_loop()
        self._teller = Teller("IDLE", handler.tell_news, handler.extra)
        selected = handler.context.selected
        self._unwatch: Callable[[], None] = lambda: None
        if selected is not None:
            self._unwatch = handler.mail.watch(selected.mailbox, self._teller.wake)
        self._interval_s = handler.params.idle_notify_s
        self._timer = self._loop.call_later(self._interval_s, self._still_here) if self._interval_s else None
        self._teller.wake()

    def _still_here(self) -> None:
        self.handler.channel.send(b"* OK Still here\r\n")
        self._timer = self._loop.call_later(self._interval_s, self._still_here)

    def stop(self) -> None:
        self._teller.stop()
        self._unwatch()
        if self._timer is not None:
            self._timer.cancel()


def _step(steps: Run, most: int = STEP) -> tuple[bytes, Reply | None]:
    """Go on until there is enough to write or the command is over."""
    out: list[bytes] = []
    size = 0
    while size < most:
        try:
            octets = next(steps)
        except StopIteration as end:
            return b"".join(out), end.value
        out.append(octets)
        size += len(octets)
    return b"".join(out), None


def _news_step(steps: Iterator[bytes]) -> tuple[bytes, bool]:
    """As _step, of what has no reply at its end. True: it was all."""
    out: list[bytes] = []
    size = 0
    for octets in steps:
        out.append(octets)
        size += len(octets)
        if size >= STEP:
            return b"".join(out), False
    return b"".join(out), True


class _Counted(DeflatingConnection):
    """A connection that counts what it reads, for the log line."""

    def data_received(self, octets: bytes) -> None:
        assert isinstance(self.handler, Handler)
        self.handler.octets_in += len(octets)
        super().data_received(octets)


@lru_cache(maxsize=16)
def _params(settings: "DovecotSettings") -> Params:
    return Params.of(settings)


def get_ready(settings: "DovecotSettings") -> None:
    """What sessions ask of the settings, once for the processes that are forked from this one."""
    commands.known(_params(settings).withheld)
    user_mail.get_ready(settings)


def greeting(handover: HandOver, params: Params, *, failed: bool = False) -> bytes:
    """The reply to the login."""
    if failed:
        return b"%b OK Logged in, but initialization failed.\r\n%b" % (handover.tag, FAILED)
    capability = params.capability.encode()
    if handover.capability_asked:
        return b"* CAPABILITY %b\r\n%b OK Logged in\r\n" % (capability, handover.tag)
    return b"%b OK [CAPABILITY %b] Logged in\r\n" % (handover.tag, capability)


def _say(sock: socket.socket, octets: bytes) -> bytes:
    """Say it at once, before anything else is made ready; what does not go out now is left for the session."""
    try:
        return octets[sock.send(octets):]
    except OSError:         # nothing can be sent now, or never again: the transport finds out which
        return octets


async def serve_user(sock: socket.socket, handover: HandOver, user: UserInfo, world: UserWorld) -> GivenBack | None:
    """One session from its greeting to its end. Owns the socket; raises nothing that concerns one session only.

    Returns the connection when it is to go on without a user.
    """
    settings = world.dovecot.for_protocol("imap")
    params = _params(settings)
    prefix = f"imap({user.user})<{os.getpid()}><{handover.session_id}>"
    with world.user(UserMail.key(user, settings), lambda: UserMail(user, settings)) as mail:
        try:
            await mail.ready()
            events = mail_log(settings, logging_to(log, {"prefix": prefix}))
        except Exception as error:
            detail = getattr(error, "detail", "") or str(error)
            log.error("Failed to initialize user: %s", detail, extra={"prefix": prefix},
                      exc_info=not isinstance(error, MailError))
            with contextlib.suppress(OSError), sock:
                await asyncio.get_running_loop().sock_sendall(sock, greeting(handover, params, failed=True))
            return None
        said = greeting(handover, params)
        handler = Handler(mail, params, _say(sock, said), prefix, world.at_leisure)
        handler.octets_out, handler.events = len(said), events
        note = noting(user, settings, partial(log.error, "%s", extra={"prefix": prefix}), peer=handover.peer,
                      session=handover.session_id)
        noted = None if note is None else mail.start(note)
        handler.context.anonymous = handover.mechanism == "ANONYMOUS"
        reason = await converse(sock, handover, _Counted(handler, peer=handover.peer), handler.ended, world,
                                goodbye=lambda: handler.session.end("Server shutting down"))
        try:
            await handler.finish(reason)
            if noted is not None:
                await noted.ended()
        except Exception:
            log.exception("unforeseen at a session's end", extra=handler.extra)
        return handler.given_back
