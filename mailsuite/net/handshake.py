"""The server's side of a TLS handshake on a connection that is there already.

    transport = await secure(protocol, sock, context, timeout_s)        implicit TLS, or sock of a PlainTransport
    transport = await upgrade(transport, protocol, context, timeout_s)  one of the event loop's transports

Both raise OSError (ssl.SSLError among them) when it failed; a client that can be told why has been told by then.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Iterator

from mailsuite.tls.failures import alert_of


async def secure(protocol: asyncio.Protocol, sock: socket.socket, context: ssl.SSLContext,
                 timeout_s: float) -> asyncio.Transport:
    """sock is the transport's from now on, closed when the handshake fails."""
    with _telling(sock.fileno()):
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, sock, ssl=context, ssl_handshake_timeout=timeout_s)
        except BaseException:
            sock.close()
            raise
    return transport


async def upgrade(transport: asyncio.Transport, protocol: asyncio.Protocol, context: ssl.SSLContext,
                  timeout_s: float) -> asyncio.Transport | None:
    """The transport of what comes next; None when the connection went away meanwhile."""
    with _telling(transport.get_extra_info("socket").fileno()):
        return await asyncio.get_running_loop().start_tls(transport, protocol, context, server_side=True,
                                                          ssl_handshake_timeout=timeout_s)


@contextlib.contextmanager
def _telling(fd: int) -> Iterator[None]:
    """Send the alert of a handshake that fails within.

    The event loop closes its own descriptor before anybody hears of the failure.
    """
    spare = os.dup(fd)
    try:
        yield
    except OSError as error:
        if alert := alert_of(error):
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(spare)) as client:
                client.send(alert, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        raise
    finally:
        os.close(spare)
