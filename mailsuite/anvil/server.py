"""The anvil service: one process that counts clients for all others (master.cf: `anvil unix - - y - 1 anvil`).

Who connects gets a line with its row on the board (-1: none is left) and the board's descriptor, then says in lines:

    + IDENT  - IDENT        a connection began, ended           = NUMBER IDENT    so many were open before this link was
    ? SEQ IDENT             -> SEQ OPEN RATE                    connections now
    ! SEQ EVENT IDENT       -> SEQ RATE                         one more message, recipient, newtls or auth
    * SEQ EVENT IDENT       -> SEQ RATE                         the same without counting

The end of a link closes what its process had open. Only mail_owner's processes reach the socket; a line that makes no
sense ends the link. Each anvil_status_update_time, and at the end, the highest values are logged as Postfix does.
Limits: anvil_client_limit idents of IDENT_LIMIT octets; what a link doesn't read stops being read from.
"""

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING

from mailsuite.anvil import params
from mailsuite.anvil.board import ROWS, Board
from mailsuite.anvil.counts import EVENTS, Counts
from mailsuite.base.log import logger
from mailsuite.net.accepting import Accepting
from mailsuite.net.service import ServiceContext

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings

log = logger("anvil")
IDENT_LIMIT = 256
SWEEP_S = 10.0


class Anvil:
    """What all links share."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.board, self.board_fd = Board.make()
        self.closed = False
        self.links: set[asyncio.Transport] = set()
        self._free = list(range(ROWS - 1, -1, -1))

    def take_row(self) -> int:
        """A row of the board, or -1."""
        if not self._free:
            return -1
        self.board.use(row := self._free.pop())
        return row

    def give_back(self, row: int) -> None:
        if row >= 0 and not self.closed:
            self.board.wipe(row)
            self._free.append(row)

    def close(self) -> None:
        self.closed = True
        for link in self.links:
            link.abort()
        self.board.close()
        os.close(self.board_fd)


class Link(asyncio.Protocol):
    """One process that counts."""

    _last = 0

    def __init__(self, anvil: Anvil, row: int) -> None:
        Link._last += 1
        self._anvil, self._row, self._number = anvil, row, Link._last
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport         # type: ignore[assignment]  # asyncio types the base class only
        assert self._transport is not None
        self._anvil.links.add(self._transport)

    def data_received(self, octets: bytes) -> None:
        *lines, self._rest = (self._rest + octets).split(b"\n")
        answers: list[str] = []
        try:
            if len(self._rest) > IDENT_LIMIT + 64:
                raise ValueError("endless line")
            for line in lines:
                self._obey(line.decode("utf-8", "surrogateescape"), answers)
        except (ValueError, KeyError) as error:
            log.warning("a process says what makes no sense: %s", error)
            if self._transport is not None:
                self._transport.abort()
            return
        if answers and self._transport is not None:
            self._transport.write("".join(answers).encode())

    def _obey(self, line: str, answers: list[str]) -> None:
        counts, (verb, _, rest) = self._anvil.counts, line.partition(" ")
        match verb:
            case "+":
                counts.connect(self._number, rest[:IDENT_LIMIT])
            case "-":
                counts.disconnect(self._number, rest[:IDENT_LIMIT])
            case "=":
                number, _, ident = rest.partition(" ")
                counts.adopt(self._number, ident[:IDENT_LIMIT], int(number))
            case "?":
                sequence, _, ident = rest.partition(" ")
                seen = counts.seen(ident[:IDENT_LIMIT])
                answers.append(f"{int(sequence)} {seen.open} {seen.rate}\n")
            case "!" | "*":
                sequence, event, ident = rest.split(" ", 2)
                if event not in EVENTS:
                    raise ValueError(event)
                ask = counts.add if verb == "!" else counts.peek
                answers.append(f"{int(sequence)} {ask(event, ident[:IDENT_LIMIT])}\n")
            case _:
                raise ValueError(verb[:20])

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._anvil.links.discard(self._transport)
        self._anvil.counts.gone(self._number)
        self._anvil.give_back(self._row)


async def _greet(anvil: Anvil, sock: socket.socket) -> None:
    """Tell a new connection its row."""
    loop = asyncio.get_running_loop()
    row = anvil.take_row()
    try:
        socket.send_fds(sock, [f"{row} {anvil.board.key}\n".encode()], [anvil.board_fd])
        await loop.connect_accepted_socket(lambda: Link(anvil, row), sock)
    except OSError as error:
        log.warning("cannot serve a process: %s", error)
        sock.close()
        anvil.give_back(row)


def make_counts(settings: "Settings") -> Counts:
    return Counts(unit_s=settings[params.ANVIL_RATE_TIME_UNIT], clients_limit=settings[params.ANVIL_CLIENT_LIMIT])


async def serve(context: ServiceContext) -> None:
    """Count until told to stop."""
    counts = make_counts(context.settings)
    anvil = Anvil(counts)
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def take(sock: socket.socket) -> None:
        task = loop.create_task(_greet(anvil, sock))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def on_reload(settings: "Settings", dovecot: "DovecotSettings | None") -> None:
        counts.unit_s = settings[params.ANVIL_RATE_TIME_UNIT]
        counts.clients_limit = settings[params.ANVIL_CLIENT_LIMIT]

    context.on_reload = on_reload
    entrances = [Accepting(listener.sock, take) for listener in context.listeners]
    for entrance in entrances:
        entrance.start()
    context.ready()
    next_report = loop.time() + context.settings[params.ANVIL_STATUS_UPDATE_TIME]
    while not context.stopping.is_set():
        try:
            async with asyncio.timeout(min(SWEEP_S, max(0.01, next_report - loop.time()))):
                await context.stopping.wait()
        except TimeoutError:
            counts.sweep()
        if loop.time() >= next_report:
            next_report = loop.time() + context.settings[params.ANVIL_STATUS_UPDATE_TIME]
            say_statistics(counts, log)
    for entrance in entrances:
        entrance.stop()
    say_statistics(counts, log)
    anvil.close()


def say_statistics(counts: Counts, to: logging.Logger) -> None:
    for line in counts.report():
        to.info("%s", line)
