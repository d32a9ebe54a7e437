"""smtpd_proxy_filter: a content filter that answers before the client does (SMTPD_PROXY_README of Postfix).

    proxy = ProxyFilter(settings)                        one per process; raises ConfigError
    intake = ProxyIntake(proxy, facts, envelope, begun)  in the place of a queue file: nothing is queued here
    await intake.recipient(recipient);  await intake.start_content();  intake.write(octets)
    accepted = await intake.commit()                     the filter took it: accepted.reply is what it said
    intake.abort()

The content is kept in a nameless file until it is whole, then goes to the filter, whose reply is the client's. With
smtpd_proxy_options = speed_adjust the filter hears nothing before that; else MAIL (with the first recipient), RCPT and
DATA are asked as the client says them, and a refusal is the client's as well. The filter queues what it accepts (it
sends it on to another smtpd); when it cannot be reached, refuses EHLO, or breaks off, the client is told to try again:
451 4.3.0. Raises Refused with the filter's reply.
Limits: smtpd_proxy_timeout for each reply; message_size_limit is the session's.
"""

import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mailsuite.address.syntax import quote_local
from mailsuite.base.errors import ConfigError
from mailsuite.base.log import logger
from mailsuite.queue.cleanup import Accepted, Refused
from mailsuite.queue.envelope import Envelope, Recipient
from mailsuite.queue.inspection import Inspector
from mailsuite.smtp import params
from mailsuite.smtp.client import ClientConnection, Endpoint
from mailsuite.smtp.client_body import Body, encode_body
from mailsuite.smtp.client_params import TIMEOUTS, ClientConfig
from mailsuite.smtp.client_reply import Reply
from mailsuite.smtp.client_session import Features, Receive, Send, SendBody, Step, Trouble, greeting, offered
from mailsuite.smtp.syntax import xtext

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.smtp.facts import Facts

HELD = 256 * 1024           # octets of a message in memory; more goes into a file
BLOCK = 65536
log = logger("smtpd")


class ProxyFilter:
    """Where the filter is and how to talk to it."""

    def __init__(self, settings: "Settings") -> None:
        self.name = settings[params.SMTPD_PROXY_FILTER].strip()
        options = settings[params.SMTPD_PROXY_OPTIONS]
        unknown = set(options) - {"speed_adjust"}
        if unknown:
            raise ConfigError(f"smtpd_proxy_options: unknown option \"{sorted(unknown)[0]}\"")
        self.late = "speed_adjust" in options
        self.timeout_s = float(settings[params.SMTPD_PROXY_TIMEOUT])
        self.folder = f"{settings.text('queue_directory')}/incoming"
        self._root = settings.text("queue_directory")
        self._endpoint = _endpoint(self.name)
        self._config = replace(ClientConfig.of(settings, "smtp"), helo_name=settings[params.SMTPD_PROXY_EHLO],
                               timeouts=dict.fromkeys(TIMEOUTS["smtp"], self.timeout_s),
                               discard_keywords=frozenset())

    async def open(self) -> tuple[ClientConnection, Features]:
        """Connect and say EHLO. Raises Trouble; Refused when the filter says no to EHLO, which is told."""
        connection = await ClientConnection.open(self._endpoint, timeout_s=self.timeout_s, unix_root=self._root)
        try:
            await connection.run(greeting(self._config, connection.host, own=False))
            command = f"EHLO {self._config.helo_name}"
            reply = await connection.run(_exchange("EHLO", command, self.timeout_s))
            if reply.kind != 2:
                self.warn_rejected(command, reply)
                raise _away()
            features = offered(self._config, reply)
        except BaseException:
            connection.abort()
            raise
        return connection, features

    def warn_rejected(self, command: str, reply: Reply) -> None:
        log.warning('proxy %s rejected "%s": "%s"', self.name, command, "\r\n".join(reply.lines))

    def warn_lost(self, trouble: Trouble) -> None:
        log.warning("timeout talking to proxy %s" if "timed out" in trouble.public else "lost connection with proxy %s",
                    self.name)

    async def close(self, connection: ClientConnection) -> None:
        await connection.quit(self._config)


def _endpoint(name: str) -> Endpoint:
    """inet:host:port, host:port, :port or unix:path. Raises ConfigError."""
    kind, _, rest = name.partition(":")
    if kind == "unix" and rest:
        return Endpoint(name, path=rest)
    text = rest if kind == "inet" else name
    host, _, port = text.rpartition(":")
    if not port.isdigit():
        raise ConfigError(f"smtpd_proxy_filter: \"{name}\" is no host:port or unix:path")
    return Endpoint(name, host.strip("[]") or "localhost", int(port))


class ProxyIntake:
    """One message on its way through the filter, in the place of queue.cleanup.Intake.

    begun: called once the filter took the sender (with speed_adjust: once it would be told of one).
    """

    queue_id = ""

    def __init__(self, proxy: ProxyFilter, facts: "Facts", envelope: Envelope, begun: Callable[[], None]) -> None:
        self._proxy, self._facts, self.envelope, self._begun = proxy, facts, envelope, begun
        self.inspectors: list[Inspector] = []            # nobody asks them: the message is not ours
        self.size = 0
        # Without a name, in the queue's own file system: /tmp may be small, and memory too.
        self._content = tempfile.SpooledTemporaryFile(max_size=HELD, dir=proxy.folder)  # noqa: SIM115  abort closes it
        self._commands: list[tuple[str, str]] = []       # what the filter is told later: stage, command
        self._connection: ClientConnection | None = None
        self._features = Features()
        self._greeted = self._broken = self._started = False

    async def recipient(self, recipient: Recipient) -> None:
        """One that our policy accepted. Raises Refused: the filter does not, or not the sender."""
        commands = [] if self._greeted else [("MAIL FROM", _mail(self._facts))]
        commands.append(("RCPT TO", _rcpt(self._facts, recipient)))
        if self._proxy.late:
            self._commands += commands
            self._sender_taken()
            return
        for stage, command in commands:
            await self._ask(stage, command)
            self._sender_taken()

    def _sender_taken(self) -> None:
        if not self._greeted:
            self._greeted = True
            self._begun()

    async def start_content(self) -> None:
        """The client says DATA, or its first BDAT. Raises Refused."""
        if not self._proxy.late and not self._started:
            await self._ask("DATA", "DATA")
            self._started = True

    def write(self, octets: bytes) -> None:
        """Content, LF line ends. Never raises: commit tells."""
        self.size += len(octets)
        if not self._broken:
            try:
                self._content.write(octets)
            except OSError as error:
                log.warning("cannot keep a message for the proxy filter: %s", error)
                self._broken = True

    async def commit(self) -> Accepted:
        """The message is whole: it is the filter's now. Raises Refused."""
        try:
            if self._broken:
                raise _away()
            for stage, command in self._commands:
                await self._ask(stage, command)
            if not self._started:
                await self._ask("DATA", "DATA")
            reply = await self._run(_body(self._proxy.timeout_s), self._blocks())
            if reply.kind != 2:
                raise _refused(reply)
        except Refused as error:
            self._note("reject", error.reply)
            raise
        self._note("accept", "\n".join(reply.lines))
        await self._leave()
        return Accepted("", self.size, "\n".join(reply.lines))

    def _note(self, what: str, reply: str) -> None:
        facts = self._facts
        log.info("proxy-%s: END-OF-MESSAGE: %s; from=<%s> to=<%s> proto=%s helo=<%s>", what,
                 reply.replace("\n", "\r\n"), quote_local(facts.sender or ""), quote_local(facts.first_recipient),
                 facts.protocol, facts.helo or "")

    def _blocks(self) -> Iterator[bytes]:
        self._content.seek(0)
        return encode_body(iter(lambda: self._content.read(BLOCK), b""), line_length=0)

    async def _ask(self, stage: str, command: str) -> None:
        """Raises Refused: the filter says no, or is away; a line in the log says so."""
        reply = await self._run(_exchange(stage, command, self._proxy.timeout_s))
        if reply.kind != (3 if stage == "DATA" else 2):
            self._proxy.warn_rejected(command, reply)
            raise _refused(reply)

    async def _connected(self) -> ClientConnection:
        """Raises Refused."""
        if self._connection is None:
            if self._greeted and not self._proxy.late:
                raise _away()           # it broke off in the middle: what it was told is lost
            try:
                self._connection, self._features = await self._proxy.open()
                for command in _xforward(self._facts, self._features):
                    await self._connection.run(_exchange("XFORWARD", command, self._proxy.timeout_s))
            except Trouble as trouble:
                if trouble.unreached:
                    log.warning("connect to proxy filter %s: %s", self._proxy.name, trouble.public.rpartition(": ")[2])
                elif trouble.reply:
                    log.warning("proxy %s: %s", self._proxy.name, trouble.public)
                else:
                    self._proxy.warn_lost(trouble)
                self._drop()
                raise _away("resource" if trouble.unreached else "policy") from trouble
        return self._connection

    async def _run(self, dialogue: Generator[Step, Reply, Reply], body: Iterable[bytes] = ()) -> Reply:
        """Raises Refused."""
        connection = await self._connected()
        try:
            return await connection.run(dialogue, body=Body(body, self._proxy.timeout_s))
        except Trouble as trouble:
            self._proxy.warn_lost(trouble)
            self._drop()
            raise _away() from trouble
        except OSError as error:
            log.warning("cannot keep a message for the proxy filter: %s", error)
            self._drop()
            raise _away() from error

    async def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._proxy.close(connection)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    def abort(self) -> None:
        """Forget the message; may be called twice. The filter sees the connection end before the message does."""
        self._drop()
        self._content.close()


def _refused(reply: Reply) -> Refused:
    """The filter's words are the client's."""
    return Refused(reply.code, reply.dsn, reply.text, reply="\n".join(reply.lines))


def _away(sort: str = "policy") -> Refused:
    """In Postfix's words. sort: "resource" where the filter cannot be reached: that is told to Postmaster."""
    return Refused(451, "4.3.0", "Error: queue file write error", sort=sort)


def _exchange(stage: str, command: str, timeout_s: float) -> Generator[Step, Reply, Reply]:
    yield Send(command.encode("utf-8", "surrogateescape") + b"\r\n")
    reply = yield Receive(f"sending {stage}", timeout_s)
    return reply


def _body(timeout_s: float) -> Generator[Step, Reply, Reply]:
    yield SendBody()
    reply = yield Receive("sending end of data", timeout_s)
    return reply


def _mail(facts: "Facts") -> str:
    """MAIL FROM as the client said it."""
    said = [f"MAIL FROM:<{quote_local(facts.sender or '')}>"]
    if facts.size:
        said.append(f"SIZE={facts.size}")
    if facts.encoding:
        said.append("BODY=8BITMIME" if facts.encoding == "8bit" else "BODY=7BIT")
    if facts.smtputf8:
        said.append("SMTPUTF8")
    if facts.require_tls:
        said.append("REQUIRETLS")
    if facts.ret:
        said.append(f"RET={facts.ret}")
    if facts.envid:
        said.append(f"ENVID={xtext(facts.envid)}")
    if facts.verp:
        said.append(f"XVERP={facts.verp}")
    return " ".join(said)


def _rcpt(facts: "Facts", recipient: Recipient) -> str:
    """RCPT TO with the parameters that the client gave."""
    said = [f"RCPT TO:<{quote_local(recipient.address)}>", *(word.text for word in facts.words[3:])]
    return " ".join(said)


def _xforward(facts: "Facts", features: Features) -> list[str]:
    """Who the client is, as far as the filter wants to know (XFORWARD_README)."""
    offered = features.keywords.get("XFORWARD", "").upper().split()
    client = facts.forwarded.client if facts.forwarded is not None else facts.client
    values: dict[str, Callable[[], str]] = {
        "NAME": lambda: client.name, "ADDR": lambda: client.rfc_address, "PORT": lambda: str(client.port or ""),
        "PROTO": lambda: facts.protocol, "HELO": lambda: facts.helo or "",
        "SOURCE": lambda: "LOCAL" if facts.local else "REMOTE"}
    told = [(name, value() or "[UNAVAILABLE]") for name, value in values.items() if name in offered]
    groups = [told[:3], told[3:]] if len(told) > 3 else [told]
    return ["XFORWARD " + " ".join(f"{name}={xtext(value)}" for name, value in group) for group in groups if group]
