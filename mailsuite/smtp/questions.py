"""What a server session asks the world, and the answers it takes.

Each question is answered with the type its docstring names. A Refusal is a whole reply line without CRLF, e.g.
"554 5.7.1 <a@b.test>: Relay access denied"; one with 421 or 521 ends the connection.
"""

from dataclasses import dataclass

from mailsuite.base.secret import Secret


@dataclass(frozen=True, slots=True)
class Refusal:
    """No; reply is what the client is told. sort: the kind of trouble, as in notify_classes."""

    reply: str
    sort: str = "policy"


@dataclass(frozen=True, slots=True)
class Fine:
    """Yes, and this is the reply instead of ours, e.g. "250 OK"."""

    reply: str


@dataclass(frozen=True, slots=True)
class Observe:
    """A command without a question of its own is about to be carried out; asked where somebody watches. facts.words is
    the command. -> Refusal | Fine | None; an answer is given instead"""

    verb: str


@dataclass(frozen=True, slots=True)
class EhloLines:
    """What EHLO is about to list; asked where somebody may change it. -> list[str] | Refusal"""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Connected:
    """May this client talk at all? Fills facts.client's names. -> Refusal | Fine (another greeting) | None"""


@dataclass(frozen=True, slots=True)
class BecomeClient:
    """XCLIENT's attributes: facts become that client's, who is judged as at connect time. -> Refusal | Fine | None"""

    attributes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Greeted:
    """HELO or EHLO was said: facts.helo is set for the check. -> Refusal | Fine | None"""


@dataclass(frozen=True, slots=True)
class EhloOptions:
    """What may be offered to this client. -> Offer"""


@dataclass(frozen=True, slots=True)
class Offer:
    """discard: EHLO keywords (lower case) that are left out. mechanisms: AUTH's, in order."""

    discard: frozenset[str] = frozenset()
    mechanisms: tuple[str, ...] = ()
    hide_auth: bool = False


@dataclass(frozen=True, slots=True)
class AddressSyntax:
    """Is this an address mail could be sent to, once it is in standard form? -> bool

    utf8: the client declared SMTPUTF8; without, a domain must be ASCII.
    """

    address: str
    utf8: bool


@dataclass(frozen=True, slots=True)
class MailFrom:
    """facts.sender is set for the check. -> Refusal | Fine | None"""


@dataclass(frozen=True, slots=True)
class RcptTo:
    """Check a recipient and add it to the message (the first one opens a queue file). -> Refusal | Fine | None"""

    recipient: str
    orcpt: str = ""
    notify: int = 0


@dataclass(frozen=True, slots=True)
class Verify:
    """VRFY: as RcptTo, without a message. -> Refusal | None"""

    recipient: str


@dataclass(frozen=True, slots=True)
class DataStart:
    """DATA or the first BDAT; checks only. -> Refusal | None"""

    command: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """The transaction ends without a message: its queue file goes. -> None"""


@dataclass(frozen=True, slots=True)
class EndOfMessage:
    """All content was given. -> Queued | Refusal"""


@dataclass(frozen=True, slots=True)
class Queued:
    """The message is ours, on disk. reply: instead of "250 2.0.0 Ok: queued as ..."."""

    queue_id: str
    reply: str = ""


@dataclass(frozen=True, slots=True)
class Etrn:
    """Deliver what waits for a domain. -> str: the reply (250, 458, 459 or a refusal)"""

    domain: str


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Is an unknown command one of smtpd_forbidden_commands? -> bool, or what an observer says to it: Refusal | Fine"""

    command: str


@dataclass(frozen=True, slots=True)
class FilterCommand:
    """What smtpd_command_filter makes of a command line. -> str | None"""

    line: str


@dataclass(frozen=True, slots=True)
class AuthStart:
    """-> AuthMore | AuthDone | AuthFailed"""

    mechanism: str
    initial: Secret | None


@dataclass(frozen=True, slots=True)
class AuthLine:
    """The client's answer to a challenge (base64 as it came). -> AuthMore | AuthDone | AuthFailed"""

    response: Secret


@dataclass(frozen=True, slots=True)
class AuthCancel:
    """The client gave up. -> None"""


@dataclass(frozen=True, slots=True)
class AuthMore:
    """base64: the challenge."""

    base64: bytes


@dataclass(frozen=True, slots=True)
class AuthDone:
    """The client is username. reply: instead of ours."""

    username: str
    reply: str = ""


@dataclass(frozen=True, slots=True)
class AuthFailed:
    """username "" when none was named. reply: instead of ours."""

    username: str = ""
    reason: str = ""
    temporary: bool = False
    reply: str = ""


@dataclass(frozen=True, slots=True)
class RateCheck:
    """May this client do one more of `event` ("message", "recipient", "tls", "auth")? -> bool

    "tls" looks before a handshake, "newtls" counts one that is done.
    """

    event: str


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait: slows down clients that make errors. -> None"""

    seconds: float
