"""Runs restriction lists for one command of a client.

    judge = Judge(resources, facts)
    verdict = await judge.run(steps, name="a@b.test", kind="Recipient address")

What makes it more than a loop: warn_if_reject (the next rejection is only logged), defer_if_permit and defer_if_reject
(a problem that speaks up at the end), restriction classes and access results that are lists themselves.
Limits: DEPTH_LIMIT lists inside each other.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.base.trace import TRACE, Trace
from mailsuite.smtp.facts import Deferral, Facts
from mailsuite.smtp.log_lines import log_decision
from mailsuite.smtp.policy.verdict import Verdict
from mailsuite.smtp.questions import Refusal
from mailsuite.smtp.reply import consistent
from mailsuite.smtp.syntax import printable

if TYPE_CHECKING:
    from mailsuite.smtp.policy.lists import Step
    from mailsuite.smtp.policy.resources import Resources

log = logger("smtpd")
DEPTH_LIMIT = 100
_FINAL = frozenset({"permit", "reject", "defer"})       # what stands behind them is never reached


class ServerError(Exception):
    """The configuration is wrong in a way that shows only now; the command ends with reply."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reply)
        self.refusal = refusal


class Judge:
    """State of one judgement. name and kind: what is being judged, for replies: <name>: kind rejected: ..."""

    def __init__(self, resources: "Resources", facts: Facts) -> None:
        self.resources, self.facts = resources, facts
        self.name = self.kind = ""
        self.default_rule: Step | None = None
        self.warn_only = False
        self.tells_permits = True           # smtpd_log_access_permit_actions
        self.defer_if_permit: Deferral | None = None
        self.defer_if_reject: Deferral | None = None
        self.recipient_checked = self.sender_checked = False
        self._depth = 0

    # --- running ------------------------------------------------------------------------------------------------

    async def run(self, steps: "Sequence[Step]", name: str, kind: str) -> Verdict:
        """The first verdict that is not None. Answers 451 by itself when something cannot be asked."""
        before = self.name, self.kind
        self.name, self.kind = name, kind
        try:
            return await self.sublist(steps)
        except TemporaryError as error:
            if error.detail:
                log.warning("%s", error.detail)
            return self.reject(451, "4.3.0", f"<{printable(name)}>: Temporary lookup failure", sort="data")
        except ServerError as error:
            return error.refusal
        finally:
            self.name, self.kind = before
            self.warn_only = False

    @property
    def nested_too_deeply(self) -> bool:
        """Whether a table's result may not begin another list."""
        return self._depth >= DEPTH_LIMIT

    async def sublist(self, steps: "Sequence[Step]") -> Verdict:
        """A list inside a list. Raises TemporaryError, ServerError."""
        if self._depth > DEPTH_LIMIT + 1:          # classes that name each other; tables complain before
            log.warning("restriction lists nested too deeply at %s", self.name)
            self.server_error()
        self._depth += 1
        outer_warn = self.warn_only
        trace = TRACE.get()
        try:
            for at, step in enumerate(steps):
                if self.facts.treatment.discard is not None:
                    return None
                if step.warns:
                    self.warn_only = True
                    continue
                verdict = await (step.rule(self, step.argument) if trace is None else self._told(step, trace))
                self.warn_only = outer_warn
                if verdict is not None:
                    if step.name in _FINAL and at + 1 < len(steps) and not outer_warn:
                        log.warning("restriction `%s' after `%s' is ignored", steps[at + 1].name, step.name)
                    if not isinstance(verdict, Refusal):
                        await self._tell_permit(step)
                    return verdict
                if self.defer_if_permit is not None and self.defer_if_reject is not None:
                    return None
            return None
        finally:
            self._depth -= 1
            self.warn_only = outer_warn

    async def note_permit(self, action: str, kind: str, name: str, how: str) -> None:
        """smtpd_log_access_permit_actions. how: "from TABLE", or empty."""
        permits = self.resources.logged_permits
        if self.tells_permits and not permits.empty and await permits.matches(action):
            self.note("permit", f"action={action} for {kind}={name} {how}")

    async def _tell_permit(self, step: "Step") -> None:
        """As a restriction permits; tables, services and classes tell of it where their results are judged."""
        if not self.tells_permits or self.resources.logged_permits.empty:
            return                          # nobody asks for it: nothing is put into words
        if step.name.startswith("check_") or step.name in self.resources.classes:
            return
        facts = self.facts
        kind, name = next(((kind, name) for part, kind, name in (
            ("helo", "Helo command", facts.helo), ("sender", "Sender address", facts.sender),
            ("recipient", "Recipient address", facts.recipient), ("auth_dest", "Recipient address", facts.recipient),
            ("mx_backup", "Recipient address", facts.recipient)) if part in step.name),
            ("Client host", facts.client.host))
        if step.name == "permit":
            kind, name = self.kind, self.name
        await self.note_permit(step.name, kind, name or "", "")

    async def _told(self, step: "Step", trace: Trace) -> Verdict:
        """Carry out a restriction, and report what it said."""
        told = trace.step(step.name, step.text, table=False)
        if step.name in trace.passed_over:
            told.result = "not asked"
            return None
        trace.hits.clear()
        with trace.inside(told):
            try:
                verdict = await step.rule(self, step.argument)
            except TemporaryError as error:
                told.result = f"cannot be asked: {error.detail or error.public}"
                raise
            except ServerError as error:
                told.result = error.refusal.reply
                raise
        told.hit = trace.hits[-1] if trace.hits else None
        trace.hits.clear()
        told.result = verdict.reply if isinstance(verdict, Refusal) else "permit" if verdict is not None else ""
        return verdict

    # --- verdicts -----------------------------------------------------------------------------------------------

    def reject(self, code: int, status: str, text: str, *, sort: str = "policy") -> Refusal | None:
        """Refuse with a reply; only a line in the log when warn_if_reject is on. sort: for notify_classes."""
        warn = self.warn_only and sort in ("policy", "protocol", "bounce")
        reply = f"{code} {status} {text}"
        if self.resources.soft_bounce and reply[0] == "5":
            reply = "4" + reply[1:]
        if not warn and self.defer_if_reject is not None and reply[0] == "5":
            deferral, self.defer_if_reject, self.warn_only = self.defer_if_reject, None, False
            return self.reject(deferral.code, deferral.status, deferral.text, sort=sort)
        reply = consistent(reply)
        self.note("reject_warning" if warn else "reject", reply)
        if warn:
            return None
        return Refusal(reply, sort)

    def reject_named(self, code: int, status: str, why: str, *, sort: str = "policy") -> Refusal | None:
        """Refuse what is being judged: <name>: kind rejected: why."""
        return self.reject(code, status, f"<{self.name}>: {self.kind} rejected: {why}", sort=sort)

    def reject_helo(self, code: int, status: str, why: str) -> Refusal | None:
        """Refuse the name that HELO said."""
        return self.reject(code, status, f"<{self.facts.helo}>: Helo command rejected: {why}", sort="protocol")

    def defer_when_permitted(self, code: int, status: str, text: str) -> None:
        """If the lists permit in the end, this is the reply; the first such problem counts."""
        if self.warn_only:
            self.note("reject_warning", consistent(f"{code} {status} {text}"))
        elif self.defer_if_permit is None:
            self.defer_if_permit = Deferral(code, status, text)

    def tempfail(self, action: str, code: int, status: str, text: str) -> Refusal | None:
        """Something could not be found out; action is the value of a *_tempfail_action parameter."""
        if action == "defer":
            return self.reject(code, status, text)
        self.defer_when_permitted(code, status, text)
        return None

    def without_sasl(self, *names: str) -> bool:
        """Without authentication nobody can be told apart: a restriction is passed over, with a warning.

        names: what the warnings call it, one each.
        """
        if not self.resources.sasl:
            for name in names:
                log.warning("restriction `%s' ignored: no SASL support", name)
        return not self.resources.sasl

    def defer_when_rejected(self, code: int, status: str, text: str) -> None:
        """If the lists reject in the end, this is the reply instead."""
        if self.defer_if_reject is None:
            self.defer_if_reject = Deferral(code, status, text)

    def server_error(self, about: str = "") -> None:
        """Ends the judgement: 451 4.3.5. about: what was judged, before the text. Raises ServerError always."""
        refusal = self.reject(451, "4.3.5", f"{about}Server configuration error", sort="software")
        assert refusal is not None
        raise ServerError(refusal)

    def note(self, what: str, text: str) -> None:
        """The log line of a decision: "NOQUEUE: reject: RCPT from host: text; from=<> to=<> proto= helo=<>"."""
        if (trace := TRACE.get()) is not None:
            trace.step(f"log {what}", self.name, text, table=False)
        log_decision(self.facts, what, text)
