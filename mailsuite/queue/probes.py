"""Probes of verify(8) in the queue: messages that are resolved and tried up to RCPT TO, and never kept for later.

    is_probe(envelope)                                  its `verify` is "probe"
    rewriter = probe_rewriter(settings, rewriter)       with the routes that address_verify_* parameters give probes
    tell_outcome(message, probed)                       each recipient's end, for verify(8)
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mailsuite.queue.active import Message
from mailsuite.queue.agent import DEFERRED, SENT
from mailsuite.queue.envelope import Envelope
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.verify.book import Status

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

Probed = Callable[[str, Status, str], None]
ROUTES = ("local_transport", "virtual_transport", "relay_transport", "default_transport", "relayhost",
          "transport_maps", "sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps")


def is_probe(envelope: Envelope) -> bool:
    return envelope.verify == "probe"


def probe_rewriter(settings: "Settings", rewriter: Rewriter) -> Rewriter:
    """The rewriter itself when probes go where mail goes."""
    other = {name: text for name in ROUTES if (text := settings.text(f"address_verify_{name}")) != settings.text(name)}
    return Rewriter(settings.with_overrides(other)) if other else rewriter


def tell_outcome(message: Message, probed: Probed) -> None:
    """All recipients of a probe have an outcome."""
    for ended in [*message.sent, *message.deferred, *message.bounced]:
        report = ended.report
        status = Status.OK if report.status == SENT else Status.DEFER if report.status == DEFERRED else Status.BOUNCE
        probed(ended.recipient.original or ended.recipient.address, status, report.reason)
