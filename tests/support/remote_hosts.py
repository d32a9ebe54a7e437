"""Remote hosts for a test, good and bad: what the smtp agent meets.

    with silent_host() as port:          connections are never made: SYNs are not answered
    port = refusing_port()               connections are refused
    with taking_host() as host:          takes all mail; host.arrived: [(time.monotonic(), recipient), ...]
"""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiosmtpd.controller import Controller

from tests.support.suite import free_port


@contextmanager
def silent_host() -> Iterator[int]:
    """A socket whose queue of connections is full: the kernel drops all further SYNs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        held = []
        try:
            for _ in range(8):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
                held.append(one)
            yield port
        finally:
            for one in held:
                one.close()


def refusing_port() -> int:
    """Nobody listens there."""
    return free_port()


class Taking:
    """Handler of aiosmtpd: takes everything, keeps who got it when."""

    def __init__(self) -> None:
        self.arrived: list[tuple[float, str]] = []
        self.port = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        now = time.monotonic()
        self.arrived += [(now, recipient) for recipient in envelope.rcpt_tos]
        return "250 2.0.0 Ok"


@contextmanager
def taking_host() -> Iterator[Taking]:
    handler = Taking()
    handler.port = free_port()
    controller = Controller(handler, hostname="127.0.0.1", port=handler.port)
    controller.start()
    try:
        yield handler
    finally:
        controller.stop()
