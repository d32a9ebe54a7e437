"""Server side of one SMTP dialogue: states and dispatch; no sockets, clocks or files.

    session = ServerSession(config, facts, ask_connect=True)
    session.opened() / feed(octets) / answered(result) / secured(tls) / timed_out() / lost() -> actions

Commands are functions of `commands/`; each gives an Outcome (outcome.py), which this module carries out and counts.
Message content goes out as Body actions in blocks, dots and line ends already undone.
Limits: config.line_limit (what is longer is cut off), the error limits, and the driver's backlog limit while a
question is open. Source: RFC 5321 section 4.1; replies and log lines are Postfix's.
"""

from collections.abc import Callable

from mailsuite.base.dialogue import Action, Ask, Body, Close, Pace, Send, StartTls, TlsInfo
from mailsuite.base.errors import Bug, TemporaryError
from mailsuite.base.log import logger
from mailsuite.smtp import questions
from mailsuite.smtp.commands import COMMANDS, UNKNOWN, Entry, Rule
from mailsuite.smtp.commands.mail import abandon
from mailsuite.smtp.config import SessionConfig
from mailsuite.smtp.data import ChunkDecoder, DotDecoder, FirstLine
from mailsuite.smtp.facts import BdatState, Facts
from mailsuite.smtp.ledger import Ledger, log_bare_lf, log_connect, log_pipelining, log_stranger, log_tls
from mailsuite.smtp.outcome import Chunk, Content, Done, NextLine, Outcome, Pending, refused
from mailsuite.smtp.reply import encode, soften, with_footer
from mailsuite.smtp.syntax import Word, is_header, tokenise

log = logger("smtpd")
_TEMPORARY = "451 4.3.0 Error: internal error"


class ServerSession:
    """One dialogue. facts is shared with who answers the questions."""

    def __init__(self, config: SessionConfig, facts: Facts, *, ask_connect: bool = True,
                 ask_mail: bool = False) -> None:
        self.config, self.facts = config, facts
        self.timeout_s = config.timeout_s
        self.ask_mail = ask_mail or config.ask_mail
        self.offer: questions.Offer | None = None
        self.bdat = BdatState.NONE
        self.chunks: ChunkDecoder | None = None
        self.overshoot = 0
        self.ledger = Ledger(config, facts)
        self.trouble = self.ledger.trouble
        self.content_failed = False
        self.denied = False
        self.may_xclient = self.may_xforward = self.may_verp = False
        self.last_login = ""            # the name that the log of a failed AUTH shows
        self._ask_connect = ask_connect
        self._buffer = bytearray()
        self._searched = 0
        self._bare = False              # the line that was taken last ended in LF alone
        self._then: Callable[[object], Outcome] | None = None
        self._on_line: Callable[[bytes], Outcome] | None = None
        self._after_content: Callable[[], Outcome] | None = None
        self._dots: DotDecoder | None = None
        self._first_line = FirstLine()
        self._chunk_left = 0
        self._unfinished = 0            # octets of a last line that is not whole yet
        self._chunk: Chunk | None = None
        self._entry: Entry | None = None
        self._delayed = False
        self._starting_tls = self._ended = False
        self.pace = Pace(config.min_rate) if config.min_rate else None
        self.refuses_bare_lf = bool(config.bare_lf_reply)      # the server spares smtpd_forbid_bare_newline_exclusions
        self.bare_lf = False            # there was one in the message
        self._last_octet = b""

    # --- the driver's calls -------------------------------------------------------------------------------------

    @property
    def may_require_tls(self) -> bool:
        """Whether REQUIRETLS is offered: under TLS only. Source: RFC 8689 section 2."""
        discard = self.offer.discard if self.offer is not None else self.config.discard_keywords
        return self.config.require_tls and self.facts.tls is not None and "requiretls" not in discard

    @property
    def backlog(self) -> int:
        return len(self._buffer)

    def opened(self) -> list[Action]:
        if self.facts.tls is not None:
            self._note_tls()
        if self._ask_connect:
            self._then = self.greet
            return [Ask(questions.Connected())]
        log_connect(self.facts)
        return self._carry_out(self.greet(None))

    def feed(self, octets: bytes) -> list[Action]:
        actions = self._feed(octets)
        if self.pace is not None:
            self.pace.content = self._dots is not None or self._chunk_left > 0
        return actions

    def _feed(self, octets: bytes) -> list[Action]:
        if self._ended or self._starting_tls:
            return []
        if self._dots is not None and not self._buffer and self._then is None:
            actions: list[Action] = []
            self._take_content(octets, actions)      # message content is not copied into the line buffer
        elif self._is_one_line(octets):
            actions = []
            self._line(octets[:-2], actions)
            return actions
        else:
            self._buffer += octets
            if self._then is not None:
                return []
            actions = []
        self._run(actions)
        return actions

    def _is_one_line(self, octets: bytes) -> bool:
        """Whether a line and nothing else was waited for and came: most clients wait for each reply."""
        return (octets.find(b"\n") == len(octets) - 1 and octets[-2:] == b"\r\n" and not self._buffer
                and self._then is None and not self._chunk_left
                and len(octets) < (self.config.line_limit if self._on_line is None else self.config.sasl_line_limit))

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
        if self._entry is None and self.facts.where == "CONNECT":
            return self._carry_out(Done(f"421 4.3.0 {self.config.hostname} Service not available", ok=False))
        return self._carry_out(refused(_TEMPORARY))

    def secured(self, tls: TlsInfo) -> list[Action]:
        self._starting_tls = False
        self._buffer.clear()
        self._searched = 0
        self.facts.reset_all()
        self.facts.tls = tls
        self.offer = None
        self.bdat, self.chunks = BdatState.NONE, None
        self._note_tls()
        if "newtls" in self.config.rates and not tls.resumed:
            return self._carry_out(Pending(questions.RateCheck("newtls"), self._after_tls))
        return self._carry_out(Done(""))

    def _after_tls(self, fine: object) -> Done:
        """Whether this handshake was one too many (smtpd_client_new_tls_session_rate_limit)."""
        return Done("") if fine else self._refuse_tls()

    def _refuse_tls(self) -> Done:
        self.trouble.add("policy")
        return refused(f"421 4.7.0 {self.config.hostname} Error: too many new TLS sessions "
                       f"from {self.facts.client.host}")

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
            log.info("SSL_accept error from %s: %s", self.facts.client.host, "-1" if why else "lost connection")
            if why:
                log.warning("TLS library problem: %s", why)
            self._log_end(f"lost connection after {self._where()}")

    # --- octets -------------------------------------------------------------------------------------------------

    def _run(self, actions: list[Action]) -> None:
        while self._then is None and not self._ended and not self._starting_tls and self._buffer:
            if self._dots is not None:
                octets = bytes(self._buffer)
                self._buffer.clear()
                self._take_content(octets, actions)
            elif self._chunk_left:
                self._take_chunk(actions)
            elif (line := self._take_line()) is None:
                return
            else:
                self._line(line, actions)

    def _take_line(self) -> bytes | None:
        """The next line without its end; of a line over the limit only its beginning."""
        limit = self.config.line_limit if self._on_line is None else self.config.sasl_line_limit
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            if len(self._buffer) > limit:
                del self._buffer[limit:]
            self._searched = len(self._buffer)
            return None
        if self.refuses_bare_lf and self._buffer[end - 1:end] != b"\r" and self._dots is None:
            self._bare = True
        line = bytes(self._buffer[:min(end, limit)])
        del self._buffer[:end + 1]
        self._searched = 0
        return line[:-1] if line.endswith(b"\r") else line

    def _take_content(self, octets: bytes, actions: list[Action]) -> None:
        dots = self._dots
        assert dots is not None
        self._look_for_bare_lf(octets)
        self._content(dots.feed(octets), actions)
        if dots.ended:
            self._dots = None
            self._content(self._first_line.finish(), actions, judged=True)
            self._buffer += dots.rest
            after, self._after_content = self._after_content, None
            assert after is not None
            self._next(after(), actions)

    def _take_chunk(self, actions: list[Action]) -> None:
        octets = bytes(self._buffer[:self._chunk_left])
        del self._buffer[:len(octets)]
        self._searched = 0
        self._chunk_left -= len(octets)
        chunk = self._chunk
        assert chunk is not None
        if chunk.keep and self.chunks is not None:
            self._look_for_bare_lf(octets)
            self._content(self.chunks.feed(octets), actions)
        if not self._chunk_left:
            self._end_chunk(chunk, actions)

    def _end_chunk(self, chunk: Chunk, actions: list[Action]) -> None:
        self._chunk = None
        if chunk.keep and chunk.last and self.chunks is not None:
            self._content(self.chunks.finish(), actions)        # the last line's end
            self._content(self._first_line.finish(), actions, judged=True)
        self._next(chunk.then(), actions)

    def _look_for_bare_lf(self, octets: bytes) -> None:
        if self.refuses_bare_lf and not self.bare_lf and octets:
            whole = octets.count(b"\r\n") + (octets[0] == 10 and self._last_octet == b"\r")
            self.bare_lf = octets.count(b"\n") > whole
            self._last_octet = octets[-1:]

    def note_bare_lf(self) -> None:
        """The message that ends is refused for one."""
        self.bare_lf = False
        self.trouble.add("protocol")
        log_bare_lf(self.facts, "END-OF-MESSAGE")

    def _content(self, octets: bytes, actions: list[Action], *, judged: bool = False) -> None:
        """Pass message content on, until it is too much."""
        if not judged:
            octets = self._first_line.feed(octets)
        if not octets:
            return
        facts = self.facts
        facts.actual_size += len(octets) + octets.count(b"\n")
        end = octets.rfind(b"\n")
        self._unfinished = len(octets) - end - 1 if end >= 0 else self._unfinished + len(octets)
        if 0 < self.config.message_size_limit < facts.actual_size:
            self.content_failed = True
        if not self.content_failed:
            actions.append(Body(octets))

    # --- lines and outcomes -------------------------------------------------------------------------------------

    def _line(self, line: bytes, actions: list[Action]) -> None:
        if self.pace is not None:
            self.pace.requests += 1
        if self._bare:
            log_bare_lf(self.facts, self.facts.where)
            self.trouble.add("protocol")
            self._entry = None
            self._next(Done(self.config.bare_lf_reply, ok=False, close=True), actions)
            return
        if self._on_line is not None:
            on_line, self._on_line = self._on_line, None
            self._next(on_line(line), actions)
            return
        self._entry = None
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            self.trouble.add("protocol")
            self._next(refused("500 5.5.2 Error: bad UTF-8 syntax"), actions)
            return
        self.ledger.heard(text)
        text = text.replace("\0", "?")
        if self.config.filters:
            self._next(Pending(questions.FilterCommand(text.lstrip(" \t")), lambda new: self._filtered(text, new)),
                       actions)
        else:
            self._next(self._command(text), actions)

    def _filtered(self, text: str, new: object) -> Outcome:
        """smtpd_command_filter has spoken; new None: it has nothing to say."""
        if isinstance(new, str):
            log.info("%s: replacing command \"%.100s\" with \"%.100s\"", self.facts.client.host, text, new)
            text = new
        return self._command(text)

    def _command(self, text: str) -> Outcome:
        words = tokenise(text)
        if not words:
            self.trouble.add("protocol")
            return refused("500 5.5.2 Error: bad syntax")
        name = words[0].text.upper()
        config, facts = self.config, self.facts
        facts.words = words
        if name.lower() in config.noop_commands:
            self.ledger.count_junk()
            return Done("250 2.0.0 Ok")
        entry = COMMANDS.get(name)
        if entry is None:
            entry = self._entry = UNKNOWN
            facts.where = "UNKNOWN"
            if is_header(words[0].text):
                return self._goodbye(text)
            return Pending(questions.Forbidden(words[0].text), lambda said: self._unknown(said, text))
        self._entry = entry
        facts.where = name
        if self.denied and Rule.QUIT not in entry.rules:
            return refused(f"503 5.7.0 Error: access denied for {facts.client.host}")
        if config.tls_required and facts.tls is None and Rule.BEFORE_TLS not in entry.rules:
            return refused("530 5.7.0 Must issue a STARTTLS command first")
        if self._buffer and not facts.ill_pipelining and (facts.protocol != "ESMTP" or Rule.LAST in entry.rules):
            facts.ill_pipelining = True
            log_pipelining(facts, name, bytes(self._buffer[:100]))
            if config.forbid_pipelining:
                return self._out_of_step()
        if config.observed and Rule.OBSERVED in entry.rules and (name != "AUTH" or config.sasl):
            return Pending(questions.Observe(name), lambda said: self._observed(entry, words, said))
        return entry.run(self, words)

    def _out_of_step(self) -> Outcome:
        self.trouble.add("protocol")
        return Done("554 5.5.0 Error: SMTP protocol synchronization", ok=False, close=True)

    def _observed(self, entry: Entry, words: list[Word], answer: object) -> Outcome:
        """A command that observers were asked about."""
        if isinstance(answer, questions.Fine) and entry.name == "rset":
            return abandon(self, lambda: Done(answer.reply))
        if isinstance(answer, questions.Fine | questions.Refusal) and entry.name == "quit":
            return Done(answer.reply, close=True)
        return self._instead(answer) or entry.run(self, words)

    def _instead(self, answer: object) -> Outcome | None:
        """What an observer said in the place of our own reply."""
        if isinstance(answer, questions.Refusal):
            return self.refuse(answer)
        return Done(answer.reply) if isinstance(answer, questions.Fine) else None

    def _unknown(self, answer: object, text: str) -> Outcome:
        if (instead := self._instead(answer)) is not None:
            return instead
        if answer:
            return self._goodbye(text)
        if self.denied:
            return refused(f"503 5.7.0 Error: access denied for {self.facts.client.host}")
        self.trouble.add("protocol")
        return refused("500 5.5.2 Error: command not recognized")

    def _goodbye(self, text: str) -> Outcome:
        log_stranger(self.facts, text)
        return Done("221 2.7.0 Error: I can break rules, too. Goodbye.", ok=False, close=True)

    def _carry_out(self, outcome: Outcome) -> list[Action]:
        actions: list[Action] = []
        self._next(outcome, actions)
        self._run(actions)
        return actions

    def _next(self, outcome: Outcome, actions: list[Action]) -> None:
        if isinstance(outcome, Done) and self.ledger.errors < self.config.soft_errors:
            self._done(outcome, actions)
            return
        if isinstance(outcome, Pending):
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
                self._first_line = FirstLine()
                self._dots, self._after_content = DotDecoder(), outcome.then
            case Chunk():
                if outcome.first:
                    self._first_line = FirstLine(chunked=True)
                self._chunk, self._chunk_left = outcome, outcome.size
                if not outcome.size:
                    self._end_chunk(outcome, actions)

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
        self.ledger.count(self._entry, done.ok, blameless=done.blameless)
        self._entry = None
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

    def _note_tls(self) -> None:
        if self.config.tls_loglevel >= 1 and self.facts.tls is not None:
            log_tls(self.facts, self.facts.tls)

    def _where(self) -> str:
        facts = self.facts
        if self._dots is not None:
            return f"{facts.where} ({facts.actual_size - self._unfinished} bytes)"
        return facts.where

    def _log_end(self, reason: str) -> None:
        self._ended = True
        self.ledger.close(reason, self._entry)

    # --- greeting -----------------------------------------------------------------------------------------------

    def greet(self, answer: object) -> Outcome:
        """The banner, or what was said against the client."""
        tls = self.facts.tls
        if tls is not None and "newtls" in self.config.rates and not tls.resumed:
            return Pending(questions.RateCheck("newtls"),
                           lambda fine: self.banner(answer) if fine else self._refuse_tls())
        return self.banner(answer)

    def banner(self, answer: object) -> Done:
        """As greet, when it is not about the connection any more (XCLIENT)."""
        if isinstance(answer, questions.Refusal):
            self.denied = True
            return self.refuse(answer)
        self.denied = False
        if self._buffer and self.config.forbid_pipelining and self._entry is None and not self.facts.ill_pipelining:
            self.facts.ill_pipelining = True
            log_pipelining(self.facts, "CONNECT", bytes(self._buffer[:100]))
            return Done("554 5.5.0 Error: SMTP protocol synchronization", ok=False, close=True)
        if isinstance(answer, questions.Fine):
            return Done(answer.reply)
        return Done(f"220 {self.config.banner}")
