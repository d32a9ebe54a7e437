"""One connection to a remote SMTP or LMTP server: runs the dialogues of client_session.py on a socket.

    link = await ClientConnection.open(Endpoint("mx.a.test", "192.0.2.1", 25), timeout_s=30)
    await link.run(greeting(config, link.host))
    results = await link.run(transaction(config, features, link.host, mail), body=encode_body(blocks))
    await link.quit(config)

Raises Trouble: connection refused, lost, silent for too long, or octets that are no reply.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterable, Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from mailsuite.base.errors import PeerError
from mailsuite.net.window import limit_window
from mailsuite.smtp.client_body import NO_BODY, Blocks, Body, Chunks
from mailsuite.smtp.client_params import ClientConfig
from mailsuite.smtp.client_reply import Reply, ReplyReader
from mailsuite.smtp.client_session import (
    Drop,
    Note,
    Receive,
    Send,
    SendBody,
    SendChunk,
    StartTls,
    Step,
    Trouble,
    Warn,
    Work,
)
from mailsuite.smtp.client_transcript import Transcript
from mailsuite.tls.chain import Chain, peer_chain

R = TypeVar("R")
_READ = 65536


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens. host: as logs name it. path: of a Unix socket, then address and port mean nothing."""

    host: str
    address: str = ""
    port: int = 25
    path: str = ""
    domain: str = ""            # the domain whose MX it is, for TLS policies
    best: bool = False          # no MX of the domain is better
    fallback: bool = False      # smtp_fallback_relay
    secure: bool = False        # the host's name came from a signed zone, or from the configuration
    validated: bool = False     # DNSSEC vouches for its addresses
    canonical: str = ""         # the name at the end of aliases

    @property
    def name(self) -> str:
        """"host[address]"."""
        return f"{self.host}[{self.path or self.address}]"

    @property
    def name_port(self) -> str:
        """"host[address]:port", as in relay=."""
        return self.name if self.path else f"{self.name}:{self.port}"


class HandshakeTrouble(Trouble):
    """why: for the log."""

    def __init__(self, why: str) -> None:
        super().__init__("Cannot start TLS: handshake failure", status="4.7.5", dead=True, tls=True)
        self.why = why


class ClientConnection:
    """host: "host[address]", for messages."""

    def __init__(self, endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *,
                 lines_limit: int) -> None:
        self.endpoint, self.host = endpoint, endpoint.name
        self._reader, self._writer = reader, writer
        self._lines_limit = lines_limit
        self._replies = ReplyReader(lines_limit=lines_limit)
        self._noise: Callable[[str], None] = lambda line: None
        self._filter: Callable[[str], str] | None = None
        self.tls = False
        self.chain: Chain = ()                  # the server's certificates, DER, its own first
        self.context: Callable[[], ssl.SSLContext] | None = None
        self.server_name = ""
        self.handshake_timeout_s = 60.0
        self.warn: Callable[[str], None] = lambda text: None
        self.note: Callable[[str], None] = lambda text: None
        self.usable = True
        self.transcript: Transcript | None = None
        self.queue_id, self.pipelining = "", False      # for who listens to it
        self._chunks: Chunks | None = None
        self._ends = 0.0            # when the block under way must be gone

    @classmethod
    async def open(cls, endpoint: Endpoint, *, timeout_s: float, bind: str = "", bind_must: bool = False,
                   warn: Callable[[str], None] = lambda text: None, lines_limit: int = 200,
                   unix_root: str = "", window: int = 0) -> "ClientConnection":
        """Connect. unix_root: where a relative path begins. window: tcp_windowsize. Raises Trouble.

        bind: the address to connect from; where that cannot be used, it is left out with a warning, or, with bind_must,
        there is no connection.
        """
        try:
            async with asyncio.timeout(timeout_s):
                sock = await _connected(endpoint, os.path.join(unix_root, endpoint.path), bind, bind_must, warn,
                                        window)
                if endpoint.path:
                    reader, writer = await asyncio.open_unix_connection(sock=sock)
                else:
                    reader, writer = await asyncio.open_connection(sock=sock)
        except TimeoutError as error:
            raise Trouble(f"connect to {endpoint.name_port}: Connection timed out", status="4.4.1", dead=True,
                          unreached=True) from error
        except OSError as error:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise Trouble(f"connect to {endpoint.name_port}: {why}", status="4.4.1", dead=True,
                          unreached=True) from error
        return cls(endpoint, reader, writer, lines_limit=lines_limit)

    def listen_to(self, *, noise: Callable[[str], None], replace: Callable[[str], str] | None) -> None:
        """noise: told of lines that are no reply. replace: smtp_reply_filter."""
        self._noise, self._filter = noise, replace
        self._replies.noise, self._replies.filter = noise, replace

    async def run(self, dialogue: Generator[Step, Reply, R], *, body: Body = NO_BODY) -> R:
        """Run a dialogue to its end. Raises Trouble; the connection is of no more use when it is dead."""
        reply: Reply | None = None
        self._chunks = None
        try:
            while True:
                try:
                    step = dialogue.send(reply)     # type: ignore[arg-type]  # None begins a generator
                except StopIteration as stop:
                    return stop.value   # type: ignore[no-any-return]
                reply = await self._step(step, body)
        except Trouble as trouble:
            self.usable = self.usable and not trouble.dead
            raise

    async def _step(self, step: Step, body: Body) -> Reply | None:
        match step:
            case Send():
                self._put(step.octets)
                if self.transcript is not None:
                    self.transcript.said(step.octets, secret=step.secret)
            case Receive():
                return await self._receive(step)
            case SendBody():
                await self._send_body(NO_BODY if step.empty else body)
            case SendChunk():
                await self._send_chunk(step, body)
            case Work():
                step.result = await asyncio.to_thread(step.run)
            case StartTls():
                await self.handshake()
            case Warn():
                self.warn(step.text)
            case Note():
                self.note(step.text)
            case Drop():
                self.abort()
        return None

    def _put(self, octets: bytes) -> None:
        """Write without waiting. To a server that is gone nothing is said: its last words, or its end, come next."""
        if not self._writer.transport.is_closing():
            self._writer.write(octets)

    async def _receive(self, step: Receive) -> Reply:
        try:
            async with asyncio.timeout(step.timeout_s):
                await self._writer.drain()
                while (reply := self._replies.take()) is None:
                    octets = await self._reader.read(_READ)
                    if not octets:
                        raise Trouble(f"lost connection with {self.host} while {step.stage}", status="4.4.2", dead=True)
                    self._replies.feed(octets)
                if self.transcript is not None:
                    self.transcript.heard(reply)
                return reply
        except TimeoutError as error:
            raise Trouble(f"conversation with {self.host} timed out while {step.stage}", status="4.4.2",
                          dead=True) from error
        except OSError as error:
            raise Trouble(f"lost connection with {self.host} while {step.stage}", status="4.4.2", dead=True) from error
        except PeerError as error:
            raise Trouble(f"protocol error: host {self.host} sent an {error.public} while {step.stage}",
                          status="4.5.0", dead=True) from error

    async def _send_body(self, body: Body) -> None:
        await self._send_blocks(body, body.blocks)
        self._put(b".\r\n")
        if self.transcript is not None:
            self.transcript.said(b".\r\n")

    async def _send_chunk(self, step: SendChunk, body: Body) -> None:
        if self._chunks is None:
            self._chunks = Chunks(body.blocks)
        chunk, step.last = await self._chunks.take()
        head = f"BDAT {len(chunk)}{' LAST' if step.last else ''}\r\n".encode()
        await self._send_blocks(body, (head, chunk))

    async def _send_blocks(self, body: Body, blocks: Blocks) -> None:
        stage = "sending message body"
        self._ends = asyncio.get_running_loop().time() + body.timeout_s
        try:
            if isinstance(blocks, AsyncIterable):
                async for block in blocks:
                    await self._send_block(body, block)
            else:
                for block in blocks:
                    await self._send_block(body, block)
        except TimeoutError as error:
            raise Trouble(f"conversation with {self.host} timed out while {stage}", status="4.4.2",
                          dead=True) from error
        except ConnectionError:
            pass            # the server may have said why: its reply is read next
        except BaseException:
            # A message that was cut short must not look whole: no final dot.
            self.usable = False
            self.abort()
            raise

    async def _send_block(self, body: Body, block: bytes) -> None:
        now = asyncio.get_running_loop().time()
        latest = now + body.timeout_s
        # With a rate, what was sent buys time for the rest.
        self._ends = min(self._ends + len(block) / body.min_rate, latest) if body.min_rate else latest
        self._put(block)
        async with asyncio.timeout_at(self._ends):
            await self._writer.drain()

    async def handshake(self) -> None:
        """TLS from here on, as `context` and `server_name` say; nothing is checked, see `chain`. Raises Trouble."""
        if not self._replies.empty:
            # What came before the handshake was written by somebody in between (CVE-2011-0411).
            raise HandshakeTrouble("data came ahead of the handshake")
        assert self.context is not None
        try:
            await self._writer.start_tls(self.context(), server_hostname=self.server_name or None,
                                         ssl_handshake_timeout=self.handshake_timeout_s)
        except (OSError, ssl.SSLError, EOFError) as error:
            raise HandshakeTrouble(_in_words(error)) from error
        self._replies = ReplyReader(lines_limit=self._lines_limit)
        self._replies.noise, self._replies.filter = self._noise, self._filter
        self.tls = True
        self.chain = peer_chain(self._writer.get_extra_info("ssl_object"))

    @property
    def tls_words(self) -> str:
        """"TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)"."""
        made = self._writer.get_extra_info("ssl_object")
        if made is None:
            return ""
        name, _, bits = made.cipher() or ("", "", 0)
        return f"{made.version()} with cipher {name} ({bits}/{bits} bits)"

    @property
    def local_address(self) -> str:
        """Our end's address, "" for a Unix socket."""
        name = self._writer.get_extra_info("sockname")
        return str(name[0]) if isinstance(name, tuple) and name else ""

    @property
    def quiet(self) -> bool:
        """Whether nothing unexpected has come: an idle connection that can be used again."""
        return self.usable and self._replies.empty and not self._reader.at_eof() \
            and not getattr(self._reader, "_buffer", b"")

    async def quit(self, config: ClientConfig) -> None:
        """Say QUIT and close; without waiting for the answer where smtp_skip_quit_response says so."""
        if self.usable:
            self._put(b"QUIT\r\n")
            if self.transcript is not None:
                self.transcript.said(b"QUIT\r\n")
            if not config.skip_quit:
                try:
                    await self._receive(Receive("sending QUIT", min(config.timeouts["quit"], 10.0)))
                except Trouble:
                    pass
        self.close()

    def close(self) -> None:
        self._end()
        self._writer.close()

    def abort(self) -> None:
        """Drop it."""
        self._end()
        self._writer.transport.abort()

    def _end(self) -> None:
        self.usable = False
        if self.transcript is not None:
            self.transcript.end()


def _in_words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"{error.library} routines: {error.reason.lower().replace('_', ' ')}"
    if isinstance(error, TimeoutError) or "handshake is taking longer" in str(error):
        return "Connection timed out"
    return "lost connection"


async def _connected(endpoint: Endpoint, path: str, bind: str, bind_must: bool,
                     warn: Callable[[str], None], window: int) -> socket.socket:
    """A connected socket. Raises OSError; Trouble when the address to bind to cannot be used and must be."""
    family = socket.AF_UNIX if endpoint.path else socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if not endpoint.path:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            limit_window(sock, window)
        if bind:
            _bind(sock, bind, bind_must, warn)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, path if endpoint.path else (endpoint.address, endpoint.port))
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, address: str, must: bool, warn: Callable[[str], None]) -> None:
    try:
        sock.bind((address, 0))
    except OSError as error:
        warn(f"smtp_connect_addr: bind {address}: {os.strerror(error.errno or errno.EINVAL)}")
        if must:
            raise Trouble("server configuration error", status="4.4.0", dead=True, unreached=True) from error
