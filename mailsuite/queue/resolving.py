"""Where a recipient's mail goes: transport, destination, nexthop; or how it ends without a delivery.

    resolver = Resolver(settings, rewriter, table)
    await resolver.resolve(message, recipient) -> (recipient as the agent gets it, group) or Verdict

Recipients of one group may go in one delivery. Raises MailError when a table could not be asked.
"""

from typing import TYPE_CHECKING, NamedTuple

from mailsuite.address.syntax import split_domain, split_extension
from mailsuite.queue import params
from mailsuite.queue.active import Message
from mailsuite.queue.agent import DEFERRED, SENT
from mailsuite.queue.envelope import Recipient
from mailsuite.queue.limits import TransportTable
from mailsuite.queue.probes import is_probe, probe_rewriter
from mailsuite.queue.route import route_of
from mailsuite.verify.sender import ProbeSender

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.rewrite.rewriter import Rewriter


class Group(NamedTuple):
    """key: the destination within the transport, for the scheduler."""

    transport: str
    key: str
    nexthop: str


class Verdict(NamedTuple):
    """An outcome without a delivery."""

    status: str
    dsn: str
    reason: str


_DISCARDED = Verdict(SENT, "2.0.0", "undeliverable postmaster notification discarded")
_HELD_BACK = Verdict(DEFERRED, "4.3.2", "deferred transport")


class Resolver:
    """One per configuration."""

    def __init__(self, settings: "Settings", rewriter: "Rewriter", table: TransportTable) -> None:
        self._rewriter, self._probe_rewriter = rewriter, probe_rewriter(settings, rewriter)
        self._table = table
        self._probe_sender = ProbeSender(settings)
        deferred = settings[params.DEFER_TRANSPORTS]
        self._defer_transports = frozenset(deferred)
        self._delimiter = settings.text("recipient_delimiter")
        self._filter_nexthop = settings.text("default_filter_nexthop")
        self._double_bounce = settings[params.DOUBLE_BOUNCE_SENDER].lower()

    async def resolve(self, message: Message, recipient: Recipient) -> tuple[Recipient, Group] | Verdict:
        rewriter = self._probe_rewriter if is_probe(message.envelope) else self._rewriter
        resolution = await rewriter.resolve(message.envelope.sender, recipient.address)
        transport, nexthop = route_of(resolution, recipient.address, message.envelope.filter,
                                      self._filter_nexthop)
        local = split_domain(recipient.address)[0].lower()
        if resolution.address_class == "local" and (local == self._double_bounce
                                                    or self._probe_sender.is_ours(recipient.address)):
            return _DISCARDED
        if transport in self._defer_transports and not message.flush:
            return _HELD_BACK
        if resolution.recipient and resolution.recipient != recipient.address and not message.envelope.filter:
            recipient = Recipient(resolution.recipient, recipient.original, recipient.orcpt, recipient.notify,
                                  recipient.number)
        key = nexthop
        if self._table.of(transport).recipients == 1:
            # Per user, as in Postfix: local(8)'s concurrency is meant per mailbox.
            user = split_extension(split_domain(recipient.address)[0], self._delimiter)[0]
            key = f"{user.lower()}\n{nexthop}"
        return recipient, Group(transport, key, nexthop)
