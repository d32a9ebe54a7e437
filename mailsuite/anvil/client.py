"""What a server process has of anvil: it tells of its connections, and asks how many a client has.

    anvil = AnvilClient("/var/spool/postfix/private/anvil", "smtp");  anvil.start()
    upper = anvil.connect("192.0.2.1")         at least as many as the client has open in all processes; no question
    open, rate = await anvil.seen("192.0.2.1") the truth; None while anvil is away
    rate = await anvil.event("message", "192.0.2.1")
    anvil.disconnect("192.0.2.1")

Telling costs no system call: lines wait up to FLUSH_S and go out together. While anvil is away counts are this
process's own, questions give None (the caller lets mail go on, as Postfix does), and a warning is logged at most every
WARN_S; the link is tried again with each connection, RETRY_S apart. A new link is told of what is open already.
"""

import asyncio
import socket
import time

from mailsuite.anvil.board import Board
from mailsuite.anvil.counts import Seen
from mailsuite.base.log import logger

FLUSH_S = 0.005
RETRY_S = 1.0
WARN_S = 60.0
ANSWER_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
QUESTIONS_LIMIT = 10_000     # open at once; more are not asked

log = logger("smtpd")


class AnvilClient:
    """service: the first part of all idents. Belongs to one event loop."""

    def __init__(self, path: str, service: str) -> None:
        self.path, self._prefix = path, service + ":"
        self._open: dict[str, int] = {}
        self._lines: list[str] = []
        self._questions: dict[int, asyncio.Future[list[int]]] = {}
        self._sequence = 0
        self._board: Board | None = None
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._not_before = self._warned = -1e9
        self._flushing = False
        self._rest = b""

    def start(self) -> None:
        """Begin to connect."""
        self._connect_soon()

    def connect(self, client: str) -> int:
        """A connection begins; an upper bound of what this client has open now, this one counted."""
        ident = self._prefix + client
        own = self._open[ident] = self._open.get(ident, 0) + 1
        if self._transport is None:
            self._connect_soon()
            return own
        self._tell(f"+ {ident}\n")
        return self._board.up(ident) if self._board is not None else 1 << 30

    def disconnect(self, client: str) -> None:
        """A connection ended."""
        ident = self._prefix + client
        own = self._open.get(ident, 0)
        if own > 1:
            self._open[ident] = own - 1
        elif own:
            del self._open[ident]
        else:
            return
        if self._transport is not None:
            self._tell(f"- {ident}\n")
            if self._board is not None:
                self._board.down(ident)

    async def seen(self, client: str) -> Seen | None:
        """Connections of a client now, in all processes, and in this time unit."""
        # What other processes did just before this is under way to anvil for FLUSH_S.
        await asyncio.sleep(2 * FLUSH_S)
        answer = await self._ask("?", self._prefix + client)
        if answer is None or len(answer) != 2:
            return None
        return Seen(*answer)

    async def rate(self, client: str) -> int | None:
        """Connections of a client in this time unit."""
        answer = await self._ask("?", self._prefix + client)
        return answer[1] if answer is not None and len(answer) == 2 else None

    async def event(self, event: str, client: str) -> int | None:
        """Count an event; how often it happened in this time unit."""
        answer = await self._ask("!", f"{event} {self._prefix}{client}")
        return answer[0] if answer else None

    async def peek(self, event: str, client: str) -> int | None:
        """How often it happened in this time unit."""
        answer = await self._ask("*", f"{event} {self._prefix}{client}")
        return answer[0] if answer else None

    def close(self) -> None:
        """End the link; anvil then counts nothing of ours as open."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._flush()
            self._transport.close()

    # --- the link ---------------------------------------------------------------------------------------------------

    def _tell(self, line: str) -> None:
        self._lines.append(line)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._lines and self._transport is not None:
            self._transport.write("".join(self._lines).encode("utf-8", "surrogateescape"))
        self._lines.clear()

    async def _ask(self, verb: str, rest: str) -> list[int] | None:
        if self._transport is None:
            self._connect_soon()
            if self._connecting is not None:
                await asyncio.wait({self._connecting}, timeout=ANSWER_TIMEOUT_S)
        if self._transport is None or len(self._questions) >= QUESTIONS_LIMIT:
            return None
        self._sequence += 1
        sequence = self._sequence
        answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._questions[sequence] = answer
        self._lines.append(f"{verb} {sequence} {rest}\n")
        self._flush()
        try:
            return await asyncio.wait_for(answer, ANSWER_TIMEOUT_S)
        except (TimeoutError, ConnectionError):
            self._warn("no answer")
            return None
        finally:
            self._questions.pop(sequence, None)

    def _connect_soon(self) -> None:
        loop = asyncio.get_running_loop()
        if self._connecting is None and loop.time() >= self._not_before:
            self._not_before = loop.time() + RETRY_S
            self._connecting = loop.create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.sock_connect(sock, self.path)
                hello, fds = await _receive(loop, sock)
            try:
                row, key = (int(word) for word in hello.split())
                board = Board(fds[0], key, row) if row >= 0 else None
            finally:
                for fd in fds:
                    socket.close(fd)
            await loop.create_unix_connection(lambda: _Reader(self, board), sock=sock)
        except (OSError, ValueError, IndexError, TimeoutError) as error:
            sock.close()
            self._warn(str(error) or type(error).__name__)
        finally:
            self._connecting = None

    def _connected(self, transport: asyncio.Transport, board: Board | None) -> None:
        self._transport, self._board = transport, board
        self._rest = b""
        self._lines = [f"= {number} {ident}\n" for ident, number in self._open.items()]
        if board is not None:
            for ident, number in self._open.items():
                for _ in range(number):
                    board.up(ident)
        self._flush()

    def _heard(self, octets: bytes) -> None:
        *lines, self._rest = (self._rest + octets).split(b"\n")
        for line in lines:
            words = [int(word) for word in line.split()]
            answer = self._questions.get(words[0])
            if answer is not None and not answer.done():
                answer.set_result(words[1:])

    def _lost(self) -> None:
        self._transport = None
        if self._board is not None:
            self._board.close()
            self._board = None
        self._lines.clear()
        for answer in self._questions.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError())

    def _warn(self, why: str) -> None:
        if time.monotonic() - self._warned >= WARN_S:
            self._warned = time.monotonic()
            log.warning("connect to %s: %s; clients are counted in this process only", self.path, why)


class _Reader(asyncio.Protocol):
    """The link's octets."""

    def __init__(self, client: AnvilClient, board: Board | None) -> None:
        self._client, self._board = client, board

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client._connected(transport, self._board)     # type: ignore[arg-type]  # typed as its base class

    def data_received(self, octets: bytes) -> None:
        self._client._heard(octets)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client._lost()


async def _receive(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> tuple[bytes, list[int]]:
    """The first line and the descriptor beside it. Raises OSError; ValueError at the end of the link."""
    readable = asyncio.Event()
    loop.add_reader(sock.fileno(), readable.set)
    try:
        await readable.wait()
        octets, fds, _, _ = socket.recv_fds(sock, 256, 4)
    finally:
        loop.remove_reader(sock.fileno())
    if not octets:
        raise ValueError("the service ended")
    return octets, fds
