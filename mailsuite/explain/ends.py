"""What the delivery agent of a transport would do: asked as a probe that delivers nothing.

    ends = Ends(site, resolver)
    found, follow = await ends.of(service, recipient, "alice@example.test", original, sender)
    await ends.close()

One function an agent, in AGENTS by the command name of master.cf. `follow` is mail that the agent would make anew.
"""

import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from mailsuite.address.syntax import quote_local
from mailsuite.base.errors import ConfigError, MailError
from mailsuite.base.log import logger
from mailsuite.base.trace import tracing
from mailsuite.deliver import mailbox
from mailsuite.deliver.agent import Job
from mailsuite.deliver.discard import discard
from mailsuite.deliver.error import fail
from mailsuite.deliver.pipe import parse_options
from mailsuite.deliver.virtual import VirtualAgent
from mailsuite.dns.resolver import Resolver
from mailsuite.explain import model
from mailsuite.explain.local import LocalEnds
from mailsuite.explain.model import End, decision_of
from mailsuite.explain.site import Service, Site
from mailsuite.net.workers import WorkerPool, serve_requests
from mailsuite.queue.agent import BOUNCED, DEFERRED, DeliveryRequest, RecipientReport
from mailsuite.queue.envelope import Recipient
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.smtp.client_destination import NoHost
from mailsuite.smtp.client_hosts import HostFinder

STATUS_WORDS = {BOUNCED: "bounced", DEFERRED: "deferred"}


@dataclass
class FollowUp:
    """New mail, to be looked at like the first: end is the place in the tree where it was made."""

    address: str
    sender: str
    end: End


@dataclass
class Case:
    """One recipient at one agent. address: as it was resolved; original: as it is in the queue file."""

    service: Service
    recipient: model.Recipient
    address: str
    original: str
    sender: str
    follow: list[FollowUp] = field(default_factory=list)

    def job(self) -> tuple[Job, list[RecipientReport]]:
        """A probe for the agent, and where its reports will be."""
        reports: list[RecipientReport] = []
        request = DeliveryRequest(1, "explain", "", 0, 0, self.sender, self.recipient.transport, self.recipient.nexthop,
                                  [Recipient(self.address, self.original)], verify="verify")
        command = self.service.entry.command if self.service.entry is not None else "local"
        return Job(request, reports.append, logger(command)), reports


class Ends:
    """The agents of a site. resolver None: MX hosts are not looked for."""

    def __init__(self, site: Site, resolver: Resolver | None) -> None:
        self.site, self.resolver = site, resolver
        self._unused = WorkerPool(serve_requests(mailbox.handle))       # a probe of virtual asks no worker
        self._local: dict[str, LocalEnds] = {}

    async def close(self) -> None:
        for local in self._local.values():
            await local.close()

    async def of(self, service: Service, recipient: model.Recipient, address: str, original: str,
                 sender: str) -> tuple[list[End], list[FollowUp]]:
        """What becomes of the recipient, and new mail that it leads to."""
        assert service.entry is not None
        agent = AGENTS.get(service.entry.command)
        case = Case(service, recipient, address, original, sender)
        if agent is None:
            text = f"master.cf, line {service.entry.line}: {service.entry.command} delivers no mail"
            return [End(address, "deferred", dsn="4.3.5", reason="mail transport unavailable", notice=text)], []
        try:
            return await agent(self, case), case.follow
        except ConfigError as error:
            return [End(address, "deferred", dsn="4.3.5", reason="mail system configuration error",
                        notice=error.public)], []
        except MailError as error:
            return [End(address, "deferred", dsn=error.status, reason=error.public, notice=error.detail)], []

    # --- the agents -------------------------------------------------------------------------------------------------

    async def local(self, case: Case) -> list[End]:
        assert case.service.entry is not None
        name = case.service.entry.name
        if name not in self._local:
            self._local[name] = LocalEnds(self.site, case.service)
        local, (job, _) = self._local[name], case.job()
        ends, news = await local.of(job)
        case.follow += [FollowUp(node.address, node.sender, end) for node, end in news]
        await self._passed_on(case, ends)
        return ends

    async def _passed_on(self, case: Case, ends: list[End]) -> None:
        """mailbox_transport and its kind: local hands the recipient to another agent."""
        for end in ends:
            await self._passed_on(case, end.members)
            if end.status == "passed":
                service = self.site.transport(end.transport)
                if service is None:
                    end.status, end.dsn, end.reason = "deferred", "4.3.0", "mail transport unavailable"
                    continue
                inner = model.Recipient(end.address, "", end.transport, end.nexthop)
                assert service.entry is not None
                inner.service = service.entry.where
                inner.ends, follow = await self.of(service, inner, end.address, case.original, case.sender)
                case.follow += follow
                end.then = [inner]

    async def virtual(self, case: Case) -> list[End]:
        job, reports = case.job()
        with tracing() as trace:
            await VirtualAgent(case.service.settings, self._unused).one(job, job.request.recipients[0])
        end = _reported(case.address, reports[0])
        found = {step.by: step for step in trace.steps}
        if "virtual_mailbox_maps" in found:
            end.by = self.site.locate(decision_of(found["virtual_mailbox_maps"]), case.service)
        if end.status == "delivered":
            end.mailbox = found["virtual_mailbox_maps"].result
            end.format = "maildir" if end.mailbox.endswith("/") else "mbox"
            end.uid, end.gid = int(found["virtual_uid_maps"].result), int(found["virtual_gid_maps"].result)
        end.steps = [self.site.locate(decision_of(step), case.service) for step in trace.steps[1:]]
        return [end]

    async def remote(self, case: Case) -> list[End]:
        """smtp, lmtp."""
        settings, nexthop = case.service.settings, case.recipient.nexthop
        assert case.service.entry is not None
        end = End(case.address, "relayed", transport=case.recipient.transport, nexthop=nexthop)
        with tracing() as trace:
            generic = Rewriter(settings).generic_maps(f"{case.service.entry.command}_generic_maps")
            known_as = await generic.address(case.address)
            end.steps = [self.site.locate(decision_of(step), case.service) for step in trace.steps]
        if known_as != case.address:
            end.reason = f"to <{quote_local(known_as)}>"
        if self.resolver is None:
            return [end]
        finder, found, error = HostFinder(settings, self.resolver, case.service.entry.command), None, None
        for site in itertools.chain(*finder.sites(nexthop)):
            try:
                found = await finder.find(site)
                break
            except NoHost as trouble:
                error = trouble
        if found is None:
            assert error is not None
            return [End(case.address, "deferred" if error.status.startswith("4") else "bounced", dsn=error.status,
                        reason=error.public, transport=case.recipient.transport, nexthop=nexthop, steps=end.steps)]
        end.hosts = [endpoint.name_port for endpoint in found.endpoints]
        return [end]

    async def pipe(self, case: Case) -> list[End]:
        entry, (job, _) = case.service.entry, case.job()
        assert entry is not None
        options = parse_options(list(entry.arguments), case.service.settings.text("mail_owner"))
        command = " ".join(options.arguments(job.request, case.service.settings.text("recipient_delimiter")))
        identity = options.identity.effective()
        return [End(case.address, "delivered", command=command, uid=identity.uid, gid=identity.gid,
                    transport=entry.name, nexthop=case.recipient.nexthop)]

    async def error(self, case: Case) -> list[End]:
        job, reports = case.job()
        fail(job, retry=case.recipient.transport == "retry")
        return [_reported(case.address, reports[0])]

    async def discard(self, case: Case) -> list[End]:
        job, reports = case.job()
        discard(job)
        end = _reported(case.address, reports[0])
        end.status = "discarded"
        return [end]


def _reported(address: str, report: RecipientReport) -> End:
    """An agent's report as an end."""
    end = End(report.address or address, STATUS_WORDS.get(report.status, "delivered"), dsn=report.dsn,
              reason=report.reason)
    end.notice = notice_of(end)
    return end


def notice_of(end: End) -> str:
    """What the sender reads in the report of a failed delivery; "" otherwise."""
    return f"<{quote_local(end.address)}>: {end.reason}" if end.status == "bounced" else ""


AGENTS: Mapping[str, Callable[[Ends, Case], Awaitable[list[End]]]] = {
    "local": Ends.local, "virtual": Ends.virtual, "smtp": Ends.remote, "lmtp": Ends.remote, "pipe": Ends.pipe,
    "error": Ends.error, "discard": Ends.discard}
