"""What a server session asks the world, and the answers it takes.

Each question is answered with the type its docstring names. A Refusal is a whole reply line without CRLF, e.g.
"554 5.7.1 <a@b.test>: Relay access denied"; one with 421 or 521 ends the connection.
"""


from msgspec import Struct

from mailsuite.base.secret import Secret


class Refusal(Struct, frozen=True):
    """No; reply is what the client is told. sort: the kind of trouble, as in notify_classes."""

    reply: str
    sort: str = "policy"


class Fine(Struct, frozen=True):
    """Yes, and this is the reply instead of ours, e.g. "250 OK"."""

    reply: str


class Observe(Struct, frozen=True):
    """A command without a question of its own is about to be carried out; asked where somebody watches. facts.words is
    the command. -> Refusal | Fine | None; an answer is given instead"""

    verb: str


class EhloLines(Struct, frozen=True):
    """What EHLO is about to list; asked where somebody may change it. -> list[str] | Refusal"""

    lines: tuple[str, ...]


class Connected(Struct, frozen=True):
    """May this client talk at all? Fills facts.client's names. -> Refusal | Fine (another greeting) | None"""


class BecomeClient(Struct, frozen=True):
    """XCLIENT's attributes: facts become that client's, who is judged as at connect time. -> Refusal | Fine | None"""

    attributes: tuple[tuple[str, str], ...]


class Greeted(Struct, frozen=True):
    """HELO or EHLO was said: facts.helo is set for the check. -> Refusal | Fine | None"""


class EhloOptions(Struct, frozen=True):
    """What may be offered to this client. -> Offer"""


class Offer(Struct, frozen=True):
    """discard: EHLO keywords (lower case) that are left out. mechanisms: AUTH's, in order."""

    discard: frozenset[str] = frozenset()
    mechanisms: tuple[str, ...] = ()
    hide_auth: bool = False


class AddressSyntax(Struct, frozen=True):
    """Is this an address mail could be sent to, once it is in standard form? -> bool

    utf8: the client declared SMTPUTF8; without, a domain must be ASCII.
    """

    address: str
    utf8: bool


class MailFrom(Struct, frozen=True):
    """facts.sender is set for the check. -> Refusal | Fine | None"""


class RcptTo(Struct, frozen=True):
    """Check a recipient and add it to the message (the first one opens a queue file). -> Refusal | Fine | None"""

    recipient: str
    orcpt: str = ""
    notify: int = 0


class Verify(Struct, frozen=True):
    """VRFY: as RcptTo, without a message. -> Refusal | None"""

    recipient: str


class DataStart(Struct, frozen=True):
    """DATA or the first BDAT; checks only. -> Refusal | None"""

    command: str


class FetchUrl(Struct, frozen=True):
    """BURL: what a URL of IMAP stands for, at most so many octets. -> bytes | Refusal"""

    url: str
    most: int


class Abandon(Struct, frozen=True):
    """The transaction ends without a message: its queue file goes. -> None"""


class EndOfMessage(Struct, frozen=True):
    """All content was given. -> Queued | Refusal"""


class Queued(Struct, frozen=True):
    """The message is ours, on disk. reply: instead of "250 2.0.0 Ok: queued as ..."."""

    queue_id: str
    reply: str = ""


class Etrn(Struct, frozen=True):
    """Deliver what waits for a domain. -> str: the reply (250, 458, 459 or a refusal)"""

    domain: str


class Forbidden(Struct, frozen=True):
    """Is an unknown command one of smtpd_forbidden_commands? -> bool, or what an observer says to it: Refusal | Fine"""

    command: str


class FilterCommand(Struct, frozen=True):
    """What smtpd_command_filter makes of a command line. -> str | None"""

    line: str


class AuthStart(Struct, frozen=True):
    """-> AuthMore | AuthDone | AuthFailed"""

    mechanism: str
    initial: Secret | None


class AuthLine(Struct, frozen=True):
    """The client's answer to a challenge (base64 as it came). -> AuthMore | AuthDone | AuthFailed"""

    response: Secret


class AuthCancel(Struct, frozen=True):
    """The client gave up. -> None"""


class AuthMore(Struct, frozen=True):
    """base64: the challenge."""

    base64: bytes


class AuthDone(Struct, frozen=True):
    """The client is username. reply: instead of ours."""

    username: str
    reply: str = ""


class AuthFailed(Struct, frozen=True):
    """username "" when none was named. reply: instead of ours."""

    username: str = ""
    reason: str = ""
    temporary: bool = False
    reply: str = ""


class RateCheck(Struct, frozen=True):
    """May this client do one more of `event` ("message", "recipient", "tls", "auth")? -> bool

    "tls" looks before a handshake, "newtls" counts one that is done.
    """

    event: str


class Delay(Struct, frozen=True):
    """Wait: slows down clients that make errors. -> None"""

    seconds: float
