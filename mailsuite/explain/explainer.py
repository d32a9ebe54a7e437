"""The order of things: smtpd judges, cleanup rewrites, qmgr resolves, an agent delivers.

    explanation = await Explainer(site).explain("info@example.test", Question(client="198.51.100.7"))

Mail that an agent makes anew (a .forward, a mailing list's member) goes through cleanup and qmgr again, so this does,
up to NEWS_LIMIT times in a row.
"""

from dataclasses import dataclass

from mailsuite.address.syntax import quote_local
from mailsuite.base.errors import MailError, PermanentError
from mailsuite.base.trace import Trace, tracing
from mailsuite.dns.resolver import Resolver
from mailsuite.explain.ends import Ends, FollowUp
from mailsuite.explain.judgement import Asker, judge
from mailsuite.explain.model import Decision, End, Explanation, Recipient, decision_of
from mailsuite.explain.site import Service, Site
from mailsuite.queue.params import CONTENT_FILTER, DEFER_TRANSPORTS
from mailsuite.queue.route import route_of
from mailsuite.rewrite.rewriter import Rewriter

NEWS_LIMIT = 10         # mail made from mail made from mail...
FILTER_LIMIT = 100      # of all final recipients, how many are looked at


@dataclass(frozen=True)
class Question:
    """sender "": the null sender. client "": a stranger whom mynetworks does not have. service: of master.cf.

    dns: look for MX hosts. policy: ask policy services too, who may remember the question.
    """

    sender: str = ""
    client: str = ""
    client_name: str = ""
    helo: str = ""
    login: str = ""
    service: str = ""
    dns: bool = False
    policy: bool = False


class Explainer:
    """One site; made inside an event loop."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.resolver = Resolver.of(site.settings)
        self.rewriter = Rewriter(site.settings)
        deferred: tuple[str, ...] = site.settings[DEFER_TRANSPORTS]
        self.deferred = frozenset(deferred)

    async def explain(self, address: str, question: Question) -> Explanation:
        """All of it; what goes wrong with tables is in the explanation. Raises ConfigError for the question."""
        explanation = Explanation(address)
        smtpd = self.site.smtpd(question.service)
        ends = Ends(self.site, self.resolver if question.dns else None)
        try:
            if smtpd is not None:
                explanation.judgement = await judge(self.site, smtpd, address, Asker(
                    question.sender, question.client, question.client_name, question.helo, question.login,
                    question.policy), self.resolver)
            self._filter(explanation, smtpd)
            await self._queue(explanation, address, question.sender, smtpd, ends)
        finally:
            await ends.close()
        return explanation

    def _filter(self, explanation: Explanation, smtpd: Service | None) -> None:
        """content_filter: everything passes it first; what is told goes for the mail that comes back from it."""
        settings = (smtpd or Service(self.site.settings)).settings
        explanation.content_filter = settings[CONTENT_FILTER]

    async def _queue(self, explanation: Explanation, address: str, sender: str, smtpd: Service | None,
                     ends: Ends) -> None:
        # As in smtpd: cleanup's work is done with the settings of the service that takes the mail.
        rewriter = Rewriter(smtpd.settings) if smtpd is not None else self.rewriter
        with tracing() as trace:
            try:
                own_sender = await rewriter.sender(sender)
                trace.steps.clear()
                found = await rewriter.expand_recipient(address)
                explanation.steps = self._taken(trace, smtpd)
                copies = await rewriter.bcc(own_sender, [address])
                bcc_steps = self._taken(trace, smtpd)
                copied = [one for copy in copies for one in await rewriter.expand_recipient(copy)]
            except MailError as error:
                explanation.steps += self._taken(trace, smtpd)
                explanation.error = in_smtp(error)
                return
        explanation.recipients = [await self._recipient(one, own_sender, ends, 0) for one in found[:FILTER_LIMIT]]
        explanation.copies = [await self._recipient(one, own_sender, ends, 0) for one in copied[:FILTER_LIMIT]]
        for copy in explanation.copies:
            copy.steps[:0] = bcc_steps or [self.site.locate(Decision("always_bcc", address, copy.address))]

    def _taken(self, trace: Trace, service: Service | None) -> list[Decision]:
        """The steps so far; the trace begins anew."""
        decisions = [self.site.locate(decision_of(step), service) for step in trace.steps]
        trace.steps.clear()
        trace.hits.clear()
        return decisions

    async def _recipient(self, address: str, sender: str, ends: Ends, depth: int) -> Recipient:
        """Class, transport, nexthop, and what the agent does."""
        recipient = Recipient(address)
        with tracing() as trace:
            try:
                resolution = await self.rewriter.resolve(sender, address)
            except MailError as error:
                recipient.steps = self._taken(trace, None)
                recipient.ends = [End(address, "deferred", dsn="4.3.0", reason="address resolver failure",
                                      notice=error.public)]
                return recipient
            recipient.steps = self._taken(trace, None)
        recipient.address_class = resolution.address_class
        recipient.transport, recipient.nexthop = route_of(resolution, address)
        final = resolution.recipient or address
        if recipient.transport in self.deferred:
            recipient.ends = [End(final, "deferred", self.site.locate(Decision("defer_transports")), "4.3.2",
                                  "deferred transport")]
            return recipient
        service = self.site.transport(recipient.transport)
        if service is None or service.entry is None:
            recipient.ends = [End(final, "deferred", dsn="4.3.5", reason="mail transport unavailable",
                                  notice=f"master.cf has no service {recipient.transport}")]
            return recipient
        recipient.service = service.entry.where
        recipient.ends, follow = await ends.of(service, recipient, final, address, sender)
        for news in follow:
            await self._follow(news, ends, depth + 1)
        return recipient

    async def _follow(self, news: FollowUp, ends: Ends, depth: int) -> None:
        """New mail of an agent."""
        if depth > NEWS_LIMIT:
            news.end.reason += "; not followed any further"
            return
        with tracing() as trace:
            try:
                found = await self.rewriter.expand_recipient(news.address)
            except MailError as error:
                news.end.notice = in_smtp(error)
                news.end.steps = self._taken(trace, None)
                return
            news.end.steps = self._taken(trace, None)
        news.end.then = [await self._recipient(one, news.sender, ends, depth) for one in found[:FILTER_LIMIT]]


def in_smtp(error: MailError) -> str:
    """What the client is told at the end of the message: cleanup's words (queue/cleanup_recipients.py)."""
    if isinstance(error, PermanentError):
        return f"451 4.6.0 {error.public} ({error})"
    return f"451 4.3.0 Temporary lookup failure{f' ({error.detail})' if error.detail else ''}"


__all__ = ["Explainer", "Question", "in_smtp", "quote_local"]
