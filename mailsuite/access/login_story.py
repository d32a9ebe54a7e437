"""What a session before its login is told when it begins, and what the log tells of it when it ends."""

import time
from dataclasses import dataclass, field

from msgspec import Struct

from mailsuite.sasl.auth_client import Mechanism


@dataclass(frozen=True)
class LoginFacts:
    """What a session is told when it begins.

    secured: the connection is as good as TLS (same host, or trusted). plaintext_ok: disable_plaintext_auth is off.
    trusted: of login_trusted_networks. retain_id: what a client says it is goes to the databases.
    """

    greeting: str
    mechanisms: tuple[Mechanism, ...] = ()
    secured: bool = False
    plaintext_ok: bool = False
    tls_offered: bool = False
    tls_required: bool = False
    capability: str = ""             # imap_capability
    utf8: bool = False               # mail_utf8_extensions
    id_send: str = ""                # imap_id_send
    host_name: str = "localhost"
    trusted: bool = False
    certificate_required: bool = False      # auth_ssl_require_client_cert
    retain_id: bool = False
    id_log: str = ""                 # imap_id_log
    literal_minus: bool = False      # imap_literal_minus
    implementation: str = ""         # managesieve_implementation_string
    sieve: str = ""                  # managesieve_sieve_capability
    notify: str = ""                 # managesieve_notify_capability
    apop_challenge: str = ""         # of POP3's greeting, where auth_mechanisms has apop
    # What sessions with these facts have worked out: equal questions have equal answers.
    worked_out: dict[object, str] = field(default_factory=dict, init=False, compare=False, repr=False)


class LoginStory(Struct):
    """What the log line about a connection that ended without a login tells."""

    user: str = ""
    original_user: str = ""
    mechanism: str = ""
    attempts: int = 0
    successes: int = 0
    tried_plaintext: bool = False
    tried_unknown: bool = False
    waiting: bool = False            # the auth service was being asked
    sasl: bool = False               # the client had been asked for a response
    handed_over: bool = False
    reason: str = ""
    tls_started: bool = False
    tls_failed: bool = False
    last_code: str = ""
    certificate: str = ""            # why no client certificate is good enough, where one is required
    aborted: bool = False            # the client gave up in the middle of an authentication
    proxy_failed: bool = False       # the server behind refused the login

    def detail(self, seconds: int) -> str:
        """The words between parentheses."""
        if self.certificate:
            return self.certificate
        if self.attempts == 1:
            if self.sasl:
                return f"client didn't finish SASL auth, waited {seconds} secs"
            if self.waiting:
                return f"disconnected while authenticating, waited {seconds} secs"
            if self.aborted:
                return "aborted authentication"
        if self.proxy_failed:
            return "proxy dest auth failed"
        if self.successes:
            return f"internal failure, {self.successes} successful auths"
        if self.last_code == "authz_fail":
            return f"authorization failed, {self.attempts} attempts in {seconds} secs"
        if self.last_code in _CODES:
            return _CODES[self.last_code]
        if self.tried_plaintext:
            return "tried to use disallowed plaintext auth"
        if self.tried_unknown:
            return "tried to use unsupported auth mechanism"
        if not self.attempts:
            return f"no auth attempts in {seconds} secs"
        return f"auth failed, {self.attempts} attempts in {seconds} secs"


_CODES = {"user_disabled": "user disabled", "pass_expired": "password expired", "login_disabled": "login disabled",
          "temp_fail": "auth service reported temporary failure", "invalid_base64": "sent invalid base64 in response"}


def stamped(text: str, facts: LoginFacts) -> str:
    """Temporary failures name host and time, so that the administrator finds them in the log."""
    return f"{text} [{facts.host_name}:{time.strftime('%Y-%m-%d %H:%M:%S')}]"
