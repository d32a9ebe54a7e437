"""POP3 before login: USER, PASS, AUTH, CAPA, STLS, QUIT.

Source: RFC 1939 section 4, RFC 2449 (CAPA), RFC 2595 (STLS), RFC 5034 (AUTH),
RFC 6856 (UTF8, LANG), RFC 3206 (SYS/TEMP and AUTH codes).
"""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping

from mailsuite.access.login import (
    INITIALIZATION_FAILED,
    INTERNAL_FAILURE,
    NO_AUTHENTICATION,
    NO_MECHANISM,
    NO_PLAINTEXT,
    NOT_PROXIED,
    TEMPORARY_FAILURE,
    LoginSession,
)
from mailsuite.access.login_story import stamped
from mailsuite.base.dialogue import Action, StartTls
from mailsuite.pop3.syntax import lang_reply
from mailsuite.sasl.auth_client import Failure


class Pop3Login(LoginSession):
    """The session."""

    _user: bytes | None = None

    def opened(self) -> list[Action]:
        # A proxy need not ask CAPA whether it may say who its client is.
        challenge = f" {self.facts.apop_challenge}" if self.facts.apop_challenge else ""
        self.send(f"+OK {'[XCLIENT] ' if self.facts.trusted else ''}{self.facts.greeting}{challenge}")
        return self._flush()

    def say_goodbye(self, text: str) -> None:
        self.send(f"-ERR {text}")

    def say_too_long(self) -> None:
        self.send("-ERR Input buffer full, aborting")
        self.close("Input buffer full")

    # --- commands -------------------------------------------------------------------------------------------------

    def on_line(self, line: bytes) -> None:
        name, _, argument = line.partition(b" ")
        command = COMMANDS.get(name.decode("ascii", "replace").upper())
        if command is not None:
            self.forget_bad()
            command(self, argument)
            return
        self._unknown()

    def _unknown(self) -> None:
        self.send("-ERR Unknown command.")
        if self.count_bad():
            self.send("-ERR Too many invalid bad commands.")
            self.close("Disconnected: Too many bad commands")

    def do_user(self, argument: bytes) -> None:
        if not self.plaintext_allowed():
            self._refuse_plaintext(argument)
            return
        self._user = argument
        self.send("+OK")

    def do_pass(self, argument: bytes) -> None:
        if not self.plaintext_allowed():
            self._refuse_plaintext(None)
            return
        if self._user is None:
            self.send("-ERR No username given.")
            return
        user, self._user = self._user, None
        self.ask_plain(user, argument)

    def _refuse_plaintext(self, user: bytes | None) -> None:
        if user is not None and not self.story.user:
            self.story.user = user.decode("utf-8", "surrogateescape")
        self.story.attempts += 1
        self.send(f"-ERR [AUTH] {NO_PLAINTEXT}")

    def do_auth(self, argument: bytes) -> None:
        name, space, initial = argument.partition(b" ")
        if not name:
            self.send("+OK")
            for offered in self.visible_mechanisms():
                self.send(offered.name)
            self.send(".")
            return
        mech = self.find_mechanism(name.decode("ascii", "replace"))
        if self.facts.tls_required and not self.is_secure:
            self.send(f"-ERR [AUTH] {NO_AUTHENTICATION}")
        elif mech is None:
            self.story.tried_unknown = True
            self.story.mechanism = name.decode("ascii", "replace").upper()
            self.send(f"-ERR [AUTH] {NO_MECHANISM}")
        elif mech.plaintext and not self.plaintext_allowed():
            self.story.tried_plaintext, self.story.mechanism = True, mech.name
            self.send("-ERR [AUTH] Plaintext authentication disabled.")
        else:
            self.ask_auth(mech.name, initial if space else None)

    def do_capa(self, argument: bytes) -> None:
        lines = ["+OK", "CAPA", "TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE"]
        if self.facts.tls_offered and self.tls is None:
            lines.append("STLS")
        if self.plaintext_allowed():
            lines.append("USER")
        lines.append(" ".join(["SASL", *(mech.name for mech in self.visible_mechanisms())]))
        if self.facts.utf8:
            lines += ["UTF8", "LANG"]
        for line in [*lines, "."]:
            self.send(line)

    def do_utf8(self, argument: bytes) -> None:
        """RFC 6856 section 2.1; where mail_utf8_extensions says so."""
        if not self.facts.utf8:
            self._unknown()
        elif argument:
            self.send("-ERR UTF8 has no arguments.")
        else:
            self.utf8 = True
            self.send("+OK UTF8 enabled.")

    def do_lang(self, argument: bytes) -> None:
        if not self.facts.utf8:
            self._unknown()
            return
        for line in lang_reply(argument.decode("utf-8", "replace")):
            self.send(line)

    def do_stls(self, argument: bytes) -> None:
        if self.tls is not None:
            self.send("-ERR TLS is already active.")
        elif not self.facts.tls_offered:
            self.send("-ERR TLS support isn't enabled.")
        elif self.utf8:
            self.send("-ERR STLS comes before UTF8.")
        else:
            self.send("+OK Begin TLS negotiation now.")
            self._stopped = self.story.tls_started = True
            self._out.append(StartTls())

    def do_apop(self, argument: bytes) -> None:
        """Name and MD5(challenge password) in hexadecimal digits. The challenge is ours, whatever a client may hold."""
        user, space, digest = argument.partition(b" ")
        if not self.facts.apop_challenge:
            self.send("-ERR APOP not enabled.")
        elif not space or len(digest) != 32:
            self.send("-ERR Invalid parameters.")
        elif re.fullmatch(rb"[0-9A-Fa-f]{32}", digest) is None:
            self.send("-ERR Invalid characters in MD5 response.")
        else:
            said = b"\0".join((self.facts.apop_challenge.encode(), user, bytes.fromhex(digest.decode())))
            self.ask_auth("APOP", b64encode(said))

    def do_xclient(self, argument: bytes) -> None:
        if not self.facts.trusted:
            self.send("+OK You are not from trusted IP - ignoring")
        elif self.origin.take_xclient(argument.decode("utf-8", "replace").split(" ")):
            self.send("+OK Updated")
        else:
            self.send("-ERR Invalid parameters")

    def do_xoip(self, argument: bytes) -> None:
        self.do_xclient(b"ADDR=" + argument)

    def do_quit(self, argument: bytes) -> None:
        self.send("+OK Logging out")
        self.close("Aborted login by logging out")

    # --- what came of an authentication ---------------------------------------------------------------------------

    def say_failure(self, failure: Failure) -> None:
        if failure.temporary:
            self.send(f"-ERR [SYS/TEMP] {stamped(TEMPORARY_FAILURE, self.facts)}")
        else:
            text = failure.reason or POP3_FAILURES.get(failure.code, "Authentication failed.")
            self.send(f"-ERR {'' if text.startswith('[') else '[AUTH] '}{text}")

    def say_referral(self, user: str, host: str, port: str, text: str) -> None:
        self.send(f"-ERR {text}")           # POP3 knows no referrals

    def say_login_disabled(self, reason: str) -> None:
        self.send(f"-ERR {'' if reason.startswith('[') else '[AUTH] '}{reason}")

    def say_unproxied(self, *, certain: bool) -> None:
        self.send(f"-ERR {'' if certain else '[SYS/TEMP] '}{NOT_PROXIED}")

    def say_limit(self, text: str) -> None:
        self.send(f"-ERR [IN-USE] {text}")

    def say_initialization_failed(self) -> None:
        self.send(f"-ERR [SYS/TEMP] {INITIALIZATION_FAILED}")

    def say_internal_failure(self) -> None:
        self.send(f"-ERR [SYS/TEMP] {stamped(INTERNAL_FAILURE, self.facts)}")

    def say_aborted(self) -> None:
        self.send("-ERR Authentication aborted by client.")

    def say_bad_response(self) -> None:
        self.send("-ERR [AUTH] Invalid base64 in response")


POP3_FAILURES = {
    "authz_fail": "Authorization failed",
    "pass_expired": "Password expired",
}

COMMANDS: Mapping[str, Callable[[Pop3Login, bytes], None]] = {
    "USER": Pop3Login.do_user,
    "PASS": Pop3Login.do_pass,
    "AUTH": Pop3Login.do_auth,
    "CAPA": Pop3Login.do_capa,
    "STLS": Pop3Login.do_stls,
    "UTF8": Pop3Login.do_utf8,
    "LANG": Pop3Login.do_lang,
    "APOP": Pop3Login.do_apop,
    "XCLIENT": Pop3Login.do_xclient,
    "XOIP": Pop3Login.do_xoip,          # nginx, as Zimbra has it
    "QUIT": Pop3Login.do_quit,
}
