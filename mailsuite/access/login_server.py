"""imap-login and pop3-login: what runs the pre-login sessions, in processes without rights.

The TLS keys are read before rights are dropped (`prepare`). Such a process knows the certificate and asks the auth
service; it never sees a mailbox or a stored password. A connection that has logged in goes to the access service: the
socket itself when plain, one end of a socketpair when TLS (relay.py).
Limits: process_limit connections in all processes of the service together, and those of login.py.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from mailsuite.access.handover_client import AccessChannel
from mailsuite.access.login import LoginSession
from mailsuite.access.login_callers import Callers
from mailsuite.access.login_handler import LoginHandler
from mailsuite.access.login_site import Sites
from mailsuite.access.networks import Networks
from mailsuite.access.proxied import Announcer
from mailsuite.access.proxy_remote import ProxyOptions, proxy_options
from mailsuite.access.way_back import Seals
from mailsuite.base.dialogue import Peer
from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.huge_pages import Busy
from mailsuite.base.log import access_logger
from mailsuite.base.turns import Stay, Turns
from mailsuite.net.dovecot_tls import DovecotTls
from mailsuite.net.params import CPU_AFFINITY, HUGE_PAGES_AFTER
from mailsuite.net.service import NOT_TRUSTED, Acceptor, ServiceContext, serve_connections
from mailsuite.sasl.auth_client import AuthClient, Mechanism

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

AUTH_WAIT_S = 10.0               # how long a starting login process waits for the auth service
STOP_WAIT_S = 4.0                # how long relayed connections may go on after the suite was told to stop
PROCESS_CONNECTIONS = 4000       # where no process_limit is set: connections of one process

PROGRAMS = {"imap": "imap", "pop3": "pop3", "sieve": "managesieve"}      # the first half of the program's name


class LoginServer:
    """One login process: what its connections share."""

    def __init__(self, protocol: str, dovecot: "DovecotSettings", tls: DovecotTls,
                 proxy: ProxyOptions | None = None, *, shares_core: bool = False, busy: Busy | None = None) -> None:
        """shares_core: cpu_affinity. busy: counts logins."""
        self.busy = busy or Busy(0)
        self.stay = Stay()
        self.turns = Turns(self.stay, wanted=shares_core)
        self.proxy = proxy or ProxyOptions()
        self.protocol, self.tls = protocol, tls
        self.settings = settings = dovecot.for_protocol(protocol)
        base_dir = settings.text("base_dir")
        self.auth = AuthClient(os.path.join(base_dir, "login", "login"))
        self.access = AccessChannel(os.path.join(base_dir, protocol), self.stay)
        self.announcer = Announcer(self.access.path)
        # With imap_extensions = all a client may undo its login.
        self.takes_back = protocol == "imap" and settings.text("imap_extensions") == "all"
        self.seals = Seals()
        self.sites = Sites(protocol, settings, tls)
        self.log = access_logger(f"{PROGRAMS[protocol]}-login")
        self.next_warning = 0.0          # when a full service may be told of again
        self.proxies = Networks(settings, "haproxy_trusted_networks")
        self.mechanisms: tuple[Mechanism, ...] = ()
        self.callers = Callers(self.sites)

    async def find_mechanisms(self) -> None:
        """Ask the auth service what it offers; it may be starting at the same time."""
        end = time.monotonic() + AUTH_WAIT_S
        while True:
            try:
                self.mechanisms = tuple(await self.auth.mechanisms())
                return
            except TemporaryError as error:
                if time.monotonic() > end:
                    self.log.error("%s", error.detail or error.public)
                    self.mechanisms = tuple(Mechanism(name.upper(), plaintext=name.upper() in ("PLAIN", "LOGIN"))
                                             for name in self.settings.words("auth_mechanisms"))
                    return
                await asyncio.sleep(0.05)

    def greeting(self, peer: Peer) -> bytes:
        """What a session with this client would say first; b"" for who was not here before, or comes by a proxy."""
        caller = self.callers.of(peer)
        if not caller.seen:
            caller.seen = True              # one that came by a proxy is not met again
            return b""
        greeting = caller.greeting
        if greeting is None:
            greeting = caller.greeting = LoginHandler(self, peer).greeting
        return greeting

    def context_for(self, peer: Peer) -> ssl.SSLContext | None:
        """What a handshake with this client begins with."""
        return self.tls.context(self.sites.layer(peer))

    def refused_proxy(self, peer: Peer, why: str) -> None:
        """A PROXY header that was none, or whose sender is not of haproxy_trusted_networks."""
        if why == NOT_TRUSTED:
            self.log.warning("haproxy: Client not trusted (rip=%s)", peer.address)
        elif "ended" in why or "lost" in why:
            self.log.info("haproxy: Client disconnected (rip=%s): %s", peer.address, why)
        elif why == "timeout error":
            self.log.error("haproxy: Client timed out (rip=%s)", peer.address)
        else:
            self.log.error("haproxy: Client disconnected: Failed to read valid HAproxy data (rip=%s)", peer.address)


# --- the service --------------------------------------------------------------------------------------------------


def prepare(context: ServiceContext) -> tuple[DovecotTls, ProxyOptions]:
    """Read certificate and key while that is allowed; without them the service runs without TLS, and says so."""
    assert context.dovecot is not None
    protocol = {program: name for name, program in PROGRAMS.items()}[context.command.partition("-")[0]]
    settings, log = context.dovecot.for_protocol(protocol), access_logger(context.command)
    tls = DovecotTls(settings, log)
    tls.load()
    try:
        proxy = proxy_options(settings)
    except ConfigError as error:
        log.error("%s", error.public)
        proxy = ProxyOptions()
    return tls, proxy


async def serve_imap(context: ServiceContext) -> None:
    """The service imap-login."""
    await _serve(context, "imap")


async def serve_pop3(context: ServiceContext) -> None:
    """The service pop3-login."""
    await _serve(context, "pop3")


async def serve_sieve(context: ServiceContext) -> None:
    """The service managesieve-login."""
    await _serve(context, "sieve")


async def _serve(context: ServiceContext, protocol: str) -> None:
    assert context.dovecot is not None
    acceptors: list[Acceptor] = []
    tls, proxy = context.prepared if isinstance(context.prepared, tuple) else prepare(context)
    server = LoginServer(protocol, context.dovecot, tls, proxy, shares_core=context.settings[CPU_AFFINITY],
                         busy=Busy(context.settings[HUGE_PAGES_AFTER]))
    if server.takes_back:
        server.access.take_back = lambda message, fd: _take_back(server, acceptors, message, fd)
    await server.find_mechanisms()
    await server.access.connect()
    limit = max(1, context.process_limit // max(1, context.workers) if context.process_limit else PROCESS_CONNECTIONS)
    room = partial(_make_room, server, acceptors, _full_text(context))
    for listener in context.listeners:
        acceptors.append(Acceptor(
            listener, partial(LoginHandler, server, listener=listener.name), tls_for=server.context_for, limit=limit,
            make_room=room, short=True, greeting=server.greeting,
            proxy_timeout_s=context.dovecot.time_s("haproxy_timeout"), proxy_trusted=server.proxies.__contains__,
            proxy_failed=lambda sock, peer, why: server.refused_proxy(peer, why)))
    await serve_connections(context, acceptors, _say_goodbye)
    server.auth.close()
    server.access.close()
    server.announcer.close()


def _take_back(server: LoginServer, acceptors: list[Acceptor], message: Mapping[str, object], fd: int) -> None:
    """A connection whose client gave up its login goes on here."""
    sock = socket.socket(fileno=fd)
    try:
        sock.setblocking(False)
        handover = server.seals.checked(message)
        acceptors[0].adopt(sock, LoginHandler(server, handover.peer, given_back=handover), handover.peer,
                           tls=handover.tls, first=handover.octets)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        server.log.error("a connection cannot be taken back: %s", error)
        sock.close()


FULL = "Connection queue full"
FULL_WARNING_S = 60.0            # how often a full service is told of


def _full_text(context: ServiceContext) -> str:
    """Which limit it is, as Dovecot's master says."""
    assert context.dovecot is not None
    section = context.dovecot.section("service", context.command)
    name = "process_limit"
    if section is not None and section.number("process_limit") == 1 and section.number("service_count") != 1:
        name = "client_limit"
    limit = section.number(name) if section is not None else 0
    return (f"service({context.command}): {name} ({limit or context.dovecot.text('default_' + name)}) reached, "
            "client connections are being dropped")


def _make_room(server: LoginServer, acceptors: list[Acceptor], what: str) -> None:
    """All places are taken and somebody waits: the client that has been here longest without logging in goes."""
    now = time.monotonic()
    if now > server.next_warning:
        server.next_warning = now + FULL_WARNING_S
        access_logger("master").warning("%s", what)
    waiting = [connection for acceptor in acceptors for connection in acceptor.connections
               if isinstance(connection.handler, LoginHandler) and connection.handler.may_be_dropped]
    if waiting:
        oldest = min(waiting, key=lambda connection: connection.handler.began)      # type: ignore[attr-defined]
        session = oldest.session
        if isinstance(session, LoginSession) and not oldest.busy:
            oldest.perform(session.end(FULL, FULL))
        else:
            oldest.abort()


async def _say_goodbye(acceptors: list[Acceptor]) -> None:
    """Who has not logged in is told; what is relayed ends when the worker has said its last words."""
    for connection in [each for acceptor in acceptors for each in acceptor.connections]:
        session = connection.session
        if isinstance(session, LoginSession) and not session.story.handed_over and not connection.busy:
            connection.perform(session.shutting_down())
    try:
        async with asyncio.timeout(STOP_WAIT_S):
            for acceptor in acceptors:
                await acceptor.until_idle()
    except TimeoutError:
        for connection in [each for acceptor in acceptors for each in acceptor.connections]:
            connection.abort()
