"""A handed-over connection, from its first octet to its end; the same for IMAP and POP3.

    reason = await converse(sock, handover, connection, handler.ended, world,
                            goodbye=lambda: handler.session.end("Server shutting down"))
"""

import asyncio
import socket
from collections.abc import Callable

from mailsuite.access.handover import HandOver
from mailsuite.access.world import UserWorld
from mailsuite.base.dialogue import Action
from mailsuite.net import plain
from mailsuite.net.driver import Connection


async def converse(sock: socket.socket, handover: HandOver, connection: Connection, ended: asyncio.Future[str],
                   world: UserWorld, *, goodbye: Callable[[], list[Action]]) -> str:
    """Run connection on sock until its handler sets `ended`; say goodbye when the worker stops. Returns the reason."""
    # What the login has read comes before what is still in the socket, be that its end.
    connection.tls, connection.first = handover.tls, handover.octets
    # It begins first: a worker that is stopping already says goodbye at once, and that is the session's to say.
    # Shared: the login process may not have let go of the socket yet.
    plain.begin(connection, sock, look=True, shared=True)
    def say_goodbye() -> None:
        if not ended.done():
            connection.perform(goodbye())

    try:
        world.begin(say_goodbye, handover.session_id)
        return await ended
    finally:
        world.over(say_goodbye)
