"""Mail from others, judged at its end: SPF, DKIM, ARC, DMARC, one Authentication-Results header.

    verifier = Verifier(settings, checks, source)           checks: what the SPF restrictions use as well
    cleanup.first.append(verifier)                          or of one message: intake.inspectors

An Inspector (queue/inspection.py). Headers that pretend to be ours go first. Clients of auth_results_exempt_networks,
who logged in, and local programs are not verified; only the first may bring Authentication-Results of ours.
envelope.dmarc says what the restrictions ask for: refuse, hold or mark what fails DMARC.
Raises: nothing of its own; a refusal is 550 5.7.1, or 451 4.7.1 when DNS could not be asked and it matters.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailsuite.address.syntax import quote_local
from mailsuite.auth_results import params
from mailsuite.auth_results.arc import ArcResult, verify_chain
from mailsuite.auth_results.checks import Checks
from mailsuite.auth_results.content import FieldIndex
from mailsuite.auth_results.dkim import DkimResult, verify
from mailsuite.auth_results.dmarc import Authors, DmarcResult, evaluate, from_domains, prefetch
from mailsuite.auth_results.header import NAME, is_from, method_result, render
from mailsuite.auth_results.report import log_results, methods_of, received_spf
from mailsuite.auth_results.spf import SpfResult
from mailsuite.base.log import logger
from mailsuite.maps.matchlist import AddressList, DomainList
from mailsuite.queue.envelope import Envelope, Handling
from mailsuite.queue.inspection import Edit, InsertHeader, Inspected, Inspection, Quarantine, RemoveFields
from mailsuite.queue.refused import Refused

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.maps.maps import MapSource

log = logger("cleanup")
REJECT, REJECT_QUARANTINE, HOLD, MARK = "reject", "reject_quarantine", "hold", "mark"
_FIELD = NAME.lower().encode()


class Found:
    """All that was found out about one message; None: not asked."""

    def __init__(self) -> None:
        self.spf: SpfResult | None = None
        self.dkim: list[DkimResult] | None = None
        self.arc: ArcResult | None = None
        self.dmarc: DmarcResult | None = None
        self.overridden = False


class Verifier:
    """One per process."""

    def __init__(self, settings: "Settings", checks: Checks, source: "MapSource", *,
                 clock: Callable[[], float] = time.time, sample: Callable[[], float] = random.random) -> None:
        self.checks, self._clock, self._sample = checks, clock, sample
        self.spf, self.dkim = settings[params.SPF_VERIFY], settings[params.DKIM_VERIFY]
        self.dmarc, self.arc = settings[params.DMARC_VERIFY], settings[params.ARC_VERIFY]
        self._received_spf = settings[params.SPF_RECEIVED_HEADER]
        self._tree_walk = settings[params.DMARC_ORGANIZATIONAL_DOMAIN] == "treewalk"
        self._mark = settings[params.DMARC_QUARANTINE_HEADER]
        self._exempt = AddressList(settings[params.AUTH_RESULTS_EXEMPT_NETWORKS], source,
                                   name="auth_results_exempt_networks")
        self._trusted = DomainList(settings[params.ARC_TRUSTED_DOMAINS], source, name="arc_trusted_domains")

    @property
    def wanted(self) -> bool:
        """Whether every message is to be looked at."""
        return self.spf or self.dkim or self.dmarc or self.arc

    async def inspect(self, message: Inspected) -> Inspection:
        """Source: RFC 8601 section 5, RFC 7489 section 6.6."""
        envelope = message.envelope
        if envelope.program != "smtpd" or Handling.MILTER not in envelope.handling:
            return Inspection()
        if await self._exempt.matches(envelope.origin.client_address):
            return Inspection()
        edits: list[Edit] = list(self._without_forged(message))
        if envelope.origin.sasl_username:
            return Inspection(edits)
        found = await self._find(message)
        value = render(self.checks.hostname, methods_of(
            found.spf, found.dkim, found.arc, found.dmarc, sender=envelope.sender, helo=envelope.origin.helo_name,
            overridden=found.overridden))
        log_results(message.queue_id, found.spf, found.dkim, found.arc, found.dmarc)
        inspection = Inspection(edits)
        self._carry_out(message, found, inspection)
        if self._received_spf and found.spf is not None:
            edits.append(InsertHeader(0, "Received-SPF", received_spf(
                found.spf, self.checks.hostname, envelope.origin.client_address, envelope.sender,
                envelope.origin.helo_name)))
        edits.append(InsertHeader(0, NAME, value))
        return inspection

    def _without_forged(self, message: Inspected) -> list[RemoveFields]:
        places = frozenset(place for place, field in enumerate(message.fields)
                           if field.name.lower() == _FIELD and is_from(field.value, self.checks.hostname))
        return [RemoveFields(places)] if places else []

    async def _find(self, message: Inspected) -> Found:
        """All look-ups side by side; DMARC needs the others' results."""
        envelope, checks, found = message.envelope, self.checks, Found()
        judged = self.dmarc or bool(envelope.dmarc)
        resolver, now = checks.within_time(), self._clock()
        authors = from_domains(FieldIndex(message.fields)) if judged else Authors([])
        async with asyncio.TaskGroup() as tasks:
            spf = dkim = arc = None
            if self.spf or judged:
                spf = tasks.create_task(checks.mail_from(envelope.origin.client_address, envelope.sender,
                                                         envelope.origin.helo_name))
            if self.dkim or judged:
                dkim = tasks.create_task(verify(message, resolver, checks.dkim, now))
            if judged and not self._tree_walk:
                tasks.create_task(prefetch(authors, resolver))
            if self.arc:
                arc = tasks.create_task(verify_chain(message, resolver, checks.dkim, now))
        found.spf, found.dkim = spf.result() if spf else None, dkim.result() if dkim else None
        found.arc = arc.result() if arc else None
        if judged:
            found.dmarc = await evaluate(authors, found.spf, found.dkim or (), resolver,
                                         tree_walk=self._tree_walk, sample=self._sample)
            found.overridden = found.dmarc.result == "fail" and await self._vouched_for(found.arc)
        return found

    async def _vouched_for(self, arc: ArcResult | None) -> bool:
        """A good chain, all of whose sealers we trust, began with DMARC pass: RFC 8617 section 7.2.1."""
        if arc is None or arc.result != "pass" or self._trusted.empty:
            return False
        for sealer in arc.sealers:
            if not await self._trusted.matches(sealer):
                return False
        return method_result(arc.first_results, "dmarc") == "pass"

    def _carry_out(self, message: Inspected, found: Found, inspection: Inspection) -> None:
        """What the restrictions asked for, on what DMARC says."""
        wanted, dmarc = message.envelope.dmarc, found.dmarc
        if dmarc is None or not wanted or found.overridden:
            return
        refuses = (REJECT in wanted and "reject") or (REJECT_QUARANTINE in wanted and "quarantine")
        if dmarc.result == "temperror" and refuses and dmarc.policy != "none":
            inspection.refusal = self._refused(message, Refused(
                451, "4.7.1", f"DMARC policy of {_shown(dmarc.domain)} could not be evaluated, try again later"))
        elif (dmarc.disposition == "reject" and REJECT in wanted) or \
                (dmarc.disposition == "quarantine" and REJECT_QUARANTINE in wanted):
            inspection.refusal = self._refused(message, Refused(
                550, "5.7.1", f"Unauthenticated mail from {_shown(dmarc.domain)} is not accepted due to the domain's "
                              "DMARC policy"))
        elif dmarc.disposition != "none":
            if HOLD in wanted:
                inspection.edits.append(Quarantine(f"DMARC policy of {_shown(dmarc.domain)}"))
            if MARK in wanted:
                name, _, value = self._mark.partition(":")
                inspection.edits.append(InsertHeader(0, name.strip(), value.strip()))

    def _refused(self, message: Inspected, refusal: Refused) -> Refused:
        envelope, origin = message.envelope, message.envelope.origin
        to = f" to=<{quote_local(message.recipients[0].address)}>" if len(message.recipients) == 1 else ""
        log.info("%s: reject: END-OF-MESSAGE from %s: %d %s %s; from=<%s>%s proto=%s helo=<%s>", message.queue_id,
                 origin.message_origin, refusal.code, refusal.status, refusal.public, quote_local(envelope.sender), to,
                 origin.protocol_name, origin.helo_name)
        return refusal


def _shown(domain: str) -> str:
    return domain[:100] or "the author"


def is_judged_by_us(envelope: Envelope) -> bool:
    """Whether a message is of the kind that is verified, before its client is looked at."""
    return envelope.program == "smtpd" and Handling.MILTER in envelope.handling
