"""smtpd: SMTP sessions on sockets.

Several worker processes share the listening sockets; each runs all its sessions in one event loop. `prepare` reads
certificates and keys while root still may. What one connection asks is answered in server_connection.py (its client:
server_client.py; its message: server_message.py).
What can go wrong: a configuration that would relay everything ("fatal:", the process ends); an auth service that is
away (AUTH is not offered); a full disk (452 at MAIL).
"""

import asyncio
import contextlib
import os
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from mailsuite.anvil import params as anvil_params
from mailsuite.anvil.client import AnvilClient
from mailsuite.anvil.client_key import ClientKey
from mailsuite.auth_results.organization import public_suffixes
from mailsuite.auth_results.params import DMARC_ORGANIZATIONAL_DOMAIN, DMARC_VERIFY
from mailsuite.auth_results.verifier import Verifier
from mailsuite.auth_results.wiring import add_signer, load_keys
from mailsuite.base.dialogue import Peer, TlsInfo
from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.huge_pages import Busy
from mailsuite.base.log import logger
from mailsuite.dns.resolver import Resolver
from mailsuite.maps.dns_filter import dns_filter
from mailsuite.maps.matchlist import AddressList, NameList
from mailsuite.net.params import HUGE_PAGES_AFTER
from mailsuite.net.service import Acceptor, ServiceContext, serve_connections
from mailsuite.net.sni import smtpd_names
from mailsuite.net.tls import ServerTls, smtpd_tls
from mailsuite.queue.cleanup import Cleanup
from mailsuite.queue.envelope import Handling
from mailsuite.queue.flushlog import flush_domains
from mailsuite.queue.notify import Notifier, QueueNotice
from mailsuite.queue.params import QUEUE_JOURNAL, QUEUE_JOURNAL_SEGMENT_LIMIT, QUEUE_JOURNAL_SEGMENT_SIZE
from mailsuite.queue.store import open_store
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.sasl.auth_client import AuthClient, offered
from mailsuite.smtp import params
from mailsuite.smtp.config import SessionConfig
from mailsuite.smtp.facts import Client, Facts
from mailsuite.smtp.handlers.server_handlers import Handlers
from mailsuite.smtp.milter.server_local import LocalMilters
from mailsuite.smtp.milter.server_observer import MilterSuite
from mailsuite.smtp.observers import Observer, Observers
from mailsuite.smtp.policy.policy import Policy
from mailsuite.smtp.policy.sending import SendingLimit, Verdict
from mailsuite.smtp.proxy_filter_client import ProxyFilter
from mailsuite.smtp.server_connection import SmtpHandler
from mailsuite.smtp.server_notice import Notice, account_notice, send_notice, transcript, watched_classes
from mailsuite.smtp.server_options import allowed_mechanisms, known_options, make_config, make_rates, tls_level
from mailsuite.smtp.session import ServerSession
from mailsuite.smtp.syntax import printable
from mailsuite.verify.client import VerifyClient
from mailsuite.verify.client import service_path as verify_path

if TYPE_CHECKING:
    from mailsuite.auth_results.key_ring import KeyRing
    from mailsuite.config.settings import Settings

log = logger("smtpd")
NAME_TTL_S = 60.0            # how long a client's name is believed without asking again
NAMES_LIMIT = 10_000
GOODBYE_S = 3.0              # how long connections may take to end when the suite stops
BACKGROUND_LIMIT = 100       # of what no client waits for; beyond it a stranger's name is not looked up
BUSY_WARN_S = 60.0           # between two warnings that all places are taken
SPACE_TTL_S = 1.0            # how old a look at the free space of the queue may be
_OVERRIDES = {"no_address_mappings": Handling.MAP | Handling.BCC, "no_header_body_checks": Handling.FILTER,
              "no_milters": Handling.MILTER}
Name = tuple[str, str, str, str]


class Server:
    """What all sessions of a process share. Raises ConfigError."""

    def __init__(self, context: ServiceContext) -> None:
        settings = context.settings
        prepared = context.prepared if isinstance(context.prepared, Prepared) else Prepared()
        self.name = context.name
        self.settings = settings
        self.resolver = Resolver.of(settings, reply_filter=dns_filter(settings, "smtpd", "smtpd_dns_reply_filter"))
        self.rewriter = Rewriter(settings)
        self.policy = Policy(settings, self.rewriter, self.resolver)
        self.sending_limit = SendingLimit(settings)
        self.proxy = ProxyFilter(settings) if settings[params.SMTPD_PROXY_FILTER].strip() else None
        self.policy.resources.verifier = VerifyClient(verify_path(settings))
        self.rates = make_rates(settings)
        self.milters = MilterSuite(settings, self.rewriter)
        self.handlers = Handlers(settings)
        self.policy.resources.sasl = self.policy.resources.sasl or bool(self.handlers.mechanisms)
        observed = not self.milters.empty or bool(self.handlers.plugins)
        self.config = make_config(settings, self.policy, self.rates, observed=observed,
                                  plugin_logins=bool(self.handlers.mechanisms))
        self.stressed = make_config(settings.with_overrides({"stress": "yes"}), self.policy, self.rates,
                                    observed=observed,
                                    plugin_logins=bool(self.handlers.mechanisms))
        self.open, self.places, self._busy_said = 0, 0, -BUSY_WARN_S
        self.busy = Busy(settings[HUGE_PAGES_AFTER])
        self._command_filter = self.policy.resources.table(settings.text("smtpd_command_filter"))
        self._bare_lf_fine = AddressList(settings.text("smtpd_forbid_bare_newline_exclusions"),
                                         self.policy.resources.source, name="smtpd_forbid_bare_newline_exclusions")
        self.mail_name = settings[params.MAIL_NAME]
        self.log_port = settings[params.SMTPD_CLIENT_PORT_LOGGING]
        self.opens_late = settings[params.SMTPD_DELAY_OPEN]
        self.show_tls = settings[params.SMTPD_TLS_RECEIVED_HEADER]
        self.show_login = settings[params.SMTPD_SASL_AUTHENTICATED_HEADER]
        self.hide_client = settings[params.SMTPD_HIDE_CLIENT_SESSION]
        self.asks_certificate = settings[params.SMTPD_TLS_ASK_CCERT]
        queue_directory = settings.text("queue_directory")
        self._queue_directory = queue_directory
        self.anvil = AnvilClient(f"{queue_directory}/private/anvil", context.name) if self.rates.any else None
        self.client_key = ClientKey(settings[anvil_params.SMTPD_CLIENT_IPV4_PREFIX_LENGTH],
                                    settings[anvil_params.SMTPD_CLIENT_IPV6_PREFIX_LENGTH])
        store, journal = open_store(settings), settings[QUEUE_JOURNAL]
        if journal:
            store.use_journal(size=settings[QUEUE_JOURNAL_SEGMENT_SIZE], most=settings[QUEUE_JOURNAL_SEGMENT_LIMIT])
        self.notifier = Notifier(f"{queue_directory}/public/qmgr", gathers=True, journal=journal)
        self.cleanup = Cleanup(context.settings_of("cleanup"), self.rewriter, store, self.notifier)
        self.cleanup.local_inspectors = LocalMilters(settings).inspectors       # of notices to the postmaster
        self.verifier = Verifier(settings, self.policy.resources.checks, self.policy.resources.source)
        if self.verifier.wanted:
            self.cleanup.first.append(self.verifier)
        add_signer(self.cleanup, settings, self.rewriter, prepared.keys)
        self.handling = Handling.EXTERNAL
        for word in settings.text("receive_override_options").replace(",", " ").split():
            self.handling &= ~_OVERRIDES.get(word, Handling.NONE)
        self.sasl_service = settings[params.SMTPD_SASL_SERVICE]
        self.auth = self._make_auth(settings)
        source = self.policy.resources.source
        self.sasl_exceptions = AddressList(settings.text("smtpd_sasl_exceptions_networks"), source,
                                           name="smtpd_sasl_exceptions_networks")
        self.xclient_hosts = AddressList(settings.text("smtpd_authorized_xclient_hosts"), source,
                                         name="smtpd_authorized_xclient_hosts")
        self.xforward_hosts = AddressList(settings.text("smtpd_authorized_xforward_hosts"), source,
                                          name="smtpd_authorized_xforward_hosts")
        self.debugged = AddressList(settings.text("debug_peer_list"), source, name="debug_peer_list")
        self.verp_hosts = AddressList(settings.text("smtpd_authorized_verp_clients"), source,
                                      name="smtpd_authorized_verp_clients")
        self._exempt = AddressList(settings.text("smtpd_client_event_limit_exceptions"), source,
                                   name="smtpd_client_event_limit_exceptions")
        self._forbidden = NameList(settings.text("smtpd_forbidden_commands"), source,
                                   name="smtpd_forbidden_commands")
        self._flush_domains = flush_domains(settings, "smtpd")
        self._discard_maps = self.policy.resources.table(settings.text("smtpd_discard_ehlo_keyword_address_maps"))
        lists = (self.xclient_hosts, self.xforward_hosts, self.verp_hosts, self.debugged)
        self.asks_at_connect = self.policy.judges_connect or bool(self.config.bare_lf_reply) or observed or \
            "connection" in self.rates.events or not all(hosts.empty for hosts in lists)
        self._names: OrderedDict[str, tuple[float, Name]] = OrderedDict()
        self._looks_up = settings[params.SMTPD_PEERNAME_LOOKUP]
        self._watched = watched_classes(settings)
        self._notices: set[asyncio.Task[None]] = set()
        self._space_seen, self._space_low = -SPACE_TTL_S, False

    async def finish(self) -> None:
        """Let notices that are being queued get there."""
        if self.anvil is not None:
            self.anvil.close()
        if self._notices:
            await asyncio.wait(self._notices, timeout=GOODBYE_S)
        self.notifier.close()

    def _make_auth(self, settings: "Settings") -> AuthClient | None:
        if not settings[params.SMTPD_SASL_AUTH_ENABLE]:
            return None
        if settings[params.SMTPD_SASL_TYPE] != "dovecot":
            raise ConfigError("smtpd_sasl_type = cyrus is not available; use smtpd_sasl_type = dovecot with "
                              "smtpd_sasl_path")
        options = [*settings[params.SMTPD_SASL_SECURITY_OPTIONS], *settings[params.SMTPD_SASL_TLS_SECURITY_OPTIONS]]
        if wrong := known_options(options):
            raise ConfigError(f"unknown smtpd_sasl_security_options value \"{wrong[0]}\"")
        path = settings[params.SMTPD_SASL_PATH]
        if path.startswith("inet:"):
            raise ConfigError("smtpd_sasl_path: only Unix sockets are available")
        path = path.removeprefix("unix:")
        return AuthClient(path if path.startswith("/") else f"{self._queue_directory}/{path}")

    # --- clients ------------------------------------------------------------------------------------------------

    def known_name(self, address: str) -> Name | None:
        """A client's name when it need not be asked for."""
        if not self._looks_up:
            return "unknown", "unknown", "temporary", "temporary"
        if not address:
            return "localhost", "localhost", "ok", "ok"
        known = self._names.get(address)
        if known is None or asyncio.get_running_loop().time() - known[0] > NAME_TTL_S:
            return None
        return known[1]

    async def look_up_name(self, address: str) -> tuple[str, str, str, str, str]:
        """Ask DNS; the last is a warning for the log, or ""."""
        found = await self.resolver.client_name(address)
        name = found.name, found.reverse_name, found.name_status, found.reverse_name_status
        if "temporary" not in name[2:] and not found.warning:
            while len(self._names) >= NAMES_LIMIT:
                self._names.popitem(last=False)
            self._names[address] = asyncio.get_running_loop().time(), name
        return *name, found.warning

    def is_counted_now(self, client: Client) -> bool | None:
        """As is_counted, when no table has to be asked; else None. The client's name must be known."""
        if self.anvil is None or not client.address:
            return False
        try:
            answers = [exempt.matches_host_now(client.name, client.address)
                       for exempt in (self._exempt, self.xclient_hosts)]
        except TemporaryError:
            return None
        return False if True in answers else None if None in answers else True

    async def is_counted(self, client: Client) -> bool:
        """Whether the smtpd_client_*_limit parameters concern a client: not those of
        smtpd_client_event_limit_exceptions, nor who may speak for others (XCLIENT)."""
        if self.anvil is None or not client.address:
            return False
        try:
            return not (await self._exempt.matches_host(client.name, client.address) or
                        await self.xclient_hosts.matches_host(client.name, client.address))
        except TemporaryError:
            return True

    async def discarded_keywords(self, client: Client) -> frozenset[str]:
        """smtpd_discard_ehlo_keyword_address_maps, else smtpd_discard_ehlo_keywords. Raises TemporaryError."""
        if not self._discard_maps.empty:
            try:
                value = await self._discard_maps.find(client.address)
            except TemporaryError:
                log.warning("don't know what EHLO features to announce to %s", client.host)
                raise
            if value is not None:
                return frozenset(value.lower().replace(",", " ").split())
        return self.config.discard_keywords

    def config_now(self) -> SessionConfig:
        """What a new session goes by: under stress (all places of this process are taken) time is shorter."""
        if not self.places or self.open < self.places:
            return self.config
        now = asyncio.get_running_loop().time()
        if now - self._busy_said >= BUSY_WARN_S:
            self._busy_said = now
            log.warning("service \"%s\" has reached its process limit: new clients may experience noticeable delays",
                        self.name)
        return self.stressed

    async def filter_command(self, line: str) -> str | None:
        """smtpd_command_filter. Raises TemporaryError."""
        return await self._command_filter.find(line)

    async def may_end_lines_in_lf(self, client: Client) -> bool:
        """smtpd_forbid_bare_newline_exclusions."""
        try:
            return await self._bare_lf_fine.matches_host(client.name, client.address)
        except TemporaryError:
            return False

    async def is_forbidden(self, command: str) -> bool:
        """smtpd_forbidden_commands."""
        try:
            return await self._forbidden.matches(command)
        except TemporaryError:
            return False

    async def mechanisms(self, tls: TlsInfo | None) -> tuple[str, ...]:
        """What AUTH offers; nothing while the auth service is away."""
        if self.auth is None:
            return ()
        option = params.SMTPD_SASL_TLS_SECURITY_OPTIONS if tls is not None else params.SMTPD_SASL_SECURITY_OPTIONS
        try:
            known = offered(await self.auth.mechanisms(), tls)
        except TemporaryError as error:
            log.warning("SASL: %s", error.detail or error.public)
            return ()
        options: tuple[str, ...] = self.settings[option]
        return allowed_mechanisms(known, options, self.settings[params.SMTPD_SASL_MECHANISM_FILTER])

    async def observer(self, facts: Facts, connections: Callable[[], Awaitable[int]]) -> Observer:
        """Who watches this client's connection. connections: how many it has."""
        members: list[Observer] = []
        if (milters := await self.milters.observer(facts, connections)) is not None:
            members.append(milters)
        if (handlers := self.handlers.observer(facts)) is not None:
            members.append(handlers)
        return members[0] if len(members) == 1 else Observers(members)

    # --- the queue ----------------------------------------------------------------------------------------------

    def space_is_low(self) -> bool:
        """Whether the queue's file system has no room for another message (queue_minfree); looks once a second."""
        now = asyncio.get_running_loop().time()
        if now - self._space_seen >= SPACE_TTL_S:
            self._space_seen = now
            try:
                status = os.statvfs(self._queue_directory)
            except OSError:
                self._space_low = False
            else:
                free = status.f_bavail * status.f_frsize
                least = self.settings[params.QUEUE_MINFREE]
                self._space_low = free < max(least, 1.5 * self.config.message_size_limit)
        return self._space_low

    def report_trouble(self, session: ServerSession) -> None:
        """A session is over: mail its transcript to the postmaster, where notify_classes asks for it."""
        if session.ledger.transcripts:
            self.report_pages(session)
        if (trouble := session.trouble & self._watched) and (history := session.ledger.history):
            self._send(transcript(self.settings, session.facts.client.host, history, trouble, session.ledger.reason))

    def report_pages(self, session: ServerSession) -> None:
        """The same for what a session, which may go on, has turned over."""
        pages, session.ledger.transcripts = session.ledger.transcripts, []
        for trouble, lines in pages:
            if watched := trouble & self._watched:
                self._send(transcript(self.settings, session.facts.client.host, lines, watched))

    def tell_of_account(self, facts: Facts, verdict: Verdict) -> None:
        """The postmaster hears that an account sends more than it may."""
        self._send(account_notice(facts, verdict, self.sending_limit.unit_s))

    def _send(self, notice: Notice) -> None:
        self.in_background(send_notice(self.settings, self.cleanup, notice))

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what no client waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    @property
    def is_behind(self) -> bool:
        """Whether so much is done in the background that no stranger may add to it."""
        return len(self._notices) >= BACKGROUND_LIMIT

    async def etrn(self, facts: Facts, domain: str) -> str:
        """The reply to ETRN."""
        refusal = await self.policy.etrn(facts)
        if refusal is not None:
            return refusal.reply
        try:
            if not await self._flush_domains.matches(domain):
                log.warning("reject: ETRN %.100s... from %s", printable(domain), facts.client.host)
                return f"459 <{domain}>: service unavailable"
        except TemporaryError:
            return f"458 Unable to queue messages for {domain}"
        self.notifier.tell(QueueNotice("flush", site=domain))
        return "250 Queuing started"


class Prepared(NamedTuple):
    """What was read while root still might: certificate and key for TLS, keys that sign mail."""

    tls: ServerTls | None = None
    keys: "KeyRing | None" = None


def prepare(context: ServiceContext) -> Prepared:
    """Called while root still may."""
    settings = context.settings
    uses_dmarc = settings[DMARC_VERIFY] or any("_dmarc_" in text for text in settings.written.values())
    if uses_dmarc and settings[DMARC_ORGANIZATIONAL_DOMAIN] == "psl":
        public_suffixes()                   # a file that may be out of reach later
    return Prepared(_load_tls(settings), load_keys(settings))


def _load_tls(settings: "Settings") -> ServerTls | None:
    """A bad certificate is logged, and TLS is then not available."""
    if tls_level(settings) == "none" and not settings[params.SMTPD_TLS_WRAPPERMODE]:
        return None
    tls = ServerTls(smtpd_tls(settings), smtpd_names(settings))
    try:
        tls.load()
    except ConfigError as error:
        log.warning("%s", error.public)
        log.warning("cannot load TLS certificates: TLS is not available")
    return tls


async def serve(context: ServiceContext) -> None:
    """Accept and serve until told to stop; a drained process lives as long as its connections."""
    try:
        server = Server(context)
    except ConfigError:
        if context.worker == 0:
            raise
        context.ready()                     # one of us says it; nobody serves
        await context.stopping.wait()
        return
    tls = context.prepared.tls if isinstance(context.prepared, Prepared) else None
    wrapped = context.settings[params.SMTPD_TLS_WRAPPERMODE]
    limit = max(1, -(-context.process_limit // context.workers)) if context.process_limit else 0
    server.places = limit
    acceptors = []
    for listener in context.listeners:
        listener.tls = listener.tls or wrapped
        acceptors.append(Acceptor(listener, partial(SmtpHandler, server), limit=limit,
                                  proxy_timeout_s=context.settings[params.SMTPD_UPSTREAM_PROXY_TIMEOUT],
                                  handshake_timeout_s=context.settings[params.SMTPD_STARTTLS_TIMEOUT],
                                  proxy_failed=lambda sock, peer, why: _no_proxy_header(server, sock, peer, why),
                                  tls=lambda: tls.context() if tls is not None else None, short=True))
    if server.anvil is not None:
        server.anvil.start()
    await serve_connections(context, acceptors, _say_goodbye)
    await server.finish()


def _no_proxy_header(server: Server, sock: socket.socket, peer: Peer, why: str) -> None:
    """A balancer that does not say whom it speaks for."""
    log.warning("haproxy read: %s", why)
    known = server.known_name(peer.address)
    client = Client(peer.address, peer.port, name=known[0] if known is not None else "unknown")
    log.info("connect from %s", client.host)
    with contextlib.suppress(OSError):
        sock.send(f"421 4.3.0 {server.config.hostname} Server local error\r\n".encode())
    log.info("disconnect from %s commands=0/0", client.host)


async def _say_goodbye(acceptors: list[Acceptor]) -> None:
    """The suite stops. A message that is being committed gets its answer first."""
    deadline = asyncio.get_running_loop().time() + GOODBYE_S
    while connections := [connection for acceptor in acceptors for connection in acceptor.connections]:
        late = asyncio.get_running_loop().time() > deadline
        for connection in connections:
            if late:
                connection.abort()
            elif not connection.busy and isinstance(connection.session, ServerSession):
                connection.perform(connection.session.stop())
        await asyncio.sleep(0.05)
