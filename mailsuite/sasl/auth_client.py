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
import contextlib
import os
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mailsuite.base.dialogue import Peer, TlsInfo
from mailsuite.base.errors import TemporaryError
from mailsuite.base.streams import put
from mailsuite.sasl import wire

REQUESTS_LIMIT = 5000            # requests open at once on one connection; more are refused for now
ANSWER_TIMEOUT_S = 150.0         # Dovecot's AUTH_REQUEST_TIMEOUT_SECS: a service that is silent longer is stuck
CONNECT_TIMEOUT_S = 30.0


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


@dataclass(frozen=True, slots=True)
class Success:
    """The peer is `user`. request_id names the request in a hand-over to the access service."""

    request_id: int
    user: str
    fields: Mapping[str, str] = field(default_factory=dict)


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
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[list[str]]] = {}
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
        if len(self._waiting) >= REQUESTS_LIMIT:
            raise TemporaryError("too many authentications at once")
        self._last_id = self._last_id % 0x7FFFFFFF + 1
        request_id = self._last_id
        words = ["AUTH", str(request_id), mechanism, f"service={service}", *_facts(peer, tls, secured)]
        if session_id:
            words.append(f"session={session_id}")
        if tls is not None and mechanism.upper().startswith("SCRAM-") and self._binds:
            words += [f"cbind-{kind}={b64encode(data).decode()}" for kind, data in tls.bindings.items()]
        words += [f"{key}={value}" if value else key for key, value in (extra or {}).items()]
        if initial is not None:        # must be the last word
            words.append("resp=" + initial.decode("ascii", "surrogateescape"))
        return await self._exchange(request_id, words)

    async def proceed(self, request_id: int, response: bytes) -> AuthStep:
        """Pass on the peer's answer (base64 as it came) to a Challenge."""
        return await self._exchange(request_id, ["CONT", str(request_id), response.decode("ascii", "surrogateescape")])

    def cancel(self, request_id: int) -> None:
        """The peer gave up; nothing is answered."""
        if self._writer is not None:
            with contextlib.suppress(ConnectionError):
                put(self._writer, wire.line("CANCEL", str(request_id)))

    def close(self) -> None:
        """Drop the connection; what waits for an answer fails temporarily."""
        self._lose("closed")

    # --- the connection -----------------------------------------------------------------------------------------

    async def _exchange(self, request_id: int, words: list[str]) -> AuthStep:
        writer = self._writer
        if writer is None:
            raise TemporaryError("authentication is not available", detail=f"{self.path}: connection lost")
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        try:
            put(writer, wire.line(*words))
            reply = await asyncio.wait_for(answer, ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            self.cancel(request_id)
            raise TemporaryError("authentication is not available", detail=f"{self.path}: no answer") from error
        except ConnectionError as error:
            raise TemporaryError("authentication is not available", detail=f"{self.path}: {error}") from error
        finally:
            self._waiting.pop(request_id, None)
        return _step(request_id, reply)

    async def _connect(self) -> None:
        if self._writer is not None:
            return
        async with self._connecting:
            if self._writer is not None:
                return
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._handshake()
            except (OSError, TimeoutError, ValueError, EOFError) as error:
                self._lose(str(error))
                raise TemporaryError("authentication is not available", detail=f"{self.path}: {error}") from error

    async def _handshake(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self.path, limit=wire.LINE_LIMIT * 2)
        try:
            writer.write(wire.line("VERSION", "1", "2") + wire.line("CPID", str(self.client_pid)))
            mechanisms: list[Mechanism] = []
            while (words := wire.words((await reader.readuntil(b"\n"))[:-1]))[0] != "DONE":
                if words[0] == "VERSION" and words[1:2] != ["1"]:
                    raise ValueError("speaks another version of the protocol")
                if words[0] == "MECH" and len(words) > 1:
                    mechanisms.append(_mechanism(words))
                elif words[0] in ("SPID", "CUID", "COOKIE") and len(words) > 1:
                    setattr(self, {"SPID": "server_pid", "CUID": "connection_uid", "COOKIE": "cookie"}[words[0]],
                            words[1])
        except BaseException:
            writer.close()
            raise
        self._mechanisms, self._writer = mechanisms, writer
        self._binds = any(mech.channel_binding for mech in mechanisms)
        self._reading = asyncio.get_running_loop().create_task(self._read(reader, writer))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while octets := await reader.readline():
                words = wire.words(octets.rstrip(b"\n"))
                if words[0] in ("OK", "FAIL", "CONT") and len(words) > 1 and words[1].isdecimal():
                    answer = self._waiting.get(int(words[1]))
                    if answer is not None and not answer.done():
                        answer.set_result(words)
        except (OSError, ValueError):
            pass
        finally:
            if self._writer is writer:
                self._lose("connection lost")
            writer.close()

    def _lose(self, why: str) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(TemporaryError("authentication is not available", detail=f"{self.path}: {why}"))
        self._waiting.clear()


def _mechanism(words: list[str]) -> Mechanism:
    flags = {word.replace("-", "_"): True for word in words[2:]}
    known = Mechanism.__dataclass_fields__.keys() - {"name"}
    return Mechanism(words[1], **{flag: True for flag in flags if flag in known})


def _facts(peer: Peer | None, tls: TlsInfo | None, secured: bool) -> list[str]:
    """What the service may know of the connection, for its log, allow_nets and variables."""
    words: list[str] = []
    if tls is not None:
        words += ["secured=tls", "tls_cipher=" + tls.cipher, f"tls_cipher_bits={tls.cipher_bits}",
                  "tls_protocol=" + tls.protocol]
        if tls.peer_verified:
            words.append("valid-client-cert")
    elif secured:
        words.append("secured")
    if peer is not None and peer.address:
        words += [f"lip={peer.server_address}", f"rip={peer.address}",
                  f"lport={peer.server_port}", f"rport={peer.port}"]
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
