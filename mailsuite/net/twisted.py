"""Any session as a Twisted protocol, for programs that are built on Twisted.

    factory = SessionFactory(lambda peer: handler, tls=lambda: ssl.SSLContext)
    reactor.listenTCP(2525, factory)

The same sessions and handlers as on asyncio: this module is the driver's twin, not another server. Under Twisted's
asyncio reactor a handler's `answer` runs as an asyncio task, as the handlers of smtp, imap and pop3 want; under any
other reactor it is a coroutine that awaits Deferreds.
Limits: STARTTLS needs pyOpenSSL (the extra "dev" brings it); the certificate comes from `tls`, a
twisted.internet.ssl context factory.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet import defer, interfaces, protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mailsuite.base.dialogue import Action, Ask, Body, Close, Peer, Send, Session, StartTls, TlsInfo
from mailsuite.net.driver import BACKLOG_LIMIT
from mailsuite.net.handler import Handler

log = logging.getLogger("mailsuite.net")


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """The loop under the asyncio reactor, None under any other."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _started(answer: Coroutine[Any, Any, object]) -> "defer.Deferred[object]":
    loop = _asyncio_loop()
    if loop is None:
        return defer.ensureDeferred(answer)
    return defer.Deferred.fromFuture(loop.create_task(answer))


@implementer(interfaces.IPushProducer)
class SessionProtocol(protocol.Protocol):       # type: ignore[misc]  # Twisted has no types we can follow
    """Runs one session on one Twisted transport; is the Channel of its handler."""

    def __init__(self, factory: "SessionFactory", peer: Peer) -> None:
        self._factory, self.peer = factory, peer
        self.tls: TlsInfo | None = None
        self.session: Session | None = None
        self._handler: Handler | None = None
        self._asking: defer.Deferred[None] | None = None
        self._closing = self._gone = False
        self._drained: defer.Deferred[None] | asyncio.Future[None] | None = None
        self._timer: interfaces.IDelayedCall | None = None

    # --- what Twisted calls -------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._handler = self._factory.handler(self.peer)
        if self._handler is None:
            self.transport.abortConnection()
            return
        self.transport.registerProducer(self, True)
        self.session = self._handler.open(self)
        self.perform(self.session.opened())
        self._watch()

    def dataReceived(self, octets: bytes) -> None:
        if self.session is None or self._closing:
            return
        self.perform(self.session.feed(octets))
        self._watch()
        if self._asking is not None and self.session.backlog > BACKLOG_LIMIT:
            self.transport.pauseProducing()

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        if self._gone:
            return
        self._gone = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.resumeProducing()
        if self.session is not None and self._handler is not None:
            if not self._closing:
                self._closing = True
                for action in self.session.lost():
                    if isinstance(action, Body):
                        self._handler.body(action.octets)
            if self._asking is not None:
                self._asking.cancel()
            self._handler.closed(reason.getErrorMessage())

    def pauseProducing(self) -> None:
        """Our output is not read: `drain` waits."""
        if self._drained is None:
            loop = _asyncio_loop()
            self._drained = defer.Deferred() if loop is None else loop.create_future()

    def resumeProducing(self) -> None:
        waiting, self._drained = self._drained, None
        if isinstance(waiting, defer.Deferred):
            waiting.callback(None)
        elif waiting is not None and not waiting.done():
            waiting.set_result(None)

    def stopProducing(self) -> None:
        self.resumeProducing()

    # --- Channel ------------------------------------------------------------------------------------------------

    def send(self, octets: bytes) -> None:
        if not self._gone:
            self.transport.write(octets)

    async def drain(self) -> None:
        if self._drained is not None:
            await self._drained
        if self._gone:
            raise ConnectionResetError("the peer is gone")

    def abort(self) -> None:
        self.transport.abortConnection()

    def perform(self, actions: list[Action]) -> None:
        """Carry out a session's actions in order."""
        for action in actions:
            match action:
                case Send():
                    self.send(action.octets)
                case Body():
                    assert self._handler is not None
                    self._handler.body(action.octets)
                case Ask():
                    self._ask(action.question)
                case StartTls():
                    self._start_tls()
                case Close():
                    self._closing = True
                    self.transport.unregisterProducer()
                    self.transport.loseConnection()
                    return

    def _ask(self, question: object) -> None:
        assert self._handler is not None
        asking = _started(self._handler.answer(question))
        self._asking = asking
        if asking.called and not isinstance(asking.result, Failure):
            # Most answers are there at once; perform must not recurse deeply for a pipelining peer.
            self._factory.later(0, self._answered, asking.result)
            return
        asking.addCallbacks(self._answered, self._failed)

    def _answered(self, result: object) -> None:
        self._asking = None
        if self.session is None or self._closing or self._gone:
            return
        self.transport.resumeProducing()
        self.perform(self.session.answered(result))
        self._watch()

    def _failed(self, failure: Failure) -> None:
        self._asking = None
        if self.session is None or self._closing or self._gone or failure.check(defer.CancelledError):
            return
        if failure.check(ConnectionError):
            self.abort()
            return
        log.error("unforeseen while answering: %s", failure.getTraceback())
        self.transport.resumeProducing()
        self.perform(self.session.failed(failure.value))

    def _start_tls(self) -> None:
        context = self._factory.tls()
        if context is None or self.session is None:
            self.abort()
            return
        self.transport.unregisterProducer()
        self.transport.startTLS(context)
        self.tls = TlsInfo(protocol="TLS")
        self.transport.registerProducer(self, True)
        self.perform(self.session.secured(self.tls))

    def _watch(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self.session is not None and not self._gone and not self._closing:
            self._timer = self._factory.later(self.session.timeout_s, self._timed_out)

    def _timed_out(self) -> None:
        if self.session is not None and not self._closing and self._asking is None:
            self.perform(self.session.timed_out())
        self._watch()


@implementer(interfaces.IProtocolFactory)
class SessionFactory(protocol.Factory):         # type: ignore[misc]  # Twisted has no types we can follow
    """handler: makes the Handler for a peer, or None to refuse it. tls: a Twisted context factory for STARTTLS."""

    def __init__(self, handler: Callable[[Peer], Handler | None], *, tls: Callable[[], object | None] = lambda: None,
                 reactor: object = None) -> None:
        self.handler, self.tls = handler, tls
        self._reactor = reactor

    def later(self, delay_s: float, call: Callable[..., None], *arguments: object) -> interfaces.IDelayedCall:
        """Call in delay_s seconds."""
        if self._reactor is None:
            from twisted.internet import reactor
            self._reactor = reactor
        return self._reactor.callLater(delay_s, call, *arguments)   # type: ignore[attr-defined]  # IReactorTime

    def buildProtocol(self, address: object) -> SessionProtocol:
        host, port = getattr(address, "host", ""), getattr(address, "port", 0)
        made = SessionProtocol(self, Peer(str(host), int(port)))
        made.factory = self
        return made
