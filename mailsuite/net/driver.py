"""One asyncio.Protocol for every session.

    connection = Connection(handler, context=ssl_context)         a protocol for loop.create_server / connect_accepted
    await serve(context, listener, handler_factory)               (service.py) accepts with limits

A Handler (handler.py) is what a server module gives for one connection: it makes the session, answers its questions and
takes message content. One task at most runs per connection: the answer to the outstanding question. How long a client
may take is patience.py's.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any

from mailsuite.base.dialogue import Ask, Body, Close, Peer, Send, Session, StartTls, TlsInfo
from mailsuite.base.eager import StandIn, begin
from mailsuite.base.errors import TemporaryError
from mailsuite.net.handler import HANDSHAKE_FAILED, Handler, Pending
from mailsuite.net.handshake import secure, upgrade
from mailsuite.net.patience import Patience
from mailsuite.net.plain import PlainTransport
from mailsuite.net.tls_info import tls_info
from mailsuite.tls.failures import openssl_text

BACKLOG_LIMIT = 256 * 1024       # octets that may wait in a session while its question is open
AT_ONCE = 16                     # questions of one connection answered one after the other before others have a turn
_NOT_READ = (Close, Ask)
LINGER_S = 5.0                   # how long a closed connection may take to read our last words

log = logging.getLogger("mailsuite.net")


class Connection(asyncio.Protocol):
    """Runs one session on one transport. tls: the context for StartTls; implicit TLS is the caller's transport."""

    def __init__(self, handler: Handler, *, peer: Peer | None = None,
                 tls: Callable[[], ssl.SSLContext | None] = lambda: None,
                 on_close: Callable[["Connection"], None] | None = None, handshake_timeout_s: float = 60.0) -> None:
        self.handler, self._tls_context, self._on_close = handler, tls, on_close
        self.peer = peer or Peer("")
        self.tls: TlsInfo | None = None
        self.first = b""            # octets of the peer that somebody else has read already
        self.said = b""             # what the peer has heard already: all that the session would say first
        self.session: Session | None = None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[Any] | StandIn | Pending | None = None
        self._at_once: Callable[[object], object] | None = getattr(handler, "at_once", None)
        self._take: Callable[[object, Pending], bool] | None = getattr(handler, "take", None)
        self._linger: asyncio.TimerHandle | None = None
        self._patience = Patience(self, self._loop)
        self._handshake_timeout_s = handshake_timeout_s
        self._can_write: asyncio.Event | None = None
        self._reading = True
        self._closing = self._gone = self._handshaking = self._ended = False
        self._close_reason = ""

    # --- the transport's calls ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._handshaking:           # the same connection, now through TLS
            self._transport = transport  # type: ignore[assignment]  # asyncio types the base class only
            return
        self._transport = transport     # type: ignore[assignment]
        if type(transport) is not PlainTransport and (already := tls_info(transport)) is not None:
            self.tls = already
        self.session = self.handler.open(self)
        self._patience.begin(self.session)
        if not self.said and (actions := self.session.opened()):
            self.perform(actions)
        if self.first:
            octets, self.first = self.first, b""
            self.data_received(octets)

    def data_received(self, octets: bytes) -> None:
        if self._closing or self._handshaking or self.session is None:
            return
        patience = self._patience
        if patience.pace is None:
            patience.last_octet = self._loop.time()
            actions = self.session.feed(octets)
            if len(actions) == 1 and type(actions[0]) is Send:      # the answer to most
                if self._transport is not None and not self._gone:
                    self._transport.write(actions[0].octets)
            else:
                self.perform(actions)
        else:
            self.perform(self.session.feed(octets))
            patience.keep_pace(len(octets))
        if self._task is None:
            if self._can_write is not None:
                self._wait_for_reader()
        elif self._reading and self.session.backlog > BACKLOG_LIMIT:
            self._pause()

    def eof_received(self) -> bool:
        """A client may close its side after QUIT and still wait for what we say (Exim does): RFC 793 section 3.5.

        What it asked is answered before we close. True keeps our side open; TLS has no such state.
        """
        if self._task is None or self._handshaking or self.tls is not None:
            return False
        self._ended = True
        return True

    def _close_if_ended(self) -> None:
        """Nothing more can come, and all that came is answered."""
        if self._ended and self._task is None and not self._closing and self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        if self._can_write is None:
            self._can_write = asyncio.Event()
        self._can_write.clear()

    def resume_writing(self) -> None:
        if self._can_write is not None:
            self._can_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._gone:
            return
        self._gone = True
        self._patience.end()
        if self._linger is not None:
            self._linger.cancel()
        if self._can_write is not None:
            self._can_write.set()
        if self.session is not None and not self._closing:
            self._closing = True
            for action in self.session.lost():
                if isinstance(action, Body):
                    self.handler.body(action.octets)
        if self._task is not None:
            self._task.cancel()
        self.handler.closed(self._close_reason or "lost connection")
        if self._on_close is not None:
            self._on_close(self)

    # --- Channel ------------------------------------------------------------------------------------------------

    def send(self, octets: bytes) -> None:
        if self._transport is not None and not self._gone:
            self._transport.write(octets)

    async def drain(self) -> None:
        if self._can_write is not None and not self._can_write.is_set():
            await self._can_write.wait()
        if self._gone:
            raise ConnectionResetError("the peer is gone")

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def hold(self) -> asyncio.Transport:
        """Read nothing more until the open question is answered: the connection is being given to another process."""
        assert self._transport is not None and self._task is not None
        if self._reading:
            self._pause()
        return self._transport

    def detach(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """Give the transport to another protocol for good; that one calls connection_lost here when it is over."""
        assert self._transport is not None
        self._closing = True
        self._transport.set_protocol(protocol)
        return self._transport

    @property
    def over(self) -> bool:
        """Nothing more is done for this peer."""
        return self._gone or self._closing

    @property
    def busy(self) -> bool:
        """A question is open."""
        return self._task is not None

    # --- actions ------------------------------------------------------------------------------------------------

    def perform(self, actions: list[Send | StartTls | Close | Ask | Body]) -> None:
        """Carry them out. Questions that need not wait are answered here and now, up to AT_ONCE of them: the other
        connections want their turn."""
        left = AT_ONCE
        following: list[Send | StartTls | Close | Ask | Body] | None = actions
        while following is not None:
            question: Ask | None
            only = following[0] if len(following) == 1 else None
            if type(only) is Ask:
                question = only
            elif type(only) is Send:
                self.send(only.octets)
                return
            elif type(only) is Close:
                self._close(only.reason)
                return
            else:
                question = self._carry_out(following)
            if question is None:
                return
            following = self._ask(question, at_once=left > 0)
            left -= 1

    def _carry_out(self, actions: list[Send | StartTls | Close | Ask | Body]) -> Ask | None:
        """All but the question, which is always the last."""
        out: list[bytes] = []
        question: Ask | None = None
        for action in actions:
            match action:
                case Send():
                    out.append(action.octets)
                case Body():
                    self.handler.body(action.octets)
                case Ask():
                    question = action
                case StartTls():
                    self._write(out)
                    self._handshaking = True
                    self._pause()
                    self._task = self._loop.create_task(self._handshake())
                case Close():
                    self._write(out)
                    self._close(action.reason)
                    return None
        self._write(out)
        return question

    def _ask(self, ask: Ask, *, at_once: bool) -> list[Send | StartTls | Close | Ask | Body] | None:
        """Have a question answered; what the session says to the answer, None when that has to wait."""
        if self._at_once is not None and at_once:
            try:
                result = self._at_once(ask.question)
            except Exception as error:
                return self._failed(error, ask.question)
            if result is not None:
                return self._answered(result)
        if self._take is not None:
            self._task = pending = Pending(self, ask.question)
            try:
                if self._take(ask.question, pending):
                    return None
            except Exception as error:
                self._task = None
                return self._failed(error, ask.question)
        if not at_once:
            self._task = self._loop.create_task(self._answer(ask.question))
            return None
        self._task = stand_in = StandIn()
        begun = begin(self._loop, self._answer(ask.question), stand_in)
        if begun.task is not None:
            self._task = begun.task
        following: list[Send | StartTls | Close | Ask | Body] | None = begun.result
        return following

    def _write(self, out: list[bytes]) -> None:
        if out and self._transport is not None and not self._gone:
            self._transport.write(b"".join(out) if len(out) > 1 else out[0])
            out.clear()

    async def _answer(self, question: object) -> list[Send | StartTls | Close | Ask | Body] | None:
        """Returns what follows when it did not wait; else carries it out."""
        try:
            result = await self.handler.answer(question)
        except asyncio.CancelledError:
            if not isinstance(self._task, StandIn):
                raise
            self._task = None
            return None
        except BaseException as error:
            waited, self._task = not isinstance(self._task, StandIn), None
            following = self._failed(error, question)
        else:
            waited, self._task = not isinstance(self._task, StandIn), None
            following = self._answered(result)
        if not waited or following is None:
            return following
        self._go_on(following)
        return None

    def _go_on(self, following: list[Send | StartTls | Close | Ask | Body]) -> None:
        self.perform(following)
        if self._task is None and self._can_write is not None:
            self._wait_for_reader()
        if self._ended:
            self._close_if_ended()

    def take_answer(self, result: object, question: object) -> None:
        """What a Pending brings."""
        self._task = None
        if isinstance(result, BaseException):
            following = self._failed(result, question)
        else:
            following = self._answered(result)
        if following is not None:
            self._go_on(following)

    def _answered(self, result: object) -> list[Send | StartTls | Close | Ask | Body] | None:
        """What the session says to an answer; None when nobody listens any more."""
        assert self.session is not None
        if self._closing:
            return None
        self._patience.last_octet = self._loop.time()
        following = self.session.answered(result)
        # Who is about to go is not read from again, nor somebody else's answer is still awaited.
        if not following or type(following[-1]) not in _NOT_READ:
            self._resume()          # also of one that is read from: deflate.py goes on with what it has
        return following

    def _failed(self, error: BaseException, question: object) -> list[Send | StartTls | Close | Ask | Body] | None:
        """As _answered, for what was raised instead."""
        assert self.session is not None
        if isinstance(error, ConnectionError):
            self.abort()
            return None
        if not isinstance(error, TemporaryError):           # those were logged where they arose
            log.error("unforeseen while answering %s", type(question).__name__, exc_info=error)
        if self._closing:
            return None
        self._resume()
        return self.session.failed(error)

    def _wait_for_reader(self) -> None:
        """A peer that does not read our replies is not read from; after the session's time-out it is dropped."""
        if self._can_write is not None and not self._can_write.is_set() and not self._closing:
            self._pause()
            self._task = self._loop.create_task(self._resume_when_read())

    async def _resume_when_read(self) -> None:
        assert self._can_write is not None and self.session is not None
        try:
            async with asyncio.timeout(self.session.timeout_s):
                await self._can_write.wait()
        except TimeoutError:
            self._task = None
            self.abort()
            return
        self._task = None
        self._resume()
        self._close_if_ended()

    async def _handshake(self) -> None:
        context = self._tls_context()
        assert self._transport is not None and self.session is not None
        try:
            if context is None:
                raise ssl.SSLError("no certificate")
            transport = await self._begin_tls(self._transport, context)
        except (OSError, ssl.SSLError) as error:
            self._task = None
            self._close_reason = f"{HANDSHAKE_FAILED}: {openssl_text(error)}"
            self.abort()
            self.connection_lost(error)         # a plain transport that gave its socket away tells nobody
            return
        self._task = None
        self._handshaking = False
        if transport is None or self._gone:
            return
        self._transport = transport
        self._reading = True
        self.tls = tls_info(transport) or TlsInfo()
        self._patience.last_octet = self._loop.time()
        self.perform(self.session.secured(self.tls))

    async def _begin_tls(self, transport: asyncio.Transport, context: ssl.SSLContext) -> asyncio.Transport | None:
        """Raises OSError."""
        if not isinstance(transport, PlainTransport):
            return await upgrade(transport, self, context, self._handshake_timeout_s)
        return await secure(self, transport.take_socket(), context, self._handshake_timeout_s)

    def _pause(self) -> None:
        if self._reading and self._transport is not None and not self._gone:
            self._reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading and self._transport is not None and not self._gone:
            self._reading = True
            self._transport.resume_reading()

    def _close(self, reason: str) -> None:
        self._closing, self._close_reason = True, reason
        if self._transport is not None and not self._gone:
            transport = self._transport
            transport.close()
            if not isinstance(transport, PlainTransport) or transport.get_write_buffer_size():
                self._linger = self._loop.call_later(LINGER_S, self._abort_if_there)    # else nothing is waited for

    def _abort_if_there(self) -> None:
        if not self._gone:
            self.abort()
