"""Tables behind a socket: tcp:host:port and socketmap:inet:host:port:name, socketmap:unix:path:name.

Look-ups suspend; a small pool of connections is kept, each serving one look-up at a time. A connection that died while
idle is replaced once; then, and after TIMEOUT_S, the table could not be asked. Replies have a limit.
Source: tcp_table(5), socketmap_table(5).
"""

import asyncio
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from mailsuite.maps.table import BadTable, Table, TableError

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource

TIMEOUT_S = 30.0            # for one look-up, connecting included
IDLE_S = 10.0               # a connection unused for longer is closed
POOL_LIMIT = 8              # connections, and look-ups under way; more wait
TCP_REPLY_LIMIT = 4096
SOCKETMAP_REPLY_LIMIT = 100000
# The far end is away or does not keep to the protocol.
_BROKEN = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)


class _Connection:
    """An open connection and when it was last used."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.used = reader, writer, time.monotonic()


class NetworkTable(Table):
    """What both protocols share: the pool. A subclass asks over one connection with `exchange`."""

    waits = True

    def __init__(self, type: str, name: str, source: "MapSource") -> None:
        super().__init__(type, name)
        self._idle: list[_Connection] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(POOL_LIMIT)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise NotImplementedError

    async def exchange(self, connection: _Connection, key: str) -> str | None:
        """One question. Raises TableError (the answer was an error), OSError, EOFError, ValueError (broken)."""
        raise NotImplementedError

    def failure(self, error: BaseException) -> TableError:
        """What to log when the far end cannot be reached or breaks the protocol."""
        raise NotImplementedError

    async def ask(self, key: str) -> str | None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:      # a pool belongs to one loop
            self._idle, self._loop, self._slots = [], loop, asyncio.Semaphore(POOL_LIMIT)
        try:
            async with asyncio.timeout(TIMEOUT_S), self._slots:
                return await self._ask_reused(key)
        except TimeoutError as error:
            raise self.failure(error) from error

    async def _ask_reused(self, key: str) -> str | None:
        while self._idle:
            connection = self._idle.pop()
            if time.monotonic() - connection.used > IDLE_S or connection.reader.at_eof():
                connection.writer.close()
                continue
            try:
                return await self._over(connection, key)
            except _BROKEN:
                break                   # it may have been closed while we asked: once more, on a new one
        try:
            return await self._over(_Connection(*await self.connect()), key)
        except _BROKEN as error:
            if isinstance(error, TimeoutError):
                raise
            raise self.failure(error) from error

    async def _over(self, connection: _Connection, key: str) -> str | None:
        keep = False
        try:
            answer = await self.exchange(connection, key)
            keep = True
            return answer
        except TableError:
            keep = True
            raise
        finally:
            if keep:
                connection.used = time.monotonic()
                self._idle.append(connection)
            else:
                connection.writer.close()

    def close(self) -> None:
        for connection in self._idle:
            connection.writer.close()
        self._idle.clear()


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "Connection timed out"
    if isinstance(error, EOFError):
        return "lost connection"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error)


def _host_port(text: str) -> tuple[str, int | str]:
    host, _, port = text.rpartition(":")
    return (host.strip("[]") or "localhost"), int(port) if port.isdigit() else port


_PLAIN = frozenset(range(0x21, 0x7F)) - {0x25}


class TcpTable(NetworkTable):
    """tcp: "get key" -> "200 value", "500 not found", "400 error"; octets outside printable ASCII as %XX."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name, source)
        self._host, self._port = _host_port(name)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port, limit=TCP_REPLY_LIMIT)

    def failure(self, error: BaseException) -> TableError:
        reason = _reason(error)
        return TableError(f"connect to TCP map {self.name}: {reason}" if isinstance(error, OSError)
                          else f"read TCP map reply from {self.name}: {reason}", cause=reason)

    async def exchange(self, connection: _Connection, key: str) -> str | None:
        octets = key.encode("utf-8", "surrogateescape")
        coded = "".join(chr(one) if one in _PLAIN else f"%{one:02X}" for one in octets)
        connection.writer.write(f"get {coded}\n".encode("ascii"))
        line = await connection.reader.readuntil(b"\n")
        code, _, text = line.rstrip(b"\r\n").partition(b" ")
        value = unquote_to_bytes(text).decode("utf-8", "surrogateescape")
        if code == b"200":
            return value
        if code == b"500":
            return None
        if code == b"400":
            raise TableError(f"{self.spec}: {value}")
        raise ValueError("unexpected reply")


class SocketmapTable(NetworkTable):
    """socketmap: netstrings "name key" -> "OK value", "NOTFOUND ", "TEMP reason", "TIMEOUT reason", "PERM reason"."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name, source)
        server, colon, self._map = name.rpartition(":")
        if not colon or not server or not self._map:
            raise BadTable("socketmap requires server:socketmap argument")
        kind, _, place = server.partition(":")
        if kind == "unix":
            folder = source.settings.text("queue_directory")
            self._path = place if place.startswith("/") else os.path.join(folder, place)
        elif kind == "inet":
            self._path = ""
            self._host, self._port = _host_port(place)
        else:
            raise BadTable(f"{self.spec}: server type must be inet or unix")
        self._server = place

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._path:
            return await asyncio.open_unix_connection(self._path)
        return await asyncio.open_connection(self._host, self._port)

    def failure(self, error: BaseException) -> TableError:
        reason = _reason(error)
        return TableError(f"table {self.spec} lookup error: {reason}", cause=reason)

    async def exchange(self, connection: _Connection, key: str) -> str | None:
        query = f"{self._map} {key}".encode("utf-8", "surrogateescape")
        connection.writer.write(b"%d:%b," % (len(query), query))
        reader = connection.reader
        digits = b""
        while (octet := await reader.readexactly(1)) != b":":
            digits += octet
            if not octet.isdigit() or len(digits) > 9:
                raise ValueError("netstring format error")
        size = int(digits or b"0")
        if size > SOCKETMAP_REPLY_LIMIT:
            raise ValueError("unreasonable reply size")
        reply = await reader.readexactly(size)
        if await reader.readexactly(1) != b",":
            raise ValueError("netstring format error")
        word, _, text = reply.decode("utf-8", "surrogateescape").partition(" ")
        if word == "OK":
            return text
        if word == "NOTFOUND":
            return None
        raise TableError(f"{self.spec}: {word}: {text}", cause="Application error")
