"""smtp(8) and lmtp(8): mail for other hosts, many deliveries at once in one event loop.

A request goes to the hosts of its nexthop in order (smtp/client_hosts.py), then to those of smtp_fallback_relay. What
one host refuses for now is offered to the next, smtp_mx_session_limit sessions at most for each of these places; what
the last one refuses is deferred. A 5xx reply to MAIL, RCPT or the message bounces at once. TLS that fails at level
"may" is tried again without, in a new connection, when the message has waited for minimal_backoff_time.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterable, Callable, Iterable

from msgspec.structs import replace

from mailsuite.address.syntax import unquote_local
from mailsuite.base.errors import ConfigError, MailError, TemporaryError
from mailsuite.base.log import logger
from mailsuite.config.settings import Settings
from mailsuite.deliver.agent import CONFIGURATION_ERROR, Job, serve_agent
from mailsuite.deliver.content import Outgoing
from mailsuite.deliver.headers import delivered_to, delivery_header
from mailsuite.deliver.passing import pass_on
from mailsuite.deliver.sessions import Session, Sessions, Wants
from mailsuite.deliver.transcripts import transcripts
from mailsuite.dns.resolver import Resolver
from mailsuite.maps.dns_filter import dns_filter
from mailsuite.net.client_tls import client_identities
from mailsuite.net.service import ServiceContext
from mailsuite.queue.agent import BOUNCED, DEFERRED, SENT, Times
from mailsuite.queue.envelope import Recipient
from mailsuite.queue.params import MINIMAL_BACKOFF_TIME
from mailsuite.smtp.client import Endpoint
from mailsuite.smtp.client_body import Body, encode_body, encode_body_async
from mailsuite.smtp.client_dane import NoTls
from mailsuite.smtp.client_destination import NoHost
from mailsuite.smtp.client_hosts import HostFinder
from mailsuite.smtp.client_params import MX_SESSION_LIMIT, ClientConfig
from mailsuite.smtp.client_session import Mail, Result, Trouble
from mailsuite.smtp.client_transaction import transaction
from mailsuite.store.delivery import read_blocks
from mailsuite.tls.chain import read_ahead
from mailsuite.tls.identity import Identity

LOOP = "5.4.6"
LARGE = 1 << 20                 # octets that are not gone through in the event loop


class RemoteAgent:
    """One transport by SMTP or LMTP. prefix: "smtp" or "lmtp": whose parameters count."""

    def __init__(self, settings: Settings, prefix: str, resolver: Resolver,
                 identities: tuple[Identity, ...] = (), flags: str = "") -> None:
        """identities: the client's certificates. flags: of DORX, see smtp(8), as master.cf gives them."""
        self.flags = flags
        self.prefix, self._resolver, self._identities = prefix, resolver, identities
        self.log = logger(prefix)
        self._sessions: Sessions | None = None
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        self.config = ClientConfig.of(settings, self.prefix)
        self.finder = HostFinder(settings, self._resolver, self.prefix, lambda text: self.log.warning("%s", text))
        self.session_limit = settings[MX_SESSION_LIMIT[self.prefix]] or 10**9
        self.outgoing = Outgoing(settings, self.prefix)
        if self.prefix == "lmtp" and settings.text("lmtp_assume_final") == "yes":
            self.log.warning('lmtp_assume_final is obsolete; instead, specify "flags=X" in master.cf')
            self.flags += "X"
        self.detect_8bit = settings.text("detect_8bit_encoding_header") != "no"
        self.patience_s = settings[MINIMAL_BACKOFF_TIME]        # how long a message waits for TLS that fails
        self.relayhost, self.best_mx_transport = settings.text("relayhost"), settings.text("best_mx_transport")
        self.queue_directory = settings.text("queue_directory")
        old, self._sessions = self._sessions, Sessions(
            settings, self.prefix, self.config, self._resolver, self._identities)
        self._sessions.watch = transcripts(settings, self.prefix)
        if old is not None:
            old.close()

    async def deliver(self, job: Job) -> None:
        with job.message_file() as fd:
            if "D" in self.flags:
                self._end_loops(job, fd)
            if job.open_recipients:
                await _Attempt(self, job, fd).run()

    def _end_loops(self, job: Job, fd: int) -> None:
        """Who is in a Delivered-To header has had the message already."""
        seen = delivered_to(fd, job.request.offset, job.request.size)
        for recipient in list(job.open_recipients.values()):
            if recipient.address.lower() in seen:
                job.report(recipient, BOUNCED, LOOP, f"mail forwarding loop for {recipient.address}", relay=self.prefix)

    async def close(self) -> None:
        if self._sessions is not None:
            self._sessions.close()
            await self._sessions.finish()

    @property
    def sessions(self) -> Sessions:
        assert self._sessions is not None
        return self._sessions


class _Attempt:
    """One request at all of its hosts."""

    def __init__(self, agent: RemoteAgent, job: Job, fd: int) -> None:
        self._agent, self._job, self._fd = agent, job, fd
        self._why: MailError | None = None      # the last host that was not found or not reached
        self._kept: set[int] = set()            # recipients that wait for another host
        self._final_site = self._final = False  # nothing comes after this site; after this session
        self._times = job.times
        self._size = 0                          # octets with CRLF at the ends of lines: RFC 1870 section 3
        self._encoding = job.request.encoding

    async def run(self) -> None:
        agent, job = self._agent, self._job
        own, fallback = agent.finder.sites(job.request.nexthop)
        for number, site in enumerate(sites := [*own, *fallback], 1):
            self._final_site, relay = number == len(sites), number > len(own)
            try:
                found = await agent.finder.find(site, fallback=relay)
            except NoHost as error:
                # Mail that loops does not get better by going elsewhere.
                self._why, self._final_site = error, self._final_site or error.status == LOOP
            else:
                # Where we are an MX host, the fallback relay would send it back to us.
                self._final_site = self._final_site or found.backup
                await self._site(site, found.endpoints)
            if not job.open_recipients:
                return
            if self._final_site:
                break
        await self._give_up(fallback=relay)

    async def _site(self, site: str, endpoints: tuple[Endpoint, ...]) -> None:
        used = 0
        with self._agent.sessions.wanted(site):
            for number, endpoint in enumerate(endpoints):
                last = number == len(endpoints) - 1
                used += await self._host(site, endpoint, last, used + 1 == self._agent.session_limit)
                if used == self._agent.session_limit or not self._job.open_recipients:
                    return

    async def _host(self, site: str, endpoint: Endpoint, last: bool, last_session: bool) -> bool:
        """One host. Returns whether that counts as a session: refused handshakes do not."""
        job, session = self._job, None
        self._kept.clear()
        self._final = self._final_site and last
        try:
            session = await self._open(site, endpoint)
            self._final = self._final_site and (last or last_session)
            try:
                await self._transfer(session)
            except Trouble as trouble:
                if not (session.reused and trouble.dead and not trouble.reply and not session.said_data):
                    raise
                # An old connection that was closed meanwhile says nothing about the host.
                session.link.abort()
                session = await self._open(site, endpoint, fresh=True)
                await self._transfer(session)
        except Trouble as trouble:
            if trouble.unreached or isinstance(trouble, NoTls):
                self._why = trouble
                if trouble.unreached and not endpoint.path:
                    job.log.info("%s", trouble.public)
            else:
                self._failed(trouble, endpoint, session)
        except ConfigError as error:
            job.log.warning("%s", error)
            self._defer("4.7.5", CONFIGURATION_ERROR, endpoint, session)
        except TemporaryError as error:
            job.log.warning("%s: %s", job.queue_id, error)
            self._defer(error.status, error.public, endpoint, session)
        finally:
            if session is not None:
                await self._agent.sessions.give_back(session)
        return session is not None

    def _defer(self, status: str, reason: str, endpoint: Endpoint, session: Session | None) -> None:
        """Our own trouble: no other host helps."""
        relay = self._relay(endpoint, session) if session is not None else "none"
        for recipient in self._unmarked():
            self._job.report(recipient, DEFERRED, status, reason, relay=relay)

    async def _open(self, site: str, endpoint: Endpoint, *, fresh: bool = False) -> Session:
        request = self._job.request
        waited = request.active_time - request.arrival_time >= self._agent.patience_s
        wants = Wants(request.sender, request.facts.get("require_tls", ""), waited, request.queue_id)
        return await self._agent.sessions.get(endpoint, site, wants, fresh=fresh)

    # --- outcomes -----------------------------------------------------------------------------------------------------

    def _unmarked(self) -> list[Recipient]:
        return [recipient for number, recipient in self._job.open_recipients.items() if number not in self._kept]

    def _failed(self, trouble: Trouble, endpoint: Endpoint, session: Session | None) -> None:
        """The session broke, or did not come about: what has no result yet is for the next host, or ends here."""
        if session is None:
            self._times = Times(self._job.times.received, connected=time.time())
        result = Result(int(trouble.status[0]), trouble.status, trouble.public, trouble.reply)
        self._ended(endpoint, session, None, result, elsewhere=trouble.elsewhere)

    def _ended(self, endpoint: Endpoint, session: Session | None, number: int | None, result: Result, *,
               elsewhere: bool = False) -> None:
        """A recipient's end at this host; number None: that of all without one. elsewhere: as in Trouble."""
        job = self._job
        if session is not None and session.link.transcript is not None and result.kind != 2:
            session.link.transcript.judge(result.reply)
        soft = elsewhere or result.kind == 4 or result.kind == 5 and "soft_bounce" in job.request.facts
        recipients = [recipient for recipient in self._unmarked() if number in (None, recipient.number)]
        if soft and not self._final:
            job.log.info("%s: %s", job.queue_id, result.reason)
            self._kept.update(recipient.number for recipient in recipients)
            return
        for recipient in recipients:
            self._report(endpoint, session, recipient, result)

    def _report(self, endpoint: Endpoint, session: Session | None, recipient: Recipient, result: Result) -> None:
        status = {2: SENT, 4: DEFERRED}.get(result.kind, BOUNCED)
        self._job.report(recipient, status, result.dsn, result.reason, relay=self._relay(endpoint, session),
                         action=("delivered" if "X" in self._agent.flags else "relayed") if status == SENT else "",
                         diagnostic=f"smtp; {result.reply}" if result.reply else "",
                         remote_mta=f"dns; {endpoint.host}" if result.reply else "",
                         dsn_done=status == SENT and session is not None and session.features.has("DSN"),
                         times=self._times)

    @staticmethod
    def _relay(endpoint: Endpoint, session: Session | None) -> str:
        if session is None or session.messages <= 1:
            return endpoint.name_port
        return f"{endpoint.name_port}, conn_use={session.messages}"

    async def _give_up(self, *, fallback: bool) -> None:
        """What nobody took. Names that are not found may be slips of the administrator: then the mail waits."""
        agent, job = self._agent, self._job
        why = self._why or NoHost("server unavailable or unable to receive mail", status="4.3.0")
        status, reason = why.status, why.public
        if not status.startswith("4"):
            parameter = f"{agent.prefix}_fallback_relay" if fallback else "relayhost"
            if fallback or (agent.prefix == "smtp" and job.request.nexthop == agent.relayhost):
                job.log.warning("%s configuration problem", parameter)
                status = "4.3.5"
            elif agent.prefix == "smtp" and status == LOOP and agent.best_mx_transport:
                await self._pass_on()
                return
        job.report_rest(DEFERRED if status.startswith("4") else BOUNCED, status, reason)

    async def _pass_on(self) -> None:
        """best_mx_transport: mail for a domain whose best MX host we are."""
        agent, job = self._agent, self._job
        for recipient in list(job.open_recipients.values()):
            job.log.info("%s: passing <%s> to transport=%s", job.queue_id, recipient.address,
                         agent.best_mx_transport.partition(":")[0])
            try:
                said = await pass_on(agent.queue_directory, job.request, recipient, agent.best_mx_transport)
            except MailError as error:
                job.report(recipient, DEFERRED, "4.3.0", error.public)
                continue
            job.report(recipient, said.status, said.dsn, said.reason, relay=said.relay, action=said.action,
                       diagnostic=said.diagnostic, remote_mta=said.remote_mta, dsn_done=said.dsn_done, quiet=True)

    # --- one message --------------------------------------------------------------------------------------------------

    async def _transfer(self, session: Session) -> None:
        job, config, endpoint = self._job, self._agent.config, session.link.endpoint
        self._times = Times(job.times.received, connected=session.ready_at)
        session.messages += 1
        session.clean = False
        mail = await self._mail(session)
        try:
            await session.link.run(
                transaction(config, session.features, session.link.host, mail, reused=session.reused,
                            ended=lambda number, result: self._ended(endpoint, session, number, result)),
                body=await self._body(session, mail))
        except (Trouble, OSError):
            raise
        except BaseException:
            session.link.abort()
            raise
        session.clean = True

    async def _mail(self, session: Session) -> Mail:
        request, outgoing = self._job.request, self._agent.outgoing
        recipients = []
        for recipient in self._unmarked():
            address = await outgoing.address(recipient.address)
            recipients.append(replace(recipient, address=address,
                                      original=recipient.original or recipient.address))
        await self._measure()
        facts, eight = request.facts, self._encoding != "7bit"
        to_7bit = self._agent.config.convert_8bit and eight and not session.features.has("8BITMIME")
        return Mail(await outgoing.address(request.sender), recipients, self._size, self._encoding,
                    request.smtputf8, request.envid, request.ret, probe=self._job.probe, to_7bit=to_7bit,
                    utf8_header=request.utf8_header, authenticated=session.authenticated,
                    require_tls=session.demand.passed_on, xforward={
                        "NAME": facts.get("client_name", ""), "ADDR": facts.get("client_address", ""),
                        "PORT": facts.get("client_port", ""), "PROTO": facts.get("protocol_name", ""),
                        "HELO": facts.get("helo_name", ""), "IDENT": facts.get("log_ident", "") or request.queue_id,
                        "SOURCE": "LOCAL" if facts.get("rewrite_context", "local") == "local" else "REMOTE"})

    async def _measure(self) -> None:
        """What the content is like; once, before the first server needs to know."""
        if self._size:
            return
        request = self._job.request

        def look() -> tuple[int, bool]:
            return measured(read_blocks(self._fd, request.offset, request.size))

        lines, eight = await asyncio.to_thread(look) if request.size > LARGE else look()
        self._size = request.size + lines
        self._encoding = "8bit" if eight and self._agent.detect_8bit else request.encoding

    async def _body(self, session: Session, mail: Mail) -> Body:
        """The message as this server may have it."""
        request, config, features = self._job.request, self._agent.config, session.features
        blocks = self._agent.outgoing.blocks(session.watch(read_blocks(self._fd, request.offset, request.size)),
                                             request.queue_id, to_7bit=mail.to_7bit, front=await self._front(mail))
        broke = self._once("%s: breaking line > %d bytes with <CR><LF>SPACE", request.queue_id, config.line_length)
        dots = not (config.chunking and features.has("CHUNKING"))
        length = config.line_length
        encoded = encode_body_async(blocks, line_length=length, dots=dots, broke=broke) if isinstance(
            blocks, AsyncIterable) else encode_body(blocks, line_length=length, dots=dots, broke=broke)
        return Body(encoded, config.timeouts["data_xfer"], config.min_rate if config.deadline else 0)

    async def _front(self, mail: Mail) -> bytes:
        """The lines that flags=DOR put in front; they tell of the first recipient."""
        flags, recipient = self._agent.flags, mail.recipients[0]
        original = await self._agent.outgoing.address(unquote_local(recipient.original)) if "O" in flags else ""
        return delivery_header(mail.sender if "R" in flags else None, original,
                               recipient.address if "D" in flags else "")

    def _once(self, text: str, *values: object) -> Callable[[], None]:
        """Something for the log, however often it happens."""
        told = False

        def tell() -> None:
            nonlocal told
            if not told:
                told = True
                self._job.log.info(text, *values)

        return tell


_EIGHT = re.compile(rb"^content-transfer-encoding:\s*(?:\([^()\n]*\)\s*)*(?:8bit|binary)\b", re.I | re.M)
_HINTS = (b"8bit", b"8Bit", b"8BIT", b"inary", b"INARY")
_OVERLAP = 200


def measured(blocks: Iterable[bytes]) -> tuple[int, bool]:
    """How many lines a message has, and whether something in it says that it is in 8 bits.

    The latter may be a quotation: then a server is told of 8 bits that do not come, which harms nobody.
    """
    lines, eight, end = 0, False, b""
    for block in blocks:
        lines += block.count(b"\n")
        if not eight:
            text = end + block
            eight = any(hint in text for hint in _HINTS) and _EIGHT.search(text) is not None
            end = text[-_OVERLAP:]
    return lines, eight


def flags_of(arguments: list[str]) -> str:
    """flags=DORX of a transport in master.cf. Raises ConfigError."""
    flags = ""
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name != "flags" or set(value) - set("DORX"):
            raise ConfigError(f"unknown attribute: {argument}; only flags=DORX is known here")
        flags += value
    return flags


def resolver_of(settings: Settings, prefix: str) -> Resolver:
    """The resolver with smtp_dns_reply_filter and smtp_dns_resolver_options."""
    options = settings.text(f"{prefix}_dns_resolver_options").replace(",", " ").lower().split()
    search = "all" if "res_dnsrch" in options else "without a dot" if "res_defnames" in options else ""
    return Resolver.of(settings, reply_filter=dns_filter(settings, prefix, f"{prefix}_dns_reply_filter"), search=search)


def prepare(context: ServiceContext) -> tuple[Identity, ...]:
    """Read the client's keys, and the authorities that it trusts, while root may. Without them TLS goes on: servers
    rarely ask, and who cannot be trusted is not."""
    text = context.settings.text
    read_ahead(text(f"{context.command}_tls_CAfile").strip(), text(f"{context.command}_tls_CApath").strip(),
               defaults=text("tls_append_default_CA") == "yes")
    try:
        return client_identities(context.settings, context.command)
    except ConfigError as error:
        logger(context.command).warning("%s: going on without a client certificate", error.public)
        return ()


async def serve(context: ServiceContext) -> None:
    identities = context.prepared if isinstance(context.prepared, tuple) else ()
    agent = RemoteAgent(context.settings, context.command, resolver_of(context.settings, context.command), identities,
                        flags_of(context.arguments))
    context.on_reload = lambda new, dovecot: agent.configure(new)
    try:
        await serve_agent(context, agent.deliver)
    finally:
        await agent.close()
