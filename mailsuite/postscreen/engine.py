"""The SMTP that postscreen speaks itself: with clients that failed, and with those whose tests need a dialogue.

    engine = Engine(config, tests, Screened(peer...), stress)           a base.dialogue.Session

It accepts no mail: RCPT gets the reply of what the client failed at, or 450 to come again, and a line in the log with
HELO name, sender and recipient. DATA ends the session. What a client sends before its turn (no PIPELINING is offered),
commands of other protocols and lines that end in LF alone fail their tests where these are switched on.
Limits: config.commands commands, config.line_limit octets a line, command_time_s for each. Replies and log lines are
Postfix's, recorded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mailsuite.base.dialogue import Action, Ask, Close, NameUse, Send, StartTls, TlsInfo
from mailsuite.base.log import logger
from mailsuite.postscreen.cache import Check
from mailsuite.postscreen.progress import Progress
from mailsuite.postscreen.screen_config import ScreenConfig
from mailsuite.smtp.log_lines import escape, log_server_name
from mailsuite.smtp.reply import encode, encode_lines
from mailsuite.smtp.syntax import Word, is_header, neuter_helo, printable, tokenise

log, tls_log = logger("postscreen"), logger("tlsproxy")
COME_AGAIN = "450 4.3.2 Service currently unavailable"


@dataclass(frozen=True, slots=True)
class Screened:
    """Whom the engine talks to; where is "[address]:port"."""

    address: str
    where: str
    server_address: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """What is this command instead (postscreen_command_filter), and is its word forbidden? -> (str, bool)"""

    line: str
    word: str


class Engine:
    """One dialogue. filters: whether commands go through a table first."""

    def __init__(self, config: ScreenConfig, tests: Progress, client: Screened, *, timeout_s: float,
                 filters: bool = False) -> None:
        self.config, self.tests, self.client, self.timeout_s = config, tests, client, timeout_s
        self.filters = filters
        self.helo, self.protocol, self.sender = "", "SMTP", ""
        self.in_mail = False
        self.tls: TlsInfo | None = None
        self.over = False
        self.where = "CONNECT"
        self._buffer = bytearray()
        self._commands = 0
        self._asked: bytes | None = None
        self._starting_tls = False
        self._out: list[Action] = []

    # --- base.dialogue.Session --------------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        return len(self._buffer)

    def opened(self) -> list[Action]:
        if not self.tests.no_greeting:
            self._say(f"220 {self.config.banner}")
        return self._flush()

    def feed(self, octets: bytes) -> list[Action]:
        if not self.over and not self._starting_tls:
            self._buffer += octets
            self._run()
        return self._flush()

    def answered(self, result: object) -> list[Action]:
        line, self._asked = self._asked, None
        assert line is not None and isinstance(result, tuple)
        self._command(*result)
        self._run()
        return self._flush()

    def failed(self, error: BaseException) -> list[Action]:
        self._asked = None
        self._end("421 4.3.0 Service unavailable - try again later")
        return self._flush()

    def secured(self, tls: TlsInfo) -> list[Action]:
        self.tls, self._starting_tls = tls, False
        self._buffer.clear()                    # RFC 3207 section 4.2
        if self.config.tls_loglevel:
            log_server_name(self.client.where, tls, tls_log)
            name = f" to {tls.server_name}" if tls.name_use is NameUse.MATCHED else ""
            tls_log.info("Anonymous TLS connection established from %s%s: %s with cipher %s (%d/%d bits)",
                         self.client.where, name, tls.protocol, tls.cipher, tls.cipher_bits, tls.cipher_algorithm_bits)
        self.helo, self.protocol, self.in_mail = "", "SMTP", False
        return []

    def timed_out(self) -> list[Action]:
        if not self.over:
            log.info("COMMAND TIME LIMIT from %s after %s", self.client.where, self.where)
            self._end(f"421 4.4.2 {self.config.hostname} Error: timeout exceeded")
        return self._flush()

    def lost(self) -> list[Action]:
        self.over = True
        return []

    def stop(self) -> list[Action]:
        """The suite stops."""
        if not self.over:
            self._end(f"421 4.3.2 {self.config.hostname} Service shutting down")
        return self._flush()

    # --- lines ------------------------------------------------------------------------------------------------------

    def _flush(self) -> list[Action]:
        out, self._out = self._out, []
        return out

    def _run(self) -> None:
        while not self.over and not self._starting_tls and self._asked is None:
            end = self._buffer.find(b"\n")
            if end > self.config.line_limit or (end < 0 and len(self._buffer) > self.config.line_limit):
                log.info("COMMAND LENGTH LIMIT from %s after %s", self.client.where, self.where)
                self._end(self._unavailable())
                return
            if end < 0:
                return
            line = bytes(self._buffer[:end])
            del self._buffer[:end + 1]
            self._line(line)

    def _line(self, line: bytes) -> None:
        self._commands += 1
        if self._commands > self.config.commands:
            log.info("COMMAND COUNT LIMIT from %s after %s", self.client.where, self.where)
            self._end(self._unavailable())
            return
        bare = not line.endswith(b"\r")
        line = line.removesuffix(b"\r")
        if bare and self._has(Check.BARE_NEWLINE):
            log.info("BARE NEWLINE from %s after %s", self.client.where, escape(line))
            if self._fails(Check.BARE_NEWLINE, "521 5.5.1 Protocol error"):
                return
        text = line.decode("utf-8", "surrogateescape").replace("\0", "?")
        word = text.split(None, 1)[0] if text.split() else ""
        if self.filters or (word.upper() not in COMMANDS and Check.NON_SMTP in self.config.enabled):
            self._asked = line
            self._out.append(Ask(Filter(text, word)))
            return
        self._command(text, False)

    def _command(self, text: str, forbidden: bool) -> None:
        words = tokenise(text)
        name = words[0].text.upper() if words else ""
        run = COMMANDS.get(name)
        if run is None:
            alien = forbidden or (words and is_header(words[0].text))
            if alien and self._has(Check.NON_SMTP):
                log.info("NON-SMTP COMMAND from %s after %s: %s", self.client.where, self.where,
                         escape(text.encode("utf-8", "surrogateescape")))
                if self._fails(Check.NON_SMTP, "521 5.7.0 Error: I can break rules, too. Goodbye."):
                    return
            self._say("502 5.5.2 Error: command not recognized")
            return
        self.where = name
        if self._buffer and self._has(Check.PIPELINING):
            log.info("COMMAND PIPELINING from %s after %s: %s", self.client.where, name,
                     escape(bytes(self._buffer[:100])))
            if self._fails(Check.PIPELINING, "521 5.5.1 Protocol error"):
                return
        if self.config.tls_required and self.config.tls and self.tls is None and name not in _BEFORE_TLS:
            self._say("530 5.7.0 Must issue a STARTTLS command first")
            return
        run(self, words)

    # --- tests ------------------------------------------------------------------------------------------------------

    def _has(self, test: Check) -> bool:
        """Whether a test is to be done and was not failed yet."""
        return test in self.tests.deep

    def _fails(self, test: Check, reply: str) -> bool:
        """The client failed a test. Returns whether that ended the session."""
        action = self.config.actions[test]
        self.tests.broke(test)
        if action == "drop":
            self._end(reply)
            return True
        if action == "enforce":
            self.tests.fail("550 5.5.1 Protocol error")
        return False

    def pass_deep(self) -> None:
        """It has come to a recipient: what it did not fail by now it has passed."""
        for test in () if self.tests.failed else self.tests.deep:
            self.tests.passed(test, self.config.ttls[test])

    # --- words ------------------------------------------------------------------------------------------------------

    def _say(self, reply: str) -> None:
        self._out.append(Send(encode(self._footed(reply))))

    def _footed(self, reply: str) -> str:
        return self.config.with_footer(
            reply, client_address=self.client.address, client=f"[{self.client.address}]", helo_name=self.helo,
            sender=self.sender, server_name=self.config.hostname, server_address=self.client.server_address)

    def _end(self, reply: str) -> None:
        self.over = True
        self._say(reply)
        self._out.append(Close(reply))

    def _unavailable(self) -> str:
        return f"421 {self.config.hostname} Service unavailable - try again later"

    def hello(self, words: list[Word], verb: str) -> None:
        if len(words) < 2:
            self._say(f"501 Syntax: {verb} hostname")
            return
        self.helo, self.in_mail = neuter_helo(" ".join(word.text for word in words[1:])), False
        self.protocol = "ESMTP" if verb == "EHLO" else "SMTP"
        if verb == "HELO":
            self._say(f"250 {self.config.hostname}")
        else:
            self._out.append(Send(encode_lines("250", [self.config.hostname, *self._keywords()])))

    def _keywords(self) -> list[str]:
        """No PIPELINING: who does not wait for replies shall be found out. No AUTH, XCLIENT, XFORWARD."""
        config = self.config
        offered = [("size", f"SIZE {config.size_limit}" if config.size_limit else "SIZE"),
                   ("vrfy", "" if config.disable_vrfy else "VRFY"), ("etrn", "ETRN"),
                   ("starttls", "STARTTLS" if config.tls and self.tls is None else ""),
                   ("enhancedstatuscodes", "ENHANCEDSTATUSCODES"), ("8bitmime", "8BITMIME"), ("dsn", "DSN"),
                   ("smtputf8", "SMTPUTF8" if config.smtputf8 else ""), ("chunking", "CHUNKING")]
        return [line for name, line in offered if line and name not in config.discard]

    def mail(self, words: list[Word]) -> None:
        if self.config.helo_required and not self.helo:
            self._say("503 5.5.1 Error: send HELO/EHLO first")
        elif self.in_mail:
            self._say("503 5.5.1 Error: nested MAIL command")
        elif len(words) < 3 or words[1].text.lower() != "from:":
            self._say("501 5.5.4 Syntax: MAIL FROM:<address>")
        else:
            self.sender, self.in_mail = _bare(words[2].text), True
            self._say("250 2.1.0 Ok")

    def rcpt(self, words: list[Word]) -> None:
        if not self.in_mail:
            self._say("503 5.5.1 Error: need MAIL command")
        elif len(words) < 3 or words[1].text.lower() != "to:":
            self._say("501 5.5.4 Syntax: RCPT TO:<address>")
        else:
            self.pass_deep()
            reply = self.tests.reply or COME_AGAIN
            log.info("NOQUEUE: reject: RCPT from %s: %s; from=<%s>, to=<%s>, proto=%s, helo=<%s>", self.client.where,
                     reply, printable(self.sender), printable(_bare(words[2].text)), self.protocol, self.helo)
            self._say(reply)

    def data(self, words: list[Word]) -> None:
        log.info("DATA without valid RCPT from %s", self.client.where)
        self._end("554 5.5.1 Error: no valid recipients" if self.in_mail else "503 5.5.1 Error: need RCPT command")

    def bdat(self, words: list[Word]) -> None:
        log.info("BDAT without valid RCPT from %s", self.client.where)
        self._end("554 5.5.1 Error: no valid recipients" if self.in_mail else "554 5.5.1 Error: need MAIL command")

    def starttls(self, words: list[Word]) -> None:
        if not self.config.tls or "starttls" in self.config.discard:
            self._say("502 5.5.1 Error: command not implemented")
        elif self.tls is not None:
            self._say("554 5.5.1 Error: TLS already active")
        elif len(words) > 1:
            self._say("501 5.5.4 Syntax: STARTTLS")
        else:
            self._say("220 2.0.0 Ready to start TLS")
            tls_log.info("CONNECT from %s", self.client.where)
            self._starting_tls = True
            self._out.append(StartTls())

    def rset(self, words: list[Word]) -> None:
        self.in_mail = False
        self._say("250 2.0.0 Ok")

    def vrfy(self, words: list[Word]) -> None:
        if self.config.disable_vrfy:
            self._say("502 5.5.1 VRFY command is disabled")
        elif len(words) < 2:
            self._say("501 5.5.4 Syntax: VRFY address")
        else:
            self._say(self.tests.reply or COME_AGAIN)


def _bare(path: str) -> str:
    return path[1:-1] if path.startswith("<") and path.endswith(">") else path


COMMANDS: Mapping[str, Callable[[Engine, list[Word]], None]] = {
    "EHLO": lambda engine, words: engine.hello(words, "EHLO"),
    "HELO": lambda engine, words: engine.hello(words, "HELO"),
    "STARTTLS": Engine.starttls, "MAIL": Engine.mail, "RCPT": Engine.rcpt, "DATA": Engine.data, "BDAT": Engine.bdat,
    "RSET": Engine.rset, "VRFY": Engine.vrfy,
    "NOOP": lambda engine, words: engine._say("250 2.0.0 Ok"),
    "ETRN": lambda engine, words: engine._say("458 Unable to queue messages"),
    "QUIT": lambda engine, words: engine._end("221 2.0.0 Bye"),
}
_BEFORE_TLS = frozenset({"EHLO", "HELO", "STARTTLS", "NOOP", "QUIT"})
