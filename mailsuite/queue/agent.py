"""What qmgr asks of a delivery agent and what it answers: the dataclasses of both ends, and the delivery's log line.

    qmgr -> agent      one line of JSON per request:   a DeliveryRequest
    agent -> qmgr      one line per recipient as it ends: a RecipientReport, then {"seq": 7, "done": true};
                       "done": true may stand in the last report's line

qmgr connects to the transport's Unix socket (private/NAME or public/NAME) and keeps the connection; requests carry a
sequence number and many are under way at once; the agent may answer them in any order. An agent that cannot take a
request now reports its recipients as deferred. A connection that breaks, or a `done` without a report for a
recipient, defers that recipient; it may then be delivered twice, never zero times.

The content is read from `path` at `offset`, `size` octets, LF line ends; the file stays there until `done`.
The agent logs the delivery line (`log_delivery`), qmgr keeps the outcome, bounces, and removes.
"""

import logging
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from mailsuite.address.syntax import quote_local
from mailsuite.base import wire
from mailsuite.queue.envelope import Recipient
from mailsuite.queue.journal import Place
from mailsuite.queue.straight import Again

SENT, DEFERRED, BOUNCED = "sent", "deferred", "bounced"


class DeliveryRequest(msgspec.Struct, omit_defaults=True):
    """One attempt to deliver one message to some recipients at one nexthop.

    transport: the master.cf name. nexthop: as transport_maps or the domain said, e.g. "[192.0.2.1]:2525" or "a.test".
    arrival_time: of the message; active_time: when it entered the active queue; sent_time: when this request was sent.
    encoding: "7bit", "8bit" or "". ret: "", "FULL" or "HDRS". verify: "" or "verify" (sendmail -bv: find out whether
    the recipient could be delivered; log status deliverable/undeliverable and deliver nothing) or "record" (-v).
    facts: the rest of what the envelope knows: client_name, client_address, client_port, helo_name, protocol_name,
    log_ident, message_origin, sasl_method, sasl_username, sasl_sender, rewrite_context ("local" or "remote");
    soft_bounce: present when agents shall defer what they would bounce; delay_digits: where
    delay_logging_resolution_limit is not 2.
    at: path is a segment of the journal, which has the octets of the queue file at this place.
    """

    seq: int
    queue_id: str
    path: str
    offset: int
    size: int
    sender: str
    transport: str
    nexthop: str
    recipients: list[Recipient]
    arrival_time: float = 0.0
    active_time: float = 0.0
    sent_time: float = 0.0
    encoding: str = ""
    smtputf8: bool = False
    envid: str = ""
    ret: str = ""
    verify: str = ""
    facts: dict[str, str] = {}
    utf8_header: bool = False
    at: Place | None = None

    def to_json(self) -> dict[str, Any]:
        """What differs from the defaults."""
        said: dict[str, Any] = msgspec.to_builtins(self)
        return said

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> "DeliveryRequest":
        """Raises ValueError for what `to_json` did not write."""
        return msgspec.convert(said, cls)


read_request = wire.Reader(DeliveryRequest)


class MemberEnd(NamedTuple):
    """How one delivery of an expansion ended; original and orcpt as notices name them."""

    address: str
    original: str
    orcpt: str
    status: str
    dsn: str
    reason: str
    relay: str
    action: str
    diagnostic: str
    owner: str = ""

    def report(self, whole: "RecipientReport") -> "RecipientReport":
        """The same as a report of its own."""
        return RecipientReport(whole.seq, whole.number, self.status, self.dsn, self.reason, relay=self.relay,
                               action=self.action, diagnostic=self.diagnostic, owner=self.owner)


class RecipientReport(msgspec.Struct, omit_defaults=True):
    """How one recipient of one request ended.

    status: "sent", "deferred" or "bounced". dsn: "2.0.0". reason: for humans, as in the log's parentheses.
    relay: "host[address]:port", "local", "virtual", "none". action: for success notices: "delivered", "relayed",
    "expanded"; "" lets the agent's status decide. diagnostic: "smtp; 550 5.1.1 unknown" ("" : "x-unix"/reason by
    qmgr). remote_mta: "dns; mx.test" or "". dsn_done: the next host takes over the duty to notify of success.
    address: what an alias had made of the recipient when it ended, for "<address> (expanded from <original>)"; "": its
    own address. ends: each delivery of an expansion, where a notice has to tell of all: the rows of `MemberEnd`.
    owner: who is told of a failure in the sender's place, the owner of a mailing list.
    done: nothing more of this request follows. A status "" says that, and tells of no recipient.
    again: the next ones for this recipient may go straight to a worker (queue/straight.py).
    """

    seq: int
    number: int = -1
    status: str = ""
    dsn: str = ""
    reason: str = ""
    relay: str = "none"
    action: str = ""
    diagnostic: str = ""
    remote_mta: str = ""
    dsn_done: bool = False
    address: str = ""
    ends: list[list[str]] = []
    owner: str = ""
    done: bool = False
    again: Again | None = None

    def to_json(self) -> dict[str, Any]:
        """What differs from the defaults."""
        said: dict[str, Any] = msgspec.to_builtins(self)
        return said

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> "RecipientReport":
        """Raises ValueError for what `to_json` did not write."""
        return msgspec.convert(said, cls)


read_report = wire.Reader(RecipientReport)


def done(seq: int) -> RecipientReport:
    """What ends a request and tells of no recipient."""
    return RecipientReport(seq, done=True)


@dataclass(slots=True)
class Times:
    """When what happened, for delays=a/b/c/d: before qmgr, in qmgr, connecting, transmitting. Epoch seconds.

    received: the agent took the request. connected: the connection stood (0: there was none, or none was needed).
    """

    received: float = field(default_factory=time.time)
    connected: float = 0.0


def delays(request: DeliveryRequest, times: Times, now: float) -> str:
    """"delay=0.31, delays=0.2/0.01/0/0.1"."""
    connected = times.connected or times.received
    digits = int(request.facts.get("delay_digits", 2))
    whole, *parts = (seconds_text(value, digits) for value in (
        now - request.arrival_time, request.active_time - request.arrival_time, times.received - request.active_time,
        connected - times.received, now - connected))
    return f"delay={whole}, delays={'/'.join(parts)}"


def seconds_text(value: float, digits: int = 2) -> str:
    """Seconds as the log has them: two significant digits, whole from 10 on, at most `digits` decimals
    (delay_logging_resolution_limit), no zeros at the end. A negative value (a clock that was set) is 0."""
    if value <= 0 or (value < 0.005 and digits == 2):         # most are
        return "0"
    if value >= 10:
        return f"{value:.0f}"
    decimals, scale = 1, 1.0
    while value < scale and decimals < digits:
        decimals, scale = decimals + 1, scale / 10
    text = f"{value:.{min(decimals, digits)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def log_delivery(log: logging.Logger, request: DeliveryRequest, recipient: Recipient, report: RecipientReport,
                 times: Times, *, status: str = "") -> None:
    """One line per recipient and attempt, in the one grammar that log readers know.

    status: another word than the report's ("deliverable", "undeliverable").
    """
    original = recipient.original
    orig_to = ""
    if original and original.lower() != recipient.address.lower():
        orig_to = f"orig_to=<{quote_local(original)}>, "
    log.info("%s: to=<%s>, %srelay=%s, %s, dsn=%s, status=%s (%s)", request.queue_id,
             quote_local(recipient.address), orig_to, report.relay,
             delays(request, times, time.time()), report.dsn, status or report.status, report.reason)
