"""Messages on the access service's sockets: one JSON line, descriptors beside it, from whoever may connect.

    message = await read_message(sock, fds)         raises OSError, ValueError; descriptors are added to fds
    say(sock, {...}, ...)                           lines that fit into an empty buffer; who is gone needs none
    peer_uid(sock)                                  who is at the other end

Limits: MESSAGE_LIMIT octets of a message.
"""

import array
import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

MESSAGE_LIMIT = 1 << 20


async def read_message(login: socket.socket, fds: list[int]) -> dict[str, Any]:
    """The JSON line of a login process; descriptors beside it are added to fds. Raises OSError, ValueError."""
    received = bytearray()
    while not received.endswith(b"\n"):
        await _readable(login)
        try:
            octets, ancillary, _, _ = login.recvmsg(65536, socket.CMSG_SPACE(4 * 4), socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            continue
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
                fds.extend(numbers)
        if not octets:
            raise ValueError("it ended early")
        received += octets
        if len(received) > MESSAGE_LIMIT:
            raise ValueError("its message is too long")
    message = json.loads(received)
    if not isinstance(message, dict):
        raise ValueError("its message is no object")
    return message


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock.fileno(), lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(sock.fileno())


def say(sock: socket.socket, *messages: Mapping[str, Any]) -> None:
    """A few octets into an empty buffer; who is gone needs none."""
    with contextlib.suppress(OSError):
        sock.send(b"".join(json.dumps(message).encode() + b"\n" for message in messages))


def peer_uid(sock: socket.socket) -> int:
    """Who is at the other end of a Unix socket."""
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", packed)[1]
    return uid
