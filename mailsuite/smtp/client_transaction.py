"""One message in a dialogue with a server: MAIL, RCPT, DATA or BDAT, and what the replies mean for each recipient.

    results = yield from transaction(config, features, host, mail, ended=tell)

The steps and their names are client_session.py's.
"""

from collections.abc import Generator

from mailsuite.address.syntax import quote_local
from mailsuite.queue.envelope import Notify, Recipient
from mailsuite.smtp.client_params import ClientConfig
from mailsuite.smtp.client_reply import Reply
from mailsuite.smtp.client_session import (
    Drop,
    Ended,
    Features,
    Mail,
    Receive,
    Result,
    Send,
    SendBody,
    SendChunk,
    Step,
    Trouble,
    Warn,
    said,
)
from mailsuite.smtp.syntax import xtext


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
