"""What an LMTP session knows of its server, asks it and is told: the values between it and who drives it."""

from dataclasses import dataclass, field
from enum import Enum

from mailsuite.smtp.lmtp_syntax import Path

TEMPORARY_TEXT = "Temporary internal error"


@dataclass(frozen=True)
class LmtpConfig:
    """trusted: the client's address is in login_trusted_networks, so its XCLIENT is believed.

    line_limit: octets of a command line. recipient_limit: of one message. size_limit: octets of one message, 0 for
    none. bad_commands: in a row. timeout_s: silence of the client. workarounds: of lmtp_client_workarounds.
    """

    hostname: str
    greeting: str = "Dovecot ready."
    tls_offered: bool = False
    trusted: bool = False
    line_limit: int = 4096
    recipient_limit: int = 10_000
    size_limit: int = 0
    bad_commands: int = 10
    timeout_s: float = 300.0
    workarounds: frozenset[str] = frozenset()


class Verdict(Enum):
    """What the user databases say of a recipient."""

    EXISTS = "exists"
    UNKNOWN = "unknown"
    TEMPORARY = "temporary"
    BUSY = "too many deliveries for this user are under way"


@dataclass(eq=False)
class Recipient:
    """session_id names this delivery in replies, headers and the log. original: of ORCPT. user: as the user database
    has it."""

    path: Path
    session_id: str
    original: Path | None = None
    user: str = ""


@dataclass(eq=False)
class Transaction:
    """One message on its way."""

    sender: Path
    session_id: str
    recipients: list[Recipient] = field(default_factory=list)


@dataclass(frozen=True)
class Delivered:
    """code 250: the message is stored, durably. Else status and text say why not.

    recipient: whose reply it is, where one that is named twice got one copy.
    """

    code: int = 250
    status: str = "2.0.0"
    text: str = "Saved"
    recipient: Recipient | None = None


TEMPORARY = Delivered(451, "4.3.0", TEMPORARY_TEXT)


@dataclass(frozen=True)
class LookUp:
    """Is there such a user?"""

    recipient: Recipient


@dataclass(frozen=True)
class Deliver:
    """The content is complete."""

    transaction: Transaction


@dataclass(frozen=True)
class Forget:
    """What came of a message's content is not wanted any more."""
