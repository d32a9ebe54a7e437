"""Server side of one SMTP dialogue: octets in, actions out; no sockets, clocks or files.

    session = ServerSession(config, facts, ask_connect=True)
    session.opened() / feed(octets) / answered(result) / secured(tls) / timed_out() / lost() -> actions

A line goes to dispatch.py, which gives an Outcome (outcome.py); this module carries it out and counts. Message content
goes through content.py; the first words are in welcome.py.
Limits: config.line_limit (what is longer is cut off), the error limits, and the driver's backlog limit while a
question is open. Source: RFC 5321 section 4.1; replies and log lines are Postfix's.
"""

from collections.abc import Callable
from functools import partial

from mailsuite.base.dialogue import Action, Ask, Close, Pace, Send, StartTls, TlsInfo
from mailsuite.base.errors import Bug, TemporaryError
from mailsuite.base.log import logger
from mailsuite.smtp import questions
from mailsuite.smtp.commands import Entry
from mailsuite.smtp.config import SessionConfig
from mailsuite.smtp.content import Incoming
from mailsuite.smtp.dispatch import heard
from mailsuite.smtp.facts import Facts
from mailsuite.smtp.ledger import Ledger
from mailsuite.smtp.log_lines import log_bare_lf, log_connect, log_handshake_failed, log_long_line
from mailsuite.smtp.outcome import Chunk, Content, Done, NextLine, Outcome, Pending, refused
from mailsuite.smtp.reply import encode, soften, with_footer
from mailsuite.smtp.welcome import greet, handshaken, note_tls

log = logger("smtpd")
_TEMPORARY = "451 4.3.0 Error: internal error"


class ServerSession:
    """One dialogue. facts is shared with who answers the questions.

    unread: octets that came and were not looked at yet. entry: the command under way. denied: the client was refused.
    """

    def __init__(self, config: SessionConfig, facts: Facts, *, ask_connect: bool = True,
                 ask_mail: bool = False) -> None:
        self.config, self.facts = config, facts
        self.timeout_s = config.timeout_s
        self.ask_mail = ask_mail or config.ask_mail
        self.offer: questions.Offer | None = None
        self.content = Incoming(config, facts)
        self.overshoot = 0
        self.ledger = Ledger(config, facts)
        self.trouble = self.ledger.trouble
        self.denied = False
        self.may_xclient = self.may_xforward = self.may_verp = False
        self.last_login = ""            # the name that the log of a failed AUTH shows
        self._ask_connect = ask_connect
        self.unread = bytearray()
        self._searched = 0
        self._bare = False              # the line that was taken last ended in LF alone
        self._then: Callable[[object], Outcome] | None = None
        self._on_line: Callable[[bytes], Outcome] | None = None
        self.entry: Entry | None = None
        self._delayed = False
        self._starting_tls = self._ended = False
        self.pace = Pace(config.min_rate) if config.min_rate else None

    # --- the driver's calls -------------------------------------------------------------------------------------

    @property
    def may_require_tls(self) -> bool:
        """Whether REQUIRETLS is offered: under TLS only. Source: RFC 8689 section 2."""
        discard = self.offer.discard if self.offer is not None else self.config.discard_keywords
        return self.config.require_tls and self.facts.tls is not None and "requiretls" not in discard

    @property
    def backlog(self) -> int:
        return len(self.unread)

    def opened(self) -> list[Action]:
        if self.facts.tls is not None:
            note_tls(self)
        if self._ask_connect:
            self._then = partial(greet, self)
            return [Ask(questions.Connected())]
        log_connect(self.facts)
        return self._carry_out(greet(self, None))

    def feed(self, octets: bytes) -> list[Action]:
        actions: list[Action] = []
        if self._ended or self._starting_tls:
            pass
        elif self.unread or self._then is not None or self.content.chunk_left:
            self.unread += octets
            if self._then is None:
                self._run(actions)
        elif self.content.dots is not None:
            self._take_data(octets, actions)         # message content is not copied into the line buffer
            if self.unread:
                self._run(actions)
        elif (octets.find(b"\n") == len(octets) - 1 and octets[-2:] == b"\r\n"      # one line: most clients wait
              and len(octets) < (self.config.line_limit if self._on_line is None else self.config.sasl_line_limit)):
            if self._on_line is None and self.pace is None:
                self.entry = None
                self._next(heard(self, octets[:-2]), actions)
            else:
                self._line(octets[:-2], actions)
        else:
            self.unread += octets
            self._run(actions)
        if self.pace is not None:
            self.pace.content = self.content.dots is not None or self.content.chunk_left > 0
        return actions

    def answered(self, result: object) -> list[Action]:
        then, self._then = self._then, None
        if then is None:
            raise Bug("an answer to no question")
        return self._carry_out(then(result))

    def failed(self, error: BaseException) -> list[Action]:
        self._then = None
        if isinstance(error, TemporaryError):   # a table of the dialogue itself: without it nobody knows how to go on
            self.trouble.add("data")
            return self._carry_out(Done(f"421 4.3.0 {self.config.hostname} Server local data error", ok=False))
        self.trouble.add("software")
        if self.entry is None and self.facts.where == "CONNECT":
            return self._carry_out(Done(f"421 4.3.0 {self.config.hostname} Service not available", ok=False))
        return self._carry_out(refused(_TEMPORARY))

    def secured(self, tls: TlsInfo) -> list[Action]:
        self._starting_tls = False
        self.unread.clear()
        self._searched = 0
        self.facts.reset_all()
        self.facts.tls = tls
        self.offer = None
        self.content.forget()
        return self._carry_out(handshaken(self))

    def timed_out(self) -> list[Action]:
        if self._ended:
            return []
        self._log_end(f"timeout after {self._where()}")
        reply = encode(f"421 4.4.2 {self.config.hostname} Error: timeout exceeded")
        self.ledger.said(reply)
        return [Send(reply), Close("timeout")]

    def stop(self) -> list[Action]:
        """The suite stops, or wants this connection's place: RFC 5321 section 3.8 asks for a 421."""
        if self._ended:
            return []
        self._log_end("")
        return [Send(encode(f"421 4.3.2 {self.config.hostname} Service shutting down")), Close("stopped")]

    def lost(self) -> list[Action]:
        if not self._ended:
            if self._starting_tls:
                return []               # handshake_failed tells that story
            self._log_end(f"lost connection after {self._where()}")
        return []

    def handshake_failed(self, why: str) -> None:
        """The connection is gone after StartTls; why: what the TLS library said, "" when the client just left."""
        if self._starting_tls and not self._ended:
            log_handshake_failed(self.facts, why)
            self._log_end(f"lost connection after {self._where()}")

    # --- octets -------------------------------------------------------------------------------------------------

    def _run(self, actions: list[Action]) -> None:
        while self._then is None and not self._ended and not self._starting_tls and self.unread:
            if self.content.dots is not None:
                octets = bytes(self.unread)
                self.unread.clear()
                self._take_data(octets, actions)
            elif self.content.chunk_left:
                self._take_chunk(actions)
            elif (line := self._take_line()) is None:
                return
            else:
                self._line(line, actions)

    def _take_line(self) -> bytes | None:
        """The next line without its end; of a line over the limit only its beginning."""
        limit = self.config.line_limit if self._on_line is None else self.config.sasl_line_limit
        end = self.unread.find(b"\n", self._searched)
        if end < 0:
            if len(self.unread) > limit:
                del self.unread[limit:]
            self._searched = len(self.unread)
            return None
        if end >= limit:
            log_long_line(self.facts, limit, bytes(self.unread[:30]))
        if self.content.refuses_bare_lf and self.unread[end - 1:end] != b"\r":
            self._bare = True
        line = bytes(self.unread[:min(end, limit)])
        del self.unread[:end + 1]
        self._searched = 0
        return line[:-1] if line.endswith(b"\r") else line

    def _take_data(self, octets: bytes, actions: list[Action]) -> None:
        after = self.content.take_data(octets, actions)
        if after is not None:
            self.unread += self.content.rest
            self._next(after, actions)

    def _take_chunk(self, actions: list[Action]) -> None:
        octets = bytes(self.unread[:self.content.chunk_left])
        del self.unread[:len(octets)]
        self._searched = 0
        after = self.content.take_chunk(octets, actions)
        if after is not None:
            self._next(after, actions)

    # --- lines and outcomes -------------------------------------------------------------------------------------

    def _line(self, line: bytes, actions: list[Action]) -> None:
        if self.pace is not None:
            self.pace.requests += 1
        if self._bare:
            self.note_bare_lf(self.facts.where)
            self.entry = None
            self._next(Done(self.config.bare_lf_reply, ok=False, close=True), actions)
            return
        if self._on_line is not None:
            on_line, self._on_line = self._on_line, None
            self._next(on_line(line), actions)
            return
        self.entry = None
        self._next(heard(self, line), actions)

    def _carry_out(self, outcome: Outcome) -> list[Action]:
        actions: list[Action] = []
        self._next(outcome, actions)
        if self.unread:
            self._run(actions)
        return actions

    def _next(self, outcome: Outcome, actions: list[Action]) -> None:
        if type(outcome) is Done and self.ledger.errors < self.config.soft_errors:
            self._done(outcome, actions)
            return
        if type(outcome) is Pending:
            self._then = outcome.then
            actions.append(Ask(outcome.question))
            return
        if self.ledger.errors >= self.config.soft_errors and self.config.error_sleep_s and not self._delayed:
            self._delayed = True
            self._then = lambda _: outcome
            actions.append(Ask(questions.Delay(self.config.error_sleep_s)))
            return
        self._delayed = False
        match outcome:
            case Done():
                self._done(outcome, actions)
            case NextLine():
                self._say(outcome.reply, actions)
                self._on_line = outcome.then
            case Content():
                self._say(outcome.reply, actions)
                self.content.expect_data(outcome.then)
            case Chunk():
                self.content.expect_chunk(outcome)
                if not outcome.size:
                    self._next(self.content.end_chunk(actions), actions)

    def _done(self, done: Done, actions: list[Action]) -> None:
        hang_up = done.close
        if done.reply:
            self._say(done.reply, actions)
            hang_up = hang_up or (isinstance(done.reply, str) and done.reply.startswith(("421", "521")))
        for action in done.actions:
            actions.append(action)
            if isinstance(action, StartTls):
                self._starting_tls = True
                return                      # counted when the handshake is done
        self.ledger.count(self.entry, done.ok, blameless=done.blameless)
        self.entry = None
        if hang_up:
            self._log_end("")
            actions.append(Close())
        elif self.ledger.errors >= self.config.hard_errors:
            self.trouble.add("protocol")
            self._say(f"421 4.7.0 {self.config.hostname} Error: too many errors", actions)
            self._log_end(f"too many errors after {self.facts.where}")
            actions.append(Close("too many errors"))

    def _say(self, reply: str | bytes, actions: list[Action]) -> None:
        if isinstance(reply, str):
            if self.config.soft_bounce and reply[0] == "5":
                reply = soften(reply)
            if reply[0] in "45":
                reply = self._footed(reply)
            reply = encode(reply)
        self.ledger.said(reply)
        actions.append(Send(reply))

    def _footed(self, reply: str) -> str:
        """smtpd_reject_footer_maps, else smtpd_reject_footer."""
        config = self.config
        footer = config.footer_map(reply, self.facts) if config.footer_map is not None else None
        if footer is None and config.footer is not None:
            footer = config.footer(self.facts)
        return with_footer(reply, footer) if footer is not None else reply

    # --- ends ---------------------------------------------------------------------------------------------------

    def refuse(self, refusal: questions.Refusal) -> Done:
        """What the world says against a command."""
        self.trouble.add(refusal.sort)
        return refused(refusal.reply)

    def note_bare_lf(self, where: str) -> None:
        """A line ended in LF alone where that is forbidden."""
        log_bare_lf(self.facts, where)
        self.trouble.add("protocol")

    def _where(self) -> str:
        facts = self.facts
        if self.content.dots is not None:
            return f"{facts.where} ({self.content.whole_lines_size} bytes)"
        return facts.where

    def _log_end(self, reason: str) -> None:
        self._ended = True
        self.ledger.close(reason, self.entry)
