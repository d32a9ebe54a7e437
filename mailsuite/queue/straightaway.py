"""qmgr's deliveries that go straight to a worker (queue/straight.py): which may, and what becomes of them.

    straight = Straightaway(manager)
    straight.take(seq, path, message, recipients)       False: the agent at the socket `path` is to be asked
    straight.learn(path, address, again)                an agent's report has said so

Only what is ordinary goes straight: a small message of the journal, one recipient, no probe, no report of a delivery.
Whatever is not plain success is left to the agent, as if nothing had been tried; the scheduler sees no difference.
"""

from typing import TYPE_CHECKING

from mailsuite.base.log import logger
from mailsuite.queue.agent import DEFERRED, SENT, RecipientReport, Times, log_delivery
from mailsuite.queue.straight import CONTENT_LIMIT, REASON, RELAY, Item
from mailsuite.queue.straight_links import StraightLinks

if TYPE_CHECKING:
    from mailsuite.queue.active import Message
    from mailsuite.queue.envelope import Recipient
    from mailsuite.queue.manager import Manager

log = logger(RELAY)


class Straightaway:
    """One per qmgr."""

    def __init__(self, manager: "Manager") -> None:
        self._manager = manager
        self._links = StraightLinks(self)
        self._allowed = True
        self.learn, self.give_up, self.close = self._links.learn, self._links.give_up, self._links.close

    def configure(self, allowed: bool) -> None:
        """New settings: what was granted before is not used any more. allowed: a worker's line in the log is right."""
        self._allowed = allowed
        self._links.forget()

    def take(self, seq: int, path: str, message: "Message", recipients: "list[Recipient]") -> bool:
        """Hand a delivery to a worker, where the agent has allowed it and nothing about it is unusual."""
        place, envelope, (recipient, *others) = message.place, message.envelope, recipients
        if (place is None or others or not self._links.usable(path, recipient.address) or message.size > CONTENT_LIMIT
                or envelope.verify or envelope.verp or not self._allowed):
            return False
        try:
            content = self._manager.journaled.journal.content(place, message.offset, message.size)
        except (OSError, ValueError):
            return False                        # the agent says why
        return self._links.take(path, Item(seq, 0, "", message.queue_id, envelope.sender, recipient.original,
                                           envelope.arrival_time, message.active_time, message.size),
                                recipient.address, content)

    # --- the links' words -------------------------------------------------------------------------------------------

    def delivered(self, seqs: list[int]) -> None:
        """They are on disk, and in the log."""
        for seq in seqs:
            for recipient in self._manager.unfinished(seq)[1]:
                self._manager.report(RecipientReport(seq, recipient.number, SENT, "2.0.0", REASON, relay=RELAY))
            self._manager.done(seq)

    def refused(self, seqs: list[int]) -> None:
        """Nothing was done: the agent is asked after all."""
        for seq in seqs:
            self._manager.ask_agent(seq)

    def lost(self, seqs: list[int], worker: int) -> None:
        """Their worker died; they may have been delivered."""
        for seq in seqs:
            message, recipients = self._manager.unfinished(seq)
            for recipient in recipients:
                log.warning("%s: %s: %s worker %d died", message.queue_id, recipient.address, RELAY, worker)
                report = RecipientReport(seq, recipient.number, DEFERRED, "4.3.0", "delivery process died", relay=RELAY)
                log_delivery(log, self._manager.request(message, RELAY, "", []), recipient, report, Times())
                self._manager.report(report)
            self._manager.done(seq)
