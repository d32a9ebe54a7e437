"""Logging in at a remote server: AUTH with PLAIN, LOGIN or CRAM-MD5.

    credentials = await passwords.find(sender, "relay.test", "[relay.test]:587") -> Credentials | None
    yield from authenticate(config, features, host, credentials)

smtp_sasl_security_options = noplaintext (the default) leaves CRAM-MD5 only; smtp_sasl_tls_security_options decide once
TLS is on. A refused login defers the mail (smtp_sasl_auth_soft_bounce). Source: RFC 4954.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Generator
from dataclasses import dataclass

from mailsuite.base.secret import Secret
from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource, open_maps
from mailsuite.maps.lookup import find_address
from mailsuite.smtp.client_params import ClientConfig
from mailsuite.smtp.client_reply import Reply
from mailsuite.smtp.client_session import Features, Receive, Send, Step, Trouble, Warn

STAGE = "sending AUTH"
PLAINTEXT = frozenset({"PLAIN", "LOGIN"})
OURS = ("CRAM-MD5", "PLAIN", "LOGIN")           # best first


@dataclass(frozen=True)
class Credentials:
    """user and password of one account at a remote server."""

    user: str
    password: Secret


class Passwords:
    """smtp_sasl_password_maps."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        self._maps = open_maps(settings.text(f"{prefix}_sasl_password_maps"), MapSource(settings, prefix))
        self._delimiter = settings.text("recipient_delimiter")
        self._by_sender = settings.text(f"{prefix}_sender_dependent_authentication") == "yes"

    async def find(self, sender: str, host: str, destination: str) -> Credentials | None:
        """By sender (when configured), host name, destination as transport or relayhost give it.

        Raises TemporaryError.
        """
        value = None
        if self._by_sender and sender:
            found = await find_address(self._maps, sender, delimiter=self._delimiter)
            value = None if found is None else found.value
        for key in (host, destination):
            if value is None:
                value = await self._maps.find(key)
        if value is None:
            return None
        user, _, password = value.partition(":")
        return Credentials(user, Secret(password.encode("utf-8", "surrogateescape"))) if user else None


def choose(config: ClientConfig, features: Features, host: str) -> str:
    """The mechanism to use. Raises Trouble: none that both sides have and the options allow."""
    offered = features.mechanisms
    options = config.sasl_tls_options if features.tls else config.sasl_options
    allowed = [name for name in OURS if name in offered and not ("noplaintext" in options and name in PLAINTEXT)
               and (not config.sasl_mechanisms or name in config.sasl_mechanisms)
               and f"!{name}" not in config.sasl_mechanisms]
    if not allowed:
        raise Trouble(f"SASL authentication failed; cannot authenticate to server {host}: no mechanism available",
                      status="4.7.0")
    return allowed[0]


def authenticate(config: ClientConfig, features: Features, host: str,
                 credentials: Credentials) -> Generator[Step, Reply, None]:
    """Raises Trouble."""
    try:
        mechanism = choose(config, features, host)
    except Trouble:
        yield Warn("SASL authentication failure: No worthy mechs found")
        raise
    user, password = credentials.user.encode("utf-8", "surrogateescape"), credentials.password.reveal()
    if mechanism == "PLAIN":
        yield Send(b"AUTH PLAIN " + base64.b64encode(b"\0" + user + b"\0" + password) + b"\r\n")
    else:
        yield Send(f"AUTH {mechanism}\r\n".encode())
    answers = _answers(mechanism, user, password)
    next(answers)
    while True:
        reply = yield Receive(STAGE, config.timeouts["helo"])
        if reply.kind == 2:
            return
        if reply.kind != 3:
            dsn = reply.dsn
            if reply.kind == 5 and config.sasl_soft_bounce:
                dsn = "4" + dsn[1:]
            raise Trouble(f"SASL authentication failed; server {host} said: {reply.text}", status=dsn,
                          dead=reply.code == 421)
        try:
            challenge = base64.b64decode(reply.words[-1].encode(), validate=True)
            yield Send(base64.b64encode(answers.send(challenge)) + b"\r\n")
        except (binascii.Error, StopIteration):
            yield Send(b"*\r\n")
            yield Receive(STAGE, config.timeouts["helo"])
            raise Trouble(f"SASL authentication failed; authentication protocol loop with server {host}",
                          status="4.7.0") from None


def _answers(mechanism: str, user: bytes, password: bytes) -> Generator[bytes, bytes, None]:
    challenge = yield b""
    if mechanism == "CRAM-MD5":
        yield user + b" " + hmac.new(password, challenge, hashlib.md5).hexdigest().encode()
    elif mechanism == "LOGIN":
        yield user
        yield password
