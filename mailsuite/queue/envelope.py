"""All that is known of a message besides its content.

    Envelope(sender="a@b.test", origin=Origin(client_name="c.test", ...))       one per message
    Recipient("d@e.test", original="d@e.test", orcpt="rfc822;d@e.test", notify=Notify.NEVER)

Whoever accepts mail (smtpd, pickup, bounces, forwards) fills an Envelope and gives it to `queue/cleanup.py`; the queue
file keeps it; the delivery agents see it again in `queue/agent.DeliveryRequest`.
Addresses are in internal form: not quoted, without <>; sender "" is the null sender.
"""

import time
from enum import Enum, Flag, IntFlag

from msgspec import Struct, field
from msgspec.structs import replace

from mailsuite.base import wire


class Notify(IntFlag):
    """NOTIFY= of RFC 3461 section 4.1; NONE: nothing was said (failures and delays are reported)."""

    NONE = 0
    NEVER = 1
    SUCCESS = 2
    FAILURE = 4
    DELAY = 8


def after_expansion(notify: Notify) -> Notify:
    """What the members of an alias inherit: the alias itself is reported as expanded (RFC 3461 section 5.2.7)."""
    rest = notify & ~Notify.SUCCESS
    return rest if rest or not notify else Notify.NEVER


class Ret(Enum):
    """RET= of RFC 3461 section 4.3."""

    NONE = ""
    FULL = "FULL"
    HDRS = "HDRS"


class Handling(Flag):
    """What cleanup does with a message; smtpd takes away what receive_override_options names."""

    NONE = 0
    FILTER = 1          # header_checks, body_checks, content_filter
    BCC = 2             # always_bcc, sender_bcc_maps, recipient_bcc_maps
    MAP = 4             # canonical, masquerading, virtual aliases
    MILTER = 8
    EXTERNAL = 15       # mail from smtpd and pickup
    INTERNAL = 4        # bounces and notices (internal_mail_filter_classes adds FILTER and MILTER)


class Recipient(Struct, frozen=True, array_like=True):
    """One recipient; as JSON a list.

    address: where it goes now. original: what the client said, unquoted like it, for X-Original-To and
    orig_to= ("": the same). orcpt: ORCPT's value "type;address", decoded. number: set by the queue file, names the
    recipient in reports.
    """

    address: str
    original: str = ""
    orcpt: str = ""
    notify: Notify = Notify.NONE
    number: int = -1


class Origin(Struct, frozen=True, omit_defaults=True):
    """Where a message came from; the facts that logs, Received headers, milters and XFORWARD tell.

    client_* is what is told to content filters and policy (after XCLIENT/XFORWARD); message_origin is
    "name[address]" for SMTP and "local" for pickup.
    """

    client_name: str = ""
    client_address: str = ""
    client_port: str = ""
    reverse_client_name: str = ""
    server_address: str = ""
    server_port: str = ""
    helo_name: str = ""
    protocol_name: str = ""            # "ESMTP"
    log_ident: str = ""                # the queue id of an earlier hop (XFORWARD IDENT), "" : the message's own
    message_origin: str = "local"
    sasl_method: str = ""
    sasl_username: str = ""
    sasl_sender: str = ""


class Envelope(Struct, omit_defaults=True):
    """One message's envelope while it is accepted. local: headers are rewritten as for local clients
    (local_header_rewrite_clients); only then are missing headers added.

    encoding: "" (unknown), "7bit" or "8bit" (BODY=). hold, filter, redirect: what access tables and checks decided.
    size_hint: SIZE= of the client, 0 for none. full_name: pickup's and sendmail's -F, for a missing From.
    bcc: addresses that access tables' BCC actions add.
    """

    sender: str = ""
    origin: Origin = Origin()
    local: bool = True
    handling: Handling = Handling.EXTERNAL
    arrival_time: float = field(default_factory=time.time)
    encoding: str = ""
    smtputf8: bool = False             # asked for by the client, or found out (smtputf8_autodetect_classes)
    utf8_header: bool = False          # a header field is not ASCII
    envid: str = ""
    ret: Ret = Ret.NONE
    size_hint: int = 0
    full_name: str | None = None
    hold: bool = False
    hold_reason: str = ""
    filter: str = ""
    redirect: str = ""
    bcc: list[str] = []
    verify: str = ""                   # sendmail -bv, -v: "verify", "record": report by mail; verify(8): "probe"
    program: str = "smtpd"             # who accepted it: smtpd, pickup, bounce, local...
    lines: int = 0                     # of the content; logs and listings count line ends as SMTP's two octets
    is_bounce: bool = False            # made by us: never answered by another
    require_tls: str = ""              # "yes": REQUIRETLS (RFC 8689); "no": the header said TLS-Required: no
    verp: str = ""                     # two delimiters: each recipient gets a copy from a sender of its own (verp.py)
    dmarc: frozenset[str] = frozenset()     # what restrictions ask for when DMARC fails (auth_results/verifier.py)
    expanded: list[tuple[str, str, str]] = []   # aliases whose success is to be told of

    def kept(self) -> "Envelope":
        """What counts once the message is in the queue."""
        if self.bcc or self.dmarc or self.size_hint:        # carried out, or the accepting server's own
            return replace(self, bcc=[], dmarc=frozenset(), size_hint=0)
        return self

    def facts(self) -> bytes:
        """What is kept, one line of JSON with all that differs from the defaults; `of_facts` reads it."""
        return wire.encode(self.kept())

    @classmethod
    def of_facts(cls, said: bytes) -> "Envelope":
        """Raises ValueError for what `facts` did not write."""
        return _read(said)


_read = wire.Reader(Envelope)
