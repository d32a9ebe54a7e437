"""Keeps a TLS connection going for a process that has no keys: client <-> TLS here <-> socketpair <-> user's worker.

    start_relay(loop, connection, our_end)

Both ways: blocks as they come, reading stops while the other side is slow (each direction on its own), what was
taken is delivered before an end is passed on.
"""

import asyncio
import socket

from mailsuite.net.driver import Connection

LINGER_S = 1.0                   # how long an end may take once all is said...
LINGER_TRIES = 30                # ...and how often that is granted while octets wait to be read
HIGH_WATER = 256 * 1024          # octets that may wait on either side before reading stops


class Side(asyncio.Protocol):
    """One end; `other` is where its octets go."""

    def __init__(self) -> None:
        self.other: Side | None = None
        self.transport: asyncio.Transport | None = None
        self.gone = False

    def attach(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.attach(transport)              # type: ignore[arg-type]  # asyncio types the base class only

    def data_received(self, octets: bytes) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.gone:
            self.other.transport.write(octets)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.gone:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.gone:
            self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        if self.other is not None:
            self.other.finish()

    def finish(self, patience: int = LINGER_TRIES) -> None:
        """Close after what still waits in the buffer; a peer that never answers the end of TLS is not waited for."""
        if self.transport is None or self.gone:
            return
        self.transport.close()
        asyncio.get_running_loop().call_later(LINGER_S, self._finished, patience)

    def _finished(self, patience: int) -> None:
        if self.transport is None or self.gone:
            return
        if patience and self.transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(LINGER_S, self._finished, patience - 1)
        else:
            self.transport.abort()


class Outer(Side):
    """The client's side; the driver's Connection learns of the end."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._connection.connection_lost(exc)


async def start_relay(connection: Connection, pair_end: socket.socket) -> None:
    """Join a held connection and our end of the pair, for good. Raises OSError."""
    outer, inner = Outer(connection), Side()
    # Both know each other before either reads: the worker may have spoken already.
    outer.other, inner.other = inner, outer
    outer.attach(connection.detach(outer))
    assert outer.transport is not None
    try:
        await asyncio.get_running_loop().create_connection(lambda: inner, sock=pair_end)
    except OSError:
        outer.transport.abort()
        raise
    if outer.gone or outer.transport.is_closing():
        inner.finish()
        return
    outer.transport.resume_reading()
