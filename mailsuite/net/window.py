"""tcp_windowsize: smaller TCP windows, for routers that break window scaling (RFC 7323)."""

import socket

from mailsuite.config.registry import Param, declare, integer

TCP_WINDOWSIZE = declare(Param("tcp_windowsize", "0", integer(),
    "Octets of the TCP window of connections (below 65536), for routers that break window scaling; 0: the system's."))


def limit_window(sock: socket.socket, octets: int) -> None:
    """Before connect or listen. octets 0: leave it."""
    if octets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, octets)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)
