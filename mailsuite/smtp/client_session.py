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

from mailsuite.address.syntax import quote_local
from mailsuite.base.errors import MailError
from mailsuite.queue.envelope import Notify, Recipient
from mailsuite.smtp.client_params import ClientConfig
from mailsuite.smtp.client_reply import Reply
from mailsuite.smtp.syntax import xtext

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
    features = _features(config, reply)
    if (limit := features.keywords.get("SIZE", "")) and not (limit.isascii() and limit.isdigit()):
        yield Warn(f"bad EHLO SIZE limit \"{limit}\" from {host}")
    if features.discarded:
        yield Note(f"discarding EHLO keywords: {features.discarded}")
    return features


def _features(config: ClientConfig, reply: Reply) -> Features:
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


# --- one message ------------------------------------------------------------------------------------------------------

def transaction(config: ClientConfig, features: Features, host: str, mail: Mail, *, reused: bool = False,
                ended: Ended | None = None) -> Generator[Step, Reply, dict[int, Result]]:
    """MAIL, RCPT, DATA, the message. Returns a result for each recipient's number. Raises Trouble.

    reused: the session had a transaction before, which may have ended without a message: RSET comes first.
    """
    ends = _Ends(mail, ended)
    limit = features.size_limit
    if limit and mail.size > limit:
        ends.all(Result(5, "5.3.4", f"message size {mail.size} exceeds size limit {limit} of server {host}"))
    elif mail.smtputf8 and not features.has("SMTPUTF8") and _needs_utf8(mail):
        ends.all(Result(5, "5.6.7", f"SMTPUTF8 is required, but was not offered by host {host}"))
    else:
        if config.send_xforward and mail.xforward and features.has("XFORWARD"):
            yield from _xforward(config, features, host, mail.xforward)
        yield from _Transaction(config, features, host, mail, ends).run(reused)
    return ends.results


class _Ends:
    """What became of the recipients so far."""

    def __init__(self, mail: Mail, ended: Ended | None) -> None:
        self.results: dict[int, Result] = {}
        self._mail, self._ended = mail, ended

    def one(self, recipient: Recipient, result: Result) -> None:
        self.results[recipient.number] = result
        if self._ended is not None:
            self._ended(recipient.number, result)

    def all(self, result: Result) -> None:
        """Of those that have no end yet."""
        for recipient in self._mail.recipients:
            self.results.setdefault(recipient.number, result)
        if self._ended is not None:
            self._ended(None, result)


def _needs_utf8(mail: Mail) -> bool:
    addresses = (mail.sender, *(recipient.address for recipient in mail.recipients))
    return mail.utf8_header or not all(address.isascii() for address in addresses)


def _xforward(config: ClientConfig, features: Features, host: str,
              values: dict[str, str]) -> Generator[Step, Reply, None]:
    offered = set(features.keywords["XFORWARD"].upper().split())
    for what, group in (("name/address", ("NAME", "ADDR", "PORT")),
                        ("helo/protocol", ("PROTO", "HELO", "IDENT", "SOURCE"))):
        told = [f"{name}={xtext(values.get(name, '') or '[UNAVAILABLE]')}" for name in group if name in offered]
        if told:
            yield Send(f"XFORWARD {' '.join(told)}\r\n".encode())
            # A refusal concerns the log of the next server only.
            reply = yield Receive(f"sending XFORWARD {what}", config.timeouts["xforward"])
            if reply.kind != 2:
                yield Warn(said(host, reply, f"XFORWARD {what} command"))


class _Transaction:
    """One message's dialogue. With PIPELINING commands go in groups of config.pipeline, the replies come in order."""

    def __init__(self, config: ClientConfig, features: Features, host: str, mail: Mail, ends: _Ends) -> None:
        self._config, self._features, self._host, self._mail, self._ends = config, features, host, mail, ends
        self._taken: list[Recipient] = []
        self._refused = False           # MAIL was
        self._chunks = config.chunking and features.has("CHUNKING") and not mail.probe

    def run(self, reused: bool) -> Generator[Step, Reply, None]:
        commands: list[tuple[bytes, str, int]] = [(b"RSET\r\n", "RSET", -1)] if reused else []
        commands.append((mail_command(self._features, self._mail, self._config), "MAIL FROM", -1))
        commands += [(rcpt_command(self._features, recipient, self._config), "RCPT TO", number)
                     for number, recipient in enumerate(self._mail.recipients)]
        if not self._chunks and not (self._mail.probe and not self._config.probe_data):
            commands.append((b"DATA\r\n", "DATA command", -1))
        ahead = self._config.pipeline if self._features.has("PIPELINING") else 1
        said_data, position = False, 0
        while position < len(commands) and not self._over(commands[position][1]):
            group = commands[position:position + ahead]
            yield Send(b"".join(command for command, _, _ in group))
            for _, stage, number in group:
                reply = yield Receive(f"sending {stage}", _timeout(self._config, stage))
                if stage == "DATA command":
                    said_data = yield from self._data(reply)
                else:
                    self._envelope(stage, number, reply)
            position += len(group)
        if self._chunks and self._taken:
            yield from self._send_chunks()
        elif not said_data:
            # The session can be used again then.
            yield Send(b"RSET\r\n")
            yield Receive("sending final RSET", self._config.timeouts["rset"])

    def _over(self, stage: str) -> bool:
        return self._refused or (stage == "DATA command" and not self._taken)

    def _envelope(self, stage: str, number: int, reply: Reply) -> None:
        """A reply to RSET, MAIL or RCPT."""
        if stage == "RSET":
            if reply.kind != 2:         # it is the old session that is unwell: a fresh one will tell
                raise Trouble(said(self._host, reply, "RSET command"), status="4.4.2", dead=True)
        elif self._refused:
            return
        elif stage == "MAIL FROM":
            if reply.kind != 2:
                self._refused = True
                self._ends.all(refusal(self._host, reply, "MAIL FROM command"))
        else:
            recipient = self._mail.recipients[number]
            if reply.kind != 2:
                self._ends.one(recipient, refusal(self._host, reply, "RCPT TO command"))
                return
            self._taken.append(recipient)
            if self._mail.probe and not self._config.probe_data:
                self._ends.one(recipient, Result(2, reply.dsn, reply.text, reply.text))

    def _data(self, reply: Reply) -> Generator[Step, Reply, bool]:
        """A reply to DATA. Returns whether a message was sent, be it an empty one."""
        wanted = self._taken and not self._refused
        if reply.kind != 3:
            if wanted:
                self._ends.all(refusal(self._host, reply, "DATA command"))
            return False
        if not wanted:
            yield SendBody(empty=True)
            yield Receive(DOT, self._config.timeouts["data_done"])
        elif self._mail.probe:
            self._ends.all(Result(2, reply.dsn if reply.kind == 2 else "2.0.0", reply.text, reply.text))
            yield Drop()
        else:
            yield SendBody()
            yield from self._final()
        return True

    def _final(self) -> Generator[Step, Reply, None]:
        """The replies to the end of the message: LMTP has one for each recipient, in SMTP one speaks for all."""
        for recipient in self._taken:
            reply = yield Receive(DOT, self._config.timeouts["data_done"])
            result = Result(2, reply.dsn, reply.text, reply.text) if reply.kind == 2 else refusal(
                self._host, reply, "end of DATA command")
            if not self._config.lmtp:
                self._ends.all(result)
                break
            self._ends.one(recipient, result)

    def _send_chunks(self) -> Generator[Step, Reply, None]:
        """BDAT: after a refused chunk no other may follow but behind RSET (RFC 3030 section 2)."""
        while True:
            yield (chunk := SendChunk())
            if chunk.last:
                yield from self._final()
                return
            reply = yield Receive("sending message body", self._config.timeouts["data_xfer"])
            if reply.kind != 2:
                self._ends.all(refusal(self._host, reply, "BDAT command"))
                yield Send(b"RSET\r\n")
                yield Receive("sending final RSET", self._config.timeouts["rset"])
                return


DOT = "sending end of data -- message may be sent more than once"


def refusal(host: str, reply: Reply, command: str) -> Result:
    """What a reply that is not the one hoped for means for a recipient."""
    text, dsn = said(host, reply, command), reply.dsn
    if dsn.startswith("2"):
        text, dsn = f"Protocol error: {text}", "5.5.0"
    return Result(int(dsn[0]), dsn, text, reply.text)


def _timeout(config: ClientConfig, stage: str) -> float:
    return config.timeouts[{"RSET": "rset", "MAIL FROM": "mail", "RCPT TO": "rcpt"}.get(stage, "data_init")]


# --- commands ---------------------------------------------------------------------------------------------------------

def _path(address: str, config: ClientConfig) -> str:
    return quote_local(address) if config.quote_envelope else address


def mail_command(features: Features, mail: Mail, config: ClientConfig) -> bytes:
    """MAIL FROM with what the server knows of parameters."""
    out = f"MAIL FROM:<{_path(mail.sender, config)}>"
    if features.has("SIZE") and not mail.to_7bit:
        out += f" SIZE={mail.size}"
    if features.has("8BITMIME") and mail.encoding:
        out += " BODY=8BITMIME" if mail.encoding == "8bit" else " BODY=7BIT"
    if features.has("DSN"):
        if mail.envid:
            out += f" ENVID={xtext(mail.envid)}"
        if mail.ret:
            out += f" RET={mail.ret}"
    if mail.smtputf8 and features.has("SMTPUTF8"):
        out += " SMTPUTF8"
    if mail.require_tls and features.tls and features.has("REQUIRETLS"):
        out += " REQUIRETLS"
    if config.dummy_mail_auth and mail.authenticated:
        out += " AUTH=<>"
    return out.encode("utf-8", "surrogateescape") + b"\r\n"


def rcpt_command(features: Features, recipient: Recipient, config: ClientConfig) -> bytes:
    """RCPT TO with DSN parameters where the server knows them."""
    out = f"RCPT TO:<{_path(recipient.address, config)}>"
    if features.has("DSN"):
        kind, semicolon, address = recipient.orcpt.partition(";")
        if not semicolon and recipient.original:
            kind, address = "rfc822", quote_local(recipient.original)
        if address:
            out += f" ORCPT={kind};{xtext(address)}"
        if recipient.notify:
            out += f" NOTIFY={','.join(flag.name or '' for flag in Notify if flag in recipient.notify and flag)}"
    return out.encode("utf-8", "surrogateescape") + b"\r\n"
