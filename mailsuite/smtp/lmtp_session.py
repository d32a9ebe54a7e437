"""Server side of one LMTP dialogue, in Dovecot's words; no sockets, clocks or files. Source: RFC 2033.

    session = LmtpSession(LmtpConfig("mx.test"), session_id="...")
    session.opened() / feed(octets) / answered(result) / secured(tls) / timed_out() / lost() -> actions

Questions: LookUp(recipient) -> Verdict; Deliver(transaction) -> a Delivered for each of its recipients, in their order;
Forget() -> None: content that came in chunks is dropped. Content goes out as Body actions, line ends LF, dots undone.
Limits: LmtpConfig's; after bad_commands commands in a row that were answered 500, 501 or 503 the session ends.
"""

import re
from collections.abc import Callable, Sequence
from typing import cast

from msgspec.structs import replace

from mailsuite.base.dialogue import Action, Peer, Send, StartTls, TlsInfo
from mailsuite.base.errors import PeerError
from mailsuite.smtp.data import ChunkDecoder, DotDecoder
from mailsuite.smtp.lmtp_questions import (
    TEMPORARY,
    TEMPORARY_TEXT,
    Deliver,
    Delivered,
    Forget,
    LmtpConfig,
    LookUp,
    Recipient,
    Transaction,
    Verdict,
)
from mailsuite.smtp.lmtp_syntax import (
    Path,
    is_string,
    original_recipient,
    parse_parameters,
    parse_recipient,
    parse_sender,
    valid_client_name,
)
from mailsuite.smtp.lmtp_wire import CONTROL, LmtpWire
from mailsuite.smtp.reply import encode_lines

_XCLIENT = "XCLIENT ADDR PORT PROTO HELO LOGIN SESSION TTL TIMEOUT"
_XCLIENT_NAMES = frozenset(_XCLIENT.split()[1:]) | {"NAME", "DESTADDR", "DESTPORT"}
_SESSION_ID = re.compile(r"[!-;=?-~]{1,128}")       # it goes into a header and the log


class LmtpSession(LmtpWire):
    """One dialogue. client: as the network or a trusted client's XCLIENT tells it; helo as it was said."""

    def __init__(self, config: LmtpConfig, *, session_id: str, peer: Peer | None = None,
                 tls: TlsInfo | None = None, username: Callable[[Path], str] = lambda path: path.plain) -> None:
        super().__init__(config)
        self.session_id, self.client, self.tls = session_id, peer or Peer(""), tls
        self.helo = ""
        self.state = "GREETING"
        self.transaction: Transaction | None = None
        self._username = username
        self._transactions = self._rcpts = 0

    # --- the driver's calls -------------------------------------------------------------------------------------

    def opened(self) -> list[Action]:
        self._say(f"220 {self.config.hostname} {self.config.greeting}")
        return self._take_actions()

    def secured(self, tls: TlsInfo) -> list[Action]:
        self._starting_tls = False
        self._buffer.clear()
        self._searched, self._too_long = 0, False
        self.tls, self.helo, self.state = tls, "", "GREETING"
        self._reset(lambda: None)
        return self._take_actions()

    # --- commands -----------------------------------------------------------------------------------------------

    def _command(self, line: str) -> None:
        name, _, argument = line.partition(" ")
        if name and (not name.isascii() or not name.isalpha() or argument.startswith(" ") or CONTROL.search(line)):
            self._refuse("500 5.5.2 Invalid command syntax")
            return
        run = _COMMANDS.get(name.upper())
        if run is None:
            self._refuse("500 5.5.1 Unknown command")
        else:
            run(self, argument)

    def lhlo(self, argument: str) -> None:
        name = argument.partition(" ")[0]
        if not name:
            self._refuse("501 Missing hostname")
            return
        self._reset(lambda: self._hello(name))

    def _hello(self, name: str) -> None:
        self.helo = name if valid_client_name(name) else ""
        self.state = "READY"
        lines = [self.config.hostname, "8BITMIME", "CHUNKING", "ENHANCEDSTATUSCODES", "PIPELINING"]
        if self.config.tls_offered and self.tls is None:
            lines.append("STARTTLS")
        if self.config.trusted:
            lines += [_XCLIENT, "XRCPTFORWARD"]
        self._bad = 0
        self._actions.append(Send(encode_lines("250", lines)))

    def starttls(self, argument: str) -> None:
        if argument:
            self._refuse("501 5.5.4 Invalid parameters")
        elif self.tls is not None:
            self._refuse("502 5.5.1 TLS is already active.")
        elif not self.config.tls_offered:
            self._refuse("502 5.5.1 TLS support is not enabled.")
        else:
            self._say("220 2.0.0 Begin TLS negotiation now.")
            self._starting_tls = True
            self._actions.append(StartTls())

    def mail(self, argument: str) -> None:
        if self.transaction is not None:
            self._refuse("503 5.5.0 MAIL already given")
            return
        if argument[:5].upper() != "FROM:":
            self._refuse("501 5.5.4 Invalid parameters")
            return
        try:
            sender, rest = parse_sender(argument[5:], self.config.workarounds)
        except PeerError as error:
            self._refuse(f"501 5.5.4 Invalid FROM: {error.public}")
            return
        problem = _mail_problem(rest)
        if problem:
            self._refuse(problem)
            return
        self._transactions += 1
        number = f":T{self._transactions}" if self._transactions > 1 else ""
        self.transaction = Transaction(sender, self.session_id + number)
        self._rcpts = 0
        self.state = "MAIL FROM"
        self._say("250 2.1.0 OK")

    def rcpt(self, argument: str) -> None:
        transaction = self.transaction
        if transaction is None:
            self._refuse("503 5.5.0 MAIL needed first")
            return
        if self._chunks is not None:
            self._refuse("503 5.5.0 Bad sequence of commands")
            return
        if argument[:3].upper() != "TO:":
            self._refuse("501 5.5.4 Invalid parameters")
            return
        try:
            path, rest = parse_recipient(argument[3:], self.config.workarounds)
        except PeerError as error:
            self._refuse(f"501 5.5.4 Invalid TO: {error.public}")
            return
        try:
            parameters = parse_parameters(rest)
            original = _original(parameters)
        except PeerError as error:
            self._refuse(f"501 5.5.4 {error.public}")
            return
        if parameters.keys() - ({"ORCPT", "XRCPTFORWARD"} if self.config.trusted else {"ORCPT"}):
            self._refuse("555 5.5.4 Unsupported parameters")
            return
        if len(transaction.recipients) >= self.config.recipient_limit:
            self._say("451 4.5.3 Too many recipients")
            return
        self._rcpts += 1
        number = f":R{self._rcpts}" if self._rcpts > 1 else ""
        recipient = Recipient(path, transaction.session_id + number, original)
        self._ask(LookUp(recipient), lambda verdict: self._looked_up(recipient, verdict))

    def _looked_up(self, recipient: Recipient, verdict: object) -> None:
        assert self.transaction is not None
        if verdict is Verdict.EXISTS:
            self.transaction.recipients.append(recipient)
            self.state = "RCPT TO"
            self._say("250 2.1.5 OK")
        elif verdict is Verdict.UNKNOWN:
            self._say(f"550 5.1.1 <{recipient.path.text}> User doesn't exist: {self._username(recipient.path)}")
        elif verdict is Verdict.BUSY:
            self._say(f"451 4.3.0 <{recipient.path.text}> Too many concurrent deliveries for user")
        else:
            self._say(f"451 4.3.0 <{recipient.path.text}> {TEMPORARY_TEXT}")

    def data(self, argument: str) -> None:
        if argument:
            self._refuse("501 5.5.4 Invalid parameters")
        elif self._chunks is not None:
            self._refuse("503 5.5.0 Bad sequence of commands")
        elif problem := self._not_ready():
            self._refuse(problem)
        else:
            self.state = "DATA"
            self._content_size = 0
            self._say("354 OK")
            self._dots = DotDecoder()

    def _not_ready(self) -> str:
        if self.transaction is None:
            return "503 5.5.0 MAIL needed first"
        return "" if self.transaction.recipients else "503 5.5.0 No valid recipients"

    def bdat(self, argument: str) -> None:
        words = argument.split(" ")
        if not re.fullmatch(r"[0-9]{1,18}", words[0]):
            self._refuse("501 5.5.4 Invalid chunk size parameter")
            return
        self._chunk_size = self._chunk_left = int(words[0])
        self._chunk_kept = False
        if len(words) > 2 or (len(words) == 2 and words[1].upper() != "LAST"):
            self._refuse("501 5.5.4 Invalid parameters")
        elif self._chunk_failed:
            self._refuse("503 5.5.0 Previous data chunk failed, issue RSET first")
        elif problem := self._not_ready():
            self._chunk_failed = True
            self._refuse(problem)
        else:
            if self._chunks is None:
                self._chunks, self._content_size = ChunkDecoder(), 0
            self.state = "DATA"
            self._chunk_kept, self._chunk_last = True, len(words) == 2
            if not self._chunk_left:
                self._end_chunk()

    def rset(self, argument: str) -> None:
        if argument:
            self._refuse("501 5.5.4 Invalid parameters")
            return
        self._reset(lambda: self._say("250 2.0.0 OK"))

    def vrfy(self, argument: str) -> None:
        if not argument:
            self._refuse("501 5.5.4 Invalid parameters")
        elif not is_string(argument):
            self._refuse("501 5.5.4 Invalid string parameter: Invalid character in string")
        else:
            self._say("252 2.3.3 Try RCPT instead")

    def noop(self, argument: str) -> None:
        if argument and not is_string(argument):
            self._refuse("501 5.5.4 Invalid string parameter: Invalid character in string")
        else:
            self._say("250 2.0.0 OK")

    def quit(self, argument: str) -> None:
        if argument:
            self._refuse("501 5.5.4 Invalid parameters")
            return
        self._say("221 2.0.0 Bye")
        self._finish("Logged out")

    def auth(self, argument: str) -> None:
        self._say("502 5.5.1 Unsupported command")

    def xclient(self, argument: str) -> None:
        """What a proxy in front of us knows of the client: believed of trusted networks only."""
        if not self.config.trusted:
            self._say("550 5.7.14 You are not from trusted IP")
            return
        if self.transaction is not None:
            self._refuse("503 5.5.0 XCLIENT not permitted during a mail transaction")
            return
        try:
            values = parse_parameters(argument)
        except PeerError as error:
            self._refuse(f"501 5.5.4 {error.public}")
            return
        if values.keys() - _XCLIENT_NAMES:
            self._refuse("501 5.5.4 Invalid parameters")
            return
        problem = self._believe(values)
        if problem:
            self._refuse(f"501 5.5.4 Invalid {problem} parameter")
            return
        self.state = "GREETING"
        if "HELO" in values:
            self.helo = values["HELO"] or ""
        self._say(f"220 {self.config.hostname} {self.config.greeting}")

    def _believe(self, values: dict[str, str | None]) -> str:
        """Take over XCLIENT's values; returns the name of a bad one."""
        if "ADDR" in values:
            address = values["ADDR"] or ""
            address = address.removeprefix("IPV6:").removeprefix("ipv6:")
            if not valid_client_name(f"[{address}]") and not valid_client_name(f"[IPv6:{address}]"):
                return "ADDR"
            self.client = replace(self.client, address=address)
        session = values.get("SESSION")
        if session is not None:
            if _SESSION_ID.fullmatch(session) is None:
                return "SESSION"
            self.session_id = session
        if values.get("HELO") and not valid_client_name(values["HELO"] or ""):
            values["HELO"] = ""
        return next((name for name in ("PORT", "TTL", "TIMEOUT")
                     if values.get(name) is not None and not (values[name] or "").isdecimal()), "")

    # --- the end of a message -----------------------------------------------------------------------------------

    def _deliver(self) -> None:
        transaction = self.transaction
        assert transaction is not None
        if 0 < self.config.size_limit < self._content_size:
            too_big = Delivered(552, "5.2.3", "Message size exceeds administrative limit")
            self._ask(Forget(), lambda _: self._delivered(transaction, [too_big] * len(transaction.recipients)))
            return
        self._ask(Deliver(transaction), lambda result: self._delivered(transaction, result))

    def _delivered(self, transaction: Transaction, result: object) -> None:
        """One reply for each recipient, in the order of their RCPT commands (RFC 2033 section 4.2)."""
        count = len(transaction.recipients)
        answers = cast(Sequence[Delivered], result) if isinstance(result, list) else [TEMPORARY] * count
        for recipient, answer in zip(transaction.recipients, answers, strict=True):
            recipient = answer.recipient or recipient
            whom = f"<{recipient.path.text}> "
            if answer.code == 250:
                whom += f"{recipient.session_id} "
            self._say(f"{answer.code} {answer.status} {whom}{answer.text}")
        self.transaction, self._chunks = None, None
        self.state = "READY"

    def _reset(self, then: Callable[[], None]) -> None:
        """Forget the transaction, then go on."""
        began = self._chunks is not None
        self.transaction, self._chunks, self._dots = None, None, None
        self._chunk_failed = False
        if self.state != "GREETING":
            self.state = "READY"
        if began:
            self._ask(Forget(), lambda _: then())
        else:
            then()


def _mail_problem(text: str) -> str:
    """What is wrong with MAIL's parameters, as a reply."""
    try:
        parameters = parse_parameters(text)
    except PeerError as error:
        return f"501 5.5.4 {error.public}"
    if "BODY" in parameters:
        body = parameters.pop("BODY")
        if not body:
            return "501 5.5.4 Missing BODY= parameter value"
        if body.upper() not in ("7BIT", "8BITMIME"):
            return "555 5.5.4 Unsupported mail BODY type"
    return "555 5.5.4 Unsupported parameters" if parameters else ""


def _original(parameters: dict[str, str | None]) -> Path | None:
    if "ORCPT" not in parameters:
        return None
    value = parameters["ORCPT"]
    if not value:
        raise PeerError("Missing ORCPT= parameter value")
    return original_recipient(value)


_COMMANDS: dict[str, Callable[[LmtpSession, str], None]] = {
    "LHLO": LmtpSession.lhlo, "STARTTLS": LmtpSession.starttls, "MAIL": LmtpSession.mail, "RCPT": LmtpSession.rcpt,
    "DATA": LmtpSession.data, "BDAT": LmtpSession.bdat, "RSET": LmtpSession.rset, "VRFY": LmtpSession.vrfy,
    "NOOP": LmtpSession.noop, "QUIT": LmtpSession.quit, "XCLIENT": LmtpSession.xclient,
    "AUTH": LmtpSession.auth}
