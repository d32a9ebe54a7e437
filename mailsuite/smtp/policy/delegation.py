"""check_policy_service: another program decides (Postfix's SMTPD_POLICY_README; Postgrey and its kind).

    check_policy_service inet:127.0.0.1:10023        check_policy_service {unix:private/policy, timeout=10s}

A request is lines "name=value" with an empty line behind; the answer "action=..." means what it means in an access
table. One connection per service and process is kept for max_idle; requests wait for each other on it.
What can go wrong: the service is away or silent. It is tried try_limit times, then default_action is the answer.
"""

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError
from mailsuite.base.log import logger
from mailsuite.base.streams import put
from mailsuite.config.registry import seconds, split_items
from mailsuite.maps.maps import Found
from mailsuite.smtp.facts import Facts
from mailsuite.smtp.policy.access import judge_result
from mailsuite.smtp.policy.certificate import client_certificate
from mailsuite.smtp.policy.judge import Judge
from mailsuite.smtp.policy.lists import restriction
from mailsuite.smtp.policy.verdict import Verdict
from mailsuite.smtp.syntax import xtext

if TYPE_CHECKING:
    from mailsuite.smtp.policy.resources import Resources

log = logger("smtpd")
ANSWER_LIMIT = 64 * 1024


@dataclass
class Service:
    """One policy service. target: "inet:host:port" or "unix:path"."""

    target: str
    timeout_s: float = 100.0
    max_idle_s: float = 300.0
    max_age_s: float = 1000.0
    try_limit: int = 2
    retry_delay_s: float = 1.0
    default_action: str = "451 4.3.5 Server configuration problem"
    context: str = ""
    request_limit: int = 0      # of one connection; 0: any number
    _requests: int = 0
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None
    _opened: float = 0.0
    _used: float = 0.0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, request: bytes) -> str:
        """The action. Never raises: default_action when the service cannot be asked."""
        async with self._turn:
            for attempt in range(1, self.try_limit + 1):
                try:
                    async with asyncio.timeout(self.timeout_s):
                        return await self._exchange(request)
                except (OSError, EOFError, TimeoutError, ValueError) as error:
                    self.close()
                    why = _in_words(error)
                    log.warning("problem talking to server %s: %s", self.target.removeprefix("inet:"), why)
                if attempt < self.try_limit:
                    await asyncio.sleep(self.retry_delay_s)
        return self.default_action

    async def _exchange(self, request: bytes) -> str:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self.request_limit and self._requests >= self.request_limit:
            self.close()
        if self._writer is not None and (now - self._used > self.max_idle_s or now - self._opened > self.max_age_s):
            self.close()
        if self._writer is None or self._reader is None or self._writer.is_closing() or self._reader.at_eof():
            self._reader, self._writer = await self._connect()
            self._opened, self._requests = now, 0
        self._used = now
        self._requests += 1
        put(self._writer, request)
        await self._writer.drain()
        answer = await self._reader.readuntil(b"\n\n")
        for line in answer.decode("utf-8", "surrogateescape").split("\n"):
            name, _, value = line.partition("=")
            if name == "action":
                return value.strip()
        raise ValueError("no action in the answer")

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        kind, _, rest = self.target.partition(":")
        try:
            if kind == "unix":
                return await asyncio.open_unix_connection(rest, limit=ANSWER_LIMIT)
            host, _, port = rest.rpartition(":")
            return await asyncio.open_connection(host.strip("[]") or "127.0.0.1", port, limit=ANSWER_LIMIT)
        except OSError as error:
            log.warning("connect to %s: %s", rest, _in_words(error))
            raise

    def close(self) -> None:
        """Give up the connection; the next request makes another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def _in_words(error: Exception) -> str:
    """As C's strerror says it."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno > 0 else error.strerror or str(error)
    return str(error) or type(error).__name__


_OPTIONS = {"timeout": "timeout_s", "max_idle": "max_idle_s", "max_ttl": "max_age_s", "retry_delay": "retry_delay_s"}


def _service(resources: "Resources", text: str) -> Service:
    """What the restriction's argument becomes; the same service is shared by all that name it so."""
    known = resources.services.get(text)
    if isinstance(known, Service):
        return known
    words = split_items(text[1:-1].strip(), ", \t\r\n") if text.startswith("{") else [text]
    settings = resources.settings
    kind, _, rest = words[0].partition(":")
    if kind not in ("inet", "unix") or not rest:
        raise ConfigError(f"invalid transport name: {kind} in service: {words[0]}")
    if kind == "unix" and not rest.startswith("/"):
        rest = f"{settings.text('queue_directory')}/{rest}"
    service = Service(
        f"{kind}:{rest}", seconds()(settings.text("smtpd_policy_service_timeout")),
        seconds()(settings.text("smtpd_policy_service_max_idle")),
        seconds()(settings.text("smtpd_policy_service_max_ttl")),
        int(settings.text("smtpd_policy_service_try_limit")),
        seconds()(settings.text("smtpd_policy_service_retry_delay")),
        settings.text("smtpd_policy_service_default_action"),
        settings.text("smtpd_policy_service_policy_context"),
        int(settings.text("smtpd_policy_service_request_limit")))
    for word in words[1:]:
        _take_option(service, word)
    resources.services[text] = service
    return service


def _take_option(service: Service, word: str) -> None:
    name, _, value = (part.strip() for part in word.strip("{} ").partition("="))
    if name in _OPTIONS:
        setattr(service, _OPTIONS[name], float(seconds()(value)))
    elif name == "try_limit" and value.isdigit():
        service.try_limit = int(value)
    elif name == "request_limit" and value.isdigit():
        service.request_limit = int(value)
    elif name == "default_action":
        service.default_action = value
    elif name == "policy_context":
        service.context = value
    else:
        raise ConfigError(f"bad option \"{word}\" of a policy service")


def request(facts: Facts, context: str = "", digest: str = "sha256") -> bytes:
    """The attributes of a request, in Postfix's order; names and values hold no line ends. digest: of fingerprints."""
    client, tls = facts.client, facts.tls
    who = client_certificate(tls, digest)
    trusted = who is not None and tls is not None and tls.peer_verified
    rows = {
        "request": "smtpd_access_policy",
        "protocol_state": "DATA" if facts.where == "BDAT" else facts.where,
        "protocol_name": facts.protocol,
        "client_address": client.address,
        "client_name": client.name,
        "client_port": str(client.port) if client.port else "",
        "reverse_client_name": client.reverse_name,
        "server_address": client.server_address,
        "server_port": str(client.server_port) if client.server_port else "",
        "helo_name": facts.helo or "",
        "sender": facts.sender or "",
        "recipient": facts.recipient or "",
        "recipient_count": str(facts.recipients if facts.where in ("DATA", "BDAT", "END-OF-MESSAGE") else 0),
        "queue_id": facts.queue_id,
        "instance": facts.instance,
        "size": str(facts.actual_size if facts.where == "END-OF-MESSAGE" else facts.size),
        "etrn_domain": facts.etrn_name,
        "stress": "yes" if facts.stress else "",
        "sasl_method": facts.sasl_method if facts.sasl_username else "",
        "sasl_username": facts.sasl_username,
        "sasl_sender": facts.sasl_sender,
        "ccert_subject": xtext(who.subject) if who and trusted else "",     # only what an authority vouches for
        "ccert_issuer": xtext(who.issuer) if who and trusted else "",
        "ccert_fingerprint": who.cert_fingerprint if who else "",
        "ccert_pubkey_fingerprint": who.pubkey_fingerprint if who else "",
        "encryption_protocol": tls.protocol if tls else "",
        "encryption_cipher": tls.cipher if tls else "",
        "encryption_keysize": str(tls.cipher_algorithm_bits) if tls else "0",
        "policy_context": context,
    }
    lines = [f"{name}={value}".replace("\n", "?").replace("\0", "?") for name, value in rows.items()]
    return ("\n".join(lines) + "\n\n").encode("utf-8", "surrogateescape")


@restriction("check_policy_service", prepare=_service)
async def check_policy_service(judge: Judge, argument: object) -> Verdict:
    assert isinstance(argument, Service)
    action = await argument.ask(request(judge.facts, argument.context,
                                       judge.resources.settings.text("smtpd_tls_fingerprint_digest")))
    return await judge_result(judge, Found(action, argument.target))
