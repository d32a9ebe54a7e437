"""The service lmtp: Dovecot's LMTP server, by which Postfix brings mail into the users' stores.

It listens on the unix_listener and inet_listener sections of `service lmtp { }`, by default on base_dir/lmtp. This
process speaks with the network and has no rights on mail: it asks the auth service whether a user exists (auth-userdb),
keeps the content in a nameless file, and has the access service deliver it (base_dir/lmtp-delivery): that one looks the
user up itself and passes the descriptor to the user's worker (lmtp_delivery.py). The client hears 250 after the worker
has synced the message.

Parameters (dovecot.conf, also in `protocol lmtp { }`): hostname, login_greeting, login_trusted_networks, mail_temp_dir,
recipient_delimiter, lmtp_save_to_detail_mailbox, lmtp_hdr_delivery_address, lmtp_add_received_header, ssl,
lmtp_client_workarounds, lmtp_user_concurrency_limit (then one process serves all connections, to count them),
lda_mailbox_autocreate, lda_mailbox_autosubscribe, quota_full_tempfail; service lmtp's process_limit (connections).
Limits: those of LmtpConfig; DELIVERIES_AT_ONCE for one process.
"""

import asyncio
import email.utils
import errno
import os
import socket
import time
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

from mailsuite.access.handover_client import ask_access
from mailsuite.access.lmtp_spool import Spool
from mailsuite.access.networks import Networks
from mailsuite.address.syntax import split_extension
from mailsuite.base.dialogue import Peer, Session
from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.net.dovecot_tls import dovecot_tls
from mailsuite.net.handler import Channel
from mailsuite.net.service import Acceptor, ServiceContext, serve_connections
from mailsuite.net.tls import ServerSpec, ServerTls
from mailsuite.sasl.master_client import AuthMaster
from mailsuite.smtp.lmtp_questions import (
    TEMPORARY,
    Deliver,
    Delivered,
    Forget,
    LmtpConfig,
    LookUp,
    Recipient,
    Transaction,
    Verdict,
)
from mailsuite.smtp.lmtp_session import LmtpSession
from mailsuite.smtp.lmtp_syntax import WORKAROUNDS, Path

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

DELIVERIES_AT_ONCE = 32
DELIVERY_TIMEOUT_S = 600.0       # how long a worker may wait for a mailbox's lock
STOP_WAIT_S = 8.0                # how long deliveries under way may take when the suite stops

log = access_logger("lmtp")


class LmtpServer:
    """What the connections of this process share."""

    def __init__(self, dovecot: "DovecotSettings", tls: ServerTls) -> None:
        self.settings = settings = dovecot.for_protocol("lmtp")
        self.tls = tls
        base_dir = settings.text("base_dir")
        self.users = AuthMaster(os.path.join(base_dir, "auth-userdb"))
        self.delivery_path = os.path.join(base_dir, "lmtp-delivery")
        self.temp_dir = settings.text("mail_temp_dir")
        self.hostname = settings.text("hostname") or socket.getfqdn()
        self.delimiters = settings.text("recipient_delimiter")
        self.header_address = settings.text("lmtp_hdr_delivery_address")
        self.add_received = settings.flag("lmtp_add_received_header")
        self.workarounds = frozenset(settings.words("lmtp_client_workarounds")) & WORKAROUNDS
        self.user_limit = settings.number("lmtp_user_concurrency_limit")
        self.sessions: set[LmtpSession] = set()
        self.trusted = Networks(settings, "login_trusted_networks")
        self.proxies = Networks(settings, "haproxy_trusted_networks")
        self.connections = 0            # so far
        self.room = asyncio.Semaphore(DELIVERIES_AT_ONCE)

    def config(self, peer: Peer) -> LmtpConfig:
        tls_offered = self.settings.text("ssl") != "no" and self.tls.context() is not None
        return LmtpConfig(self.hostname, self.settings.text("login_greeting"), tls_offered,
                          peer.address in self.trusted, workarounds=self.workarounds)

    def deliveries_for(self, user: str) -> int:
        """How many recipients of open transactions are this user's."""
        return sum(recipient.user == user for session in self.sessions if session.transaction is not None
                   for recipient in session.transaction.recipients)

    def split(self, path: Path) -> tuple[str, str]:
        """User name and detail of an address: "alice+lists@x.test" -> "alice@x.test", "lists"."""
        local, extension = split_extension(path.local, self.delimiters)
        return Path(local, path.domain).plain, extension[1:]

    def header(self, session: LmtpSession, transaction: Transaction, recipient: Recipient) -> str:
        """What stands before the message: Return-Path, Delivered-To, Received."""
        sender, only = transaction.sender.text, len(transaction.recipients) == 1
        lines = [f"Return-Path: <{sender}>"]
        if only and self.header_address != "none":
            address = recipient.original if self.header_address == "original" else recipient.path
            if address is not None:
                lines.append(f"Delivered-To: {address.text}")
        if self.add_received:
            client = f" ([{session.client.address}])" if session.client.address else ""
            lines.append(f"Received: from {session.helo or 'unknown'}{client}")
            if (tls := session.tls) is not None:
                lines.append(f"\t(using {tls.protocol} with cipher {tls.cipher} "
                             f"({tls.cipher_bits}/{tls.cipher_algorithm_bits} bits))")
            date = email.utils.formatdate(time.time(), localtime=True)
            lines += [f"\tby {self.hostname} with LMTP{'S' if session.tls else ''}", f"\tid {transaction.session_id}",
                      f"\t(envelope-from <{sender}>)"]
            if only and self.header_address != "none":
                whom = recipient.original if self.header_address == "original" else None
                lines.append(f"\tfor <{(whom or recipient.path).text}>")
            lines[-1] += f"; {date}"
        return "\n".join(lines) + "\n"


class LmtpHandler:
    """One connection (net.driver.Handler)."""

    def __init__(self, server: LmtpServer, peer: Peer) -> None:
        self._server, self._peer = server, peer
        server.connections += 1
        self._number = server.connections
        self._session: LmtpSession | None = None
        self._spool: Spool | None = None
        log.info("Connect from %s", peer.address or "local", extra=_PREFIX)

    def open(self, channel: Channel) -> Session:
        server = self._server
        self._session = LmtpSession(server.config(self._peer), session_id=new_session_id(), peer=self._peer,
                                    tls=channel.tls, username=lambda path: server.split(path)[0])
        server.sessions.add(self._session)
        return self._session

    async def answer(self, question: object) -> object:
        match question:
            case LookUp():
                return await self._look_up(question.recipient)
            case Deliver():
                spool, self._spool = self._spool or Spool(self._server.temp_dir), None
                try:
                    return await self._deliver(question.transaction, spool)
                finally:
                    spool.close()
            case Forget():
                self._drop()
        return None

    def body(self, octets: bytes) -> None:
        if self._spool is None:
            self._spool = Spool(self._server.temp_dir)
        self._spool.write(octets)

    def closed(self, reason: str) -> None:
        self._drop()
        session = self._session
        if session is not None:
            self._server.sessions.discard(session)
            client = session.client.address or "local"
            log.info("Disconnect from %s: %s (state=%s)", client, session.end or "Connection closed", session.state,
                     extra=_PREFIX)

    def _drop(self) -> None:
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.close()

    # --- questions ------------------------------------------------------------------------------------------------

    async def _look_up(self, recipient: Recipient) -> Verdict:
        name, _ = self._server.split(recipient.path)
        try:
            user = await self._server.users.userdb(name, service="lmtp", peer=self._peer)
            if user is not None and user.uid == 0:
                raise TemporaryError("", detail="Invalid settings in userdb: userdb returned 0 as uid")
        except TemporaryError as error:
            self._error(recipient, f"Failed to lookup user {name}: {error.detail or error.public}")
            return Verdict.TEMPORARY
        if user is None:
            return Verdict.UNKNOWN
        recipient.user, limit = user.user, self._server.user_limit
        return Verdict.BUSY if 0 < limit <= self._server.deliveries_for(user.user) else Verdict.EXISTS

    async def _deliver(self, transaction: Transaction, spool: Spool) -> list[Delivered]:
        """An outcome for each recipient. Who is named twice gets one copy; users are served side by side."""
        if spool.failed is not None:
            log.error("cannot keep a message's content: %s", spool.failed, extra=_PREFIX)
            full = spool.failed.errno in (errno.ENOSPC, errno.EDQUOT)
            outcome = Delivered(452, "4.3.1", "Insufficient storage") if full else TEMPORARY
            return [outcome] * len(transaction.recipients)
        first: dict[tuple[str, str], Recipient] = {}
        by_user: dict[str, list[Recipient]] = {}
        for recipient in transaction.recipients:
            if first.setdefault(recipient.path.key, recipient) is recipient:
                # Several addresses of one user are served in their order, so that UIDs follow it.
                by_user.setdefault(split_extension(recipient.path.local, self._server.delimiters)[0].lower(),
                                   []).append(recipient)
        outcomes: dict[Recipient, Delivered] = {}

        async def serve_user(recipients: list[Recipient]) -> None:
            for recipient in recipients:
                async with self._server.room:
                    outcomes[recipient] = await self._deliver_one(transaction, recipient, spool.fd)

        await asyncio.gather(*map(serve_user, by_user.values()))
        return [replace(outcomes[one], recipient=one) for recipient in transaction.recipients
                for one in [first[recipient.path.key]]]

    async def _deliver_one(self, transaction: Transaction, recipient: Recipient, fd: int) -> Delivered:
        assert self._session is not None
        name, detail = self._server.split(recipient.path)
        job = {"user": name, "sender": transaction.sender.text, "detail": detail, "address": recipient.path.text,
               "session": recipient.session_id,
               "header": self._server.header(self._session, transaction, recipient)}
        try:
            answer = await ask_access(self._server.delivery_path, {"deliver": job}, fd,
                                      timeout_s=DELIVERY_TIMEOUT_S)
            if "failed" in answer:
                self._error(recipient, f"Failed to initialize user: {answer['failed']}")
                return TEMPORARY
            if "refused" in answer:             # the access service has logged why
                return TEMPORARY
            told = answer["delivered"]
            assert isinstance(told, list)
            code, status, text = told
            return Delivered(int(code), str(status), str(text))
        except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
            self._error(recipient, f"no answer of the access service: {error or type(error).__name__}")
            return TEMPORARY

    def _error(self, recipient: Recipient, text: str) -> None:
        log.error("lmtp-server: conn %s [%d]: rcpt %s: %s", self._peer.address or "unix", self._number,
                  recipient.path.text, text, extra=_PREFIX)


_PREFIX = {"prefix": "lmtp"}


def new_session_id() -> str:
    """A name for a connection: 22 characters, as Dovecot's."""
    return b64encode(os.urandom(16)).decode().rstrip("=")


# --- the service --------------------------------------------------------------------------------------------------


def prepare(context: ServiceContext) -> ServerTls:
    """Read certificate and key while that is allowed; without them there is no STARTTLS."""
    assert context.dovecot is not None
    _PREFIX["prefix"] = f"lmtp({os.getpid()})"
    settings = context.dovecot.for_protocol("lmtp")
    try:
        tls = ServerTls(dovecot_tls(settings))
        if settings.text("ssl") != "no":
            tls.load()
    except ConfigError as error:
        log.error("%s", error.public)
        return ServerTls(ServerSpec())
    return tls


async def serve(context: ServiceContext) -> None:
    """Run until context.stopping."""
    assert context.dovecot is not None
    tls = context.prepared if isinstance(context.prepared, ServerTls) else prepare(context)
    server = LmtpServer(context.dovecot, tls)
    limit = max(1, context.process_limit // max(1, context.workers))
    acceptors = [Acceptor(listener, lambda peer: LmtpHandler(server, peer), tls=tls.context, limit=limit,
                          proxy_timeout_s=context.dovecot.time_s("haproxy_timeout"),
                          proxy_trusted=server.proxies.__contains__)
                 for listener in context.listeners]
    await serve_connections(context, acceptors, _say_goodbye)
    server.users.close()


async def _say_goodbye(acceptors: list[Acceptor]) -> None:
    """Who waits for an answer gets it, then 421: a message is not left in doubt."""
    end = time.monotonic() + STOP_WAIT_S
    told: set[int] = set()
    while time.monotonic() < end:
        connections = [each for acceptor in acceptors for each in acceptor.connections]
        if not connections:
            return
        for connection in connections:
            session = connection.session
            if isinstance(session, LmtpSession) and not connection.busy and id(connection) not in told:
                told.add(id(connection))
                connection.perform(session.stop())
        await asyncio.sleep(0.02)
    for connection in [each for acceptor in acceptors for each in acceptor.connections]:
        connection.abort()
