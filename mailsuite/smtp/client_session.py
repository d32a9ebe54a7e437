"""The client's side of an SMTP or LMTP dialogue: what to say, what the answers mean; no sockets, no clock.

    dialogue = greet(config, ...)           a generator: yields Steps, is sent Replies, returns Features
    dialogue = transaction(config, features, mail)          returns a Result per recipient

Steps: Send(octets), Receive(stage, timeout_s) which is answered with a Reply, SendBody, StartTls. client.py runs them.
Trouble is raised: `Trouble` says what it means for the mail (dsn, reason) and whether another host may be tried.
A 4xx of one recipient and a 5xx of all are results, not trouble.
Source: RFC 5321, RFC 2033 (LMTP), RFC 2920 (PIPELINING), RFC 1870 (SIZE), RFC 6152, RFC 3461 (DSN), RFC 6531.
"""

from collections.abc import Generator
from dataclasses import dataclass, field

from mailsuite.address.syntax import quote_local
from mailsuite.base.errors import MailError
from mailsuite.queue.envelope import Notify, Recipient
from mailsuite.smtp.client_params import ClientConfig
from mailsuite.smtp.client_reply import Reply
from mailsuite.smtp.syntax import xtext


@dataclass(frozen=True, slots=True)
class Send:
    """Octets for the server; a following Receive sees to it that they are gone."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait for the next reply. stage: for "lost connection while STAGE"."""

    stage: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class SendBody:
    """Send the message and the final dot. empty: only the dot."""

    empty: bool = False


@dataclass(frozen=True, slots=True)
class StartTls:
    """Do the handshake."""


@dataclass(frozen=True, slots=True)
class Warn:
    """Something the administrator should know; for the log."""

    text: str


Step = Send | Receive | SendBody | StartTls | Warn
Dialogue = Generator[Step, Reply]


class Trouble(MailError):
    """The session cannot go on. dead: say no QUIT. hard: no other host will do better.

    code: the server's reply, "" when there was none.
    """

    def __init__(self, reason: str, *, status: str, hard: bool = False, dead: bool = False, reply: str = "",
                 tls: bool = False) -> None:
        super().__init__(reason, status=status)
        self.hard, self.dead, self.reply, self.tls = hard, dead, reply, tls


@dataclass
class Features:
    """What the server offers. esmtp: it answered EHLO (or LHLO)."""

    esmtp: bool = False
    keywords: dict[str, str] = field(default_factory=dict)
    tls: bool = False

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
    probe: only ask whether the recipients would be taken (sendmail -bv).
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


# --- the beginning ----------------------------------------------------------------------------------------------------

def greeting(config: ClientConfig, host: str) -> Dialogue:
    """Wait for 220; returns nothing. Raises Trouble: refused, now or (by its code) for good."""
    reply = yield Receive("receiving the initial server greeting", config.timeouts["helo"])
    if reply.kind == 2:
        if _is_my_name(config, reply):
            yield Warn(f"host {host} greeted me with my own hostname {config.my_name}")
        return
    dsn = reply.dsn
    if reply.kind == 5 and config.skip_5xx_greeting:
        dsn = "4" + dsn[1:]             # the domain's other hosts may take it
    raise Trouble(f"host {host} refused to talk to me: {reply.text}", status=dsn, dead=reply.code == 421,
                  reply=reply.text)


def _is_my_name(config: ClientConfig, reply: Reply) -> bool:
    words = reply.lines[0].split()
    return bool(words) and words[0].lower() == config.my_name.lower() and not config.lmtp


def hello(config: ClientConfig, host: str, *, best_mx_of: str = "") -> Generator[Step, Reply, Features]:
    """EHLO (HELO where the server does not like it) or LHLO. Raises Trouble.

    best_mx_of: the domain that this host is the best of: if it turns out to be ourselves, its mail loops.
    """
    verb = "LHLO" if config.lmtp else "EHLO"
    if config.never_send_ehlo:
        verb = "HELO"
    while True:
        yield Send(f"{verb} {config.helo_name}\r\n".encode())
        reply = yield Receive(f"performing the {verb} handshake", config.timeouts["helo"])
        if reply.kind == 2:
            break
        if verb != "EHLO" or reply.code == 421:
            raise Trouble(f"host {host} refused to talk to me: {reply.text}", status=reply.dsn,
                          dead=reply.code == 421, reply=reply.text)
        verb = "HELO"
    if _is_my_name(config, reply):
        yield Warn(f"host {host} replied to HELO/EHLO with my own hostname {config.my_name}")
        if best_mx_of:
            raise Trouble(f"mail for {best_mx_of} loops back to myself", status="5.4.6", hard=True)
    return _features(config, reply) if verb != "HELO" else Features()


def _features(config: ClientConfig, reply: Reply) -> Features:
    features = Features(esmtp=True)
    for line in reply.lines[1:]:
        keyword, _, value = line.strip().replace("=", " ", 1 if line[:5].upper() == "AUTH=" else 0).partition(" ")
        keyword = keyword.upper()
        if keyword in config.discard_keywords:
            continue
        if keyword == "AUTH" and keyword in features.keywords:
            value = f"{features.keywords[keyword]} {value}"
        features.keywords[keyword] = value.strip()
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

def transaction(config: ClientConfig, features: Features, host: str, mail: Mail, *,
                reused: bool = False) -> Generator[Step, Reply, dict[int, Result]]:
    """MAIL, RCPT, DATA, the message. Returns a result for each recipient's number. Raises Trouble.

    reused: the session had a transaction before, which may have ended without a message: RSET comes first.
    """
    limit = features.size_limit
    if limit and mail.size > limit:
        raise Trouble(f"message size {mail.size} exceeds size limit {limit} of server {host}", status="5.3.4",
                      hard=True)
    if mail.smtputf8 and not features.has("SMTPUTF8") and _needs_utf8(mail):
        raise Trouble(f"SMTPUTF8 is required, but was not offered by host {host}", status="5.6.7", hard=True)
    if config.send_xforward and mail.xforward and features.has("XFORWARD"):
        yield from _xforward(config, features, mail.xforward)
    results = yield from _envelope(config, features, host, mail, reused)
    return results


def _needs_utf8(mail: Mail) -> bool:
    addresses = (mail.sender, *(recipient.address for recipient in mail.recipients))
    return mail.utf8_header or not all(address.isascii() for address in addresses)


def _xforward(config: ClientConfig, features: Features, values: dict[str, str]) -> Generator[Step, Reply, None]:
    offered = set(features.keywords["XFORWARD"].upper().split())
    for group in (("NAME", "ADDR", "PORT"), ("PROTO", "HELO", "IDENT", "SOURCE")):
        told = [f"{name}={xtext(values.get(name, '') or '[UNAVAILABLE]')}" for name in group if name in offered]
        if told:
            yield Send(f"XFORWARD {' '.join(told)}\r\n".encode())
            # A refusal concerns the log of the next server only.
            yield Receive("sending XFORWARD name/address" if group[0] == "NAME" else "sending XFORWARD helo/protocol",
                          config.timeouts["xforward"])


def _envelope(config: ClientConfig, features: Features, host: str, mail: Mail,
              reused: bool) -> Generator[Step, Reply, dict[int, Result]]:
    """With PIPELINING all commands go at once (in groups of config.pipeline), the replies come in order."""
    commands: list[tuple[bytes, str, int]] = [(b"RSET\r\n", "RSET", -1)] if reused else []
    commands.append((mail_command(features, mail), "MAIL FROM", -1))
    commands += [(rcpt_command(features, recipient), "RCPT TO", number)
                 for number, recipient in enumerate(mail.recipients)]
    commands.append((b"RSET\r\n", "RSET after a probe", -1) if mail.probe else (b"DATA\r\n", "DATA command", -1))
    results: dict[int, Result] = {}
    taken: list[Recipient] = []
    refused: Trouble | None = None
    ahead = config.pipeline if features.has("PIPELINING") else 1
    position = 0
    while position < len(commands):
        group = commands[position:position + ahead]
        if refused is not None or (group[0][1] == "DATA command" and not taken):
            break
        yield Send(b"".join(command for command, _, _ in group))
        for _, stage, number in group:
            reply = yield Receive(f"sending {stage}", _timeout(config, stage))
            if stage == "RSET":
                if reply.kind != 2:     # it is the old session that is unwell: a fresh one will tell
                    raise Trouble(said(host, reply, "RSET command"), status="4.4.2", dead=True)
            elif stage == "MAIL FROM":
                refused = _check_mail(host, reply)
            elif stage == "RCPT TO":
                recipient = mail.recipients[number]
                if reply.kind == 2 and refused is None and mail.probe:
                    results[recipient.number] = Result(2, reply.dsn, reply.text, reply.text)
                elif reply.kind == 2 and refused is None:
                    taken.append(recipient)
                elif refused is None:
                    results[recipient.number] = refusal(host, reply, "RCPT TO command")
                if reply.code == 421 and refused is None:
                    raise Trouble(said(host, reply, "RCPT TO command"), status=reply.dsn, dead=True, reply=reply.text)
            elif stage == "RSET after a probe":
                pass                    # what it says changes nothing
            elif reply.kind == 3:
                if refused is None and taken:
                    yield from _message(config, host, taken, results)
                else:
                    yield SendBody(empty=True)
                    yield Receive("sending end of data", config.timeouts["data_done"])
            elif refused is None and taken:
                _all(taken, results, refusal(host, reply, "DATA command"))
                if reply.code == 421:
                    raise Trouble(said(host, reply, "DATA command"), status=reply.dsn, dead=True, reply=reply.text)
        position += len(group)
    if refused is not None:
        raise refused
    return results


def _message(config: ClientConfig, host: str, taken: list[Recipient],
             results: dict[int, Result]) -> Generator[Step, Reply, None]:
    yield SendBody()
    stage = "sending end of data -- message may be sent more than once"
    for recipient in taken:
        reply = yield Receive(stage, config.timeouts["data_done"])
        result = Result(2, reply.dsn, reply.text, reply.text) if reply.kind == 2 else refusal(
            host, reply, "end of DATA command")
        if not config.lmtp:             # one reply speaks for all
            _all(taken, results, result)
            break
        results[recipient.number] = result


def _check_mail(host: str, reply: Reply) -> Trouble | None:
    if reply.kind == 2:
        return None
    return Trouble(said(host, reply, "MAIL FROM command"), status=reply.dsn, hard=reply.kind == 5,
                   dead=reply.code == 421, reply=reply.text)


def refusal(host: str, reply: Reply, command: str) -> Result:
    """What a reply that is no success means for a recipient; a 3xx is no answer to anything here."""
    if reply.kind in (4, 5):
        return Result(reply.kind, reply.dsn, said(host, reply, command), reply.text)
    return Result(5, "5.5.0", said(host, reply, command), reply.text)


def _all(recipients: list[Recipient], results: dict[int, Result], result: Result) -> None:
    for recipient in recipients:
        results[recipient.number] = result


def _timeout(config: ClientConfig, stage: str) -> float:
    return config.timeouts[{"RSET": "rset", "MAIL FROM": "mail", "RCPT TO": "rcpt"}.get(stage, "data_init")]


# --- commands ---------------------------------------------------------------------------------------------------------

def mail_command(features: Features, mail: Mail) -> bytes:
    """MAIL FROM with what the server knows of parameters."""
    out = f"MAIL FROM:<{quote_local(mail.sender)}>"
    if features.has("SIZE"):
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
    return out.encode("utf-8", "surrogateescape") + b"\r\n"


def rcpt_command(features: Features, recipient: Recipient) -> bytes:
    """RCPT TO with DSN parameters where the server knows them."""
    out = f"RCPT TO:<{quote_local(recipient.address)}>"
    if features.has("DSN"):
        kind, semicolon, address = recipient.orcpt.partition(";")
        if not semicolon and recipient.original:
            kind, address = "rfc822", quote_local(recipient.original)
        if address:
            out += f" ORCPT={kind};{xtext(address)}"
        if recipient.notify:
            out += f" NOTIFY={','.join(flag.name or '' for flag in Notify if flag in recipient.notify and flag)}"
    return out.encode("utf-8", "surrogateescape") + b"\r\n"
