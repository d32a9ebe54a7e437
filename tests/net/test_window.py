"""tcp_windowsize reaches listening sockets and outgoing connections."""

import asyncio
import socket

from mailsuite.master.plan import SocketSpec
from mailsuite.master.sockets import bind
from mailsuite.smtp.client import ClientConnection, Endpoint


def test_windows() -> None:
    def sizes(sock: socket.socket) -> tuple[int, int]:
        """What the kernel doubles for its own needs."""
        return (sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2,
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2)

    async def connect(port: int) -> tuple[int, int]:
        link = await ClientConnection.open(Endpoint("a.test", "127.0.0.1", port), timeout_s=5, window=32768)
        try:
            return sizes(link._writer.get_extra_info("socket"))
        finally:
            link.close()

    with bind(SocketSpec("inet", "smtp", address="127.0.0.1", window=40000)) as sock:
        assert sizes(sock) == (40000, 40000)
        assert asyncio.run(connect(sock.getsockname()[1])) == (32768, 32768)
