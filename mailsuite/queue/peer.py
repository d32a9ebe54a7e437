"""Who is at the other end of a Unix socket, by the kernel's word."""

import socket
import struct


def peer_uid(sock: socket.socket) -> int:
    """The effective uid at the time of connect. Raises OSError."""
    return int(struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1])
