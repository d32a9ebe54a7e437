"""Aliases, .forward files and mailboxes of local(8), as a tree.

    local = LocalEnds(site, service)
    ends, news = await local.of(job)          job: a probe; news: (node, end) of mail that would be made anew

The expansion of deliver/expansion.py runs as it does for `sendmail -bv`: .forward and :include: files are read by
workers with the user's rights, nothing is written. Only what would be handed to another agent is told instead.
"""

import os
from collections.abc import Mapping
from typing import Any

from mailsuite.base.trace import TRACE, Step, tracing
from mailsuite.deliver import mailbox
from mailsuite.deliver.agent import Job
from mailsuite.deliver.endpoints import Endpoints
from mailsuite.deliver.expansion import Expansion, Node
from mailsuite.deliver.local import Pools, World
from mailsuite.deliver.passwd import Account
from mailsuite.explain.model import Decision, End, with_hit
from mailsuite.explain.site import Service, Site
from mailsuite.net.workers import WorkerPool, serve_requests
from mailsuite.queue.agent import BOUNCED, DEFERRED, SENT

_WORDS = {BOUNCED: "bounced", DEFERRED: "deferred", SENT: "delivered"}


class _Readers(Pools):
    """Workers that read files; a probe writes none, runs nothing and forwards nothing."""

    def __init__(self) -> None:
        self.files = WorkerPool(serve_requests(_read_only), name="explain worker", allow_root=True)
        self.commands = self.forwarder = self.files


def _read_only(message: dict[str, Any], fds: list[int]) -> Mapping[str, Any]:
    assert message["op"] == "read"
    return mailbox.handle(message, fds)


class LocalEnds:
    """One local service of master.cf."""

    def __init__(self, site: Site, service: Service) -> None:
        self._site, self._service = site, service
        self._pools = _Readers()
        self._world = World(service.settings, self._pools)

    async def close(self) -> None:
        await self._pools.files.close()

    async def of(self, job: Job) -> tuple[list[End], list[tuple[Node, End]]]:
        """The tree of a recipient. Raises what an agent's frame would make a deferral of."""
        endpoints = _Told(self._world)
        expansion = _Expansion(self._world, endpoints, job, job.request.recipients[0], -1, set())
        with tracing() as trace:
            await expansion.run()
        return [end for step in trace.steps for end in self._end_of(step)], expansion.news

    def _end_of(self, step: Step) -> list[End]:
        """A step of the expansion as a place of the tree; steps that only rewrote an address are told with it."""
        by = self._site.locate(with_hit(Decision(step.by, step.subject, step.result), step.hit), self._service)
        if isinstance(step, _EndStep):
            step.end.by = by if by.by else None
            return [step.end]
        members = [end for inner in step.inner for end in self._end_of(inner)]
        if step.by == "forward_path":
            by.file, by.line, by.result = step.result, 0, ""
        elif step.by == ":include:":
            by.file, by.line = step.subject, 0
        elif step.by not in ("alias_maps", "luser_relay"):
            return members
        return [End(step.subject, "expanded", by, members=members)]


class _EndStep(Step):
    """Where the expansion ends."""

    __slots__ = ("end",)
    end: End


class _Expansion(Expansion):
    """Remembers the ends in the trace, each in its alias."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.news: list[tuple[Node, End]] = []

    def end(self, node: Node, status: str, dsn: str, reason: str, *, diagnostic: str = "", action: str = "",
            relay: str = "local", logged: bool = False, tried: bool = False) -> None:
        super().end(node, status, dsn, reason, diagnostic=diagnostic, action=action, relay=relay, logged=True)
        self.place(node, End(node.address, _WORDS[status], dsn=dsn, reason=reason))

    def place(self, node: Node, end: End, by: str = "") -> None:
        """Put an end into the tree, with what is known of it."""
        trace = TRACE.get()
        if trace is None:
            return
        endpoints = self._ends
        if end.status == "bounced":
            end.notice = f"<{end.address}>: {end.reason}"
        elif end.reason.startswith("forwards to "):
            end.status = "forwarded"
            self.news.append((node, end))
        elif end.reason == "delivers to mailbox" and node.account is not None:
            by = "home_mailbox" if self.world.home_mailbox else "mail_spool_directory"
            end.mailbox, identity = endpoints.mailbox_of(node.account)
            end.format = "maildir" if end.mailbox.endswith("/") else "mbox"
            _whose(end, node.account, identity.effective().uid, identity.effective().gid)
        elif end.reason.startswith(("delivers to command: ", "delivers to file: ")):
            account = endpoints.rights(node)
            identity = account.identity.effective()
            _whose(end, account, identity.uid, identity.gid)
            kind, _, what = end.reason.removeprefix("delivers to ").partition(": ")
            setattr(end, kind, what)
            by = by or ("mailbox_command" if node.personal and node.source == "" else "")
        hit = trace.hits[-1] if by.endswith("maps") and trace.hits else None
        trace.hits.clear()
        step = _EndStep(by, end.address, end.reason, hit)
        step.end = end
        trace.add(step)


def _whose(end: End, account: Account, uid: int, gid: int) -> None:
    end.user, end.uid, end.gid = account.name if os.geteuid() == 0 else "", uid, gid


class _Told(Endpoints):
    """Endpoints that hand nothing over."""

    async def _pass(self, expansion: Expansion, node: Node, transport: str) -> None:
        assert isinstance(expansion, _Expansion)
        name, _, nexthop = transport.partition(":")
        trace = TRACE.get()
        hits = trace.hits if trace is not None else []
        end = End(node.address, "passed", transport=name, nexthop=nexthop or expansion.job.request.nexthop,
                  reason=f"passed to transport {name}")
        spec = hits[-1].table if hits and hits[-1].value == transport else ""
        expansion.place(node, end, self._parameter_of(transport, spec))

    def _parameter_of(self, transport: str, spec: str) -> str:
        """Which parameter named the transport."""
        world = self._world
        for name, maps in (("mailbox_transport_maps", world.mailbox_transport_maps),
                           ("fallback_transport_maps", world.fallback_transport_maps)):
            if spec and spec in maps.names:
                return name
        return "mailbox_transport" if transport == world.mailbox_transport else "fallback_transport"
