"""Client side of Dovecot's authentication protocol, for smtpd and the logins.

    client = AuthClient("/var/spool/postfix/private/auth")        one per process; connects when first asked
    mechanisms = await client.mechanisms()
    step = await client.begin("PLAIN", service="smtp", initial=b"AGFsaWNlAHNlY3JldA==", peer=peer, tls=tls)
    while isinstance(step, Challenge):
        ... tell the peer step.base64, read its answer (base64, as it came) ...
        step = await client.proceed(step.request_id, answer)
    Success(user, fields)  or  Failure(user, reason, temporary, code, fields)

What the peer says stays base64 as it came: the auth service decodes it and says what is wrong with it. Any server that
speaks version 1.1 or 1.2 of the protocol will do, Dovecot's own included.

Raises: TemporaryError when the service is away, or goes away before the answer; the next call connects anew.
Limits: LINE_LIMIT for one line of the service, REQUESTS_LIMIT requests under way, ANSWER_TIMEOUT_S for one answer.
"""

import asyncio
import os
import socket
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from msgspec import Struct

from mailsuite.base.dialogue import Peer, TlsInfo
from mailsuite.base.errors import PeerError, TemporaryError
from mailsuite.base.lines import LineBuffer
from mailsuite.sasl import wire

REQUESTS_LIMIT = 5000            # requests open at once on one connection; more are refused for now
ANSWER_TIMEOUT_S = 150.0         # Dovecot's AUTH_REQUEST_TIMEOUT_SECS: a service that is silent longer is stuck
CONNECT_TIMEOUT_S = 30.0
LOOK_EVERY_S = 5.0               # how often that is looked at


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One mechanism the service offers. plaintext: the password crosses the wire as it is.

    private: not to be offered to peers, but where `offered` knows how. channel_binding: needs the TLS connection's.
    """

    name: str
    plaintext: bool = False
    anonymous: bool = False
    dictionary: bool = False
    active: bool = False
    forward_secrecy: bool = False
    mutual_auth: bool = False
    private: bool = False
    channel_binding: bool = False


@dataclass(frozen=True, slots=True)
class Challenge:
    """The peer has to say more. base64: what to tell it, ready for the wire ("" is possible)."""

    request_id: int
    base64: bytes

    @property
    def octets(self) -> bytes:
        return b64decode(self.base64)


class Success(Struct, frozen=True):
    """The peer is `user`. request_id names the request in a hand-over to the access service."""

    request_id: int
    user: str
    fields: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Failure:
    """No. user "" when none was named; temporary: the databases could not be asked; reason: for the peer, may be "";
    code: "user_disabled", "pass_expired", "authz_failed", "invalid_base64", "temp_fail"... or ""."""

    user: str
    reason: str = ""
    temporary: bool = False
    code: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


AuthStep = Challenge | Success | Failure
Then = Callable[[AuthStep | TemporaryError], None]


class AuthFacts(TypedDict):
    """The arguments of `begin` and `ask` that say who asks."""

    service: str
    peer: Peer | None
    tls: TlsInfo | None
    session_id: str
    secured: bool
    extra: Mapping[str, str] | None


def offered(mechanisms: Iterable[Mechanism], tls: TlsInfo | None) -> list[Mechanism]:
    """Those that a peer on this connection may be told of."""
    bound = tls is not None and bool(tls.bindings)
    return [mech for mech in mechanisms if not mech.private or (mech.channel_binding and bound)]


class AuthClient:
    """One connection to an auth service, shared by all sessions of this process."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.client_pid = os.getpid()
        self.server_pid, self.connection_uid, self.cookie = "", "", ""
        self._mechanisms: list[Mechanism] = []
        self._binds = False                     # the service knows what to do with channel bindings
        self._link: _Link | None = None
        self._last_id = 0
        self._connecting = asyncio.Lock()

    # --- what sessions call -------------------------------------------------------------------------------------

    async def mechanisms(self) -> list[Mechanism]:
        """What the service offers, in its order."""
        await self._connect()
        return list(self._mechanisms)

    async def begin(self, mechanism: str, *, service: str, initial: bytes | None = None, peer: Peer | None = None,
                    tls: TlsInfo | None = None, session_id: str = "", secured: bool = False,
                    extra: Mapping[str, str] | None = None) -> AuthStep:
        """Start an authentication.

        service: "smtp", "imap", "pop3". initial: the initial response in base64 as the peer sent it, b"" for an empty
        one ("=" on the wire), None for none. secured: as good as TLS (a client on this host). extra: more words for
        the service, e.g. {"no-penalty": ""}.
        """
        await self._connect()
        return await self._exchange(lambda then: self.ask(
            mechanism, then, service=service, initial=initial, peer=peer, tls=tls, session_id=session_id,
            secured=secured, extra=extra))

    async def proceed(self, request_id: int, response: bytes) -> AuthStep:
        """Pass on the peer's answer (base64 as it came) to a Challenge."""
        return await self._exchange(lambda then: self.reply(request_id, response, then))

    def apop_challenge(self) -> str:
        """One for a POP3 greeting, which this connection's service takes as its own; "" while there is none."""
        if not self.server_pid.isdecimal() or not self.connection_uid.isdecimal():
            return ""
        return (f"<{int(self.server_pid):x}.{int(self.connection_uid):x}.{int(time.time()):x}."
                f"{b64encode(os.urandom(12)).decode()}@{socket.gethostname()}>")

    def cancel(self, request_id: int) -> None:
        """The peer gave up; nothing is answered."""
        if self._link is not None:
            self._link.send(wire.line("CANCEL", str(request_id)))

    def close(self) -> None:
        """Drop the connection; what waits for an answer fails temporarily."""
        if self._link is not None:
            self._link.lose("closed")

    # --- the same without a coroutine ---------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """`ask` and `reply` can be called."""
        return self._link is not None

    def ask(self, mechanism: str, then: Then, *, service: str, initial: bytes | None = None, peer: Peer | None = None,
            tls: TlsInfo | None = None, session_id: str = "", secured: bool = False,
            extra: Mapping[str, str] | None = None) -> int:
        """As `begin`; then(step), or then(TemporaryError), is called later. Returns the request's number, for
        `forget`. Raises TemporaryError."""
        self._last_id = request_id = self._last_id % 0x7FFFFFFF + 1
        words = ["AUTH", str(request_id), mechanism, f"service={service}"]
        if tls is not None:
            words += _tls_facts(tls)
        elif secured:
            words.append("secured")
        if peer is not None and peer.address:
            words += [f"lip={peer.server_address}", f"rip={peer.address}",
                      f"lport={peer.server_port}", f"rport={peer.port}"]
        if session_id:
            words.append(f"session={session_id}")
        if tls is not None and mechanism.upper().startswith("SCRAM-") and self._binds:
            words += [f"cbind-{kind}={b64encode(data).decode()}" for kind, data in tls.bindings.items()]
        if extra:
            for key in extra:
                words.append(f"{key}={extra[key]}" if extra[key] else key)
        if initial is not None:        # must be the last word
            words.append("resp=" + initial.decode("ascii", "surrogateescape"))
        link = self._link
        if link is None:
            raise self._lost_connection()
        link.ask(request_id, wire.line(*words), then)
        return request_id

    def reply(self, request_id: int, response: bytes, then: Then) -> int:
        """As `proceed`; then(step), or then(TemporaryError), is called later. Raises TemporaryError."""
        if self._link is None:
            raise self._lost_connection()
        answer = wire.line("CONT", str(request_id), response.decode("ascii", "surrogateescape"))
        self._link.ask(request_id, answer, then)
        return request_id

    def forget(self, request_id: int) -> None:
        """Nobody waits for that answer any more."""
        if self._link is not None:
            self._link.forget(request_id)

    # --- the connection -----------------------------------------------------------------------------------------

    def _lost_connection(self) -> TemporaryError:
        return _unavailable(f"{self.path}: connection lost")

    async def _exchange(self, send: "Callable[[Then], int]") -> AuthStep:
        answer: asyncio.Future[AuthStep] = asyncio.get_running_loop().create_future()

        def then(step: AuthStep | TemporaryError) -> None:
            if answer.done():
                return
            if isinstance(step, TemporaryError):
                answer.set_exception(step)
            else:
                answer.set_result(step)

        request_id = send(then)
        try:
            return await answer
        finally:
            self.forget(request_id)

    async def _connect(self) -> None:
        if self._link is not None:
            return
        async with self._connecting:
            if self._link is not None:
                return
            link = _Link(self.path, self._lost)
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await asyncio.get_running_loop().create_unix_connection(lambda: link, self.path)
                    link.send(wire.line("VERSION", "1", "2") + wire.line("CPID", str(self.client_pid)))
                    self._take_handshake(await link.handshake)
            except (OSError, TimeoutError, ValueError) as error:
                link.lose(str(error))
                raise _unavailable(f"{self.path}: {error}") from error
            self._link = link

    def _take_handshake(self, lines: list[list[str]]) -> None:
        mechanisms: list[Mechanism] = []
        for words in lines:
            if words[0] == "VERSION" and words[1:2] != ["1"]:
                raise ValueError("speaks another version of the protocol")
            if words[0] == "MECH" and len(words) > 1:
                mechanisms.append(_mechanism(words))
            elif words[0] in ("SPID", "CUID", "COOKIE") and len(words) > 1:
                setattr(self, {"SPID": "server_pid", "CUID": "connection_uid", "COOKIE": "cookie"}[words[0]], words[1])
        self._mechanisms = mechanisms
        self._binds = any(mech.channel_binding for mech in mechanisms)

    def _lost(self, link: "_Link") -> None:
        if self._link is link:
            self._link = None


class _Link(asyncio.Protocol):
    """The connection itself: lines, and who waits for which. handshake: the lines before DONE."""

    def __init__(self, path: str, lost: Callable[["_Link"], None]) -> None:
        self._path, self._on_lost = path, lost
        self._loop = asyncio.get_running_loop()
        self.handshake: asyncio.Future[list[list[str]]] = self._loop.create_future()
        self._lines: list[list[str]] = []
        self._buffer = LineBuffer(wire.LINE_LIMIT * 2)
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, tuple[float, Then]] = {}       # until when, and who
        self._timer: asyncio.TimerHandle | None = None

        self._shaken = False                    # the handshake is over

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # typed as its base class

    def send(self, octets: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)

    def ask(self, request_id: int, octets: bytes, then: Then) -> None:
        """Raises TemporaryError."""
        if len(self._waiting) >= REQUESTS_LIMIT:
            raise TemporaryError("too many authentications at once")
        self._waiting[request_id] = self._loop.time() + ANSWER_TIMEOUT_S, then
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(octets)

    def forget(self, request_id: int) -> None:
        self._waiting.pop(request_id, None)

    def data_received(self, octets: bytes) -> None:
        try:
            for line in self._buffer.take_lines(octets):
                self._take(wire.words(line))
        except PeerError as error:
            self.lose(error.public)

    def _take(self, words: list[str]) -> None:
        if not self._shaken:
            if words[0] != "DONE":
                self._lines.append(words)
            elif not self.handshake.done():
                self._shaken = True
                self.handshake.set_result(self._lines)
        elif words[0] in ("OK", "FAIL", "CONT") and len(words) > 1 and words[1].isdecimal():
            request_id = int(words[1])
            waiting = self._waiting.pop(request_id, None)
            if waiting is not None:
                waiting[1](_step(request_id, words))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lose(str(exc) if exc is not None else "connection lost")

    def lose(self, why: str) -> None:
        """All who wait are told; may be called twice."""
        self._on_lost(self)
        if self._transport is not None:
            self._transport.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.handshake.done():
            self.handshake.set_exception(ConnectionResetError(why))
            self.handshake.exception()          # who has given up waiting does not ask
        waiting, self._waiting = self._waiting, {}
        for _, then in waiting.values():
            then(_unavailable(f"{self._path}: {why}"))

    def _look(self) -> None:
        """Who waits too long is told; the oldest stand first."""
        self._timer = None
        now = self._loop.time()
        for request_id, (end, then) in list(self._waiting.items()):
            if end > now:
                break
            del self._waiting[request_id]
            self.send(wire.line("CANCEL", str(request_id)))
            then(_unavailable(f"{self._path}: no answer"))
        if self._waiting:
            self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)


def _unavailable(detail: str) -> TemporaryError:
    return TemporaryError("authentication is not available", detail=detail)


def _mechanism(words: list[str]) -> Mechanism:
    flags = {word.replace("-", "_"): True for word in words[2:]}
    known = Mechanism.__dataclass_fields__.keys() - {"name"}
    return Mechanism(words[1], **{flag: True for flag in flags if flag in known})


def _tls_facts(tls: TlsInfo) -> list[str]:
    """What the service may know of a handshake, for its log and variables."""
    words = ["secured=tls", "tls_cipher=" + tls.cipher, f"tls_cipher_bits={tls.cipher_bits}",
             "tls_protocol=" + tls.protocol]
    if tls.peer_verified:
        words.append("valid-client-cert")
    return words


def _step(request_id: int, words: list[str]) -> AuthStep:
    if words[0] == "CONT":
        return Challenge(request_id, words[2].encode("ascii", "replace") if len(words) > 2 else b"")
    fields = wire.fields(words[2:])
    user = fields.get("user", "")
    if words[0] == "OK":
        return Success(request_id, user, fields)
    return Failure(user, fields.get("reason", ""), "temp" in fields or fields.get("code") == "temp_fail",
                   fields.get("code", ""), fields)
