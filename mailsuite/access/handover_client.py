"""Gives a logged-in connection to the access service: the login process's end.

    result = await hand_over("/run/dovecot/imap", handover, ticket, fd)       HandedOver | Refused

One connection to the access service's socket for each hand-over: a JSON line with the client's descriptor beside its
first octet. The answer is a JSON line: {"ok": true, "pid": N} from the user's worker, or {"refused": ...}.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from mailsuite.access.handover import HandOver
from mailsuite.access.login import HandedOver, Refused, Why

ANSWER_TIMEOUT_S = 60.0
ANSWER_LIMIT = 65536

log = logging.getLogger("mailsuite.dovecot.access")


@dataclass(frozen=True, slots=True)
class Ticket:
    """What proves the login to the auth service: who asked, which request, and the connection's cookie."""

    client_pid: int
    request_id: int
    cookie: str


async def hand_over(path: str, handover: HandOver, ticket: Ticket, fd: int) -> HandedOver | Refused:
    """Never raises OSError: what cannot be handed over is Refused(FAILED)."""
    message = {"handover": handover.to_message(), "ticket": [ticket.client_pid, ticket.request_id, ticket.cookie]}
    octets = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            answer = await _ask(path, octets, fd)
    except (OSError, TimeoutError, ValueError) as error:
        log.error("cannot hand over a connection to %s: %s", path, error or "no answer")
        return Refused(Why.FAILED)
    if answer.get("ok"):
        return HandedOver(int(str(answer["pid"])))
    try:
        return Refused(Why(answer.get("refused")), str(answer.get("text", "")))
    except ValueError:
        return Refused(Why.FAILED)


async def ask_access(path: str, message: Mapping[str, object], fd: int, *, timeout_s: float) -> dict[str, object]:
    """Ask the access service for something else, a descriptor beside the message. Raises OSError (a time-out too),
    ValueError when it does not answer."""
    async with asyncio.timeout(timeout_s):
        return await _ask(path, json.dumps(message, separators=(",", ":")).encode() + b"\n", fd)


async def _ask(path: str, octets: bytes, fd: int) -> dict[str, object]:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        for pause_s in (0.01, 0.05, 0.2, 1.0, None):
            try:
                sock.connect(path)          # a Unix socket connects at once, or its backlog is full
                break
            except BlockingIOError:
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
        sent = socket.send_fds(sock, [octets], [fd])
        if sent < len(octets):
            await loop.sock_sendall(sock, octets[sent:])
        received = b""
        while not received.endswith(b"\n"):
            block = await loop.sock_recv(sock, 65536)
            if not block or len(received) > ANSWER_LIMIT:
                raise ValueError("no answer")
            received += block
    answer = json.loads(received)
    if not isinstance(answer, dict):
        raise ValueError("no answer")
    return answer
