"""qmgr's end of the connections to delivery agents: one connection per transport, many requests under way on it.

    agents = Agents(on_report, on_done, on_lost)
    agents.send("local", request)

on_report(RecipientReport) per recipient; on_done(seq) when a request is finished; on_lost(transport, seqs, was_up) when
the connection could not be made (was_up False) or broke with these requests in hand.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from mailsuite.base import wire
from mailsuite.base.log import lines_together
from mailsuite.queue.agent import DeliveryRequest, RecipientReport, read_report

LINE_LIMIT = 64 * 1024 * 1024
log = logging.getLogger("mailsuite.qmgr")


class AgentLink(asyncio.Protocol):
    """One connection. Requests sent before it stands wait in it."""

    def __init__(self, agents: "Agents", transport_name: str, path: str) -> None:
        self._agents, self.name, self.path = agents, transport_name, path
        self.in_hand: set[int] = set()
        self._waiting: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._task = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._agents.connect_s):
                await loop.create_unix_connection(lambda: self, self.path)
        except OSError as error:        # TimeoutError among them
            log.warning("connect to transport %s: %s", "/".join(self.path.split("/")[-2:]), error.strerror or error)
            self._agents.lost(self, was_up=False)

    def send(self, seq: int, line: bytes) -> None:
        self.in_hand.add(seq)
        if not self._waiting and self._transport is not None:
            asyncio.get_running_loop().call_soon(self._flush)       # what one turn of the loop sends travels together
        self._waiting.append(line)

    def _flush(self) -> None:
        if self._transport is not None and self._waiting:
            if not self._transport.is_closing():        # else they are told as lost, with all that is in hand
                self._transport.write(b"".join(self._waiting))
            self._waiting.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._flush()

    def data_received(self, octets: bytes) -> None:
        lines = (self._rest + octets).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LINE_LIMIT:
            self.close()
            return
        with lines_together():
            for line in lines:
                try:
                    self._agents.answered(self, read_report(line))
                except ValueError as error:
                    log.warning("agent %s gave an answer that makes no sense: %s", self.name, error)
                    self.close()
                    return

    def connection_lost(self, exc: Exception | None) -> None:
        self._agents.lost(self, was_up=True)

    def close(self) -> None:
        self._task.cancel()
        if self._transport is not None:
            self._transport.abort()


class Agents:
    """All connections of a qmgr."""

    def __init__(self, on_report: Callable[[RecipientReport], None], on_done: Callable[[int], None],
                 on_lost: Callable[[str, list[int], bool], None], *, connect_s: float = 60.0) -> None:
        """connect_s: how long an agent may take to accept a connection."""
        self.connect_s = connect_s
        self._on_report, self._on_done, self._on_lost = on_report, on_done, on_lost
        self._links: dict[str, AgentLink] = {}

    def send(self, path: str, request: DeliveryRequest) -> None:
        link = self._links.get(path)
        if link is None:
            link = self._links[path] = AgentLink(self, request.transport, path)
        link.send(request.seq, wire.encode(request) + b"\n")

    def answered(self, link: AgentLink, answer: RecipientReport) -> None:
        """Answers to requests that are not in this agent's hands are passed over: it has no say in others."""
        seq = answer.seq
        if seq not in link.in_hand:
            return
        if answer.status:
            self._on_report(answer)
        if answer.done:
            link.in_hand.discard(seq)
            self._on_done(seq)

    def lost(self, link: AgentLink, *, was_up: bool) -> None:
        if self._links.get(link.path) is link:
            del self._links[link.path]
        if link.in_hand:
            self._on_lost(link.name, sorted(link.in_hand), was_up)

    def give_up(self, path: str) -> None:
        """An agent hangs: what it has in hand is lost."""
        link = self._links.get(path)
        if link is not None:
            log.warning("agent %s does not answer", link.name)
            link.close()

    def close(self) -> None:
        for link in list(self._links.values()):
            link.in_hand.clear()
            link.close()
