"""imap-login and pop3-login: what runs the pre-login sessions, in processes without rights.

The TLS keys are read before rights are dropped (`prepare`). Such a process knows the certificate and asks the auth
service; it never sees a mailbox or a stored password. A connection that has logged in goes to the access service: the
socket itself when plain, one end of a socketpair when TLS (relay.py).
Limits: process_limit connections in all processes of the service together, and those of login.py.
"""

import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING

from mailsuite.access.handover import HandOver
from mailsuite.access.handover_client import Ticket, hand_over
from mailsuite.access.login import (
    Authenticate,
    Cancel,
    HandedOver,
    LogIn,
    LoginFacts,
    LoginSession,
    Proceed,
    Refused,
    Why,
)
from mailsuite.access.login_imap import ImapLogin
from mailsuite.access.login_log import LineFormat
from mailsuite.access.login_pop3 import Pop3Login
from mailsuite.access.networks import Networks
from mailsuite.access.relay import start_relay
from mailsuite.base.dialogue import Peer, Session
from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.net.driver import Channel, Connection
from mailsuite.net.service import Acceptor, ServiceContext, serve_connections
from mailsuite.net.tls import ServerTls, dovecot_tls
from mailsuite.sasl.auth_client import AuthClient, Failure, Mechanism

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

AUTH_WAIT_S = 10.0               # how long a starting login process waits for the auth service
STOP_WAIT_S = 4.0                # how long relayed connections may go on after the suite was told to stop
UNSENT_WAIT_S = 30.0             # how long a client may take to read what was said before its login
PROCESS_CONNECTIONS = 4000       # where no process_limit is set: connections of one process

SESSIONS: dict[str, type[LoginSession]] = {"imap": ImapLogin, "pop3": Pop3Login}


class LoginServer:
    """One login process: what its connections share."""

    def __init__(self, protocol: str, dovecot: "DovecotSettings", tls: ServerTls) -> None:
        self.protocol, self.tls = protocol, tls
        self.settings = settings = dovecot.for_protocol(protocol)
        base_dir = settings.text("base_dir")
        self.auth = AuthClient(os.path.join(base_dir, "login", "login"))
        self.access_path = os.path.join(base_dir, protocol)
        self.format = LineFormat(settings.text("login_log_format"), settings.text("login_log_format_elements"))
        self.log = access_logger(f"{protocol}-login")
        self.greeting = settings.text("login_greeting")
        self.host_name = socket.gethostname()
        self.trusted = Networks(settings, "login_trusted_networks")
        self.proxies = Networks(settings, "haproxy_trusted_networks")
        self._mechanisms: tuple[Mechanism, ...] = ()

    async def find_mechanisms(self) -> None:
        """Ask the auth service what it offers; it may be starting at the same time."""
        end = time.monotonic() + AUTH_WAIT_S
        while True:
            try:
                self._mechanisms = tuple(await self.auth.mechanisms())
                return
            except TemporaryError as error:
                if time.monotonic() > end:
                    self.log.error("%s", error.detail or error.public)
                    self._mechanisms = tuple(Mechanism(name.upper(), plaintext=name.upper() in ("PLAIN", "LOGIN"))
                                             for name in self.settings.words("auth_mechanisms"))
                    return
                await asyncio.sleep(0.05)

    def facts(self, peer: Peer) -> LoginFacts:
        settings, ssl = self.settings, self.settings.text("ssl")
        return LoginFacts(
            greeting=self.greeting, mechanisms=self._mechanisms, secured=self._is_secured(peer),
            plaintext_ok=not settings.flag("disable_plaintext_auth"),
            tls_offered=ssl != "no" and self.tls.context() is not None, tls_required=ssl == "required",
            capability=settings.text("imap_capability") if self.protocol == "imap" else "",
            id_send=_id_fields(settings.text("imap_id_send")) if self.protocol == "imap" else "",
            host_name=self.host_name)

    def _is_secured(self, peer: Peer) -> bool:
        """A client on this host cannot be overheard."""
        if not peer.address or peer.address == peer.server_address:
            return True
        return peer.address in self.trusted


def _id_fields(setting: str) -> str:
    """imap_id_send as an ID response's list; "*" stands for our own values."""
    words, fields = setting.split(), []
    for name, value in zip(words[::2], words[1::2], strict=False):
        own = {"name": "mailsuite", "version": "0.1"}.get(name)
        value = own if value == "*" and own is not None else value
        fields += [f'"{name}"', "NIL" if value == "*" else '"' + value.replace("\\", "").replace('"', "") + '"']
    return f"({' '.join(fields)})" if fields else ""


class LoginHandler:
    """One connection (net.driver.Handler)."""

    def __init__(self, server: LoginServer, peer: Peer) -> None:
        self._server, self._peer = server, peer
        self._session_id = _session_id()
        self._began = time.monotonic()
        self._session: LoginSession | None = None
        self._channel: Channel | None = None

    def open(self, channel: Channel) -> Session:
        self._channel = channel
        self._session = SESSIONS[self._server.protocol](self._server.facts(self._peer), tls=channel.tls)
        return self._session

    async def answer(self, question: object) -> object:
        assert self._session is not None and self._channel is not None
        auth, session = self._server.auth, self._session
        try:
            match question:
                case Authenticate():
                    return await auth.begin(
                        question.mechanism, service=self._server.protocol, initial=question.initial, peer=self._peer,
                        tls=session.tls, session_id=self._session_id, secured=session.is_secure,
                        extra={"no-penalty": ""} if self._peer.address in self._server.trusted else None)
                case Proceed():
                    return await auth.proceed(question.request_id, question.response)
                case Cancel():
                    auth.cancel(question.request_id)
                case LogIn():
                    return await self._log_in(question, session, self._channel)
        except TemporaryError as error:
            self._server.log.error("%s", error.detail or error.public)
            return Failure("", temporary=True, code="temp_fail")
        return None

    def body(self, octets: bytes) -> None:
        """Nothing before login has a body."""

    def closed(self, reason: str) -> None:
        session = self._session
        if session is None or session.story.handed_over:
            return
        story = session.story
        why = story.reason or "Connection closed"
        if story.reason and story.reason == session.limit_text:
            self._log(story.reason)
            return
        handshaking = ""
        if story.tls_started and session.tls is None:
            failure = reason.removeprefix("TLS handshake failed: ")
            handshaking = "TLS handshaking: " + (f"SSL_accept() failed: {failure}" if failure else "Connection closed")
        seconds = int(time.monotonic() - self._began)
        self._log(f"Disconnected: {why} ({story.detail(seconds)})", security=handshaking)

    def _log(self, event: str, *, pid: str = "", security: str = "") -> None:
        session, peer = self._session, self._peer
        assert session is not None
        security = security or ("TLS" if session.tls is not None else "secured" if session.is_secure else "")
        user = session.story.user
        self._server.log.info("%s", self._server.format.line(event, {
            "user": user, "username": user.partition("@")[0], "domain": user.partition("@")[2],
            "service": self._server.protocol, "rip": peer.address, "lip": peer.server_address,
            "rport": str(peer.port), "lport": str(peer.server_port), "session": self._session_id,
            "mech": session.story.mechanism, "m": session.story.mechanism, "mail_pid": pid, "e": pid,
            "secured": security, "c": security, "pid": str(os.getpid()), "k": _cipher(session)}))

    # --- the hand-over ----------------------------------------------------------------------------------------------

    async def _log_in(self, question: LogIn, session: LoginSession, channel: Channel) -> HandedOver | Refused:
        assert isinstance(channel, Connection)
        transport = channel.hold()
        if not await _all_sent(transport):
            return Refused(Why.FAILED)
        capability_asked = isinstance(session, ImapLogin) and session.capability_asked
        tag = session.tag if isinstance(session, ImapLogin) else b""
        handover = HandOver(
            protocol=self._server.protocol, user=question.success.user, tag=tag, octets=session.remaining(),
            peer=self._peer, tls=session.tls, session_id=self._session_id, mechanism=question.mechanism,
            capability_asked=capability_asked, secured=session.is_secure)
        auth = self._server.auth
        ticket = Ticket(auth.client_pid, question.success.request_id, auth.cookie)
        if session.tls is None:
            fd: int = transport.get_extra_info("socket").fileno()
            result = await hand_over(self._server.access_path, handover, ticket, fd)
        else:
            result = await self._through_relay(channel, handover, ticket)
        if isinstance(result, HandedOver):
            session.story.handed_over = True
            self._log("Login", pid=str(result.pid))
        else:
            session.put_back(handover.octets)
        return result

    async def _through_relay(self, channel: Connection, handover: HandOver, ticket: Ticket) -> HandedOver | Refused:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        theirs.setblocking(False)
        try:
            result = await hand_over(self._server.access_path, handover, ticket, theirs.fileno())
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        if isinstance(result, HandedOver):
            await start_relay(channel, ours)
        else:
            ours.close()
        return result


async def _all_sent(transport: asyncio.Transport) -> bool:
    """Wait until nothing of ours is in the buffer: what the worker says must not overtake it."""
    end = time.monotonic() + UNSENT_WAIT_S
    while transport.get_write_buffer_size():
        if time.monotonic() > end or transport.is_closing():
            return False
        await asyncio.sleep(0.005)
    return True


def _cipher(session: LoginSession) -> str:
    tls = session.tls
    if tls is None:
        return ""
    return f"{tls.protocol} with cipher {tls.cipher} ({tls.cipher_bits}/{tls.cipher_algorithm_bits} bits)"


def _session_id() -> str:
    from base64 import b64encode

    return b64encode(os.urandom(12)).decode()


# --- the service --------------------------------------------------------------------------------------------------


def prepare(context: ServiceContext) -> ServerTls:
    """Read certificate and key while that is allowed; without them the service runs without TLS, and says so."""
    assert context.dovecot is not None
    settings = context.dovecot.for_protocol(context.command.partition("-")[0])
    log = access_logger(context.command)
    try:
        tls = ServerTls(dovecot_tls(settings))
        if settings.text("ssl") != "no":
            tls.load()
    except ConfigError as error:
        log.error("%s", error.public)
        from mailsuite.net.tls import ServerSpec
        return ServerTls(ServerSpec())
    return tls


async def serve_imap(context: ServiceContext) -> None:
    """The service imap-login."""
    await _serve(context, "imap")


async def serve_pop3(context: ServiceContext) -> None:
    """The service pop3-login."""
    await _serve(context, "pop3")


async def _serve(context: ServiceContext, protocol: str) -> None:
    assert context.dovecot is not None
    tls = context.prepared if isinstance(context.prepared, ServerTls) else prepare(context)
    server = LoginServer(protocol, context.dovecot, tls)
    await server.find_mechanisms()
    limit = context.process_limit // max(1, context.workers) if context.process_limit else PROCESS_CONNECTIONS
    acceptors = [Acceptor(listener, lambda peer: LoginHandler(server, peer), tls=tls.context, limit=max(1, limit),
                          proxy_timeout_s=context.dovecot.time_s("haproxy_timeout"),
                          proxy_trusted=server.proxies.__contains__)
                 for listener in context.listeners]
    await serve_connections(context, acceptors, _say_goodbye)
    server.auth.close()


async def _say_goodbye(acceptors: list[Acceptor]) -> None:
    """Who has not logged in is told; what is relayed ends when the worker has said its last words."""
    for connection in [each for acceptor in acceptors for each in acceptor.connections]:
        session = connection.session
        if isinstance(session, LoginSession) and not session.story.handed_over and not connection.busy:
            connection.perform(session.shutting_down())
    try:
        async with asyncio.timeout(STOP_WAIT_S):
            for acceptor in acceptors:
                await acceptor.idle.wait()
    except TimeoutError:
        for connection in [each for acceptor in acceptors for each in acceptor.connections]:
            connection.abort()
