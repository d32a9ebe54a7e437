"""smtp(8) and lmtp(8): mail for other hosts, many deliveries at once in one event loop.

A request goes to the hosts of its nexthop in order (smtp/client_hosts.py). What one host refuses for now is offered to
the next, smtp_mx_session_limit sessions at most; what the last one refuses is deferred, and a 5xx reply to MAIL, RCPT
or the message bounces at once. TLS that fails at level "may" is tried again without, in a new connection, when the
message has waited for minimal_backoff_time.
"""

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import replace

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.log import logger
from mailsuite.config.settings import Settings
from mailsuite.deliver.agent import CONFIGURATION_ERROR, Job, serve_agent
from mailsuite.deliver.generic import GenericMaps
from mailsuite.deliver.sessions import Session, Sessions, Wants
from mailsuite.dns.resolver import Resolver
from mailsuite.net.client_tls import client_identities
from mailsuite.net.service import ServiceContext
from mailsuite.queue.agent import BOUNCED, DEFERRED, SENT, Times
from mailsuite.queue.envelope import Recipient
from mailsuite.queue.params import MINIMAL_BACKOFF_TIME
from mailsuite.smtp.client import Endpoint, encode_body
from mailsuite.smtp.client_dane import NoTls
from mailsuite.smtp.client_hosts import HostFinder, NoHost
from mailsuite.smtp.client_params import MX_SESSION_LIMIT, ClientConfig
from mailsuite.smtp.client_session import Mail, Result, Trouble, transaction
from mailsuite.store.delivery import read_blocks
from mailsuite.tls.identity import Identity


class RemoteAgent:
    """One transport by SMTP or LMTP. prefix: "smtp" or "lmtp": whose parameters count."""

    def __init__(self, settings: Settings, prefix: str, resolver: Resolver,
                 identities: tuple[Identity, ...] = ()) -> None:
        """identities: the client's certificates."""
        self._prefix, self._resolver, self._identities = prefix, resolver, identities
        self._sessions: Sessions | None = None
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        self.config = ClientConfig.of(settings, self._prefix)
        self._finder = HostFinder(settings, self._resolver, self._prefix)
        self._patience_s = settings[MINIMAL_BACKOFF_TIME]
        self._session_limit = settings[MX_SESSION_LIMIT[self._prefix]] or 10**9
        self._generic = GenericMaps(settings, self._prefix)
        old, self._sessions = self._sessions, Sessions(
            settings, self._prefix, self.config, self._resolver, self._identities)
        if old is not None:
            old.close()

    async def deliver(self, job: Job) -> None:
        nexthop = job.request.nexthop
        try:
            endpoints = await self._finder.find(nexthop)
        except NoHost as error:
            self._report_all(job, "", error.status, error.public)
            return
        with job.message_file() as fd:
            await _Attempt(self, job, nexthop, fd).run(endpoints)

    async def close(self) -> None:
        if self._sessions is not None:
            self._sessions.close()
            await self._sessions.finish()

    @property
    def sessions(self) -> Sessions:
        assert self._sessions is not None
        return self._sessions

    @property
    def generic(self) -> GenericMaps:
        return self._generic

    @property
    def session_limit(self) -> int:
        return self._session_limit

    @property
    def patience_s(self) -> int:
        """How long a message waits for TLS that may be used, but fails."""
        return self._patience_s

    @staticmethod
    def _report_all(job: Job, relay: str, status: str, reason: str) -> None:
        job.report_rest(DEFERRED if status.startswith("4") else BOUNCED, status, reason, relay=relay or "none")


class _Attempt:
    """One request at all of its hosts."""

    def __init__(self, agent: RemoteAgent, job: Job, nexthop: str, fd: int) -> None:
        self._agent, self._job, self._nexthop, self._fd = agent, job, nexthop, fd
        self._used = 0
        self._times = job.times

    async def run(self, endpoints: list[Endpoint]) -> None:
        job = self._job
        with self._agent.sessions.wanted(self._nexthop):
            for number, endpoint in enumerate(endpoints):
                if not job.open_recipients:
                    return
                if self._may_try(endpoint, self._used):
                    await self._host(endpoint, endpoints[number + 1:])

    @property
    def _wants(self) -> Wants:
        request = self._job.request
        return Wants(request.sender, request.facts.get("require_tls", ""),
                     request.active_time - request.arrival_time >= self._agent.patience_s)

    def _may_try(self, endpoint: Endpoint, used: int) -> bool:
        """Whether a host's turn comes after so many sessions; fallback relays always have theirs."""
        return endpoint.fallback or used < self._agent.session_limit

    async def _host(self, endpoint: Endpoint, others: list[Endpoint]) -> None:
        """One host; what stays open goes to the others. Without any whose turn comes, nothing stays open."""
        job, session = self._job, None
        last = not any(self._may_try(other, self._used + 1) for other in others)
        try:
            session = await self._agent.sessions.get(endpoint, self._nexthop, self._wants)
            self._used += 1
            try:
                await self._transfer(session, last)
            except Trouble as trouble:
                if not (session.reused and trouble.dead and not trouble.reply and not session.said_data):
                    raise
                # An old connection that was closed meanwhile says nothing about the host.
                session.link.abort()
                session = await self._agent.sessions.get(endpoint, self._nexthop, self._wants, fresh=True)
                await self._transfer(session, last)
        except Trouble as trouble:
            unreached = session is None and (isinstance(trouble, NoTls) or trouble.public.startswith("connect to "))
            self._used += session is None and not unreached
            last = not any(self._may_try(other, self._used) for other in others)
            self._trouble(trouble, endpoint, session, last=last, unreached=unreached)
        except ConfigError as error:
            job.log.warning("%s", error)
            job.report_rest(DEFERRED, "4.7.5", CONFIGURATION_ERROR)
        except TemporaryError as error:
            job.log.warning("%s: %s", job.queue_id, error)
            job.report_rest(DEFERRED, error.status, error.public)
        finally:
            if session is not None:
                await self._agent.sessions.give_back(session)

    def _trouble(self, trouble: Trouble, endpoint: Endpoint, session: Session | None, *, last: bool,
                 unreached: bool) -> None:
        job = self._job
        times = self._times if session is not None else Times(job.times.received, connected=time.time())
        if unreached and not endpoint.path and not isinstance(trouble, NoTls):
            job.log.info("%s", trouble.public)
        if trouble.hard or last:
            diagnostic = f"smtp; {trouble.reply}" if trouble.reply else ""
            for recipient in list(job.open_recipients.values()):
                job.report(recipient, DEFERRED if trouble.status.startswith("4") else BOUNCED, trouble.status,
                           trouble.public, relay="none" if unreached else self._relay(endpoint, session),
                           diagnostic=diagnostic, remote_mta=_remote(endpoint) if trouble.reply else "",
                           times=times)
        elif not unreached:
            job.log.info("%s: %s", job.queue_id, trouble.public)

    # --- one message --------------------------------------------------------------------------------------------------

    async def _transfer(self, session: Session, last: bool) -> None:
        job, request = self._job, self._job.request
        self._times = Times(job.times.received, connected=session.ready_at)
        session.clean = False
        mail = await self._mail(session)
        config = self._agent.config
        blocks = await self._content(session, mail)
        results = await session.link.run(
            transaction(config, session.features, session.link.host, mail, reused=session.reused),
            body=encode_body(session.watch(blocks), line_length=config.line_length),
            body_timeout_s=config.timeouts["data_xfer"])
        session.messages += 1
        session.clean = session.said_data       # else only RSET would end the transaction
        for recipient in list(job.open_recipients.values()):
            result = results.get(recipient.number)
            if result is None:
                result = Result(4, "4.3.0", "unknown delivery error")
            if result.kind == 4 and not last:
                job.log.info("%s: %s", request.queue_id, result.reason)
                continue
            self._report(session, recipient, result)

    def _report(self, session: Session, recipient: Recipient, result: Result) -> None:
        status = {2: SENT, 4: DEFERRED}.get(result.kind, BOUNCED)
        lmtp, endpoint = self._agent.config.lmtp, session.link.endpoint
        self._job.report(recipient, status, result.dsn, result.reason, relay=self._relay(endpoint, session),
                         action=("delivered" if lmtp else "relayed") if status == SENT else "",
                         diagnostic=f"smtp; {result.reply}" if result.reply else "",
                         remote_mta=_remote(endpoint),
                         dsn_done=status == SENT and session.features.has("DSN"), times=self._times)

    @staticmethod
    def _relay(endpoint: Endpoint, session: Session | None) -> str:
        if session is None or session.messages <= 1:
            return endpoint.name_port
        return f"{endpoint.name_port}, conn_use={session.messages}"

    async def _mail(self, session: Session) -> Mail:
        request, generic = self._job.request, self._agent.generic
        recipients = []
        for recipient in self._job.open_recipients.values():
            address = await generic.address(recipient.address)
            recipients.append(replace(recipient, address=address,
                                      original=recipient.original or recipient.address))
        facts = request.facts
        return Mail(await generic.address(request.sender), recipients, request.size, request.encoding,
                    request.smtputf8, request.envid, request.ret, probe=self._job.probe,
                    utf8_header=request.utf8_header, require_tls=session.demand.passed_on, xforward={
                        "NAME": facts.get("client_name", ""), "ADDR": facts.get("client_address", ""),
                        "PORT": facts.get("client_port", ""), "PROTO": facts.get("protocol_name", ""),
                        "HELO": facts.get("helo_name", ""), "IDENT": facts.get("log_ident", "") or request.queue_id,
                        "SOURCE": "LOCAL" if facts.get("rewrite_context", "local") == "local" else "REMOTE"})

    async def _content(self, session: Session, mail: Mail) -> Iterable[bytes]:
        """The message as this server may have it."""
        request = self._job.request
        blocks: Iterable[bytes] = read_blocks(self._fd, request.offset, request.size)
        if mail.encoding == "8bit" and self._agent.config.convert_8bit and not session.features.has("8BITMIME"):
            from mailsuite.deliver.downgrade import to_7bit
            content = os.pread(self._fd, request.size, request.offset)
            blocks = [await asyncio.to_thread(to_7bit, content)]
        return await self._agent.generic.headers(blocks, request.queue_id)


def _remote(endpoint: Endpoint) -> str:
    return f"dns; {endpoint.host}"


def prepare(context: ServiceContext) -> tuple[Identity, ...]:
    """Read the client's keys while root may. Without them TLS goes on: servers rarely ask."""
    try:
        return client_identities(context.settings, context.command)
    except ConfigError as error:
        logger(context.command).warning("%s: going on without a client certificate", error.public)
        return ()


async def serve(context: ServiceContext) -> None:
    identities = context.prepared if isinstance(context.prepared, tuple) else ()
    agent = RemoteAgent(context.settings, context.command, Resolver.of(context.settings), identities)
    context.on_reload = lambda new, dovecot: agent.configure(new)
    try:
        await serve_agent(context, agent.deliver)
    finally:
        await agent.close()


