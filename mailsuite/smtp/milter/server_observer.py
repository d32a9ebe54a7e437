"""The milters of one SMTP connection, asked at each stage.

    milters = MilterSuite(settings, rewriter)               one per process
    observer = await milters.observer(facts, connections)   None: this client's mail is not filtered

Who is told what when, and how the answers show in replies and log, is Postfix's (tests/smtp/milter/recorded/): a
milter that refuses CONNECT or HELO lets the client speak on, up to MAIL. Milters are asked one after the other; the
first one that objects decides.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from mailsuite.address.syntax import quote_local
from mailsuite.base.errors import ConfigError, MailError, TemporaryError
from mailsuite.base.log import logger
from mailsuite.maps.maps import MapSource, open_maps
from mailsuite.queue.envelope import Handling
from mailsuite.smtp.facts import Facts
from mailsuite.smtp.log_lines import log_decision
from mailsuite.smtp.milter import params
from mailsuite.smtp.milter.client import Milter
from mailsuite.smtp.milter.macros import refused_macros, smtp_macros
from mailsuite.smtp.milter.reply_text import logged
from mailsuite.smtp.milter.server_content import DISCARD, HOLD, ContentMilter
from mailsuite.smtp.milter.session import Act, Answer
from mailsuite.smtp.milter.settings import MilterOptions, MilterSpec, read_milters
from mailsuite.smtp.milter.syntax import Steps, connect_data, string, strings
from mailsuite.smtp.observers import Observer
from mailsuite.smtp.params import SOFT_BOUNCE
from mailsuite.smtp.questions import Fine, Refusal
from mailsuite.smtp.syntax import Word

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.cleanup import Intake
    from mailsuite.queue.inspection import Inspector
    from mailsuite.rewrite.rewriter import Rewriter

log = logger("smtpd")
_ALL = Steps(0)
_TOLD_ANYWAY = frozenset({"AUTH", "ETRN", "STARTTLS", "VRFY"})      # commands that a refused client hears it at


class MilterSuite:
    """What all connections of a process share. Raises ConfigError."""

    def __init__(self, settings: "Settings", rewriter: "Rewriter") -> None:
        self.options = MilterOptions.of(settings)
        self.rewriter = rewriter
        self.hostname = settings.text("myhostname")
        self.soft_bounce = settings[SOFT_BOUNCE]
        wanted = "no_milters" not in settings.text("receive_override_options").replace(",", " ").split()
        self.specs = read_milters(settings[params.SMTPD_MILTERS], self.options) if wanted else []
        self._maps = open_maps(settings[params.SMTPD_MILTER_MAPS] if wanted else "", MapSource(settings, "smtpd"))

    @property
    def empty(self) -> bool:
        return not self.specs and self._maps.empty

    async def observer(self, facts: Facts, connections: Callable[[], Awaitable[int]]) -> "SmtpMilters | None":
        """connections: how many this client has now."""
        specs = await self._specs_of(facts.client.address)
        return SmtpMilters(self, specs, connections) if specs else None

    async def _specs_of(self, address: str) -> list[MilterSpec]:
        """smtpd_milter_maps, else smtpd_milters. A map that cannot be asked takes no filter away."""
        try:
            found = await self._maps.find(address) if not self._maps.empty else None
            if found is None:
                return self.specs
            return [] if found.strip().upper() == "DISABLE" else read_milters(found, self.options)
        except TemporaryError:
            return self.specs               # the log knows already
        except ConfigError as error:
            log.warning("smtpd_milter_maps: %s: %s", address, error.public)
            return self.specs


class SmtpMilters(Observer):
    """One connection."""

    def __init__(self, suite: MilterSuite, specs: Sequence[MilterSpec],
                 connections: Callable[[], Awaitable[int]]) -> None:
        self._suite, self._connections = suite, connections
        self._milters = [Milter(spec, suite.options, log) for spec in specs]
        self._at_once = 0
        self._greeted = self._refused = False

    # --- stages -------------------------------------------------------------------------------------------------

    async def connect(self, facts: Facts) -> "Refusal | Fine | None":
        self._at_once = await self._connections()
        client = facts.client
        name = client.name if client.name != "unknown" else f"[{client.address}]"
        reply = await self._ask(facts, "connect", connect_data(name, client.address, client.port))
        if reply.startswith("421"):
            return Refusal(f"421 {self._suite.hostname} Service unavailable - try again later")
        # Sendmail lets a refused client go on, and tells it at MAIL; the greeting says what to expect.
        return Fine(f"554 {self._suite.hostname} ESMTP not accepting connections") if reply.startswith("5") else None

    async def helo(self, facts: Facts, words: Sequence[Word]) -> "Refusal | None":
        reply = await self._ask(facts, "helo", string(facts.helo or ""))
        if reply.startswith("421"):
            return Refusal(reply)
        self.forget(facts)
        self._greeted, self._refused = True, bool(reply)
        return None

    async def ehlo_lines(self, facts: Facts, lines: list[str]) -> list[str] | Refusal:
        """Who is refused may go on, with little: the name and ENHANCEDSTATUSCODES."""
        return [lines[0], *(line for line in lines[1:] if line == "ENHANCEDSTATUSCODES")] if self._refused else lines

    async def mail(self, facts: Facts, words: Sequence[Word]) -> "Refusal | None":
        sender = facts.sender or ""
        macros = await self._resolved("mail", sender, sender)
        return _refusal(await self._ask(facts, "mail", strings([f"<{_external(sender)}>", *_rest(words)]), macros))

    async def rcpt(self, facts: Facts, words: Sequence[Word], refusal: Refusal | None) -> "Refusal | None":
        address = facts.recipient or ""
        if refusal is None:
            macros = await self._resolved("rcpt", facts.sender or "", address)
        else:
            macros = refused_macros(refusal.reply)
        return _refusal(await self._ask(facts, "rcpt", strings([f"<{_external(address)}>", *_rest(words)]), macros,
                                        only_for=Steps.RCPT_REJECTED if refusal is not None else _ALL))

    async def data(self, facts: Facts) -> "Refusal | None":
        macros = {"{mail_addr}": _external(facts.sender or ""), "{rcpt_addr}": _external(facts.first_recipient)}
        return _refusal(await self._ask(facts, "data", b"", macros))

    async def unknown(self, facts: Facts, words: Sequence[Word]) -> "Refusal | None":
        return _refusal(await self._ask(facts, "unknown", string(words[0].text)))

    async def other(self, facts: Facts, verb: str, words: Sequence[Word]) -> "Refusal | None":
        if verb not in _TOLD_ANYWAY:
            return None
        for milter in self._milters:
            if (answer := milter.says_already) is not None and answer.reply:
                return Refusal(answer.reply)
        if verb == "STARTTLS":
            self.forget(facts)
        return None

    def inspectors(self, facts: Facts, intake: "Intake") -> "list[Inspector]":
        if Handling.MILTER not in intake.envelope.handling:
            return []

        def values() -> dict[str, str]:
            return {**self._suite.options.macro_values, **smtp_macros(facts, self._at_once)}

        return [ContentMilter(milter, intake, values, soft_bounce=self._suite.soft_bounce)
                for milter in self._milters]

    # --- ends ---------------------------------------------------------------------------------------------------

    def reset(self, facts: Facts) -> None:
        for milter in self._milters:
            milter.reset()

    def forget(self, facts: Facts) -> None:
        if self._greeted:
            self._greeted = False
            self.reset(facts)

    def close(self, facts: Facts) -> None:
        self.forget(facts)
        for milter in self._milters:
            milter.close()

    # --- asking -------------------------------------------------------------------------------------------------

    async def _ask(self, facts: Facts, event: str, data: bytes, macros: dict[str, str] | None = None, *,
                   only_for: Steps = _ALL) -> str:
        """The reply of the first that objects, "" when none does. only_for: who has not asked for this is not told, and
        nobody's answer counts."""
        if facts.treatment.discard is not None:
            return ""                       # nobody is going to see this message
        values = {**self._suite.options.macro_values, **smtp_macros(facts, self._at_once), **(macros or {})}
        for milter in self._milters:
            if only_for and not milter.wants(only_for):
                continue
            answer = await milter.event(event, data, values)
            if answer is None or only_for:
                continue
            reply = self._carry_out(facts, answer)
            if reply or answer.act is Act.DISCARD:
                return reply
        return ""

    def _carry_out(self, facts: Facts, answer: Answer) -> str:
        """Log an objection; the reply for the client, "" where it is told nothing of it."""
        if answer.act is Act.DISCARD:
            facts.treatment.discard = DISCARD
            log_decision(facts, "milter-discard", DISCARD)
            return ""
        if answer.act is Act.QUARANTINE:
            facts.treatment.hold = HOLD
            log_decision(facts, "milter-hold", HOLD)
            return ""
        log_decision(facts, "milter-reject", logged(answer.reply))
        return answer.reply

    async def _resolved(self, kind: str, sender: str, address: str) -> dict[str, str]:
        """{mail_addr}, {mail_host}, {mail_mailer}, and the like of a recipient."""
        macros = {f"{{{kind}_addr}}": _external(address)}
        try:
            found = await self._suite.rewriter.resolve(sender, address)
        except MailError:
            return macros
        if not found.error:
            macros |= {f"{{{kind}_host}}": found.nexthop, f"{{{kind}_mailer}}": found.transport}
        return macros


def _refusal(reply: str) -> Refusal | None:
    return Refusal(reply) if reply else None


def _external(address: str) -> str:
    return quote_local(address) if address else ""


def _rest(words: Sequence[Word]) -> list[str]:
    """The ESMTP parameters of MAIL and RCPT."""
    return [word.text for word in words[3:]]
