"""The active queue: messages in memory, from the moment qmgr takes them in to the end of one round of deliveries.

    message.take(Ended(recipient, report))      per recipient
    message.pending == 0                        the round is over: rounds.py settles what becomes of the file
"""


from msgspec import Struct

from mailsuite.queue.agent import BOUNCED, DEFERRED, SENT, MemberEnd, RecipientReport
from mailsuite.queue.envelope import Envelope, Notify, Recipient
from mailsuite.queue.journal import Place


class Ended(Struct, frozen=True):
    """One recipient's outcome in this round. site: which host or agent said so, for a bounce's text."""

    recipient: Recipient
    report: RecipientReport


class Message(Struct, eq=False):
    """One message of the active queue. pending: deliveries of this round that have not ended.

    fresh: it never was deferred, so there is no log of reasons to remove. flush: this round was asked for by somebody,
    defer_transports does not hold it. expire: postsuper -e: what cannot be delivered now is returned.
    more: the number of the last recipient that was read, where the file has others behind it; 0: it has none.
    open: recipients in memory that have no outcome yet. transports: where those that were read go. filled_at: when some
    were read last, of the monotonic clock. reading: the next ones are being read.
    unmarked: numbers of recipients whose end is not in the file yet. traced: what `sendmail -bv` and -v tell besides.
    clears_delay: the sender was warned of a delay, and shall hear of its end (confirm_delay_cleared).
    """

    queue_id: str
    envelope: Envelope
    offset: int
    size: int
    recipients: list[Recipient]
    active_time: float
    path: str
    place: Place | None = None  # in the journal: it has no file; path is its segment's then
    held: Place | None = None   # where it was in the journal, and agents still read it
    readers: int = 0            # requests under way that were sent to the journal
    fd: int = -1                # an open descriptor, for a message that has no name
    fresh: bool = True
    flush: bool = False
    expire: bool = False
    clears_delay: bool = False
    more: int = 0
    open: int = 0
    transports: set[str] = set()
    filled_at: float = 0.0
    reading: bool = False
    pending: int = 0
    sent: list[Ended] = []
    deferred: list[Ended] = []
    bounced: list[Ended] = []
    unmarked: list[int] = []
    traced: list[Ended] = []
    _facts: dict[str, str] | None = None

    def take(self, ended: Ended) -> None:
        """A recipient's round is over."""
        if ended.report.ends:
            ended = self._take_members(ended)
        elif ended.report.owner:            # to the owner of a list, its failing member is a recipient like any other
            to = ended.recipient
            ended = Ended(Recipient(ended.report.address or to.address, number=to.number), ended.report)
        status = ended.report.status
        if status == SENT:
            self.unmarked.append(ended.recipient.number)
            if ended.recipient.notify & Notify.SUCCESS or self.envelope.verify or self.clears_delay:
                self.sent.append(ended)
        elif status == BOUNCED:
            self.bounced.append(ended)
        else:
            self.deferred.append(ended)

    def _take_members(self, ended: Ended) -> Ended:
        """Several deliveries of an expansion: the one that stands for the recipient, the others noted."""
        if ended.report.status == DEFERRED and self.envelope.verify != "verify":
            return ended                    # all of it is tried again
        number = ended.recipient.number
        first: Ended | None = None
        for row in ended.report.ends:
            member = MemberEnd(*row)
            notify = Notify.NONE if member.owner else ended.recipient.notify
            decides = first is None and member.status == ended.report.status
            one = Ended(Recipient(member.address, member.original, member.orcpt, notify, number if decides else -1),
                        member.report(ended.report))
            if decides:
                first = one
            elif member.status == BOUNCED:
                self.bounced.append(one)
            elif self.envelope.verify:
                self.traced.append(one)
        return first or ended

    def facts(self) -> dict[str, str]:
        """What delivery agents are told of where the message came from; made once."""
        if self._facts is None:
            origin = self.envelope.origin
            self._facts = {
                "client_name": origin.client_name, "client_address": origin.client_address,
                "client_port": origin.client_port, "helo_name": origin.helo_name,
                "protocol_name": origin.protocol_name, "log_ident": origin.log_ident or self.queue_id,
                "message_origin": origin.message_origin, "sasl_method": origin.sasl_method,
                "sasl_username": origin.sasl_username, "sasl_sender": origin.sasl_sender,
                "reverse_client_name": origin.reverse_client_name, "server_address": origin.server_address,
                "rewrite_context": "local" if self.envelope.local else "remote"}
            if self.envelope.require_tls:
                self._facts["require_tls"] = self.envelope.require_tls
        return self._facts


def expansions(envelope: Envelope) -> list[Ended]:
    """Recipients with NOTIFY=SUCCESS whose alias became several: our duty ends there (RFC 3461 section 5.2.7.3)."""
    return [Ended(Recipient(address, original, orcpt, Notify.SUCCESS),
                  RecipientReport(0, -1, SENT, "2.0.0", "alias expanded", action="expanded"))
            for address, original, orcpt in envelope.expanded]
