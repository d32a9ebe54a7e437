"""The server's side of one connection: answers the session's questions with tables, disk and other processes.

A Handler lives as long as its connection. The message under way is an Intake of queue/cleanup.py; whatever ends the
dialogue without a commit throws it away (`closed`).
"""

import asyncio
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mailsuite.base.dialogue import Peer, Session, TlsInfo
from mailsuite.base.eager import StandIn, begin
from mailsuite.base.errors import Bug, MailError, TemporaryError
from mailsuite.base.log import logger
from mailsuite.net.handler import HANDSHAKE_FAILED
from mailsuite.queue.cleanup import Accepted, Intake, Refused
from mailsuite.queue.envelope import Envelope, Notify, Origin, Recipient, Ret
from mailsuite.smtp import questions
from mailsuite.smtp.commands.proxy import apply_xclient
from mailsuite.smtp.facts import Client, Facts, NameStatus
from mailsuite.smtp.log_lines import log_connect, log_unsecured
from mailsuite.smtp.observers import Answer, Observer
from mailsuite.smtp.policy.rates import EVENTS, KINDS
from mailsuite.smtp.policy.sending import Excess
from mailsuite.smtp.proxy_filter_client import ProxyIntake
from mailsuite.smtp.questions import Refusal
from mailsuite.smtp.received import received_header
from mailsuite.smtp.server_burl import fetch_url
from mailsuite.smtp.server_login import Login
from mailsuite.smtp.session import ServerSession

if TYPE_CHECKING:
    from mailsuite.net.handler import Channel, Pending
    from mailsuite.smtp.server import Server

log = logger("smtpd")
_STATUSES = {"ok": NameStatus.OK, "temporary": NameStatus.TEMPORARY, "permanent": NameStatus.PERMANENT}

_SORTS = {"552 5.3.4": "bounce", "554 5.4.0": "bounce", "452 4.3.1": "resource", "451 4.3.0": "resource"}


class SmtpHandler:
    """One connection."""

    def __init__(self, server: "Server", peer: Peer) -> None:
        self.server, self.peer = server, peer
        self.facts = Facts(Client(peer.address, peer.port, server_address=peer.server_address,
                                  server_port=peer.server_port, log_port=server.log_port),
                           service=server.name)
        self._channel: Channel | None = None
        self._session: ServerSession | None = None
        self._intake: Intake | ProxyIntake | None = None
        self._header_due = False
        self._login = Login(server, self.facts)
        self._observers = Observer()
        self._counted = ""               # what this client is to anvil; "" when it is not counted
        self._at_once = 0
        self._ending: asyncio.Task[None] | None = None      # waits for more than the disk at the end of a message

    # --- what the driver calls ----------------------------------------------------------------------------------

    def open(self, channel: "Channel") -> Session:
        self._channel = channel
        self.facts.tls = channel.tls
        known = self.server.known_name(self.peer.address)
        if known is not None:
            self._take_name(*known)
        counted = self.server.is_counted_now(self.facts.client) if known is not None else None
        if counted:
            self._count_in()
        ask = counted is None or self.server.asks_at_connect or 0 < self.server.rates.at_once < self._at_once
        self.server.open += 1
        config = self.server.config_now()
        self.facts.stress = config is self.server.stressed
        self._session = ServerSession(config, self.facts, ask_connect=ask,
                                      ask_mail=self.server.space_is_low())
        return self._session

    def body(self, octets: bytes) -> None:
        intake = self._intake
        if intake is None:
            return
        if self._header_due:
            self._write_header(intake)
        intake.write(octets)

    def closed(self, reason: str) -> None:
        self.server.open -= 1
        if self._session is not None:
            begins, _, why = reason.partition(": ")
            self._session.handshake_failed(why if begins == HANDSHAKE_FAILED else "")
            self.server.report_trouble(self._session)
        if self._ending is not None:
            self._ending.cancel()
        self._drop_intake()
        self._login.cancel()
        if self.facts.sender is not None:
            self._observers.reset(self.facts)
        self._observers.close(self.facts)
        if self._counted and self.server.anvil is not None:
            self.server.anvil.disconnect(self._counted)

    def never_secured(self, why: str) -> None:
        """A client of smtps with whom there is no TLS. Its place is free already: a flood must not gather here."""
        if self.server.is_behind:
            log_unsecured(self.facts, why)
        else:
            self.server.in_background(self._tell_of_unsecured(why))

    async def _tell_of_unsecured(self, why: str) -> None:
        await self._learn_name()
        log_unsecured(self.facts, why)

    async def answer(self, question: object) -> object:
        if self._session is not None and self._session.ledger.transcripts:
            self.server.report_pages(self._session)
        match question:
            case questions.RcptTo():
                return await self._rcpt(question)
            case questions.EndOfMessage():
                return await self._end_of_message()
            case questions.Connected():
                return await self._connected()
            case questions.BecomeClient():
                return await self._become(question)
            case questions.Greeted():
                return await self._helo()
            case questions.AddressSyntax():
                return await self.server.policy.is_address(self.facts, question.address, utf8=question.utf8)
            case questions.MailFrom():
                return await self._mail()
            case questions.Verify():
                return await self.server.policy.rcpt(self.facts)
            case questions.DataStart():
                return await self._data()
            case questions.FetchUrl():
                return await fetch_url(self.server.settings, self.facts, question)
            case questions.Abandon():
                self._drop_intake()
                self._observers.reset(self.facts)
            case questions.EhloOptions():
                return await self._options()
            case questions.AuthStart() | questions.AuthLine():
                return await self._login.answer(question, self._observers, self._who(), self._tls)
            case questions.AuthCancel():
                self._login.cancel()
            case questions.Etrn():
                return await self.server.etrn(self.facts, question.domain)
            case questions.Forbidden():
                return (await self.server.is_forbidden(question.command)
                        or await self._observers.unknown(self.facts, self.facts.words))
            case questions.Observe():
                return await self._observers.other(self.facts, question.verb, self.facts.words)
            case questions.EhloLines():
                return await self._observers.ehlo_lines(self.facts, list(question.lines))
            case questions.RateCheck():
                return await self._may(question.event)
            case questions.FilterCommand():
                return await self.server.filter_command(question.line)
            case questions.Delay():
                await asyncio.sleep(question.seconds)
            case _:
                raise Bug(f"unknown question {question!r}")
        return None

    # --- the client ---------------------------------------------------------------------------------------------

    async def _connected(self) -> Answer:
        server, client = self.server, self.facts.client
        if server.known_name(self.peer.address) is None:
            await self._learn_name()
        log_connect(self.facts)
        if self._session is not None:
            self._session.may_xclient = await server.xclient_hosts.matches_host(client.name, client.address)
            self._session.may_xforward = await server.xforward_hosts.matches_host(client.name, client.address)
            self._session.may_verp = await server.verp_hosts.matches_host(client.name, client.address)
            if await server.debugged.matches_host(client.name, client.address):
                self._session.ledger.log_dialogue()
            if self._session.content.refuses_bare_lf:
                self._session.content.refuses_bare_lf = not await server.may_end_lines_in_lf(client)
        if not self._counted and await server.is_counted(client):
            self._count_in()
        if self._counted and (refusal := await self._too_many()) is not None:
            return refusal
        return await self._judge_client()

    async def _learn_name(self) -> None:
        name, reverse, status, reverse_status, warning = await self.server.look_up_name(self.peer.address)
        if warning:
            log.warning("%s", warning)
        self._take_name(name, reverse, status, reverse_status)

    async def _judge_client(self) -> Answer:
        """Our policy, then those who watch."""
        server = self.server
        if server.policy.judges_connect and (refusal := await server.policy.client(self.facts)) is not None:
            return refusal
        if not server.config.observed:
            return None
        self._observers.forget(self.facts)
        self._observers.close(self.facts)
        self._observers = await server.observer(self.facts, self._connections)
        return await self._observers.connect(self.facts)

    async def _connections(self) -> int:
        """How many this client has; 0: it is not counted."""
        if not self._counted or self.server.anvil is None:
            return 0
        seen = await self.server.anvil.seen(self._counted)
        return seen.open if seen is not None else self._at_once

    def _count_in(self) -> None:
        """Tell anvil of this connection."""
        if self.server.anvil is not None:
            self._counted = self.server.client_key.of(self.peer.address)
            self._at_once = self.server.anvil.connect(self._counted)

    async def _too_many(self) -> Refusal | None:
        """smtpd_client_connection_count_limit, smtpd_client_connection_rate_limit."""
        server, rates, anvil, host = self.server, self.server.rates, self.server.anvil, self.facts.client.host
        assert anvil is not None
        no = Refusal(f"421 4.7.0 {server.config.hostname} Error: too many connections from {host}")
        if 0 < rates.at_once < self._at_once:
            seen = await anvil.seen(self._counted)
            at_once = seen.open if seen is not None else self._at_once
            if at_once > rates.at_once:
                log.warning("Connection concurrency limit exceeded: %d from %s for service %s", at_once, host,
                            server.name)
                return no
        if "connection" in rates.events:
            rate = await anvil.rate(self._counted)
            if rate is not None and rates.exceeded("connection", rate):
                log.warning("Connection rate limit exceeded: %d from %s for service %s", rate, host, server.name)
                return no
        return None

    async def _become(self, question: questions.BecomeClient) -> Answer:
        """XCLIENT: what is decided by the real client is decided first."""
        server, facts = self.server, self.facts
        await self._is_local()
        said = dict(question.attributes)
        apply_xclient(facts, said)
        if "ADDR" in said and self._session is not None:
            client = facts.client
            self._session.may_xclient = await server.xclient_hosts.matches_host(client.name, client.address)
        return await self._judge_client()

    async def _helo(self) -> Answer:
        policy = self.server.policy
        if policy.judges_helo and (refusal := await policy.helo(self.facts)) is not None:
            return refusal
        return await self._observers.helo(self.facts, self.facts.words)

    async def _is_local(self) -> bool:
        """Whether this client's headers are completed; XFORWARD may say otherwise for a message."""
        facts = self.facts
        if facts.local is None:
            facts.local = await self.server.policy.is_local(facts)
        if facts.forwarded is not None and facts.forwarded.local is not None:
            return facts.forwarded.local
        return facts.local

    def _take_name(self, name: str, reverse: str, status: str, reverse_status: str) -> None:
        client = self.facts.client
        client.name, client.reverse_name = name, reverse
        client.name_status = _STATUSES.get(status, NameStatus.PERMANENT)
        client.reverse_status = _STATUSES.get(reverse_status, NameStatus.PERMANENT)

    async def _may(self, event: str) -> bool:
        """The smtpd_client_*_rate_limit parameters; with anvil away everything goes on."""
        server, client, anvil = self.server, self.facts.client, self.server.anvil
        if anvil is None or not await server.is_counted(client):
            return True
        key = server.client_key.of(client.address)
        ask = anvil.peek if event == "tls" else anvil.event
        seen = await ask(EVENTS[event], key)
        if seen is None or not server.rates.exceeded(event, seen):
            return True
        if event == "tls":
            log.warning("Refusing STARTTLS request from %s for service %s", client.host, server.name)
        else:
            log.warning("%s rate limit exceeded: %d from %s for service %s", KINDS[event], seen, client.host,
                        server.name)
        return False

    async def _options(self) -> questions.Offer:
        """What EHLO lists for this client."""
        server, facts = self.server, self.facts
        discard = await server.discarded_keywords(facts.client)
        if not server.config.sasl:
            return questions.Offer(discard)
        mechanisms = await server.mechanisms(facts.tls)
        mechanisms += tuple(name for name in server.handlers.mechanisms if name not in mechanisms)
        hidden = await server.sasl_exceptions.matches_host(facts.client.name, facts.client.address)
        return questions.Offer(discard, mechanisms, hide_auth=hidden)

    @property
    def _tls(self) -> TlsInfo | None:
        return self._channel.tls if self._channel is not None else None

    def _who(self) -> Peer:
        """The client as the auth service is told: after XCLIENT, the one it names."""
        client = self.facts.client
        return replace(self.peer, address=client.address, port=client.port, server_address=client.server_address,
                       server_port=client.server_port)

    # --- the message --------------------------------------------------------------------------------------------

    async def _mail(self) -> Answer:
        if self.server.space_is_low():
            log.warning("not enough free space in mail queue for a message of %s",
                        self.facts.sender or "<>")
            return Refusal("452 4.3.1 Insufficient system storage", "resource")
        try:
            await self._is_local()
        except TemporaryError:
            return Refusal("451 4.3.0 Temporary lookup error")
        policy = self.server.policy
        if policy.judges_mail and (refusal := await policy.mail(self.facts)) is not None:
            return refusal
        answer = await self._observers.mail(self.facts, self.facts.words)
        if isinstance(answer, Refusal):
            self._observers.reset(self.facts)
        elif not self.server.opens_late and self.server.proxy is None:
            try:
                await self._begin()
            except MailError as error:
                return self._refusal(error)
        return answer

    async def _rcpt(self, question: questions.RcptTo) -> Answer:
        facts = self.facts
        refusal = await self.server.policy.rcpt(facts)
        answer = await self._observers.rcpt(facts, facts.words, refusal)
        if refusal is not None or isinstance(answer, Refusal):
            return refusal or answer
        if (excess := await self._count_for_account()) is not None:
            return excess
        try:
            if self._intake is None:
                await self._begin()
            assert self._intake is not None
            address = question.recipient
            orcpt = question.orcpt or f"{'rfc822' if address.isascii() else 'utf-8'};{address}"
            notify = Notify(question.notify) if question.notify else Notify.NONE
            await self._intake.recipient(Recipient(address, orcpt=orcpt, notify=notify))
        except MailError as error:
            return self._refusal(error)
        return answer

    async def _count_for_account(self) -> Refusal | None:
        """smtpd_sasl_recipient_rate_limit: what an account sends beyond it is put on hold."""
        facts, limit = self.facts, self.server.sending_limit
        if not facts.sasl_username or not limit.is_on:
            return None
        verdict = await limit.take(facts.sasl_username, time.time())
        if verdict.excess is Excess.NONE:
            return None
        log.warning("sending limit of account %s exceeded: %d recipients in %ds (limit %d) from %s",
                    facts.sasl_username, verdict.sent, limit.unit_s, verdict.limit, facts.client.host)
        if verdict.excess is Excess.REFUSE:
            return Refusal(f"450 4.7.1 <{facts.recipient}>: Recipient address rejected: "
                           "too many recipients for this account, try again later")
        if verdict.excess is Excess.FIRST:
            self.server.tell_of_account(facts, verdict)
        facts.treatment.hold = f"sending limit of account {facts.sasl_username} exceeded"
        return None

    async def _begin(self) -> None:
        """A queue file and an id are due: the first recipient was accepted, or the sender. Raises Refused."""
        server, facts = self.server, self.facts
        envelope = Envelope(
            sender=facts.sender or "", local=await self._is_local(), handling=server.handling,
            arrival_time=time.time(), encoding=facts.encoding, smtputf8=facts.smtputf8, envid=facts.envid,
            ret=Ret(facts.ret) if facts.ret else Ret.NONE, size_hint=facts.size, verp=facts.verp,
            require_tls="yes" if facts.require_tls else "",
            origin=self._origin())
        if server.proxy is not None:
            self._intake = ProxyIntake(server.proxy, facts, envelope, self._note_client)
        else:
            self._intake = server.cleanup.begin(envelope)
            self._intake.inspectors = self._observers.inspectors(facts, self._intake)
        facts.queue_id = self._intake.queue_id
        self._header_due = True
        if server.proxy is None:
            self._note_client()

    def _note_client(self) -> None:
        """The line that names the client: a message begins."""
        facts, forwarded = self.facts, self.facts.forwarded
        said = f"client={facts.client.host}"
        if forwarded is not None:
            said += f", orig_queue_id={forwarded.ident}" if forwarded.ident else ""
            said += f", orig_client={forwarded.host}"
        if facts.sasl_username:
            said += f", sasl_method={facts.sasl_method}, sasl_username={facts.sasl_username}"
            if facts.sasl_sender:
                said += f", sasl_sender={facts.sasl_sender}"
        log.info("%s: %s", facts.queue_id or "NOQUEUE", said)

    def _origin(self) -> Origin:
        """Where the message came from, as content filters and later logs are told."""
        facts, client, forwarded = self.facts, self.facts.client, self.facts.forwarded
        told = forwarded.client if forwarded is not None else client
        return Origin(
            client_name=told.name, client_address=told.address, client_port=str(told.port or ""),
            reverse_client_name=client.reverse_name, server_address=client.server_address,
            server_port=str(client.server_port or ""),
            helo_name=forwarded.helo if forwarded is not None else facts.helo or "",
            protocol_name=forwarded.protocol if forwarded is not None else facts.protocol,
            log_ident=forwarded.ident if forwarded is not None else "",
            message_origin=f"{told.name}[{told.address}]", sasl_method=facts.sasl_method,
            sasl_username=facts.sasl_username, sasl_sender=facts.sasl_sender)

    def _write_header(self, intake: Intake | ProxyIntake) -> None:
        server = self.server
        self._header_due = False
        self._engage_verifier(intake)
        prepend = b""
        if self.facts.treatment.prepend:
            prepend = "".join(line + "\n" for line in self.facts.treatment.prepend).encode("utf-8", "surrogateescape")
        intake.write(prepend + received_header(
            self.facts, hostname=server.config.hostname, mail_name=server.mail_name, now=time.time(),
            show_tls=server.show_tls, asked_certificate=server.asks_certificate, show_login=server.show_login,
            hide_client=server.hide_client))

    def _engage_verifier(self, intake: Intake | ProxyIntake) -> None:
        """A restriction on DMARC was met: what decides it has to look at the message, though no setting says so."""
        verifier = self.server.verifier
        if self.facts.treatment.dmarc and not verifier.wanted and verifier not in intake.inspectors:
            intake.inspectors.insert(0, verifier)

    async def _data(self) -> Answer:
        facts, policy = self.facts, self.server.policy
        facts.recipient = facts.first_recipient if facts.recipients == 1 else None
        try:
            if policy.judges_data and (refusal := await policy.data(facts)) is not None:
                return refusal
            facts.recipient = facts.first_recipient
            answer = await self._observers.data(facts)
            if isinstance(self._intake, ProxyIntake) and not isinstance(answer, Refusal):
                await self._intake.start_content()
            return answer
        except MailError as error:
            return self._refusal(error)
        finally:
            facts.recipient = None

    def take(self, question: object, pending: "Pending") -> bool:
        """The end of a message: no task waits for the disk."""
        if type(question) is not questions.EndOfMessage or not isinstance(self._intake, Intake):
            return False
        if self._session is not None and self._session.ledger.transcripts:
            self.server.report_pages(self._session)
        self._ending = begin(asyncio.get_running_loop(), self._end_soon(pending), StandIn()).task
        return True

    async def _end_soon(self, pending: "Pending") -> None:
        """As `answer`, but what the disk has to say first comes from elsewhere."""
        try:
            result = await self._end_of_message(pending)
        except Exception as error:
            result = error
        if result is not None:
            asyncio.get_running_loop().call_soon(pending.answer, result)

    async def _end_of_message(self, pending: "Pending | None" = None) -> object:
        """pending: None comes back where it will be answered when the message is on disk."""
        facts, intake = self.facts, self._intake
        assert intake is not None
        if self._header_due:
            self._write_header(intake)
        if self.server.policy.judges_end_of_data:
            where, facts.where = facts.where, "END-OF-MESSAGE"
            facts.recipient = facts.first_recipient if facts.recipients == 1 else None
            refusal = await self.server.policy.end_of_data(facts)
            facts.where, facts.recipient = where, None
            if refusal is not None:
                return refusal
        treatment = facts.treatment
        if treatment.discard is not None:
            self._drop_intake()
            return questions.Queued(facts.queue_id)
        envelope = intake.envelope
        if treatment.hold is not None:
            envelope.hold, envelope.hold_reason = True, treatment.hold
        envelope.filter = treatment.filter or envelope.filter
        envelope.redirect = treatment.redirect or envelope.redirect
        envelope.bcc += treatment.bcc
        envelope.dmarc = frozenset(treatment.dmarc)
        self._engage_verifier(intake)
        self._intake = None
        try:
            if pending is None or not isinstance(intake, Intake):
                return self._queued(await intake.commit(), treatment.reply)
            at_once = await intake.commit_then(lambda ended: pending.answer(self._queued(ended, treatment.reply)))
            return self._queued(at_once, treatment.reply) if at_once is not None else None
        except MailError as error:
            return self._refusal(error)
        finally:
            intake.abort()

    def _queued(self, ended: Accepted | Refused, reply: str) -> questions.Queued | Refusal:
        if isinstance(ended, Refused):
            return self._refusal(ended)
        return questions.Queued(ended.queue_id, reply or ended.reply)

    def _refusal(self, error: MailError) -> Refusal:
        """A reply for what the queue says."""
        if isinstance(error, Refused):
            return Refusal(error.reply, error.sort or _SORTS.get(f"{error.code} {error.status}", "policy"))
        if isinstance(error, TemporaryError):                               # Postfix's word for all that may pass
            return Refusal("451 4.3.0 Error: queue file write error", "resource")
        return Refusal(f"554 {error.status} Error: {error.public}", "software")

    def _drop_intake(self) -> None:
        if self._intake is not None:
            self._intake.abort()
            self._intake = None
        self._header_due = False
