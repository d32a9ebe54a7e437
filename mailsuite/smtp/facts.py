"""What is known of a client and its transaction. The session fills it; restrictions, logs and headers read it."""

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct, field

from mailsuite.base.dialogue import TlsInfo

if TYPE_CHECKING:
    from mailsuite.smtp.syntax import Word


class Deferral(Struct, frozen=True):
    """A problem that decides only if all else permits (or rejects): "450 4.7.1 text" as code, status, text."""

    code: int
    status: str
    text: str


class NameStatus(Enum):
    """How the search for a client's name ended; TEMPORARY: DNS did not answer."""

    OK = "ok"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    FORGED = "forged"


class BdatState(Enum):
    """FAILED: a chunk was refused; what follows is thrown away until RSET, or until the last chunk."""

    NONE = 0
    OPEN = 1
    FAILED = 2


class Client(Struct):
    """name: verified (its addresses hold this one), else "unknown". reverse_name: what PTR said, unverified.

    address "" for a program on a pipe. log_port: the port stands in the log too.
    """

    address: str = ""
    port: int = 0
    name: str = "unknown"
    reverse_name: str = "unknown"
    name_status: NameStatus = NameStatus.PERMANENT
    reverse_status: NameStatus = NameStatus.PERMANENT
    server_address: str = ""
    server_port: int = 0
    log_port: bool = False

    @property
    def host(self) -> str:
        """E.g. "mail.a.test[192.0.2.1]", as logs and replies call it."""
        port = f":{self.port}" if self.log_port else ""
        return f"{self.name}[{self.address or 'unknown'}]{port}"

    @property
    def rfc_address(self) -> str:
        """As in a Received header: RFC 5321 section 4.1.3."""
        return f"IPv6:{self.address}" if ":" in self.address else self.address


class Treatment(Struct):
    """What access tables decided for the message as a whole."""

    hold: str | None = None
    discard: str | None = None
    filter: str = ""
    redirect: str = ""
    bcc: list[str] = []
    prepend: list[str] = []
    reply: str = ""                 # instead of "250 2.0.0 Ok: queued as ..."
    dmarc: set[str] = set()        # what is to be done when DMARC fails: auth_results/verifier.py


class Forwarded(Struct):
    """What XFORWARD told of the next message. local: its source; None: not said."""

    client: Client
    helo: str = ""
    protocol: str = ""
    ident: str = ""
    local: bool | None = None

    @property
    def host(self) -> str:
        return self.client.host if self.client.address else self.client.name


class Facts(Struct):
    """helo None: not said yet. sender None: no transaction. where: the command under way, as the log names it.

    recipient: the one being judged. recipients: how many were accepted; first_recipient: the first of them.
    Addresses are in internal form.
    """

    client: Client
    service: str = "smtpd"
    where: str = "CONNECT"
    words: "Sequence[Word]" = ()    # the command as it was said
    protocol: str = "SMTP"
    helo: str | None = None
    tls: TlsInfo | None = None
    stress: bool = False            # the session took the last place of its process
    tls_name: str = ""
    sasl_method: str = ""
    sasl_username: str = ""
    sasl_sender: str = ""
    ill_pipelining: bool = False
    deferral: Deferral | None = None
    local: bool | None = None       # whether the real client counts as one of ours; None: not asked yet
    forwarded: Forwarded | None = None
    # the transaction
    sender: str | None = None
    recipient: str | None = None
    first_recipient: str = ""
    recipients: int = 0
    size: int = 0
    actual_size: int = 0
    encoding: str = ""
    smtputf8: bool = False
    require_tls: bool = False       # MAIL FROM said REQUIRETLS
    ret: str = ""
    envid: str = ""
    verp: str = ""                  # two delimiters, for mail with variable envelope return paths
    queue_id: str = ""
    etrn_name: str = ""
    instance: str = ""
    treatment: Treatment = field(default_factory=Treatment)

    def reset_mail(self, *, keep_size: bool = False) -> None:
        """Forget the transaction. keep_size: of a refused MAIL; what SIZE= said holds until RSET or another SIZE=."""
        size = self.size if keep_size else 0
        self.sender = self.recipient = None
        self.first_recipient = self.encoding = self.ret = self.envid = self.queue_id = self.sasl_sender = ""
        self.verp = ""
        self.recipients = self.actual_size = 0
        self.size = size
        self.smtputf8 = self.require_tls = False
        self.instance = ""
        self.treatment = Treatment()

    def reset_all(self) -> None:
        """Forget all that was said before a TLS handshake (RFC 3207 section 4.2)."""
        self.reset_mail()
        self.helo = None
        self.protocol = "SMTP"
        self.sasl_method = self.sasl_username = ""

    @property
    def with_protocol(self) -> str:
        """E.g. "ESMTPS", for Received headers; RFC 3848, RFC 6531 section 4.3. The "A" is the caller's."""
        base = ("UTF8" + self.protocol.removeprefix("E")) if self.smtputf8 else self.protocol
        return base + ("S" if self.tls is not None else "")
