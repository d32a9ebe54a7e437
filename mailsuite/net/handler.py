"""The contract between the driver and a server: what each may ask of the other for one connection."""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from mailsuite.base.dialogue import Ask, Body, Close, Peer, Send, Session, StartTls, TlsInfo

if TYPE_CHECKING:
    from mailsuite.net.driver import Connection


HANDSHAKE_FAILED = "TLS handshake failed"       # how the reason of such a connection's `closed` begins


class Channel(Protocol):
    """What a handler may do with its connection besides answering."""

    peer: Peer
    tls: TlsInfo | None

    def send(self, octets: bytes) -> None:
        """Write now; call drain between large blocks."""
        ...

    async def drain(self) -> None:
        """Wait until the peer has read enough. Raises ConnectionError once the connection is gone."""
        ...

    def perform(self, actions: "list[Send | StartTls | Close | Ask | Body]") -> None:
        """Carry out actions that a session returned outside of feed (a notice in IDLE, a shutdown)."""
        ...

    def abort(self) -> None:
        """Drop the connection at once."""
        ...


class Handler(Protocol):
    """The server's side of one connection."""

    def open(self, channel: Channel) -> Session:
        """The connection stands: return its session. Called once."""
        ...

    def answer(self, question: object) -> Coroutine[Any, Any, object]:
        """Answer the session's question; what is raised goes to Session.failed with a traceback in the log."""
        ...

    def body(self, octets: bytes) -> None:
        """Take message content; must not block."""
        ...

    # A handler may also have `at_once(question)`, which is asked first of all: the answer, or None when that has to
    # wait; and `take(question, pending: Pending) -> bool`: True when it will call pending.answer, later. They spare a
    # task where an answer is in memory already, or is one message of another process.

    def closed(self, reason: str) -> None:
        """The connection is gone; called once, after the last answer was cancelled or finished.

        After a handshake that failed: "TLS handshake failed: " and what the TLS library says; nothing behind the colon
        when the client just left.
        """
        ...

    # `never_secured(why)`: implicit TLS failed, so there was no `open` and will be no `closed`; why: as above, without
    # the words in front. For the log.


class Pending(Struct, eq=False):
    """A question whose answer somebody will bring, unless the connection ends before: then nobody hears it."""

    _connection: "Connection | None"
    question: object

    def answer(self, result: object) -> None:
        """The answer; once, and not from within `take`. An exception is what a handler's `answer` would have raised."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.take_answer(result, self.question)

    def cancel(self) -> None:
        """The connection is gone."""
        self._connection = None
