"""A connection whose octets can be compressed from some moment on (IMAP's COMPRESS=DEFLATE, RFC 4978).

    class Mine(DeflatingConnection): ...
    connection.send(last plain words); connection.deflate(level=6)      all after that is compressed, both ways

Raw deflate without a header; what is written is flushed at once, so that the peer can read it. What comes is inflated
in pieces of PIECE octets, one in each turn of the event loop, and no further while the session takes nothing: a few
octets that inflate to gigabytes are read as slowly as if they had come so. Octets that are no deflate stream end the
connection. Memory: some 200 KB a connection, MEMORY_LEVEL is what zlib's deflateInit2 takes.
"""

import asyncio
import zlib
from typing import Any

from mailsuite.net.driver import Connection

PIECE = 64 * 1024
MEMORY_LEVEL = 5
_WINDOW = -15                   # raw deflate


class _Deflating:
    """A transport that compresses what is written; all else is the other transport's."""

    def __init__(self, transport: asyncio.Transport, level: int) -> None:
        self._transport = transport
        self._compress = zlib.compressobj(level, zlib.DEFLATED, _WINDOW, MEMORY_LEVEL)

    def write(self, octets: bytes) -> None:
        if octets:
            self._transport.write(self._compress.compress(octets) + self._compress.flush(zlib.Z_SYNC_FLUSH))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class DeflatingConnection(Connection):
    """See the module."""

    _inflate: Any = None                # zlib's decompression object, once deflate() was called
    octets_in = 0                       # read from the wire
    _waiting = b""                      # compressed octets that are not inflated yet
    _more = False                       # zlib holds octets that it has inflated
    _inflating: asyncio.Handle | None = None

    @property
    def deflating(self) -> bool:
        return self._inflate is not None

    def deflate(self, level: int = 6) -> None:
        """Compress from here on. Called once, while a question is open: nothing of the peer's is under way then."""
        assert self._transport is not None and self._inflate is None
        self._inflate = zlib.decompressobj(_WINDOW)
        self._transport = _Deflating(self._transport, level)    # type: ignore[assignment]  # it has all that is used

    def data_received(self, octets: bytes) -> None:
        self.octets_in += len(octets)
        if self._inflate is None:
            super().data_received(octets)
            return
        self._waiting += octets
        if self._inflating is None:
            self._next_piece()
        if len(self._waiting) > PIECE:
            self._pause()

    def _next_piece(self) -> None:
        self._inflating = None
        if self._closing or self._gone:
            return
        if self._task is not None and self.session is not None and self.session.backlog:
            return                      # it has enough to do; _resume comes back
        try:
            octets = self._inflate.decompress(self._waiting, PIECE)
        except zlib.error as error:
            self._close_reason = f"COMPRESS: {error}"
            self.abort()
            return
        self._waiting, self._more = self._inflate.unconsumed_tail, len(octets) == PIECE
        if octets:
            super().data_received(octets)
        if self._inflating is None and self._more:
            self._inflating = self._loop.call_soon(self._next_piece)
        elif self._task is None:
            self._resume()

    def _resume(self) -> None:
        if len(self._waiting) <= PIECE:         # else each of many small answers would let in one more read
            super()._resume()
        if (self._waiting or self._more) and self._inflating is None:
            self._inflating = self._loop.call_soon(self._next_piece)
