"""Sessions with remote hosts: opened, made ready (greeting, EHLO, STARTTLS, AUTH), and kept for the next message.

    session = await sessions.get(endpoint, nexthop, Wants(sender))   raises Trouble, TemporaryError, ConfigError
    await sessions.give_back(session)                                kept while more mail for the nexthop waits

A session is kept for smtp_connection_cache_time_limit seconds when another request for the same nexthop is under way or
came shortly before; never longer than smtp_connection_reuse_time_limit after it was opened.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.log import logger
from mailsuite.config.settings import Settings
from mailsuite.deliver.status_filter import LineFilter
from mailsuite.deliver.tls_reports import TlsReports
from mailsuite.dns.resolver import Resolver
from mailsuite.maps import MapSource, open_maps
from mailsuite.maps.matchlist import AddressList, NameList
from mailsuite.net.params import TCP_WINDOWSIZE
from mailsuite.smtp.client import ClientConnection, Endpoint, HandshakeTrouble
from mailsuite.smtp.client_auth import (
    Credentials,
    Failures,
    LoginTrouble,
    Passwords,
    allowed_mechanisms,
    authenticate,
    cached,
)
from mailsuite.smtp.client_dane import NoTls
from mailsuite.smtp.client_destination import NoHost, parse_destination
from mailsuite.smtp.client_own import bind_addresses
from mailsuite.smtp.client_params import CACHE_ON_DEMAND, CACHE_TIME, REUSE_COUNT, REUSE_TIME, ClientConfig
from mailsuite.smtp.client_policy import Policy
from mailsuite.smtp.client_requiretls import Demand, Demands, RequireTlsTrouble
from mailsuite.smtp.client_session import Features, Trouble, greeting, hello, start_tls
from mailsuite.smtp.client_tls import CertificateTrouble, NoStartTls, Policies
from mailsuite.smtp.client_transcript import LoggedTranscript, Transcript
from mailsuite.tls.identity import Identity
from mailsuite.tls.peer import Trust, Verdict

SMTP_PORT = 25
KEPT_MOST = 200                 # idle sessions
REMEMBERED_MOST = 1000          # nexthops whose last request is remembered
Key = tuple[Endpoint, Policy, str]


@dataclass(eq=False)
class Session:
    """One connection that is ready for MAIL FROM."""

    link: ClientConnection
    features: Features
    key: Key
    nexthop: str
    opened_at: float
    ready_at: float
    messages: int = 0
    reused: bool = False
    authenticated: bool = False
    said_data: bool = False
    clean: bool = True          # no transaction is open at the other side
    verdict: Verdict | None = None      # of the server's certificate; None without TLS
    demand: Demand = Demand.NONE        # of the message that is being sent

    def watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The same blocks; remembers that the message was begun."""
        self.said_data = True
        yield from blocks


@dataclass(frozen=True, slots=True)
class Wants:
    """A message's. require_tls: Envelope's. waited: it has been here for minimal_backoff_time."""

    sender: str
    require_tls: str = ""
    waited: bool = False
    queue_id: str = ""


class Sessions:
    """One configuration's sessions."""

    def __init__(self, settings: Settings, prefix: str, config: ClientConfig, resolver: Resolver,
                 identities: tuple[Identity, ...] = ()) -> None:
        self._config, self._prefix, self._log = config, prefix, logger(prefix)
        self._policies = Policies(settings, prefix, resolver, self._log, identities)
        self._demands = Demands(settings, prefix)
        self._reports = TlsReports.of(settings, prefix, resolver)
        self._passwords, self._failures = Passwords(settings, prefix), Failures(settings, prefix)
        hello_word = "lhlo" if config.lmtp else "ehlo"
        self._discards = open_maps(settings.text(f"{prefix}_discard_{hello_word}_keyword_address_maps"),
                                   MapSource(settings, prefix))
        self._bind = bind_addresses(settings, prefix)
        self._window = settings[TCP_WINDOWSIZE]
        self._bind_must = settings.text(f"{prefix}_bind_address_enforce") == "yes"
        self._filter = LineFilter(settings, prefix)
        self._always = NameList(settings.text(f"{prefix}_connection_cache_destinations"), MapSource(settings, prefix))
        self._debugged = AddressList(settings.text("debug_peer_list"), MapSource(settings, prefix),
                                     name="debug_peer_list")
        self._keep_s, self._on_demand = float(settings[CACHE_TIME[prefix]]), settings[CACHE_ON_DEMAND[prefix]]
        self._queue_directory = settings.text("queue_directory")
        self._age_s, self._count = settings[REUSE_TIME[prefix]], settings[REUSE_COUNT[prefix]] or 10**9
        self._idle: dict[Key, deque[tuple[float, Session]]] = {}
        self._kept = 0
        self._under_way: Counter[str] = Counter()
        self._last_asked: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._quitting: set[asyncio.Task[None]] = set()
        self._closed = False
        self.watch: Callable[[Endpoint], Transcript] | None = None      # where the postmaster wants to read of trouble

    @contextmanager
    def wanted(self, nexthop: str) -> Iterator[None]:
        """While a request for the nexthop is under way."""
        self._under_way[nexthop] += 1
        try:
            yield
        finally:
            self._under_way[nexthop] -= 1
            if not self._under_way[nexthop]:
                del self._under_way[nexthop]
            if len(self._last_asked) >= REMEMBERED_MOST:
                self._last_asked.clear()
            self._last_asked[nexthop] = time.monotonic()

    async def get(self, endpoint: Endpoint, nexthop: str, wants: "Wants", *, fresh: bool = False) -> Session:
        """A session that is ready for a message. Raises Trouble, TemporaryError, ConfigError."""
        demand = await self._demands.find(wants.require_tls, wants.sender, endpoint, _host_of(nexthop, endpoint))
        try:
            policy = await self._policies.find(endpoint, nexthop)
        except NoTls as trouble:
            self._report(None, endpoint, nexthop, None, trouble)
            raise
        policy = self._demands.policy(demand, policy, endpoint)
        credentials = await self._passwords.find(wants.sender, endpoint.host, nexthop) if self._config.sasl else None
        key = (endpoint, policy, credentials.user if credentials else "")
        session = self._take(key) if not fresh else None
        if session is None:
            try:
                session = await self._opened(endpoint, nexthop, policy, credentials, key, wants.queue_id,
                                             wants.waited or demand is Demand.RELAXED)
            except (NoStartTls, CertificateTrouble, HandshakeTrouble) as trouble:
                if demand is not Demand.ENFORCE:
                    raise
                raise RequireTlsTrouble(f"Encryption needed: {trouble.public}") from trouble
        session.demand, session.link.queue_id = demand, wants.queue_id
        try:
            self._demands.check(demand, session.features, session.link.host)
        except Trouble:
            self._quit(session.link)
            raise
        return session

    async def _opened(self, endpoint: Endpoint, nexthop: str, policy: Policy, credentials: Credentials | None,
                      key: Key, queue_id: str, waited: bool) -> Session:
        """waited: long enough to go without TLS that may be used, but fails."""
        try:
            return await self._open(endpoint, nexthop, policy, credentials, key, queue_id)
        except HandshakeTrouble as trouble:
            self._log.info("SSL_connect error to %s: %s", endpoint.name_port, trouble.why)
            if policy.level != "may" or not waited or credentials is not None:
                raise
            self._log.info("%s: TLS failed, trying without", endpoint.name_port)
            plain = Policy("none")              # kept as such: the next message tries TLS again
            return await self._open(endpoint, nexthop, plain, credentials, (endpoint, plain, key[2]), queue_id)

    async def _open(self, endpoint: Endpoint, nexthop: str, policy: Policy, credentials: Credentials | None,
                    key: Key, queue_id: str) -> Session:
        opened, wrapper = time.time(), self._policies.wrapper and policy.level != "none"
        link = await ClientConnection.open(
            endpoint, timeout_s=self._config.timeouts["connect"], bind=self._bind[":" in endpoint.address],
            bind_must=self._bind_must, warn=lambda text: self._log.warning("%s", text),
            lines_limit=self._config.reply_lines, unix_root=self._queue_directory, window=self._window)
        noted = False
        self._listen(link, queue_id)
        if self.watch is not None:
            link.transcript = self.watch(endpoint)
        if not self._debugged.empty and await self._debugged.matches_host(endpoint.host, endpoint.address):
            link.transcript = LoggedTranscript(self._log, endpoint.name_port, link.transcript)
        own = endpoint.port == SMTP_PORT        # elsewhere our own name is a content filter's, say
        best_mx_of = endpoint.domain if endpoint.best else ""
        try:
            config = await self._config_for(endpoint)
            verdict = await self._handshake(link, policy, nexthop) if wrapper else None
            esmtp = await link.run(greeting(config, link.host, own=own))
            features = await link.run(hello(config, link.host, best_mx_of=best_mx_of, esmtp=esmtp, own=own))
            if policy.level != "none" and not wrapper:
                features, verdict = await self._secure(link, features, policy, nexthop, config)
            elif self._policies.note_offer and not wrapper and features.has("STARTTLS"):
                self._log.info("Host offered STARTTLS: [%s]", endpoint.host)
            features.tls, noted = link.tls, True
            self._report(policy, endpoint, nexthop, link)
            link.pipelining = features.has("PIPELINING")
            authenticated = await self._log_in(
                link, features, credentials, verified=verdict is not None and verdict.trust is Trust.VERIFIED)
        except Trouble as trouble:
            if not noted:
                self._report(policy, endpoint, nexthop, link, trouble)
            if link.transcript is not None:
                link.transcript.judge(trouble.reply)
            if trouble.dead:
                link.abort()
            else:
                self._quit(link)
            raise
        except BaseException:
            link.abort()
            raise
        return Session(link, features, key, nexthop, opened, time.time(), authenticated=authenticated,
                       verdict=verdict)

    async def _log_in(self, link: ClientConnection, features: Features, credentials: Credentials | None, *,
                      verified: bool) -> bool:
        """Raises Trouble. verified: the server's certificate was checked."""
        if credentials is None or not features.has("AUTH"):
            return False
        host = link.endpoint.host
        if credentials.unknown:
            self._log.warning("%s: %s_sasl_password_maps lookup error", link.queue_id, self._prefix)
            raise Trouble(f"local data error while talking to {link.host}", status="4.3.0")
        if (known := self._failures.find(host, credentials)) is not None:
            raise cached(self._config, host, *known)
        offered = await allowed_mechanisms(self._config, features)
        try:
            await link.run(authenticate(self._config, features, link.host, credentials, offered,
                                        verified=verified))
        except LoginTrouble as trouble:
            self._failures.remember(host, credentials, trouble.answer)
            raise
        return True

    def _listen(self, link: ClientConnection, queue_id: str) -> None:
        """Where the connection's remarks go. In a pipeline a line that is no reply may shift all that follow."""
        name, log = link.endpoint.name_port, self._log
        link.queue_id = queue_id

        def noise(line: str) -> None:
            if link.pipelining:
                log.warning("%s: non-%s response from %s: %.100s", link.queue_id,
                            "LMTP" if self._config.lmtp else "ESMTP", name, line)
                log.warning("to prevent loss of mail, turn off command pipelining for %s with the "
                            "%s_discard_%shlo_keyword_address_maps parameter", link.endpoint.address, self._prefix,
                            "l" if self._config.lmtp else "e")

        def replace_line(line: str) -> str:
            new = self._filter.replace(line)
            if new is None:
                return line
            log.info("%s: replacing server reply \"%s\" with \"%s\"", name, line, new)
            return new

        link.warn = lambda text: log.warning("%s", text.replace(link.endpoint.name, name, 1))
        link.note = lambda text: log.info("%s", text)
        link.listen_to(noise=noise, replace=None if self._filter.empty else replace_line)

    async def _config_for(self, endpoint: Endpoint) -> ClientConfig:
        """With the keywords that this server must not have offered: smtp_discard_ehlo_keyword_address_maps."""
        found = await self._discards.find(endpoint.address) if endpoint.address else None
        if found is None:
            return self._config
        return replace(self._config, discard_keywords=frozenset(found.upper().replace(",", " ").split()))

    async def _secure(self, link: ClientConnection, features: Features, policy: Policy, nexthop: str,
                      config: ClientConfig) -> tuple[Features, Verdict | None]:
        """STARTTLS, where it is offered or a must. Raises Trouble."""
        if not features.has("STARTTLS"):
            if policy.mandatory:
                raise NoStartTls(link.host)
            return features, None
        self._prepare(link, policy, nexthop)
        if not await link.run(start_tls(config, link.host, mandatory=policy.mandatory)):
            return features, None
        verdict = self._policies.judge(policy, link.endpoint, _host_of(nexthop, link.endpoint), link)
        return await link.run(hello(config, link.host)), verdict

    async def _handshake(self, link: ClientConnection, policy: Policy, nexthop: str) -> Verdict:
        """TLS from the first octet. Raises Trouble."""
        self._prepare(link, policy, nexthop)
        await link.handshake()
        return self._policies.judge(policy, link.endpoint, _host_of(nexthop, link.endpoint), link)

    def _prepare(self, link: ClientConnection, policy: Policy, nexthop: str) -> None:
        """Raises Trouble: the policy cannot be kept to."""
        try:
            context = self._policies.context(policy)
            name = self._policies.server_name(policy, link.endpoint, _host_of(nexthop, link.endpoint))
        except ConfigError as error:
            self._log.warning("%s: %s", link.endpoint.name_port, error.public)
            raise Trouble("Cannot start TLS: handshake failure", status="4.7.5", tls=True) from error
        link.context, link.server_name = lambda: context, name
        link.handshake_timeout_s = min(self._config.timeouts["starttls"], 3600.0)

    def _report(self, policy: Policy | None, endpoint: Endpoint, nexthop: str, link: ClientConnection | None,
                trouble: Trouble | None = None) -> None:
        """For the domain's TLS report."""
        if self._reports is None:
            return
        failure = None
        if policy is not None and policy.testing and link is not None and link.tls:
            failure = self._policies.rehearse(policy, endpoint, link)
        self._reports.session(policy, endpoint, nexthop, link, trouble=trouble, failure=failure)

    # --- idle ones ----------------------------------------------------------------------------------------------------

    def _take(self, key: Key) -> Session | None:
        group = self._idle.get(key)
        while group:
            _, session = group.pop()
            self._kept -= 1
            if session.link.quiet and time.time() - session.opened_at < self._age_s:
                if session.link.transcript is not None:
                    session.link.transcript.turn_page()
                session.reused, session.said_data, session.ready_at = True, False, time.time()
                return session
            self._quit(session.link)
        return None

    async def give_back(self, session: Session) -> None:
        """Keep the session, or end it."""
        link = session.link
        recently = time.monotonic() - self._last_asked.get(session.nexthop, -1e9) < self._keep_s
        more = self._on_demand and (self._under_way[session.nexthop] > 1 or recently)
        more = more or await self._kept_always(session.nexthop)
        if not (link.quiet and session.clean and session.messages and more and self._keep_s and not self._closed
                and session.messages <= self._count and self._kept < KEPT_MOST
                and time.time() - session.opened_at < self._age_s):
            self._quit(link)
            return
        self._idle.setdefault(session.key, deque()).append((time.monotonic() + self._keep_s, session))
        self._kept += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._keep_s, self._expire)

    async def _kept_always(self, nexthop: str) -> bool:
        """smtp_connection_cache_destinations."""
        if self._always.empty:
            return False
        try:
            return await self._always.matches(_host_of(nexthop, None) or nexthop)
        except TemporaryError:
            return False                # logged already; only speed depends on it

    def _expire(self) -> None:
        self._timer = None
        now = time.monotonic()
        for key, group in list(self._idle.items()):
            while group and group[0][0] <= now:
                self._quit(group.popleft()[1].link)
                self._kept -= 1
            if not group:
                del self._idle[key]
        if self._idle:
            self._timer = asyncio.get_running_loop().call_later(self._keep_s, self._expire)

    def _quit(self, link: ClientConnection) -> None:
        """In the background: nobody's mail waits for the answer."""
        if not link.usable:
            link.close()
            return
        task = asyncio.get_running_loop().create_task(link.quit(self._config))
        self._quitting.add(task)
        task.add_done_callback(self._quitting.discard)

    async def finish(self) -> None:
        """The last thing before the process ends."""
        if self._reports is not None:
            await self._reports.close()

    def close(self) -> None:
        """End all idle sessions; no more are kept."""
        self._closed = True
        for group in self._idle.values():
            for _, session in group:
                self._quit(session.link)
        self._idle.clear()
        self._kept = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _host_of(nexthop: str, endpoint: Endpoint | None) -> str:
    """The next hop's name as certificates are compared with it."""
    if endpoint is not None and endpoint.path:
        return endpoint.host
    try:
        return parse_destination(nexthop, 25).host
    except NoHost:
        return nexthop
