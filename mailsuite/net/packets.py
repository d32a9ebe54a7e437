"""Messages between a parent and its workers: one JSON value per SOCK_SEQPACKET datagram, descriptors beside it.

    send(sock, {"n": 1, "m": {...}}, [fd])          packet, fds = receive(sock)

A packet is an object, or an array of objects: several that travel together (see workers.py, batches). A datagram is "J"
and the JSON; or "M", and the JSON is in a memfd that comes before the other descriptors.
"""

import array
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from mailsuite.base import wire

INLINE_LIMIT = 60 * 1024         # octets of JSON in one datagram; more goes through a memfd
MESSAGE_LIMIT = 64 * 1024 * 1024
FDS_LIMIT = 16
_SOL_SOCKET, _SCM_RIGHTS, _CLOEXEC = map(int, (socket.SOL_SOCKET, socket.SCM_RIGHTS, socket.MSG_CMSG_CLOEXEC))
_SPACE = socket.CMSG_SPACE(4 * (FDS_LIMIT + 1))

log = logging.getLogger("mailsuite.net")


def encode(packet: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> bytes:
    """The octets of a packet, or of several as one, for send_encoded."""
    return b"J" + wire.encode(packet)


def together(packets: Sequence[bytes]) -> bytes:
    """One packet, an array, of several that `encode` made."""
    return b"J[" + b",".join([packet[1:] for packet in packets]) + b"]"


def send(sock: socket.socket, packet: Mapping[str, Any], fds: list[int]) -> None:
    """Raises OSError; BlockingIOError: nothing was sent."""
    send_encoded(sock, encode(packet), fds)


def send_encoded(sock: socket.socket, octets: bytes, fds: list[int]) -> None:
    """As send, for what encode made."""
    if len(octets) <= INLINE_LIMIT:
        if fds:
            sock.sendmsg([octets], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        else:
            sock.send(octets)
        return
    memory = os.memfd_create("mailsuite", os.MFD_CLOEXEC)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(octets[1:])
        socket.send_fds(sock, [b"M"], [memory, *fds])
    finally:
        os.close(memory)


def receive(sock: socket.socket) -> tuple[list[dict[str, Any]] | None, list[int]]:
    """The next packets and their descriptors; (None, []) at the end or when it makes no sense. Raises OSError."""
    octets, ancillary, _, _ = sock.recvmsg(INLINE_LIMIT + 16, _SPACE, _CLOEXEC)
    found: list[int] = []
    for level, kind, content in ancillary:
        if level == _SOL_SOCKET and kind == _SCM_RIGHTS:
            found += array.array("i", content[:len(content) & ~3])
    try:
        if octets[:1] == b"M" and found:
            memory = found.pop(0)
            try:
                size = min(os.fstat(memory).st_size, MESSAGE_LIMIT)
                packet = wire.decode(os.pread(memory, size, 0))
            finally:
                os.close(memory)
        else:
            packet = wire.decode(octets[1:]) if octets else None
        if isinstance(packet, dict):
            return [packet], found
        if isinstance(packet, list) and all(type(one) is dict for one in packet):
            return packet, found
    except ValueError:
        log.error("a worker's packet makes no sense")
    close_all(found)
    return None, []


def close_all(fds: list[int]) -> None:
    """Close descriptors that are ours."""
    for fd in fds:
        os.close(fd)
