"""tcp_windowsize: smaller TCP windows, for routers that break window scaling (RFC 7323)."""

import socket


def limit_window(sock: socket.socket, octets: int) -> None:
    """Before connect or listen. octets 0: leave it."""
    if octets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, octets)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)
