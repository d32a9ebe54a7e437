"""The restriction lists of one configuration, and when each is run.

    policy = Policy(settings, rewriter, resolver)        raises ConfigError when nothing would stop relaying
    await policy.client(facts), .helo(facts), .mail(facts), .rcpt(facts), .data(facts)...

Each answers None (go on) or a Refusal. With smtpd_delay_reject the lists for client, HELO and sender are run when the
recipient is known. Source: SMTPD_ACCESS_README of Postfix.
"""

from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.trace import TRACE
from mailsuite.smtp import params
from mailsuite.smtp.facts import Facts, Treatment
from mailsuite.smtp.policy import (
    blocklists,
    certificate,
    delegation,
    greylist,
    rules_address,
    rules_auth,
    rules_dns,
    rules_generic,
    rules_verify,
)
from mailsuite.smtp.policy.judge import Judge, ServerError
from mailsuite.smtp.policy.lists import Step, parse_list
from mailsuite.smtp.policy.resources import Resources
from mailsuite.smtp.policy.verdict import Permit
from mailsuite.smtp.questions import Refusal

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.dns.resolver import Resolver
    from mailsuite.rewrite.rewriter import Rewriter

# Importing these enters their rules into the table.
RULES = (rules_generic, rules_address, rules_dns, rules_auth, rules_verify, blocklists, delegation, greylist,
         certificate)
_DEFAULTS = {"client": "check_client_access", "helo": "check_helo_access", "sender": "check_sender_access",
             "relay": "check_recipient_access", "recipient": "check_recipient_access", "etrn": "check_etrn_access"}
STOPS_RELAYING = ("reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit",
                  "check_relay_domains")


class Policy:
    """One per process."""

    def __init__(self, settings: "Settings", rewriter: "Rewriter", resolver: "Resolver") -> None:
        self.resources = Resources(settings, rewriter, resolver)
        self._delay = settings[params.SMTPD_DELAY_REJECT]
        self._unlisted_recipient = settings[params.SMTPD_REJECT_UNLISTED_RECIPIENT]
        self._unlisted_sender = settings[params.SMTPD_REJECT_UNLISTED_SENDER]
        classes = self.resources.classes
        names = settings.text("smtpd_restriction_classes").replace(",", " ").split()
        classes.update({name: [] for name in names})
        for name in names:                      # filled in place: a class may name one that comes later
            classes[name] += parse_list(settings.text(name), self.resources, classes)
        self._lists = {name: parse_list(settings.text(f"smtpd_{name}_restrictions"), self.resources, classes,
                                        default=_DEFAULTS.get(name, ""))
                       for name in ("client", "helo", "sender", "relay", "recipient", "data", "end_of_data", "etrn")}
        self._local_clients = parse_list(settings.text("local_header_rewrite_clients"), self.resources, classes,
                                         default="check_address_map")
        relay_first = settings.text("smtpd_relay_before_recipient_restrictions") != "no"
        self._recipient_lists = ("relay", "recipient") if relay_first else ("recipient", "relay")
        # What has something to say when the recipient is known.
        self._early = tuple(name for name in ("client", "helo", "sender")
                            if self._lists[name] or (name == "sender" and self._unlisted_sender))
        both = [step.name for name in self._recipient_lists for step in self._lists[name]]
        if not any(name in STOPS_RELAYING for name in both):
            raise ConfigError("in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least "
                              f"one working instance of: {', '.join(STOPS_RELAYING[:-1])} or {STOPS_RELAYING[-1]}")

    # What the session need not ask about.
    @property
    def judges_connect(self) -> bool:
        return not self._delay and bool(self._lists["client"])

    @property
    def judges_helo(self) -> bool:
        return not self._delay and bool(self._lists["helo"])

    @property
    def judges_mail(self) -> bool:
        return not self._delay and (bool(self._lists["sender"]) or self._unlisted_sender)

    @property
    def judges_end_of_data(self) -> bool:
        return bool(self._lists["end_of_data"])

    @property
    def judges_data(self) -> bool:
        return bool(self._lists["data"])

    # --- stages -------------------------------------------------------------------------------------------------

    async def client(self, facts: Facts) -> Refusal | None:
        return await self._alone(facts, "client")

    async def helo(self, facts: Facts) -> Refusal | None:
        return await self._alone(facts, "helo")

    async def mail(self, facts: Facts) -> Refusal | None:
        return await self._alone(facts, "sender")

    async def rcpt(self, facts: Facts) -> Refusal | None:
        """facts.recipient is set. VRFY asks the same."""
        recipient = facts.recipient or ""
        if recipient.lower() == "postmaster":       # RFC 5321 section 4.5.1
            return None
        judge = Judge(self.resources, facts)
        if self._delay:
            for stage in self._early:
                refusal = await self._stage(judge, stage)
                if refusal is not None:
                    return refusal
        else:
            judge.defer_if_permit = facts.deferral
        refusal = None
        for name in self._recipient_lists:
            if self._lists[name]:
                if TRACE.get() is not None:
                    _tell_list(name)
                verdict = await judge.run(self._lists[name], recipient, "Recipient address")
                if isinstance(verdict, Refusal):
                    return verdict
        refusal = self._deferred(judge)
        if refusal is None and self._unlisted_recipient and facts.treatment.discard is None:
            if TRACE.get() is not None:
                _tell_list("unlisted_recipient")
            verdict = await judge.run([_UNLISTED_RECIPIENT], recipient, "Recipient address")
            refusal = verdict if isinstance(verdict, Refusal) else None
        return refusal

    async def data(self, facts: Facts) -> Refusal | None:
        return await self._end_stage(facts, "data", "DATA", "Data command")

    async def end_of_data(self, facts: Facts) -> Refusal | None:
        return await self._end_stage(facts, "end_of_data", "END-OF-MESSAGE", "End-of-data")

    async def etrn(self, facts: Facts) -> Refusal | None:
        judge = Judge(self.resources, facts)
        for stage in ("client", "helo") if self._delay else ():
            refusal = await self._stage(judge, stage)
            if refusal is not None:
                return refusal
        verdict = await judge.run(self._lists["etrn"], facts.etrn_name, "Etrn command")
        return verdict if isinstance(verdict, Refusal) else self._deferred(judge)

    async def is_address(self, facts: Facts, address: str, *, utf8: bool) -> bool:
        """Whether an address has a valid domain in the end. utf8: else that must be ASCII, as before SMTPUTF8."""
        try:
            resolution = await self.resources.resolve(facts.sender or "", address)
        except TemporaryError:
            return True             # the next question about it will fail in the same way, and say so
        return not resolution.bad_syntax and (utf8 or resolution.recipient.rpartition("@")[2].isascii())

    async def is_local(self, facts: Facts) -> bool:
        """Whether headers are rewritten and completed as for our own users (local_header_rewrite_clients).

        Raises TemporaryError.
        """
        # The client's nature does not depend on what was decided of its message: DISCARD ends other lists at once.
        decided, facts.treatment = facts.treatment, Treatment()
        judge = Judge(self.resources, facts)
        judge.tells_permits = False
        try:
            return isinstance(await judge.sublist(self._local_clients), Permit)
        except ServerError as error:
            raise TemporaryError("Temporary lookup error", status="4.3.0") from error
        finally:
            facts.treatment = decided

    # --- helpers ------------------------------------------------------------------------------------------------

    async def _alone(self, facts: Facts, stage: str) -> Refusal | None:
        judge = Judge(self.resources, facts)
        refusal = await self._stage(judge, stage)
        if judge.defer_if_permit is not None:
            facts.deferral = judge.defer_if_permit      # decides when the recipient is judged
        return refusal

    async def _stage(self, judge: Judge, stage: str) -> Refusal | None:
        facts = judge.facts
        if stage == "client":
            name, kind = facts.client.host, "Client host"
        elif stage == "helo":
            if facts.helo is None:
                return None
            name, kind = facts.helo, "Helo command"
        else:
            name, kind = facts.sender or "", "Sender address"
        steps = self._lists[stage]
        if steps:
            _tell_list(stage)
            verdict = await judge.run(steps, name, kind)
            if isinstance(verdict, Refusal):
                return verdict
        if stage == "sender" and self._unlisted_sender and facts.sender and facts.treatment.discard is None:
            _tell_list("unlisted_sender")
            verdict = await judge.run([_UNLISTED_SENDER], name, kind)
            if isinstance(verdict, Refusal):
                return verdict
        return None

    async def _end_stage(self, facts: Facts, stage: str, name: str, kind: str) -> Refusal | None:
        steps = self._lists[stage]
        if not steps:
            return None
        judge = Judge(self.resources, facts)
        verdict = await judge.run(steps, name, kind)
        return verdict if isinstance(verdict, Refusal) else self._deferred(judge)

    def _deferred(self, judge: Judge) -> Refusal | None:
        """Nothing refused, but something could not be found out that might have."""
        deferral, judge.defer_if_permit = judge.defer_if_permit, None
        if deferral is None:
            return None
        judge.warn_only = False
        return judge.reject(deferral.code, deferral.status, deferral.text)


def _tell_list(name: str) -> None:
    """For who listens: which parameter the restrictions that follow stand in."""
    if (trace := TRACE.get()) is not None:
        parameter = f"smtpd_reject_{name}" if name.startswith("unlisted") else f"smtpd_{name}_restrictions"
        trace.step(LIST_MARK, parameter, table=False)


LIST_MARK = "restriction list"
_UNLISTED_RECIPIENT = Step("reject_unlisted_recipient", rules_address.reject_unlisted_recipient)
_UNLISTED_SENDER = Step("reject_unlisted_sender", rules_address.reject_unlisted_sender)
