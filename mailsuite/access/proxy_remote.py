"""The connection to the server that a login is passed on to.

    remote = await log_in(target, dialogue_of, options)         raises ProxyFailed when it did not work out
    remote.transport, remote.rest                               logged in; nothing is read until a relay takes over

A server that cannot be reached, or says "not now", is tried again while there is time (login_proxy_max_reconnects).
Limits: LINE_LIMIT for a line of the server; target.timeout_s (login_proxy_timeout) for all of it.
"""

import asyncio
import errno
import itertools
import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mailsuite.access.proxy_dialogue import (
    LINE_LIMIT,
    Compute,
    Kind,
    LoggedIn,
    ProxyDialogue,
    ProxyFailed,
    Say,
    Secure,
    Step,
)
from mailsuite.access.proxy_target import Target
from mailsuite.base.errors import ConfigError
from mailsuite.net.client_tls import ClientSpec, client_context
from mailsuite.tls import protocols
from mailsuite.tls.identity import read_identity

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

RETRY_PAUSE_S = 1.0


@dataclass(frozen=True)
class ProxyOptions:
    """What the settings say. source_addresses: ours, taken in turn; none: the kernel chooses."""

    timeout_s: float = 30.0
    reconnects: int = 3
    tls: ClientSpec = ClientSpec(verify=True)
    source_addresses: tuple[str, ...] = ()


def proxy_options(settings: "DovecotSettings") -> ProxyOptions:
    """Read while keys can be read. Raises ConfigError: the client certificate cannot be used."""
    certificate, key = settings.text("ssl_client_cert"), settings.text("ssl_client_key")
    ca_file, ca_path = settings.text("ssl_client_ca_file"), settings.text("ssl_client_ca_dir")
    spec = ClientSpec(
        protocols=protocols.parse_least(settings.text("ssl_min_protocol") or "TLSv1.2"),
        verify=settings.flag("ssl_client_require_valid_cert"), ca_file=ca_file, ca_path=ca_path,
        default_authorities=not ca_file and not ca_path,
        identities=(read_identity(certificate, key or certificate),) if certificate else ())
    return ProxyOptions(settings.time_s("login_proxy_timeout"), settings.number("login_proxy_max_reconnects"), spec,
                        tuple(_source_addresses(settings.text("login_source_ips"))))


def _source_addresses(text: str) -> list[str]:
    """login_source_ips; with "?" in front those that are no addresses of this host are left out. Raises ConfigError."""
    only_working = text.startswith("?")
    addresses = []
    for word in text.removeprefix("?").replace(",", " ").split():
        try:
            found = [str(answer[4][0]) for answer in socket.getaddrinfo(word, None, type=socket.SOCK_STREAM)]
        except OSError as error:
            raise ConfigError(f"login_source_ips: {word}: {error.strerror}") from error
        addresses += [address for address in found if not only_working or _is_ours(address)]
    return addresses


def _is_ours(address: str) -> bool:
    with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Remote(asyncio.Protocol):
    """Lines of the server, until it has let the client in."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.rest = bytearray()
        self.login_octets = b""          # what the client hears of its login
        self.sent = 0
        self._lost: str | None = None
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport      # type: ignore[assignment]  # asyncio types the base class only

    def data_received(self, octets: bytes) -> None:
        self.rest += octets
        if len(self.rest) > 2 * LINE_LIMIT and self.transport is not None:
            self.transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = f"Connection closed: {exc}" if exc is not None else "Connection closed"
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def write(self, octets: bytes) -> None:
        assert self.transport is not None
        self.sent += len(octets)
        self.transport.write(octets)

    async def line(self) -> str:
        """The next one without its end. Raises ProxyFailed, ConnectionError."""
        while (end := self.rest.find(b"\n")) < 0:
            if len(self.rest) > LINE_LIMIT:
                raise ProxyFailed(Kind.PROTOCOL, "Too long input line")
            if self._lost is not None:
                raise ConnectionError(self._lost)
            if self.transport is not None:
                self.transport.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        line = bytes(self.rest[:end]).removesuffix(b"\r")
        del self.rest[: end + 1]
        return line.decode("utf-8", "surrogateescape")

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()


@dataclass
class _Attempt:
    """How far one attempt came, for the log."""

    target: Target
    reconnects: int
    began: float
    connected: bool = False
    local: str = ""

    def after(self) -> str:
        parts = [f"after {int(time.monotonic() - self.began)} secs"]
        if self.reconnects:
            parts.append(f"{self.reconnects} reconnects")
        if self.local:
            parts.append(f"local={self.local}")
        return f"({', '.join(parts)})"


@dataclass(frozen=True)
class LoggedInRemote:
    """remote: paused. reconnects, seconds: for the log."""

    remote: Remote
    reconnects: int
    seconds: float


async def log_in(target: Target, dialogue_of: Callable[[], ProxyDialogue], options: ProxyOptions) -> LoggedInRemote:
    """Raises ProxyFailed."""
    began = time.monotonic()
    target = replace(target, timeout_s=target.timeout_s or options.timeout_s)
    reconnects = 0
    while True:
        try:
            remote = await _attempt(target, dialogue_of(), options, _Attempt(target, reconnects, began))
            return LoggedInRemote(remote, reconnects, time.monotonic() - began)
        except ProxyFailed as failed:
            left = target.timeout_s - (time.monotonic() - began)
            if not failed.kind.may_pass or reconnects >= options.reconnects or left <= RETRY_PAUSE_S + 0.1:
                raise
        await asyncio.sleep(RETRY_PAUSE_S)
        reconnects += 1


async def _attempt(target: Target, dialogue: ProxyDialogue, options: ProxyOptions, attempt: _Attempt) -> Remote:
    remote = Remote()
    try:
        async with asyncio.timeout(target.timeout_s):
            await _connect(target, options, attempt, remote)
            await _talk(target, dialogue, options, remote)
    except BaseException as error:
        remote.close()
        seconds = int(time.monotonic() - attempt.began)
        if isinstance(error, TimeoutError):
            reason = (f"Login timed out in state={dialogue.state}" if attempt.connected else
                      f"connect({target.address}, {target.port}) failed: {os.strerror(errno.ETIMEDOUT)}")
            raise ProxyFailed(Kind.CONNECT, f"{reason} {attempt.after()}") from error
        if isinstance(error, OSError):           # ssl.SSLError and ConnectionError are such
            if not attempt.connected:
                why = os.strerror(error.errno) if error.errno else str(error)
                raise ProxyFailed(Kind.CONNECT, f"connect({target.address}, {target.port}) failed: {why} "
                                                f"{attempt.after()}") from error
            raise ProxyFailed(Kind.CONNECT, f"Disconnected by server: {_in_words(error)} (state={dialogue.state}, "
                                            f"duration={seconds}s)") from error
        if isinstance(error, ConfigError):
            raise ProxyFailed(Kind.INTERNAL, f"Failed to create SSL client context: {error.public}") from error
        raise
    return remote


def _in_words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ("Connection closed: Received invalid SSL certificate: "
                f"{error.verify_message} (check ssl_client_ca_* settings?)")
    if isinstance(error, ssl.SSLError):
        return f"Connection closed: SSL_connect() failed: {error.reason or error}"
    return str(error) or "Connection closed"


async def _connect(target: Target, options: ProxyOptions, attempt: _Attempt, remote: Remote) -> None:
    loop = asyncio.get_running_loop()
    sock = socket.socket(_family(target.address), socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        source = target.source_address or _in_turn(options.source_addresses, target.address)
        if source:
            sock.bind((source, 0))
        try:
            await loop.sock_connect(sock, (target.address, target.port))
        finally:
            name = sock.getsockname()
            attempt.local = f"{name[0]}:{name[1]}" if name[1] else ""
        attempt.connected = True
        context = _context(target, options) if target.tls else None
        await loop.create_connection(lambda: remote, sock=sock, ssl=context,
                                     server_hostname=target.host if context is not None else None)
    except BaseException:
        if remote.transport is None:
            sock.close()
        raise


_turns = itertools.count()


def _in_turn(addresses: tuple[str, ...], destination: str) -> str:
    """Our next address of the destination's family; "" when there is none."""
    fitting = [address for address in addresses if _family(address) == _family(destination)]
    return fitting[next(_turns) % len(fitting)] if fitting else ""


def _context(target: Target, options: ProxyOptions) -> ssl.SSLContext:
    """Raises ConfigError."""
    return client_context(replace(options.tls, verify=False) if target.any_certificate else options.tls)


async def _talk(target: Target, dialogue: ProxyDialogue, options: ProxyOptions, remote: Remote) -> None:
    """Until the server has let the client in."""
    loop = asyncio.get_running_loop()
    while True:
        waiting: list[Step] = dialogue.take_line(await remote.line())
        while waiting:
            step = waiting.pop(0)
            match step:
                case Say():
                    remote.write(step.octets)
                case Secure():
                    if remote.rest:         # said before the handshake by who knows whom
                        raise ProxyFailed(Kind.PROTOCOL, "Unexpected input before TLS handshake")
                    assert remote.transport is not None
                    transport = await loop.start_tls(remote.transport, remote, _context(target, options),
                                                     server_hostname=target.host)
                    if transport is None:
                        raise ConnectionError("Connection closed")
                    remote.transport, remote.sent = transport, 0
                    waiting += dialogue.secured()
                case Compute():
                    waiting += dialogue.computed(await loop.run_in_executor(None, step.derive.run))
                case LoggedIn():
                    assert remote.transport is not None
                    remote.transport.pause_reading()
                    remote.login_octets = step.octets
                    return
