"""One IMAP connection: runs the session's questions against the user's mail.

A command's steps run in a thread, or in the event loop where all is at hand; what a step yields is written, and read by
the client, before the next step. In IDLE a change notice starts a sync of its own; one lock a session keeps the two
apart. A command that fails tells "[SERVERBUG]", the log has the traceback, and the session lives on.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeGuard, TypeVar

from mailsuite.access.threads import Job, search_pool
from mailsuite.access.user_mail import UserMail
from mailsuite.access.way_back import GivenBack
from mailsuite.access.world import AtLeisure, at_once
from mailsuite.base.log import access_logger
from mailsuite.config.variables import expand_variables
from mailsuite.imap import commands
from mailsuite.imap.commands.append import Appending
from mailsuite.imap.commands.at_hand import Hold, at_hand
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.commands.replace import Replacing
from mailsuite.imap.idle import Idle, Progress
from mailsuite.imap.notify_server import Notifier
from mailsuite.imap.params import Params
from mailsuite.imap.reply import BAD, OK, Reply, took
from mailsuite.imap.session import AppendEnd, AppendPart, Command, Done, Go, IdleEnd, Session
from mailsuite.imap.steps import STEP_AT_HAND, take_news, take_step
from mailsuite.net.deflate import DeflatingConnection
from mailsuite.net.driver import Connection
from mailsuite.net.handler import Channel
from mailsuite.store.events import MailEvents, told

T = TypeVar("T")
log = access_logger("imap")
IDLING = b"+ idling\r\n"
UNSENT_WAIT_S = 30.0    # how long a client may take to read that it has no user any more


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
        self._turn: asyncio.Lock | None = None  # commands and notices, one at a time
        self._idle: Idle | None = None
        self._idle_began = 0.0
        self._idle_from = 0                     # octets that had been written then
        self._idling = False                    # the client went away in IDLE
        self._notifier: Notifier | None = None
        self._running: Job[Any] | None = None
        self.octets_out = 0
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
        if self._is_instant(question) and (self._turn is None or not self._turn.locked()):
            return self._instant(question, time.monotonic())
        return None

    def _my_turn(self) -> asyncio.Lock:
        """Many sessions end before they need it."""
        self._turn = self._turn or asyncio.Lock()
        return self._turn

    def _is_instant(self, question: object) -> TypeGuard[Command]:
        return type(question) is Command and question.name in commands.INSTANT and self.context.selected is None \
            and self.context.notices is None

    async def answer(self, question: object) -> object:
        async with self._my_turn():
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
        if self._idle is not None:
            self._idling = True
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
        progress: Progress | None = None
        if hold is None and self.params.progress_s:
            progress = Progress(self, tag)
        while True:
            if hold is not None and hold.take():
                try:
                    octets, reply = take_step(steps, STEP_AT_HAND)
                finally:
                    hold.release()
            else:
                try:
                    octets, reply = await self._run(lambda: take_step(steps), searches=searches)
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
        octets, reply = take_step(commands.run(self.context, command))
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

        _, reply = await self._run(lambda: take_step(commands.answered(question.name, announce())))
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
        self._idle = Idle(self)
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
        async with self._my_turn():
            if self._appending is not None or self.ended.done() or (
                    self._idle is None and self.context.notices is None):
                return
            steps = self.context.news(idle=self._idle is not None)
            over = False
            while not over:
                out, over = await self._run(lambda: take_news(steps))
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
        if self._appending is not None:
            await self._drop_append()
        if self.context.selected is not None:
            await self._run(self.context.leave)
        expired = await self.mail.expire() if self.mail.expires else 0
        counts = self.context.counts
        octets_in = self.channel.octets_in if isinstance(self.channel, DeflatingConnection) else 0
        values = {"input": str(octets_in), "output": str(self.octets_out), "i": str(octets_in),
                  "o": str(self.octets_out), "deleted": str(counts.deleted), "expunged": str(counts.expunged),
                  "trashed": "0", "fetch_hdr_count": str(counts.headers), "appended": "0", "autoexpunged": str(expired),
                  "fetch_hdr_bytes": str(counts.header_octets), "fetch_body_count": str(counts.bodies),
                  "fetch_body_bytes": str(counts.body_octets)}
        log.info("Disconnected: %s %s", self._why or self._reason(reason),
                 expand_variables(self.params.logout_format, values), extra=self.extra)
