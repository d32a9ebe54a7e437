"""One connection to an IMAP server: octets, TLS, literals, limits and time-outs.

    wire = Wire(account, interrupted=...);  wire.open()
    wire.send(b"1 NOOP\\r\\n");  response = wire.read()          Untagged | Tagged | Continue
    wire.read(sink)                                             the literal of a BODY[] goes to the sink in blocks

Silence of account.timeout_s, a line over max_line, a literal over its limit: the connection is closed and Lost or
PeerError raised. interrupted() is asked every second while waiting, and may raise.
"""

import contextlib
import re
import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mailsuite.base.errors import PeerError, TemporaryError
from mailsuite.imapc.account import Account
from mailsuite.imapc.response import Text, code_of, tokenize, values

BLOCK = 65536
TICK_S = 1.0
_LITERAL = re.compile(rb"~?\{(\d{1,19})\+?\}\Z")
_BODY = re.compile(rb"(?:BODY\[\]|RFC822)(?:<\d+>)? ~?\{\d+\+?\}\Z", re.IGNORECASE)


class Lost(TemporaryError):
    """The connection is no more; another may be made."""

    def __init__(self, why: str) -> None:
        super().__init__(why, status="4.4.2")


class Sink(Protocol):
    """Takes a message's octets while they come."""

    def begin(self, size: int) -> None: ...
    def write(self, octets: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Untagged:
    """values: all behind the asterisk. text: the line as it came, for status responses."""

    values: list[Any]
    text: bytes = b""

    @property
    def name(self) -> bytes:
        """b"FETCH" of "* 5 FETCH (...)"."""
        at = 1 if len(self.values) > 1 and isinstance(self.values[0], bytes) and self.values[0].isdigit() else 0
        found = self.values[at] if self.values else b""
        return found.upper() if isinstance(found, bytes) else b""


@dataclass(frozen=True, slots=True)
class Tagged:
    """status: b"OK", b"NO" or b"BAD"."""

    tag: bytes
    status: bytes
    code: bytes
    arguments: bytes
    text: bytes


@dataclass(frozen=True, slots=True)
class Continue:
    text: bytes


Response = Untagged | Tagged | Continue
_STATUS = frozenset((b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"))


class Wire:
    """Blocking; belongs to one thread."""

    def __init__(self, account: Account, *, interrupted: Callable[[], None] = lambda: None) -> None:
        self.account, self._interrupted = account, interrupted
        self._sock: socket.socket | None = None
        self._buffer = bytearray()
        self._searched = 0
        self.tls = False

    # --- life -------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, with TLS at once where the account says imaps. Raises Lost, PeerError (a bad certificate)."""
        account = self.account
        try:
            self._sock = socket.create_connection((account.host, account.port), account.connect_s)
        except OSError as error:
            raise Lost(f"connect({account.host}:{account.port}) failed: {error.strerror or error}") from error
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if account.tls == "imaps":
            self.start_tls()

    def start_tls(self) -> None:
        """The handshake; what came before it in the clear is an error. Raises Lost, PeerError."""
        assert self._sock is not None
        if self._buffer:
            raise PeerError("the server sent something ahead of the TLS handshake")
        self._sock.settimeout(self.account.connect_s)
        try:
            self._sock = tls_context(self.account).wrap_socket(self._sock, server_hostname=self.account.host)
        except ssl.SSLCertVerificationError as error:
            raise PeerError(f"the certificate of {self.account.host} is not trusted: {error.verify_message}") from error
        except (OSError, ValueError) as error:
            raise Lost(f"TLS handshake with {self.account.host} failed: {error}") from error
        self.tls = True

    def close(self) -> None:
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.close()
            self._sock = None

    @property
    def is_open(self) -> bool:
        return self._sock is not None

    # --- octets -----------------------------------------------------------------------------------------------------

    def send(self, octets: bytes | memoryview) -> None:
        """All of it. Raises Lost."""
        sock = self._alive()
        sock.settimeout(self.account.timeout_s)
        try:
            sock.sendall(octets)
        except OSError as error:
            self.close()
            raise Lost(f"the connection to {self.account.host} was lost: {error}") from error

    def _alive(self) -> socket.socket:
        if self._sock is None:
            raise Lost(f"the connection to {self.account.host} is closed")
        return self._sock

    def _more(self) -> None:
        """The next octets into the buffer. Raises Lost."""
        sock = self._alive()
        end = time.monotonic() + self.account.timeout_s
        sock.settimeout(TICK_S)
        while True:
            self._interrupted()
            try:
                octets = sock.recv(BLOCK)
            except TimeoutError:
                if time.monotonic() < end:
                    continue
                self.close()
                raise Lost(f"{self.account.host} said nothing for {self.account.timeout_s:.0f} seconds") from None
            except OSError as error:
                self.close()
                raise Lost(f"the connection to {self.account.host} was lost: {error}") from error
            if not octets:
                self.close()
                raise Lost(f"{self.account.host} closed the connection")
            self._buffer += octets
            return

    def waiting(self) -> bool:
        """Is there something to read now?"""
        sock = self._alive()
        if self._buffer or isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        return bool(select.select([sock], [], [], 0)[0])

    def _line(self, room: int) -> bytes:
        """Up to CRLF (or LF), without it. room: octets that the whole response may still have."""
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            if self._searched > room:
                break
            self._more()
        self._searched = 0
        if end < 0 or end > room:
            self.close()
            raise PeerError(f"{self.account.host} sent a line of more than {self.account.max_line} octets")
        line = bytes(self._buffer[:end])
        del self._buffer[:end + 1]
        return line[:-1] if line.endswith(b"\r") else line

    def _literal(self, size: int, put: Callable[[bytes], None]) -> None:
        while size:
            if not self._buffer:
                self._more()
            block = bytes(self._buffer[:min(size, BLOCK)])
            del self._buffer[:len(block)]
            put(block)
            size -= len(block)

    # --- responses --------------------------------------------------------------------------------------------------

    def read(self, sink: Sink | None = None) -> Response:
        """The next response. Raises Lost, PeerError; then the connection is closed."""
        try:
            return self._response(sink)
        except PeerError:
            self.close()
            raise

    def _response(self, sink: Sink | None) -> Response:
        room = self.account.max_line
        line = self._line(room)
        if line.startswith(b"+"):
            return Continue(line[1:].lstrip(b" "))
        if not line.startswith(b"* "):
            return self._tagged(line)
        word = line[2:].partition(b" ")[0].upper()
        if word in _STATUS:
            return Untagged([word], line[2:].partition(b" ")[2])
        tokens: list[Any] = []
        text, start, memory = line, 2, self.account.max_literal
        while (match := _LITERAL.search(text)) is not None:
            tokens += tokenize(text[start:match.start()])
            tokens.append(value := self._value(int(match[1]), sink if _BODY.search(text) else None, memory))
            memory -= len(value)
            room -= len(text)
            text, start = self._line(room), 0
        return Untagged(values(tokens + tokenize(text[start:])), line[2:])

    def _value(self, size: int, sink: Sink | None, memory: int) -> Text:
        """memory: octets that the literals of this response may still have, but for messages."""
        most = self.account.max_message if sink is not None else memory
        if size > most:
            raise PeerError(f"{self.account.host} sent a literal of {size} octets; more than {most} are not taken")
        if sink is not None:
            sink.begin(size)
            self._literal(size, sink.write)
            return Text(b"")
        parts: list[bytes] = []
        self._literal(size, parts.append)
        return Text(b"".join(parts))

    def _tagged(self, line: bytes) -> Tagged:
        tag, _, rest = line.partition(b" ")
        status, _, text = rest.partition(b" ")
        if status.upper() not in (b"OK", b"NO", b"BAD") or not tag.isalnum():
            raise PeerError(f"{self.account.host} sent what is no IMAP: {line[:60]!r}")
        return Tagged(tag, status.upper(), *code_of(text))


def tls_context(account: Account) -> ssl.SSLContext:
    """Raises Lost where the authorities' file cannot be read: a temporary failure, never less checking."""
    try:
        context = ssl.create_default_context(cafile=account.ca_file or None, capath=account.ca_dir or None)
    except (OSError, ssl.SSLError) as error:
        raise Lost(f"ssl_client_ca_file: {error}") from error
    if not account.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
