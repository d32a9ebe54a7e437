"""One connection of a login process: answers its session's questions, hands it over, writes its line in the log.

    handler = LoginHandler(server, peer, "imaps")           net.driver.Handler

server is the process's LoginServer (login_server.py). What access or a worker does not take stays the session's, which
tells the client.
"""

import asyncio
import logging
import os
import socket
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mailsuite.access.handover import HandOver
from mailsuite.access.handover_client import Ticket
from mailsuite.access.login import LoginSession
from mailsuite.access.login_callers import session_id
from mailsuite.access.login_imap import ImapLogin
from mailsuite.access.login_origin import Origin
from mailsuite.access.login_pop3 import Pop3Login
from mailsuite.access.login_questions import Authenticate, Cancel, HandedOver, LogIn, PassOn, Proceed, Refused, Why
from mailsuite.access.login_sieve import SieveLogin
from mailsuite.access.login_story import LoginFacts
from mailsuite.access.proxy_login import pass_on
from mailsuite.access.relay import start_relay
from mailsuite.base.dialogue import Peer, Send, Session, TlsInfo
from mailsuite.base.errors import TemporaryError
from mailsuite.base.turns import ANYWHERE
from mailsuite.net.driver import Connection
from mailsuite.net.handler import HANDSHAKE_FAILED, Channel, Pending
from mailsuite.sasl import wire
from mailsuite.sasl.auth_client import AuthFacts, AuthStep, Failure

if TYPE_CHECKING:
    from mailsuite.access.login_server import LoginServer

UNSENT_WAIT_S = 30.0             # how long a client may take to read what was said before its login
SESSIONS: dict[str, type[LoginSession]] = {"imap": ImapLogin, "pop3": Pop3Login, "sieve": SieveLogin}


class LoginHandler:
    """One connection (net.driver.Handler)."""

    def __init__(self, server: "LoginServer", peer: Peer, listener: str = "",
                 given_back: HandOver | None = None) -> None:
        """given_back: as the connection was when its client logged in, which it undid now (IMAP's UNAUTHENTICATE)."""
        self._server, self._listener, self._given_back = server, listener, given_back
        self._caller = caller = server.callers.of(peer)
        self._origin = Origin(peer, session_id(peer.port, caller.octets))
        self._server_name = peer.proxied.host_name if peer.proxied is not None else ""
        self._site, self._trusted, self._secured = caller.site, caller.trusted, caller.secured
        if given_back is not None:
            self._secured = given_back.secured and given_back.tls is None
        self.began = time.monotonic()
        self._session: LoginSession | None = None
        self._channel: Connection | None = None
        self._here = False               # counted among those that have not logged in

    def open(self, channel: Channel) -> Session:
        self._channel = connection = channel if isinstance(channel, Connection) else None
        self._here = True
        self._server.turns.come()
        session = self._session = self._begun(channel.tls)
        if connection is not None:
            session.sent = len(connection.said)
        return session

    @property
    def greeting(self) -> bytes:
        """What the client of a plain connection like this one hears first; b"" where no two hear the same."""
        if not self._site.greets_all_alike or self._is_challenged:
            return b""
        return b"".join(action.octets for action in self._begun(None).opened() if isinstance(action, Send))

    @property
    def _is_challenged(self) -> bool:
        """APOP's challenge is part of the greeting."""
        return self._server.protocol == "pop3" and any(mech.name == "APOP" for mech in self._server.mechanisms)

    def _begun(self, tls: TlsInfo | None) -> LoginSession:
        return SESSIONS[self._server.protocol](
            self._facts() if tls is None else self._facts_with(tls), tls=tls, origin=self._origin,
            facts_with=self._facts_with, note=self._log, greeted=self._given_back is not None)

    def _facts(self) -> LoginFacts:
        server, caller = self._server, self._caller
        facts = caller.facts
        if (facts is None or facts.mechanisms is not server.mechanisms or self._secured is not caller.secured
                or self._site is not caller.site):
            facts = self._site.facts(self._origin.peer, server.mechanisms, secured=self._secured,
                                     trusted=self._trusted, server_name=self._server_name)
            if self._site is caller.site and self._secured is caller.secured and self._site.greets_all_alike:
                caller.facts = facts
        if server.protocol == "pop3" and self._is_challenged:
            return replace(facts, apop_challenge=server.auth.apop_challenge())
        return facts

    def _facts_with(self, tls: TlsInfo) -> LoginFacts:
        """Greeting and capabilities stay those of the connection, as in Dovecot, which makes them before it knows the
        name; all else goes by the name's settings."""
        facts = self._facts()
        if tls.server_name:
            self._server_name = tls.server_name
            self._site = self._server.sites.of(self._origin.real, tls.server_name)
        return facts

    async def answer(self, question: object) -> object:
        assert self._session is not None
        auth, session = self._server.auth, self._session
        try:
            match question:
                case Authenticate():
                    return await auth.begin(question.mechanism, initial=question.initial,
                                            **self._facts_for_auth(session))
                case Proceed():
                    return await auth.proceed(question.request_id, question.response)
                case Cancel():
                    auth.cancel(question.request_id)
                case PassOn():
                    assert self._channel is not None
                    return await pass_on(self._channel, session, question, self._server.proxy, self._server.protocol,
                                         announcer=self._server.announcer, verbose=self._site.verbose,
                                         log=self._log_at)
                case LogIn():
                    assert self._channel is not None
                    return await self._log_in(question, session, self._channel)
        except TemporaryError as error:
            self._server.log.error("%s", error.detail or error.public)
            return Failure("", temporary=True, code="temp_fail")
        return None

    def _more_facts(self, session: LoginSession) -> dict[str, str]:
        """What else the auth service may know."""
        origin, more = self._origin, {"grant": ""}
        first = origin.first                # None: nobody said that the client is another
        if self._trusted and first is None:
            more["no-penalty"] = ""
        core = self._server.turns.next()
        if core != ANYWHERE:
            more["core"] = str(core)
        proxied = (first or origin.peer).proxied
        real = proxied or first
        if real is not None:
            more |= {"real_rip": real.address, "real_lip": real.server_address, "real_rport": str(real.port),
                     "real_lport": str(real.server_port)}
        if self._server_name:
            more["local_name"] = self._server_name
        if origin.client_id:
            more["client_id"] = origin.client_id
        if origin.forward:
            more["forward_fields"] = "\t".join(map(wire.escape, origin.forward))
        if proxied is not None and proxied.certificate_name:
            more["cert_username"] = proxied.certificate_name
        elif session.tls is not None and session.tls.peer_verified:
            more["cert_username"] = certificate_user(session.tls.peer_certificate, self._site.certificate_field)
        return more

    @property
    def may_be_dropped(self) -> bool:
        """Nothing is being handed over, and nobody has logged in."""
        story = self._session.story if self._session is not None else None
        return story is None or not (story.handed_over or story.successes)

    def _facts_for_auth(self, session: LoginSession) -> AuthFacts:
        return {"service": self._server.protocol, "peer": self._origin.peer, "tls": session.tls,
                "session_id": self._origin.session_id, "secured": session.is_secure,
                "extra": self._more_facts(session)}

    def take(self, question: object, pending: Pending) -> bool:
        """As `answer`, without a task, where nothing else has to wait first."""
        server, session, channel = self._server, self._session, self._channel
        assert session is not None
        try:
            if isinstance(question, Authenticate):
                server.auth.ask(question.mechanism, partial(self._authenticated, pending),
                                initial=question.initial, service=server.protocol, peer=self._origin.peer,
                                tls=session.tls, session_id=self._origin.session_id, secured=session.is_secure,
                                extra=self._more_facts(session))
                # Most logins are good: what the client says from here on is for the user's worker.
                if channel is not None:
                    channel.hold()
            elif isinstance(question, Proceed):
                server.auth.reply(question.request_id, question.response,
                                  partial(self._authenticated, pending))
            elif (isinstance(question, LogIn) and server.access.connected
                  and (session.tls is None or not self._is_relayed(session))):
                assert channel is not None
                transport = channel.hold()
                if transport.get_write_buffer_size():
                    return False
                handover, ticket = self._hand_over(question, session)
                server.access.start(handover, ticket, transport.get_extra_info("socket").fileno(),
                                    partial(self._handed_over, session, handover, pending))
            else:
                return False
        except TemporaryError:
            return False                    # `answer` connects, or says it
        return True

    def _authenticated(self, pending: Pending, step: AuthStep | TemporaryError) -> None:
        if isinstance(step, TemporaryError):
            self._server.log.error("%s", step.detail or step.public)
            step = Failure("", temporary=True, code="temp_fail")
        pending.answer(step)

    def _handed_over(self, session: LoginSession, handover: HandOver, pending: Pending,
                     result: HandedOver | Refused) -> None:
        self._note(result, session, handover)
        pending.answer(result)

    def body(self, octets: bytes) -> None:
        """Nothing before login has a body."""

    def _leave(self) -> None:
        self._here = False
        self._server.turns.go()

    def closed(self, reason: str) -> None:
        if self._here:
            self._leave()
        session = self._session
        if session is None or session.story.handed_over:
            return
        story = session.story
        why = story.reason or "Connection closed"
        if story.reason and story.reason == session.limit_text:
            self._log(f"Disconnected: {story.reason}")
            return
        handshaking = ""
        if self._site.certificate_required:
            if session.tls is None and story.attempts:
                story.certificate = "cert required, client didn't start TLS"
            elif session.tls is not None and not session.tls.peer_verified:
                story.certificate = "client didn't send a cert"
        if story.tls_started and session.tls is None:
            begins, _, failure = reason.partition(": ")
            failure = f"SSL_accept() failed: {failure}" if begins == HANDSHAKE_FAILED and failure else ""
            handshaking = f"TLS handshaking: {failure or 'Connection closed'}"
            why = f"{why}: {failure}" if failure else why
        seconds = int(time.monotonic() - self.began)
        self._log(f"Disconnected: {why} ({story.detail(seconds)})", security=handshaking)

    def never_secured(self, why: str) -> None:
        """A client of imaps or pop3s with whom there is no TLS; fail2ban reads such lines."""
        self._session = self._begun(None)
        self._session.story.tls_started = True
        self.closed(f"{HANDSHAKE_FAILED}: {why}")

    def _log_at(self, level: int, event: str) -> None:
        self._log(event, level=level)

    def _log(self, event: str, *, pid: str = "", security: str = "", level: int = logging.INFO) -> None:
        session, peer = self._session, self._origin.peer
        assert session is not None
        user, mechanism = session.story.user, session.story.mechanism
        security = security or ("TLS" if session.tls is not None else "secured" if session.facts.secured else "")
        common = {"u": user, "user": user, "m": mechanism, "mech": mechanism, "r": peer.address, "rip": peer.address,
                  "l": peer.server_address, "lip": peer.server_address, "e": pid, "mail_pid": pid, "c": security,
                  "secured": security, "session": self._origin.session_id}
        line = self._site.format.line(event, common, lambda: common | self._log_values(session))
        if level == logging.INFO:
            self._server.log.info(line)
        else:
            self._server.log.log(level, "%s", line)

    def _log_values(self, session: LoginSession) -> dict[str, str]:
        """What fewer formats want to know."""
        origin, peer, user = self._origin, self._origin.peer, session.story.user
        real, original = origin.real.proxied or origin.real, session.story.original_user or user
        return {
            "username": user.partition("@")[0], "domain": user.partition("@")[2], "service": self._server.protocol,
            "remote_ip": peer.address, "local_ip": peer.server_address,
            "rport": str(peer.port), "lport": str(peer.server_port),
            "real_rip": real.address, "real_lip": real.server_address, "real_rport": str(real.port),
            "real_lport": str(real.server_port), "listener": self._listener, "local_name": self._server_name,
            "pid": str(os.getpid()), "k": _cipher(session), "home": "", "ssl_security": _cipher(session),
            "mechanism": session.story.mechanism,
            **{f"{prefix}_{name}": value for prefix in ("orig", "original", "auth")
               for name, value in (("user", original), ("username", original.partition("@")[0]),
                                   ("domain", original.partition("@")[2]))}}

    # --- the hand-over ----------------------------------------------------------------------------------------------

    async def _log_in(self, question: LogIn, session: LoginSession, channel: Connection) -> HandedOver | Refused:
        transport = channel.hold()
        if not await _all_sent(transport):
            return Refused(Why.FAILED)
        handover, ticket = self._hand_over(question, session)
        if not self._is_relayed(session):
            fd: int = transport.get_extra_info("socket").fileno()
            result = await self._server.access.ask(handover, ticket, fd)
        else:
            result = await self._through_relay(channel, handover, ticket)
        self._note(result, session, handover)
        return result

    def _hand_over(self, question: LogIn, session: LoginSession) -> tuple[HandOver, Ticket]:
        """What the access service is told; nothing more is read from the client by now."""
        server, success, origin = self._server, question.success, self._origin
        server.busy.count()
        if self._here:
            self._here = False
            server.turns.went()
        auth = server.auth
        handover = HandOver(
            protocol=server.protocol, user=success.user, tag=session.tag, octets=session.remaining(),
            peer=origin.peer, tls=session.tls, session_id=origin.session_id, mechanism=question.mechanism,
            capability_asked=session.capability_asked, secured=session.is_secure, utf8=session.utf8)
        if server.takes_back:
            handover = server.seals.sealed(handover)
        return handover, Ticket(auth.client_pid, success.request_id, auth.cookie, success.fields.get("grant", ""))

    def _note(self, result: HandedOver | Refused, session: LoginSession, handover: HandOver) -> None:
        if isinstance(result, HandedOver):
            session.story.handed_over = True
            self._log("Login", pid=str(result.pid))
        elif result.why is Why.INITIALIZATION:      # a login as any other; the line before says why it led nowhere
            self._log("Login")
        else:
            session.put_back(handover.octets)

    def _is_relayed(self, session: LoginSession) -> bool:
        """TLS ends here. One that was given back by a worker may end in a relay that goes on."""
        return session.tls is not None and (self._given_back is None or self._given_back.tls is None)

    async def _through_relay(self, channel: Connection, handover: HandOver, ticket: Ticket) -> HandedOver | Refused:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        theirs.setblocking(False)
        try:
            result = await self._server.access.ask(handover, ticket, theirs.fileno())
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


def certificate_user(certificate: bytes, field: str) -> str:
    """The name in a client's certificate (DER), by ssl_cert_username_field; "" when it has none."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    names = {"commonname": "COMMON_NAME", "cn": "COMMON_NAME", "emailaddress": "EMAIL_ADDRESS", "uid": "USER_ID",
             "userid": "USER_ID", "x500uniqueidentifier": "X500_UNIQUE_IDENTIFIER", "serialnumber": "SERIAL_NUMBER",
             "givenname": "GIVEN_NAME", "surname": "SURNAME", "dnqualifier": "DN_QUALIFIER", "pseudonym": "PSEUDONYM"}
    attribute = names.get(field.lower())
    if attribute is None:
        return ""
    found = x509.load_der_x509_certificate(certificate).subject.get_attributes_for_oid(getattr(NameOID, attribute))
    value = found[-1].value if found else ""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
