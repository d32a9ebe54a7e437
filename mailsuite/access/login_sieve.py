"""ManageSieve before login: CAPABILITY, NOOP, STARTTLS, AUTHENTICATE, XCLIENT, LOGOUT.

Source: RFC 5804; the texts are Pigeonhole's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mailsuite.access.login import (
    INITIALIZATION_FAILED,
    INTERNAL_FAILURE,
    LINE_LIMIT,
    NO_AUTHENTICATION,
    NO_MECHANISM,
    NOT_PROXIED,
    RESPONSE_LIMIT,
    TEMPORARY_FAILURE,
    LoginSession,
)
from mailsuite.access.login_story import stamped
from mailsuite.base.dialogue import Action, StartTls, TlsInfo
from mailsuite.managesieve.reply import bye, capabilities, no, ok, string, tag
from mailsuite.managesieve.syntax import Argument, BadArguments, Command, Reader, TooLarge, Unreadable, Word
from mailsuite.sasl.auth_client import Failure

TOO_MANY = "Too many invalid MANAGESIEVE commands."


@dataclass
class SieveLogin(LoginSession):
    """The session."""

    _reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        self._reader = Reader(self._lines, literal_limit=RESPONSE_LIMIT)

    # --- greeting and the end -----------------------------------------------------------------------------------

    def opened(self) -> list[Action]:
        self._greet(self.facts.greeting)
        return self._flush()

    def _greet(self, text: str) -> None:
        self.send_octets(self._capabilities() + ok(text))

    def _capabilities(self) -> bytes:
        facts = self.facts
        mechanisms = " ".join(mech.name for mech in self.visible_mechanisms() if not mech.anonymous)
        return capabilities(facts.implementation, facts.sieve, facts.notify, sasl=mechanisms, xclient=facts.trusted,
                            starttls=facts.tls_offered and self.tls is None)

    def secured(self, tls: TlsInfo) -> list[Action]:
        super().secured(tls)
        self._reader = Reader(self._lines, literal_limit=RESPONSE_LIMIT)
        self._greet("TLS negotiation successful.")      # RFC 5804 section 2.2: the capabilities come anew
        return self._flush()

    def say_goodbye(self, text: str) -> None:
        self.send_octets(bye(text, "TRYLATER" if "shutting down" in text else ""))

    # --- commands -------------------------------------------------------------------------------------------------

    def _step(self) -> bool:
        self._lines.limit = RESPONSE_LIMIT if self._sasl_id is not None else LINE_LIMIT
        try:
            command = self._reader.take(bare=self._sasl_id is not None)
        except BadArguments as error:
            if self._sasl_id is not None:
                self._on_response(self._sasl_id, b"!")          # no base64, whatever it is
            elif error.name in COMMANDS:
                self.send_octets(no(error.public))
            else:
                self._on_command(Command("", ()))
            return True
        except Unreadable as error:
            self.send_octets(bye(error.public))
            self.close("Input buffer full" if "buffer" in error.public else error.public)
            return False
        if command is None:
            return False
        if self._sasl_id is not None:
            self._on_sasl(self._sasl_id, command.arguments)
        else:
            self._on_command(command)
        return True

    def _on_sasl(self, request_id: int, arguments: tuple[Argument, ...]) -> None:
        answer = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], bytes) else b"!"
        self._on_response(request_id, answer)

    def _on_command(self, command: Command) -> None:
        entry = COMMANDS.get(command.name)
        if entry is not None and entry(self, command.arguments):
            return
        if self.count_bad():
            self.send_octets(bye(TOO_MANY))
            self.close("Too many invalid commands.")
        else:
            self.send_octets(no("Error in MANAGESIEVE command received by server."))

    def do_capability(self, arguments: tuple[Argument, ...]) -> bool:
        if arguments:
            return False
        self.send_octets(self._capabilities() + ok("Capability completed."))
        return True

    def do_noop(self, arguments: tuple[Argument, ...]) -> bool:
        if not arguments:
            self.send_octets(ok("NOOP Completed"))
        elif len(arguments) > 1:
            return False
        elif isinstance(arguments[0], bytes):
            self.send_octets(ok("Done", tag(arguments[0])))
        else:
            self.send_octets(no("Invalid echo tag."))
        return True

    def do_starttls(self, arguments: tuple[Argument, ...]) -> bool:
        if arguments:
            return False
        if self.tls is not None:
            self.send_octets(no("TLS is already active."))
        elif not self.facts.tls_offered:
            self.send_octets(no("TLS support isn't enabled."))
        else:
            self.send_octets(ok("Begin TLS negotiation now."))
            self._stopped = self.story.tls_started = True
            self._out.append(StartTls())
        return True

    def do_authenticate(self, arguments: tuple[Argument, ...]) -> bool:
        if not arguments or not isinstance(arguments[0], bytes) or not arguments[0] or len(arguments) > 2:
            return False
        name = arguments[0].decode("ascii", "replace").upper()
        initial = arguments[1] if len(arguments) == 2 else None
        if isinstance(initial, Word | TooLarge):
            self.send_octets(no("Invalid AUTHENTICATE initial response."))
            return True
        mech = self.find_mechanism(name)
        if self.facts.tls_required and not self.is_secure:
            self.story.attempts += 1
            self.send_octets(no(NO_AUTHENTICATION, "ENCRYPT-NEEDED"))
        elif mech is None or mech.anonymous:
            self.story.tried_unknown, self.story.mechanism = True, name
            self.send_octets(no(NO_MECHANISM))
        elif mech.plaintext and not self.plaintext_allowed():
            self.story.tried_plaintext, self.story.mechanism = True, mech.name
            self.send_octets(no("Plaintext authentication disabled."))
        else:
            self.ask_auth(mech.name, initial)
        return True

    def do_xclient(self, arguments: tuple[Argument, ...]) -> bool:
        if not self.facts.trusted:
            self.send_octets(no("You are not from trusted IP"))
            return True
        words = [argument.text for argument in arguments if isinstance(argument, Word)]
        if len(words) != len(arguments) or not self.origin.take_xclient(words):
            return False
        self.send_octets(ok("Updated"))
        return True

    def do_logout(self, arguments: tuple[Argument, ...]) -> bool:
        if arguments:
            return False
        self.send_octets(ok("Logout completed."))
        self.close("Aborted login by logging out")
        return True

    # --- what came of an authentication ---------------------------------------------------------------------------

    def say_challenge(self, base64: bytes) -> None:
        self.send_octets(string(base64) + b"\r\n")

    def say_failure(self, failure: Failure) -> None:
        if failure.temporary:
            self.send_octets(no(stamped(TEMPORARY_FAILURE, self.facts), "TRYLATER"))
        else:
            self.send_octets(no(failure.reason or SIEVE_FAILURES.get(failure.code, "Authentication failed.")))

    def say_login_disabled(self, reason: str) -> None:
        self.send_octets(no(reason))

    def say_referral(self, user: str, host: str, port: str, text: str) -> None:
        place = host if port in ("", "4190") else f"{host}:{port}"
        self.send_octets(no(text, f"REFERRAL sieve://{user};AUTH={self._mechanism}@{place}"))

    def say_unproxied(self, *, certain: bool) -> None:
        self.send_octets(no(NOT_PROXIED, "" if certain else "TRYLATER"))

    def say_limit(self, text: str) -> None:
        self.send_octets(no(text))

    def say_initialization_failed(self) -> None:
        self.send_octets(bye(INITIALIZATION_FAILED))

    def say_internal_failure(self) -> None:
        self.send_octets(no(stamped(INTERNAL_FAILURE, self.facts), "TRYLATER"))

    def say_aborted(self) -> None:
        self.send_octets(no("Authentication aborted by client."))

    def say_bad_response(self) -> None:
        self.send_octets(no("Invalid base64 data in continued response"))

    def say_too_long(self) -> None:
        self.send_octets(bye("Input buffer full, aborting"))
        self.close("Input buffer full")


SIEVE_FAILURES = {"authz_fail": "Authorization failed", "pass_expired": "Password expired"}

COMMANDS: Mapping[str, Callable[[SieveLogin, tuple[Argument, ...]], bool]] = {
    "CAPABILITY": SieveLogin.do_capability, "NOOP": SieveLogin.do_noop, "STARTTLS": SieveLogin.do_starttls,
    "AUTHENTICATE": SieveLogin.do_authenticate, "XCLIENT": SieveLogin.do_xclient, "LOGOUT": SieveLogin.do_logout,
}
