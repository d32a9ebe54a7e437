"""Logging in at a remote server: AUTH with what smtp_sasl_password_maps has for it.

    credentials = await passwords.find(sender, "relay.test", "[relay.test]:587") -> Credentials | None
    yield from authenticate(config, features, host, credentials)
    failures = Failures(settings, "smtp")                   logins that a server refused, for smtp_sasl_auth_cache_time

smtp_sasl_security_options = noplaintext (the default) leaves SCRAM and CRAM-MD5; smtp_sasl_tls_security_options decide
once TLS is on, smtp_sasl_tls_verified_security_options with a checked certificate. A refused login defers the mail
(smtp_sasl_auth_soft_bounce). Source: RFC 4954; tests/deliver/far_ends/sasl.yaml, recorded from Postfix.
"""

import base64
import binascii
import hashlib
import time
from collections.abc import Generator
from dataclasses import dataclass

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.log import logger
from mailsuite.base.secret import Secret
from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource, open_maps
from mailsuite.maps.cache import Cache, CacheError
from mailsuite.maps.lookup import find_address
from mailsuite.smtp.client_params import AUTH_CACHE_TIME, ClientConfig
from mailsuite.smtp.client_reply import Reply
from mailsuite.smtp.client_sasl import LOOP, MECHANISMS, Derive, SaslError
from mailsuite.smtp.client_session import Features, Receive, Send, Step, Trouble, Warn, Work


@dataclass(frozen=True)
class Credentials:
    """user and password of one account at a remote server. unknown: the tables could not be asked."""

    user: str
    password: Secret
    unknown: bool = False


class Passwords:
    """smtp_sasl_password_maps."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        self._maps = open_maps(settings.text(f"{prefix}_sasl_password_maps"), MapSource(settings, prefix))
        self._delimiter = settings.text("recipient_delimiter")
        self._between = settings.text(f"{prefix}_sasl_password_result_delimiter") or ":"
        self._by_sender = settings.text(f"{prefix}_sender_dependent_authentication") == "yes"

    async def find(self, sender: str, host: str, destination: str) -> Credentials | None:
        """By sender (when configured), host name, destination as transport or relayhost give it."""
        try:
            return await self._found(sender, host, destination)
        except TemporaryError:          # logged already; it matters only where the server wants to know
            return Credentials("", Secret(b""), unknown=True)

    async def _found(self, sender: str, host: str, destination: str) -> Credentials | None:
        value = None
        if self._by_sender and sender:
            found = await find_address(self._maps, sender, delimiter=self._delimiter)
            value = None if found is None else found.value
        for key in (host, destination):
            if value is None:
                value = await self._maps.find(key)
        if value is None:
            return None
        user, _, password = value.partition(self._between)
        return Credentials(user, Secret(password.encode("utf-8", "surrogateescape"))) if user else None


class Failures:
    """smtp_sasl_auth_cache_name: what a server said to a user and password, so that it is not asked again at once."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        name = settings.text(f"{prefix}_sasl_auth_cache_name")
        self._keep_s = settings[AUTH_CACHE_TIME[prefix]]
        self._cache: Cache | None = None
        if not name:
            return
        if not name.startswith("proxy:") or settings.text(f"{prefix}_sasl_auth_soft_bounce") == "no":
            raise ConfigError(f"{prefix}_sasl_auth_cache_name: must start with \"proxy:\", and "
                              f"{prefix}_sasl_auth_soft_bounce must not be \"no\"")
        try:
            self._cache = Cache(name.rpartition(":")[2])
        except CacheError as error:     # only speed depends on it
            logger(prefix).warning("%s_sasl_auth_cache_name: %s", prefix, error)

    @staticmethod
    def _key(host: str, credentials: Credentials) -> str:
        digest = hashlib.sha256(credentials.user.encode("utf-8", "surrogateescape") + b"\0"
                                + credentials.password.reveal()).hexdigest()
        return f"{host};{credentials.user};{digest}"

    def find(self, host: str, credentials: Credentials) -> tuple[str, str] | None:
        """Status and text of a refusal that is still fresh."""
        found = self._cache.get(self._key(host, credentials)) if self._cache is not None else None
        if found is None:
            return None
        when, dsn, text = found.split(";", 2)
        return (dsn, text) if float(when) + self._keep_s > time.time() else None

    def remember(self, host: str, credentials: Credentials, reply: Reply) -> None:
        if self._cache is not None and reply.code == 535:
            self._cache.put(self._key(host, credentials), f"{time.time():.0f};{reply.dsn};{reply.text}")


class LoginTrouble(Trouble):
    """The server refused. answer: what it said."""

    def __init__(self, host: str, reply: Reply, status: str) -> None:
        super().__init__(f"SASL authentication failed; server {host} said: {'?'.join(reply.lines)}", status=status,
                         reply=reply.text)
        self.answer = reply


def cached(config: ClientConfig, host: str, dsn: str, text: str) -> Trouble:
    """A refusal that is remembered."""
    return Trouble(f"SASL [CACHED] authentication failed; server {host} said: {text}", status=_status(config, dsn))


def _status(config: ClientConfig, dsn: str) -> str:
    return "4" + dsn[1:] if config.sasl_soft_bounce and dsn.startswith("5") else dsn


async def allowed_mechanisms(config: ClientConfig, features: Features) -> list[str]:
    """What the server offers and smtp_sasl_mechanism_filter lets pass. Raises TemporaryError."""
    names = list(dict.fromkeys(features.mechanisms))
    if config.sasl_filter is None:
        return names
    return [name for name in names if await config.sasl_filter.matches(name)]


def choose(config: ClientConfig, offered: list[str], *, tls: bool, verified: bool) -> str | None:
    """The best mechanism that both sides have and the options allow."""
    options = config.sasl_options
    if tls:
        options = config.sasl_verified_options if verified else config.sasl_tls_options
    wanted = options - {"noanonymous"}
    fitting = (name for name, mechanism in MECHANISMS.items() if name in offered and wanted <= mechanism.traits)
    return next(fitting, None)


def authenticate(config: ClientConfig, features: Features, host: str, credentials: Credentials, offered: list[str], *,
                 verified: bool = False) -> Generator[Step, Reply, None]:
    """offered: after the filter. Raises Trouble."""
    if not offered:
        words = " ".join(features.mechanisms)
        yield Warn(f"{host} offered no supported AUTH mechanisms: '{words}'" if words
                   else f"{host} offered null AUTH mechanism list")
        raise Trouble(f"SASL authentication failed: server {host} offered no compatible authentication mechanisms for "
                      "this type of connection security", status="4.7.0")
    mechanism = choose(config, offered, tls=features.tls, verified=verified)
    if mechanism is None:
        yield Warn("SASL authentication failure: No worthy mechs found")
        raise _cannot(host, "no mechanism available")
    stage = f"performing the {'LHLO' if config.lmtp else 'EHLO'} handshake"
    exchange = MECHANISMS[mechanism].begin(credentials.user, credentials.password, config.sasl_authzid)
    try:
        initial = next(exchange)
        assert not isinstance(initial, Derive)
        yield Send(f"AUTH {mechanism}{' ' + _coded(initial) if initial is not None else ''}\r\n".encode(),
                   secret=initial is not None)
        while True:
            reply = yield Receive(stage, config.timeouts["helo"])
            if reply.kind == 2:
                break
            if reply.kind != 3:
                raise LoginTrouble(host, reply, _status(config, reply.dsn))
            answer = exchange.send(_challenge(reply))
            if isinstance(answer, Derive):
                yield (work := Work(answer.run))
                answer = exchange.send(work.result)
            assert isinstance(answer, bytes)
            yield Send(f"{_coded(answer)}\r\n".encode(), secret=True)
    except SaslError as error:
        if error.public == LOOP:
            yield Warn("SASL authentication problem: attempting client step after doneflag")
        raise _cannot(host, "generic failure" if error.public == LOOP else error.public) from error
    if mechanism.startswith("SCRAM-") and not _proved(exchange, reply):
        raise _cannot(host, "the server does not know the password")


def _proved(exchange: Generator[object, bytes, None], reply: Reply) -> bool:
    """Whether a server that ended the exchange has shown that it knows the password: RFC 5802 section 5.

    Some send their proof with the 235 and not as a challenge.
    """
    try:
        exchange.send(_last_word(reply))
    except SaslError as error:
        return error.public == LOOP
    except StopIteration:
        return True
    return True


def _last_word(reply: Reply) -> bytes:
    try:
        return base64.b64decode((reply.words[-1].split() or [""])[-1].encode(), validate=True)
    except binascii.Error:
        return b""


def _cannot(host: str, why: str) -> Trouble:
    return Trouble(f"SASL authentication failed; cannot authenticate to server {host}: {why}", status="4.7.0")


def _coded(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _challenge(reply: Reply) -> bytes:
    try:
        return base64.b64decode(reply.words[-1].strip().encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise SaslError("another step is needed in authentication") from None
