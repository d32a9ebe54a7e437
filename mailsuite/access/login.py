"""What IMAP and POP3 logins have in common: a session that authenticates, then gives its connection away.

A session asks its handler (login_handler.py):
    Authenticate, Proceed, Cancel, LogIn, PassOn (login_questions.py)
and speaks its protocol's words for what came of it: `login_imap.py`, `login_pop3.py`.

The texts are Dovecot 2.3.19's, which clients and fail2ban rules know.
"""

from binascii import b2a_base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from mailsuite.access.login_origin import Origin
from mailsuite.access.login_questions import (
    Authenticate,
    Cancel,
    HandedOver,
    LogIn,
    NotPassedOn,
    PassOn,
    Proceed,
    Refused,
    Why,
)
from mailsuite.access.login_story import LoginFacts, LoginStory
from mailsuite.base.dialogue import Action, Ask, Close, Peer, Send, TlsInfo
from mailsuite.base.errors import PeerError
from mailsuite.base.lines import LineBuffer
from mailsuite.sasl.auth_client import Challenge, Failure, Mechanism, Success, offered

LINE_LIMIT = 8192                # octets of a command line before login
RESPONSE_LIMIT = 16384           # octets of one SASL response (tokens can be long)
BAD_COMMANDS_LIMIT = 3           # the third closes the connection
LOGIN_TIMEOUT_S = 180.0          # how long a client may stay without having logged in

NO_PLAINTEXT = "Plaintext authentication disallowed on non-secure (SSL/TLS) connections."
NO_AUTHENTICATION = "Authentication not allowed until SSL/TLS is enabled."
NO_MECHANISM = "Unsupported authentication mechanism."
TEMPORARY_FAILURE = "Temporary authentication failure."
NO_CERTIFICATE = "Client didn't present valid SSL certificate"
NOT_PROXIED = "Account is temporarily unavailable."
INTERNAL_FAILURE = "Internal login failure. Refer to server log for more information."
INITIALIZATION_FAILED = "Internal error occurred. Refer to server log for more information."


@dataclass
class LoginSession:
    """One connection before its login: base.dialogue.Session, with the protocol's words in subclasses."""

    facts: LoginFacts
    tls: TlsInfo | None = None
    story: LoginStory = field(default_factory=LoginStory)
    origin: Origin = field(default_factory=lambda: Origin(Peer("")))
    # What holds after the handshake: the client may have asked for a name (SNI) that has settings of its own.
    facts_with: Callable[[TlsInfo], LoginFacts] | None = None
    note: Callable[[str], None] = field(default=lambda text: None)      # a line for the log
    greeted: bool = False            # the connection is not new: somebody had logged in, and gave up the login

    _sasl_id: int | None = field(default=None, init=False)      # the client owes a response to this request

    _lines: LineBuffer = field(default_factory=partial(LineBuffer, LINE_LIMIT), init=False)
    _out: list[Action] = field(default_factory=list, init=False)

    # What each begins with; no fields.
    timeout_s = LOGIN_TIMEOUT_S
    _asking = _stopped = False
    _mechanism = limit_text = ""
    _bad_commands = 0
    sent = 0                         # octets, since the handshake
    # What a worker is told: the tag of the command that logged in, whether IMAP's client asked for capabilities,
    # whether POP3's said UTF8.
    tag = b""
    capability_asked = utf8 = False
    literal_awaited = False          # no line comes next, but octets for `take_literal`

    # --- base.dialogue.Session ------------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        return len(self._lines)

    @property
    def is_secure(self) -> bool:
        return self.tls is not None or self.facts.secured

    def opened(self) -> list[Action]:
        raise NotImplementedError

    def feed(self, octets: bytes) -> list[Action]:
        if not self._stopped:
            self._lines.feed(octets)
            if not self._asking:
                self._work()
        out, self._out = self._out, []
        return out

    def answered(self, result: object) -> list[Action]:
        self._asking = self.story.waiting = False
        match result:
            case Success():
                self._on_success(result)
            case HandedOver():
                self._stopped = self.story.handed_over = True
                return [Close("")]
            case Challenge():
                self._sasl_id, self.story.sasl = result.request_id, True
                self.say_challenge(result.base64)
            case Failure():
                self.story.user = result.user or self.story.user
                self.story.last_code = result.code
                self.say_failure(result)
            case Refused():
                self._on_refused(result)
            case NotPassedOn():
                self.story.proxy_failed = result.kind.startswith("AUTH")
                if result.reply:
                    self.send(result.reply)
                else:
                    self.say_unproxied(certain=result.kind == "REMOTE_CONFIG")
            case None:
                pass
        if not self._asking and not self._stopped:
            self._work()
        out, self._out = self._out, []
        return out

    def failed(self, error: BaseException) -> list[Action]:
        self._asking = self.story.waiting = False
        self.say_internal_failure()
        return self._flush()

    def secured(self, tls: TlsInfo) -> list[Action]:
        self.tls, self._stopped = tls, False
        self.sent = 0
        self._lines.clear()                     # nothing said in the clear counts: RFC 3207 section 4.2
        if self.facts_with is not None:
            self.facts = self.facts_with(tls)
        return []

    def lost(self) -> list[Action]:
        self._stopped = True
        return []

    def timed_out(self) -> list[Action]:
        if not self._stopped and not self._asking:
            during = " during authentication" if self._sasl_id is not None else ""
            self.say_goodbye(f"Disconnected for inactivity{during}.")
            self.close(f"Inactivity{during}")
        return self._flush()

    def shutting_down(self) -> list[Action]:
        """The server ends: say so, unless a question is open."""
        return self.end("Server shutting down.", "Shutting down")

    def end(self, text: str, reason: str) -> list[Action]:
        """The server wants the place: text for the client, reason for the log. Not while a question is open."""
        if not self._stopped and not self._asking:
            self.say_goodbye(text)
            self.close(reason)
        return self._flush()

    # --- the work ---------------------------------------------------------------------------------------------------

    def _flush(self) -> list[Action]:
        out, self._out = self._out, []
        return out

    def send(self, text: str) -> None:
        self.send_octets(text.encode("utf-8", "surrogateescape") + b"\r\n")

    def send_octets(self, octets: bytes) -> None:
        self.sent += len(octets)
        self._out.append(Send(octets))

    def close(self, reason: str) -> None:
        self._stopped = True
        self.story.reason = reason
        self._out.append(Close(reason))

    def _work(self) -> None:
        """Go on with what the client has sent, until a question is open or the octets end."""
        try:
            while not self._asking and not self._stopped:
                if self.literal_awaited and not self.take_literal() or not self._step():
                    return
        except PeerError:
            self.say_too_long()

    def _step(self) -> bool:
        """Take one line; False when none is whole."""
        lines = self._lines
        lines.limit = LINE_LIMIT
        try:
            line = lines.take_line()
        except PeerError:                       # few are longer: only then it is asked whether this one may be
            lines.limit = RESPONSE_LIMIT if self._sasl_id is not None else self.line_limit()
            line = lines.take_line()
        if line is None:
            return False
        if self._sasl_id is not None:
            self._on_response(self._sasl_id, line)
        else:
            self.on_line(line)
        return True

    def take_literal(self) -> bool:
        """Take the literal; False when it is not whole."""
        raise NotImplementedError

    def line_limit(self) -> int:
        """Octets of the command line that comes next, LINE_LIMIT at least."""
        return LINE_LIMIT

    def remaining(self) -> bytes:
        """What the client has sent behind its login; for the hand-over, when nothing more is read."""
        return self._lines.take_rest()

    def put_back(self, octets: bytes) -> None:
        """The hand-over failed: what was taken is the session's again."""
        self._lines.feed(octets)

    # --- authentication ---------------------------------------------------------------------------------------------

    def plaintext_allowed(self) -> bool:
        facts = self.facts
        return facts.secured or self.tls is not None or (facts.plaintext_ok and not facts.tls_required)

    def visible_mechanisms(self) -> list[Mechanism]:
        if self.facts.tls_required and not self.is_secure:
            return []
        return [mech for mech in offered(self.facts.mechanisms, self.tls)
                if self.plaintext_allowed() or not mech.plaintext]

    def find_mechanism(self, name: str) -> Mechanism | None:
        return next((mech for mech in offered(self.facts.mechanisms, self.tls) if mech.name == name.upper()), None)

    def ask_auth(self, mechanism: str, initial: bytes | None) -> None:
        story = self.story
        self._mechanism = story.mechanism = mechanism.upper()
        story.tried_plaintext = story.tried_unknown = False
        story.attempts += 1
        if self.facts.certificate_required and not (self.tls is not None and self.tls.peer_verified):
            self.say_failure(Failure("", NO_CERTIFICATE))
            return
        self._ask(Authenticate(self._mechanism, initial))

    def ask_plain(self, user: bytes, password: bytes) -> None:
        """A name and a password in the protocol's own command are SASL PLAIN here."""
        self.ask_auth("PLAIN", b2a_base64(b"\0" + user + b"\0" + password, newline=False))

    def _ask(self, question: object) -> None:
        self._asking = self.story.waiting = True
        self._out.append(Ask(question))

    def _on_response(self, request_id: int, line: bytes) -> None:
        self._sasl_id, self.story.sasl = None, False
        if line == b"*" or not looks_like_base64(line):
            if line == b"*":
                self.story.aborted = True
                self.say_aborted()
            else:
                self.story.last_code = "invalid_base64"
                self.say_bad_response()
            self._asking = True
            self._out.append(Ask(Cancel(request_id)))
            return
        self._ask(Proceed(request_id, line))

    def _on_success(self, step: Success) -> None:
        story, fields = self.story, step.fields
        story.user, story.last_code = step.user, ""
        story.original_user = fields.get("original_user", "")
        story.successes += 1
        if "proxy" in fields:
            self._ask(PassOn(step))
            story.waiting = False
        elif "nologin" not in fields:
            self._ask(LogIn(step, self._mechanism))
        elif fields.get("host"):
            self._refer(fields)
        else:
            story.last_code = "login_disabled"
            self.say_login_disabled(fields.get("reason") or "Login disabled for this user")

    def _refer(self, fields: Mapping[str, str]) -> None:
        """The database names another server: the client may go there."""
        self.say_referral(fields.get("destuser") or self.story.user, fields["host"], fields.get("port", ""),
                          fields.get("reason") or "Try this server instead.")

    def _on_refused(self, refused: Refused) -> None:
        match refused.why:
            case Why.NOT_FOUND:
                self.story.successes -= 1
                self.say_failure(Failure(self.story.user))
            case Why.LIMIT:
                self.limit_text = refused.text
                self.say_limit(refused.text)
                self.close(refused.text)
            case Why.INITIALIZATION:
                self.story.handed_over = True       # logged there
                self.say_initialization_failed()
                self._stopped = True
                self._out.append(Close(""))
            case Why.FAILED:                            # perhaps somebody has the descriptor: say no more here
                self.say_internal_failure()
                self.close("Internal login failure")

    def forget_bad(self) -> None:
        """A good command, where those count that follow each other."""
        self._bad_commands = 0

    def count_bad(self) -> bool:
        """One more bad command; True when that was one too many."""
        self._bad_commands += 1
        return self._bad_commands >= BAD_COMMANDS_LIMIT

    # --- the protocol's words ---------------------------------------------------------------------------------------

    def on_line(self, line: bytes) -> None:
        """A command line, its end removed."""
        raise NotImplementedError

    def say_challenge(self, base64: bytes) -> None:
        self.send_octets(b"+ " + base64 + b"\r\n")

    def say_failure(self, failure: Failure) -> None:
        raise NotImplementedError

    def say_login_disabled(self, reason: str) -> None:
        raise NotImplementedError

    def say_referral(self, user: str, host: str, port: str, text: str) -> None:
        raise NotImplementedError

    def say_unproxied(self, *, certain: bool) -> None:
        """The server behind cannot be used; certain: it will be the same next time."""
        raise NotImplementedError

    def proxy_facts(self) -> tuple[str, bool]:
        """What a login elsewhere has to know: the command's tag, whether the client asked for capabilities."""
        return "", False

    def say_limit(self, text: str) -> None:
        raise NotImplementedError

    def say_initialization_failed(self) -> None:
        raise NotImplementedError

    def say_internal_failure(self) -> None:
        raise NotImplementedError

    def say_aborted(self) -> None:
        raise NotImplementedError

    def say_bad_response(self) -> None:
        raise NotImplementedError

    def say_too_long(self) -> None:
        raise NotImplementedError

    def say_goodbye(self, text: str) -> None:
        raise NotImplementedError


def looks_like_base64(line: bytes) -> bool:
    """Whether a SASL response has no octets but those of base64. Its length and its end the auth service looks at."""
    return not line.translate(None, _BASE64)


_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
