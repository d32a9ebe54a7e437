"""Accepted sockets on their way to another process: master.cf's service type `pass`.

    await pass_socket("/var/spool/postfix/private/smtpd", sock, peer)      the sender; raises OSError
    peer, sock = await take_socket(link)                                  the receiver, for one accepted connection

One line of JSON (both ends of the client's connection, as a PROXY header may have told them), the socket beside it.
Only processes of mail_owner reach these sockets.
"""

import asyncio
import json
import os
import socket

from mailsuite.base.dialogue import Peer

LIMIT = 4096
TIMEOUT_S = 10.0


async def pass_socket(path: str, sock: socket.socket, peer: Peer) -> None:
    """Send a copy; the caller keeps (and closes) its own. Raises OSError: nobody listens there."""
    loop = asyncio.get_running_loop()
    told = {"address": peer.address, "port": peer.port, "server_address": peer.server_address,
            "server_port": peer.server_port}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.setblocking(False)
        while True:
            try:
                await loop.sock_connect(link, path)
                break
            except BlockingIOError:
                await asyncio.sleep(0.05)       # the backlog is full: smtpd is busy; the caller has a time limit
        socket.send_fds(link, [json.dumps(told).encode() + b"\n"], [sock.fileno()])


async def take_socket(link: socket.socket) -> tuple[Peer, socket.socket]:
    """Raises OSError, ValueError. Closes the link."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    with link:
        link.setblocking(False)
        loop.add_reader(link.fileno(), readable.set)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await readable.wait()
            octets, fds, _, _ = socket.recv_fds(link, LIMIT, 4)
        finally:
            loop.remove_reader(link.fileno())
    try:
        if len(fds) != 1:
            raise ValueError("no socket came with it")
        told = json.loads(octets)
        peer = Peer(str(told["address"]), int(told["port"]), str(told["server_address"]), int(told["server_port"]))
        sock = socket.socket(fileno=fds[0])
    except (ValueError, KeyError, TypeError, OSError) as error:
        for fd in fds:
            os.close(fd)
        raise ValueError(f"a passed socket makes no sense: {error}") from error
    sock.setblocking(False)
    return peer, sock
