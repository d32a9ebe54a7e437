"""The client's side of an SMTP or LMTP dialogue: what to say, what the answers mean; no sockets, no clock.

    features = yield from hello(config, host)               a generator: yields Steps, is sent Replies
    results = yield from transaction(config, features, host, mail, ended=tell)

`ended` is told of each recipient's end as soon as it is known: (number, Result), or (None, Result) for all that have
none yet. So what was refused stays refused when the connection breaks afterwards.
Steps: Send, Receive (answered with a Reply), SendBody, SendChunk, Work, StartTls, Warn, Note, Drop; client.py runs
them.
Trouble is raised: `Trouble` says what it means for the mail (dsn, reason). What a server says to MAIL, RCPT or the
message are results, not trouble.
Source: RFC 5321, RFC 2033 (LMTP), RFC 2920 (PIPELINING), RFC 1870 (SIZE), RFC 3030 (BDAT), RFC 6152, RFC 3461 (DSN),
RFC 6531; what other replies than the expected ones mean: tests/deliver/far_ends, recorded from Postfix.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from mailsuite.base.errors import MailError
from mailsuite.queue.envelope import Recipient
from mailsuite.smtp.client_params import ClientConfig
from mailsuite.smtp.client_reply import Reply

# As logs name them.
KEYWORDS = ("8BITMIME", "AUTH", "ETRN", "PIPELINING", "SIZE", "VERP", "VRFY", "XCLIENT", "XFORWARD", "STARTTLS",
            "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8", "CHUNKING")


@dataclass(frozen=True, slots=True)
class Send:
    """Octets for the server; a following Receive sees to it that they are gone. secret: not for a transcript."""

    octets: bytes
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait for the next reply. stage: for "lost connection while STAGE"."""

    stage: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class SendBody:
    """Send the message and the final dot. empty: only the dot."""

    empty: bool = False


@dataclass(slots=True)
class SendChunk:
    """Send a part of the message with BDAT; `last` is set then when it was the last one."""

    last: bool = False


@dataclass(slots=True)
class Work:
    """Run something that takes its time, in a thread; then `result` has what it returned."""

    run: Callable[[], bytes]
    result: bytes = b""


@dataclass(frozen=True, slots=True)
class Drop:
    """End the connection without a word: the other side waits for a message that must not come."""


@dataclass(frozen=True, slots=True)
class StartTls:
    """Do the handshake."""


@dataclass(frozen=True, slots=True)
class Warn:
    """Something the administrator should know; for the log."""

    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something for the log."""

    text: str


Step = Send | Receive | SendBody | SendChunk | Work | Drop | StartTls | Warn | Note
Dialogue = Generator[Step, Reply]


class Trouble(MailError):
    """The session cannot go on. dead: say no QUIT. unreached: there was no connection.

    reply: what the server said, "" when it was not that. A status of class 5 means that no other host will do better,
    unless elsewhere says that one may.
    """

    def __init__(self, reason: str, *, status: str, dead: bool = False, reply: str = "", tls: bool = False,
                 unreached: bool = False, elsewhere: bool = False) -> None:
        super().__init__(reason, status=status)
        self.dead, self.reply, self.tls, self.unreached, self.elsewhere = dead, reply, tls, unreached, elsewhere


@dataclass
class Features:
    """What the server offers. esmtp: it answered EHLO (or LHLO)."""

    esmtp: bool = False
    keywords: dict[str, str] = field(default_factory=dict)
    tls: bool = False
    discarded: str = ""         # what smtp_discard_ehlo_keywords took away, as the log names it

    def has(self, keyword: str) -> bool:
        return keyword in self.keywords

    @property
    def size_limit(self) -> int:
        """0: none is known."""
        text = self.keywords.get("SIZE", "")
        return int(text) if text.isascii() and text.isdigit() else 0

    @property
    def mechanisms(self) -> list[str]:
        return self.keywords.get("AUTH", "").upper().split()


@dataclass(frozen=True)
class Mail:
    """One message for one server. sender and recipients: as generic maps left them.

    require_tls: say REQUIRETLS where the server knows it, under TLS.
    size: octets on the wire, line ends as two. probe: only ask whether the recipients would be taken (sendmail -bv).
    to_7bit: it will be another size then. authenticated: we logged in.
    """

    sender: str
    recipients: list[Recipient]
    size: int
    encoding: str = ""
    smtputf8: bool = False
    envid: str = ""
    ret: str = ""
    xforward: dict[str, str] = field(default_factory=dict)
    probe: bool = False
    utf8_header: bool = False
    require_tls: bool = False
    authenticated: bool = False
    to_7bit: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What a recipient's end was: code class 2, 4 or 5, for one host."""

    kind: int
    dsn: str
    reason: str
    reply: str = ""


def said(host: str, reply: Reply, command: str) -> str:
    """The words for a refusal."""
    return f"host {host} said: {reply.text} (in reply to {command})"


Ended = Callable[[int | None, Result], None]


# --- the beginning ----------------------------------------------------------------------------------------------------

def greeting(config: ClientConfig, host: str, *, own: bool = True) -> Generator[Step, Reply, bool]:
    """Wait for 220; returns whether it speaks of ESMTP. Raises Trouble: refused, now or (by its code) for good.

    own: warn when the server has our name.
    """
    reply = yield Receive("receiving the initial server greeting", config.timeouts["helo"])
    words = " ".join(reply.words).split()
    if reply.kind == 2:
        if own and words and words[0].lower() == config.my_name.lower() and not config.lmtp:
            yield Warn(f"host {host} greeted me with my own hostname {config.my_name}")
        return "ESMTP" in (word.upper() for word in words[1:])
    dsn = reply.dsn
    if reply.kind == 5 and config.skip_5xx_greeting:
        dsn = "4" + dsn[1:]             # the domain's other hosts may take it
    raise refused(host, reply, dsn)


def refused(host: str, reply: Reply, dsn: str) -> Trouble:
    return Trouble(f"host {host} refused to talk to me: {reply.text}", status=dsn, reply=reply.text)


def hello(config: ClientConfig, host: str, *, best_mx_of: str = "", esmtp: bool = True,
          own: bool = True) -> Generator[Step, Reply, Features]:
    """EHLO (HELO where the server does not like it) or LHLO. Raises Trouble.

    best_mx_of: the domain that this host is the best of: if it turns out to be ourselves, its mail loops.
    esmtp: the greeting spoke of it; counts with smtp_always_send_ehlo = no.
    """
    verb = "LHLO" if config.lmtp else "EHLO"
    if not config.lmtp and (config.never_send_ehlo or not (esmtp or config.always_send_ehlo)):
        verb = "HELO"
    while True:
        yield Send(f"{verb} {config.helo_name}\r\n".encode())
        reply = yield Receive(f"performing the {verb} handshake", config.timeouts["helo"])
        if reply.kind == 2:
            break
        if verb != "EHLO" or reply.code == 421:
            raise refused(host, reply, reply.dsn)
        verb = "HELO"
    if verb == "HELO":
        return Features()
    words = reply.words[0].split()
    if own and words and words[0].lower() == config.my_name.lower() and not config.lmtp:
        yield Warn(f"host {host} replied to HELO/EHLO with my own hostname {config.my_name}")
        if best_mx_of:
            raise Trouble(f"mail for {best_mx_of} loops back to myself", status="5.4.6")
    features = offered(config, reply)
    if (limit := features.keywords.get("SIZE", "")) and not (limit.isascii() and limit.isdigit()):
        yield Warn(f"bad EHLO SIZE limit \"{limit}\" from {host}")
    if features.discarded:
        yield Note(f"discarding EHLO keywords: {features.discarded}")
    return features


def offered(config: ClientConfig, reply: Reply) -> Features:
    """What a reply to EHLO offers."""
    features = Features(esmtp=True)
    for line in reply.words[1:]:
        keyword, _, value = line.strip().replace("=", " ", 1 if line[:5].upper() == "AUTH=" else 0).partition(" ")
        keyword = keyword.upper()
        if keyword in config.discard_keywords:
            continue
        if keyword == "AUTH" and keyword in features.keywords:
            value = f"{features.keywords[keyword]} {value}"
        features.keywords[keyword] = value.strip()
    if "SILENT-DISCARD" not in config.discard_keywords:
        features.discarded = " ".join(name for name in KEYWORDS if name in config.discard_keywords)
    return features


def start_tls(config: ClientConfig, host: str, *, mandatory: bool) -> Generator[Step, Reply, bool]:
    """STARTTLS and the handshake; say hello again afterwards. False: refused, the session goes on without.

    Raises Trouble: refused, and TLS is mandatory.
    """
    yield Send(b"STARTTLS\r\n")
    reply = yield Receive("receiving the STARTTLS response", config.timeouts["starttls"])
    if reply.kind != 2:
        if mandatory or reply.code == 421:
            raise Trouble(f"TLS is required, but host {host} refused to start TLS: {reply.text}", status=reply.dsn,
                          tls=True, dead=reply.code == 421, reply=reply.text)
        return False
    yield StartTls()
    return True
