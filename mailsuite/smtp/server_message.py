"""The message under way on a connection: sender, recipients, content, and what the queue says of it.

The content goes to an Intake of queue/cleanup.py, or to the proxy filter. Whatever ends the dialogue without a commit
throws it away (`drop`).
"""

import asyncio
import time
from typing import TYPE_CHECKING

from mailsuite.base.eager import StandIn, begin
from mailsuite.base.errors import MailError, TemporaryError
from mailsuite.base.log import logger
from mailsuite.queue.cleanup import Accepted, Intake, Refused
from mailsuite.queue.envelope import Envelope, Notify, Origin, Recipient, Ret
from mailsuite.smtp import questions
from mailsuite.smtp.facts import Facts
from mailsuite.smtp.observers import Answer, Observer
from mailsuite.smtp.policy.sending import Excess
from mailsuite.smtp.proxy_filter_client import ProxyIntake
from mailsuite.smtp.questions import Refusal
from mailsuite.smtp.received import received_header
from mailsuite.smtp.server_client import Arrival

if TYPE_CHECKING:
    from mailsuite.net.handler import Pending
    from mailsuite.smtp.server import Server

log = logger("smtpd")
_SORTS = {"552 5.3.4": "bounce", "554 5.4.0": "bounce", "452 4.3.1": "resource", "451 4.3.0": "resource"}


class Incoming:
    """One after the other, as long as the connection lives. `observers` are those of the connection."""

    def __init__(self, server: "Server", facts: Facts, arrival: Arrival) -> None:
        self.observers = Observer()
        self._server, self._facts, self._arrival = server, facts, arrival
        self._intake: Intake | ProxyIntake | None = None
        self._header_due = False
        self._ending: asyncio.Task[None] | None = None      # waits for more than the disk at the end of a message

    def body(self, octets: bytes) -> None:
        intake = self._intake
        if intake is None:
            return
        if self._header_due:
            self._write_header(intake)
        intake.write(octets)

    def closed(self) -> None:
        """The connection is gone."""
        if self._ending is not None:
            self._ending.cancel()
        if self._intake is not None:
            self.drop()

    async def mail(self) -> Answer:
        if self._server.space_is_low():
            log.warning("not enough free space in mail queue for a message of %s",
                        self._facts.sender or "<>")
            return Refusal("452 4.3.1 Insufficient system storage", "resource")
        try:
            await self._arrival.is_local()
        except TemporaryError:
            return Refusal("451 4.3.0 Temporary lookup error")
        policy = self._server.policy
        if policy.judges_mail and (refusal := await policy.mail(self._facts)) is not None:
            return refusal
        answer = await self.observers.mail(self._facts, self._facts.words)
        if isinstance(answer, Refusal):
            self.observers.reset(self._facts)
        elif not self._server.opens_late and self._server.proxy is None:
            try:
                await self._begin()
            except MailError as error:
                return self._refusal(error)
        return answer

    async def rcpt(self, question: questions.RcptTo) -> Answer:
        facts = self._facts
        refusal = await self._server.policy.rcpt(facts)
        answer = await self.observers.rcpt(facts, facts.words, refusal)
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
        facts, limit = self._facts, self._server.sending_limit
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
            self._server.tell_of_account(facts, verdict)
        facts.treatment.hold = f"sending limit of account {facts.sasl_username} exceeded"
        return None

    async def _begin(self) -> None:
        """A queue file and an id are due: the first recipient was accepted, or the sender. Raises Refused."""
        server, facts = self._server, self._facts
        envelope = Envelope(
            sender=facts.sender or "", local=await self._arrival.is_local(), handling=server.handling,
            arrival_time=time.time(), encoding=facts.encoding, smtputf8=facts.smtputf8, envid=facts.envid,
            ret=Ret(facts.ret) if facts.ret else Ret.NONE, size_hint=facts.size, verp=facts.verp,
            require_tls="yes" if facts.require_tls else "",
            origin=self._origin())
        if server.proxy is not None:
            self._intake = ProxyIntake(server.proxy, facts, envelope, self._note_client)
        else:
            self._intake = server.cleanup.begin(envelope)
            self._intake.inspectors = self.observers.inspectors(facts, self._intake)
        facts.queue_id = self._intake.queue_id
        self._header_due = True
        if server.proxy is None:
            self._note_client()

    def _note_client(self) -> None:
        """The line that names the client: a message begins."""
        facts, forwarded = self._facts, self._facts.forwarded
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
        facts, client, forwarded = self._facts, self._facts.client, self._facts.forwarded
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
        server = self._server
        self._header_due = False
        if self._facts.treatment.dmarc:
            self._engage_verifier(intake)
        prepend = b""
        if self._facts.treatment.prepend:
            prepend = "".join(line + "\n" for line in self._facts.treatment.prepend).encode("utf-8", "surrogateescape")
        intake.write(prepend + received_header(
            self._facts, hostname=server.config.hostname, mail_name=server.mail_name, now=time.time(),
            show_tls=server.show_tls, asked_certificate=server.asks_certificate, show_login=server.show_login,
            hide_client=server.hide_client))

    def _engage_verifier(self, intake: Intake | ProxyIntake) -> None:
        """A restriction on DMARC was met: what decides it has to look at the message, though no setting says so."""
        verifier = self._server.verifier
        if not verifier.wanted and verifier not in intake.inspectors:
            intake.inspectors.insert(0, verifier)

    async def data(self) -> Answer:
        facts, policy = self._facts, self._server.policy
        facts.recipient = facts.first_recipient if facts.recipients == 1 else None
        try:
            if policy.judges_data and (refusal := await policy.data(facts)) is not None:
                return refusal
            facts.recipient = facts.first_recipient
            answer = await self.observers.data(facts)
            if isinstance(self._intake, ProxyIntake) and not isinstance(answer, Refusal):
                await self._intake.start_content()
            return answer
        except MailError as error:
            return self._refusal(error)
        finally:
            facts.recipient = None

    def end_soon(self, pending: "Pending") -> bool:
        """The end of a message: no task waits for the disk. Returns False where `end` is to be awaited."""
        if not isinstance(self._intake, Intake):
            return False
        self._ending = begin(asyncio.get_running_loop(), self._end_soon(pending), StandIn()).task
        return True

    async def _end_soon(self, pending: "Pending") -> None:
        """As `end`, but what the disk has to say first comes from elsewhere."""
        try:
            result = await self.end(pending)
        except Exception as error:
            result = error
        if result is not None:
            asyncio.get_running_loop().call_soon(pending.answer, result)

    async def end(self, pending: "Pending | None" = None) -> object:
        """pending: None comes back where it will be answered when the message is on disk."""
        facts, intake = self._facts, self._intake
        assert intake is not None
        if self._header_due:
            self._write_header(intake)
        if self._server.policy.judges_end_of_data:
            where, facts.where = facts.where, "END-OF-MESSAGE"
            facts.recipient = facts.first_recipient if facts.recipients == 1 else None
            refusal = await self._server.policy.end_of_data(facts)
            facts.where, facts.recipient = where, None
            if refusal is not None:
                return refusal
        treatment = facts.treatment
        if treatment.discard is not None:
            self.drop()
            return questions.Queued(facts.queue_id)
        envelope = intake.envelope
        if treatment.hold is not None:
            envelope.hold, envelope.hold_reason = True, treatment.hold
        envelope.filter = treatment.filter or envelope.filter
        envelope.redirect = treatment.redirect or envelope.redirect
        envelope.bcc += treatment.bcc
        if treatment.dmarc:
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

    def drop(self) -> None:
        if self._intake is not None:
            self._intake.abort()
            self._intake = None
        self._header_due = False
