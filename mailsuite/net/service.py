"""The frame of a service process: what the master gives it, and how it accepts connections.

A service is `async def serve(context: ServiceContext) -> None` in its package's server module, named in
`mailsuite/master/services.py`. It is called in a process of its own, after rights were dropped, with an event loop
running. It returns when `context.stopping` is set and its work is finished or handed back; the master kills what
takes longer than `stop_wait_s`.

Reload: a service that is replaceable (smtpd, logins) is drained: `stopping` is set with `context.draining` true, it
stops accepting and lives on until its connections have ended, while a new process with new settings accepts. A
singleton (qmgr, pickup, auth, delivery parents, access) gets `on_reload(new_settings)` instead.
"""

import asyncio
import logging
import os
import select
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mailsuite.base.dialogue import Peer, TlsInfo
from mailsuite.net import plain
from mailsuite.net.driver import Connection
from mailsuite.net.exclusive import share_fairly
from mailsuite.net.handler import Handler
from mailsuite.net.handshake import secure
from mailsuite.tls.failures import openssl_text

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings

log = logging.getLogger("mailsuite.net")

NOT_TRUSTED = "not trusted"      # what proxy_failed hears of a client that is no trusted proxy
ROOM_PAUSE_S = 0.1               # how long somebody waits before a full process makes room


@dataclass
class Listener:
    """One bound, listening socket. name: the master.cf service or dovecot inet_listener/unix_listener name.

    tls: implicit TLS. haproxy: a PROXY header comes first. kind: "inet", "unix", or "pass": what is accepted there
    brings a client's socket (passing.py).
    """

    name: str
    sock: socket.socket
    kind: str = "inet"
    tls: bool = False
    haproxy: bool = False


@dataclass
class ServiceContext:
    """All that a service process may know of the world it was started in."""

    name: str                                # master.cf service name, or dovecot's service name
    command: str                             # "smtpd", "qmgr", "imap-login" ...
    settings: "Settings"                     # main.cf with the service's -o overrides
    dovecot: "DovecotSettings | None" = None
    listeners: list[Listener] = field(default_factory=list)
    worker: int = 0                          # which of `workers` processes this is
    workers: int = 1
    process_limit: int = 100                 # the maxproc column: connections in all workers together; 0 = no limit
    wakeup_s: int = 0
    arguments: list[str] = field(default_factory=list)   # other words of the command line (pipe's flags=, -v)
    library: dict[str, dict[str, str]] = field(default_factory=dict)   # -o overrides of cleanup, bounce, rewrite...
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    draining: bool = False
    on_reload: "Callable[[Settings, DovecotSettings | None], None] | None" = None
    wakeup: asyncio.Event = field(default_factory=asyncio.Event)   # set each wakeup_s seconds by the master's frame
    prepared: object = None                  # what the service's `prepare` returned
    ready: Callable[[], None] = lambda: None  # call when requests can be taken; `start` waits for it

    def settings_of(self, service: str) -> "Settings":
        """Settings for a service that is a library call here, e.g. "cleanup": with the overrides of its own line."""
        overrides = self.library.get(service)
        return self.settings.with_overrides(overrides) if overrides else self.settings


class Acceptor:
    """Accepts connections of one listener and runs a Connection for each.

    handler: makes a Handler for a peer, or returns None to refuse it silently. limit: open connections at most; more
    wait in the kernel's backlog.
    """

    def __init__(self, listener: Listener, handler: Callable[[Peer], Handler | None], *,
                 tls: Callable[[], ssl.SSLContext | None] = lambda: None, limit: int = 0,
                 proxy_timeout_s: float = 5.0, handshake_timeout_s: float = 60.0,
                 proxy_failed: Callable[[socket.socket, Peer, str], None] = lambda sock, peer, why: None,
                 proxy_trusted: Callable[[str], bool] = lambda address: True,
                 tls_for: Callable[[Peer], ssl.SSLContext | None] | None = None,
                 make_room: Callable[[], None] | None = None, short: bool = False,
                 greeting: Callable[[Peer], bytes] | None = None) -> None:
        """proxy_trusted: whether a PROXY header from this address is believed; others are turned away.

        proxy_failed: says a last word (without blocking) to who sent no good header, or was not trusted to.
        tls_for: as tls, where it depends on the client. make_room: called while limit is reached and somebody waits;
        it may end a connection. short: most connections are, so they begin without a turn of the loop (plain.py).
        greeting: what the session of such a connection would say first, where that is known without it: it is said
        before anything is made. b"": the session says it.
        """
        self._short, self._greeting = short, greeting
        self._handshake_timeout_s, self._proxy_failed = handshake_timeout_s, proxy_failed
        self._tls_for, self._make_room = tls_for, make_room
        self.listener, self._handler, self._tls = listener, handler, tls
        self.limit, self._proxy_timeout_s, self._proxy_trusted = limit, proxy_timeout_s, proxy_trusted
        self.connections: set[Connection] = set()
        self._opening = 0
        self._here: tuple[str, int] | None = None       # our end of all connections, where the listener has one address
        self._kind = listener.sock.family, listener.sock.type, listener.sock.proto
        self._introduces = listener.kind == "pass" or listener.haproxy
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self._accepting = self._full = False
        self._wait_idle: asyncio.Event | None = None    # somebody waits for the last connection's end

    def start(self) -> None:
        self.listener.sock.setblocking(False)
        if self.listener.kind == "inet":        # what is accepted has it too
            self.listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            here = self.listener.sock.getsockname()
            self._here = (_plain(here[0]), here[1]) if here[0] not in ("0.0.0.0", "::") else None
        if not self._accepting:
            self._accepting = True
            self._loop.add_reader(self.listener.sock.fileno(), self._accept)
            share_fairly(self._loop, self.listener.sock)

    def stop(self) -> None:
        """Accept no more, for good."""
        self._full = False
        self._pause()

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self.listener.sock.fileno())

    def _accept(self) -> None:
        """One connection. While more wait the loop calls again; other workers and this loop have their turn before."""
        if self.limit and len(self.connections) + self._opening >= self.limit:
            self._pause()
            self._full = True
            if self._make_room is not None:
                self._loop.call_later(ROOM_PAUSE_S, self._look_for_room, self._make_room)
            return
        try:
            # What socket.accept does, without looking up two enums for each connection.
            fd, address = self.listener.sock._accept()  # type: ignore[attr-defined]  # typed without it
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            # Out of descriptors: accepting again at once would spin.
            log.warning("cannot accept a connection: %s", error)
            self._pause()
            self._loop.call_later(1.0, self.start)
            return
        sock = socket.socket(*self._kind, fd)
        self._opening += 1
        if self._introduces:
            task = self._loop.create_task(self._introduced(sock, address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        try:
            self._serve(sock, self._peer(sock, address))
        except Exception as error:
            if not isinstance(error, OSError):          # that is a client who has gone already
                log.exception("unforeseen on a new connection to %s", self.listener.name)
            self._not_begun(sock, error)

    def _peer(self, sock: socket.socket, address: Any) -> Peer:
        here = self._here
        if here is None:
            return peer_of(sock, address)
        client = address[0]
        return Peer(_plain(client) if ":" in client else client, address[1], here[0], here[1])

    def _look_for_room(self, make_room: Callable[[], None]) -> None:
        """Other processes had their chance to take who waits."""
        if not self._full:
            return
        if select.select([self.listener.sock], [], [], 0)[0]:
            make_room()
        self._loop.call_later(ROOM_PAUSE_S, self._look_for_room, make_room)

    async def _introduced(self, sock: socket.socket, address: object) -> None:
        """Find out who it is, then serve: a socket that another process passes, a PROXY header."""
        try:
            sock.setblocking(False)
            if self.listener.kind == "pass":
                from mailsuite.net.passing import take_socket
                peer, sock = await take_socket(sock)
            else:
                peer = peer_of(sock, address)
            if self.listener.haproxy:
                peer = await self._proxied(sock, peer)
        except (OSError, TimeoutError, ValueError) as error:
            self._not_begun(sock, error)
        else:
            self._serve(sock, peer)

    async def _proxied(self, sock: socket.socket, peer: Peer) -> Peer:
        """Whom a PROXY header names. Raises OSError, ValueError, TimeoutError."""
        from mailsuite.net.proxy import read_header
        if not self._proxy_trusted(peer.address):
            self._proxy_failed(sock, peer, NOT_TRUSTED)
            raise ValueError(f"{peer.address} is not trusted to send a PROXY header")
        try:
            return await asyncio.wait_for(read_header(sock, peer), self._proxy_timeout_s)
        except (ValueError, TimeoutError) as error:
            self._proxy_failed(sock, peer, str(error) or "timeout error")
            raise

    def _serve(self, sock: socket.socket, peer: Peer) -> None:
        """Give the socket to the event loop, with a Connection behind it."""
        said = b""
        if short := self._short and not self.listener.tls:
            sock.setblocking(False)
            said = self._greeting(peer) if self._greeting is not None else b""
            if said and not _say(sock, said):
                said = b""
        handler = self._handler(peer)
        if handler is None:
            sock.close()
            self._begun()
            return
        tls_for = self._tls_for
        tls = self._tls if tls_for is None else lambda: tls_for(peer)
        made = Connection(handler, peer=peer, tls=tls, on_close=self._forget,
                          handshake_timeout_s=self._handshake_timeout_s)
        if short:
            self.connections.add(made)
            made.said = said
            plain.begin(made, sock)
            self._opening -= 1
            return
        context = tls() if self.listener.tls else None
        if self.listener.tls and context is None:
            self._not_begun(sock, ssl.SSLError("no certificate"))
            return
        self.connections.add(made)
        begin: Coroutine[Any, Any, object]
        if context is not None:
            begin = secure(made, sock, context, self._handshake_timeout_s)
        else:
            begin = self._loop.connect_accepted_socket(lambda: made, sock)
        task = self._loop.create_task(begin)
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._connected(task, made, sock))

    def _connected(self, task: "asyncio.Task[Any]", made: Connection, sock: socket.socket) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            self._begun()
            return
        self.connections.discard(made)
        if error is not None and not isinstance(error, OSError | TimeoutError | ValueError):     # SSLError among them
            log.error("unforeseen on a new connection to %s", self.listener.name, exc_info=error)
        tell = getattr(made.handler, "never_secured", None)
        if error is None or tell is None or not self.listener.tls:
            self._not_begun(sock, error)
            return
        sock.close()
        tell(openssl_text(error))
        self._begun()

    def _not_begun(self, sock: socket.socket, error: BaseException | None) -> None:
        log.info("connection to %s failed before it began: %s", self.listener.name, error)
        sock.close()
        self._begun()

    def _begun(self) -> None:
        """While it was in both numbers the place count may have looked full: accept again then."""
        self._opening -= 1
        self._check_idle()

    def adopt(self, sock: socket.socket, handler: Handler, peer: Peer, *, tls: TlsInfo | None, first: bytes) -> None:
        """A connection that another process had: it counts as one of this listener's.

        tls: what it runs through elsewhere. first: what its client has said already. The socket is ours, but when there
        is no room, which is an OSError.
        """
        if self.limit and len(self.connections) + self._opening >= self.limit:
            raise OSError("too many connections")
        tls_for = self._tls_for
        made = Connection(handler, peer=peer, tls=self._tls if tls_for is None else lambda: tls_for(peer),
                          on_close=self._forget, handshake_timeout_s=self._handshake_timeout_s)
        made.tls, made.first = tls, first
        self.connections.add(made)
        # Not uvloop's transport: what is said to `first` may give the connection away at once, and a uvloop transport
        # that is told within connection_made to read nothing reads all the same.
        plain.begin(made, sock)

    def _forget(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if self._full or self._wait_idle is not None:
            self._check_idle()

    def _check_idle(self) -> None:
        if self._wait_idle is not None and not self.connections and not self._opening:
            self._wait_idle.set()
        if self._full and (not self.limit or len(self.connections) + self._opening < self.limit):
            self._full = False
            self.start()

    async def until_idle(self) -> None:
        """Wait for the end of the last connection, one that is just being accepted included."""
        if self._wait_idle is None:
            self._wait_idle = asyncio.Event()
        while self.connections or self._opening:
            self._wait_idle.clear()
            await self._wait_idle.wait()


async def serve_connections(context: ServiceContext, acceptors: list[Acceptor],
                            goodbye: Callable[[list[Acceptor]], Awaitable[None]]) -> None:
    """Accept until the master says stop. Drained, connections live on to their ends; stopped, goodbye ends them."""
    for acceptor in acceptors:
        acceptor.start()
    context.ready()
    await context.stopping.wait()
    for acceptor in acceptors:
        acceptor.stop()
    if context.draining:
        for acceptor in acceptors:
            await acceptor.until_idle()
    else:
        await goodbye(acceptors)


def _say(sock: socket.socket, octets: bytes) -> bool:
    """Say it on a connection that is new; whether that went out. Raises OSError when only a part did."""
    try:
        sent = sock.send(octets)
    except OSError:
        return False                    # the client has gone: the session finds out
    if sent != len(octets):
        raise OSError("no room for a greeting")
    return True


def peer_of(sock: socket.socket, address: object) -> Peer:
    """Both ends of an accepted socket; an IPv4 address in IPv6 clothes is undressed."""
    if not isinstance(address, tuple):
        return Peer("")                 # a Unix socket's
    here = sock.getsockname()
    return Peer(address=_plain(address[0]), port=address[1], server_address=_plain(here[0]), server_port=here[1])


def _plain(address: str) -> str:
    address = address.partition("%")[0]
    return address[7:] if address.startswith("::ffff:") and "." in address else address


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop where it can be had (MAILSUITE_LOOP=asyncio says no), else asyncio's own."""
    if os.environ.get("MAILSUITE_LOOP") != "asyncio":
        try:
            import uvloop
        except ImportError:
            pass
        else:
            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
            return loop
    return asyncio.new_event_loop()
