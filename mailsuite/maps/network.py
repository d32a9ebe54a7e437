"""Tables behind a socket: tcp:host:port and socketmap:inet:host:port:name, socketmap:unix:path:name.

Look-ups suspend; a small pool of connections is kept, each serving one look-up at a time. A connection that died while
idle is replaced once; then, and after table_time_limit, the table could not be asked. Replies have a limit.
Source: tcp_table(5), socketmap_table(5).
"""

import asyncio
import os
import re
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from mailsuite.base.streams import put
from mailsuite.maps.params import (
    SOCKETMAP_MAX_REPLY_SIZE,
    TABLE_CONNECTION_LIMIT,
    TABLE_IDLE_LIMIT,
    TABLE_TIME_LIMIT,
)
from mailsuite.maps.table import BadTable, Table, TableError, refuse_untrusted

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource

TCP_REPLY_LIMIT = 4096      # octets of a reply, its newline included: tcp_table(5)
# The far end is away or does not keep to the protocol.
_BROKEN = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)


class _Connection:
    """An open connection and when it was last used."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.used = reader, writer, time.monotonic()


class NetworkTable(Table):
    """What both protocols share: the pool. A subclass asks over one connection with `exchange`."""

    waits = True
    pattern = True      # Postfix asks such servers for whole keys only
    endpoint = ""       # to tell of when it cannot be connected to; "": `failure` says it

    def __init__(self, type: str, name: str, source: "MapSource") -> None:
        super().__init__(type, name)
        refuse_untrusted(self, source)
        settings, self._log = source.settings, source.log
        self._limit, self._idle_s = settings[TABLE_CONNECTION_LIMIT], settings[TABLE_IDLE_LIMIT]
        self._timeout_s = settings[TABLE_TIME_LIMIT]
        self._idle: list[_Connection] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(self._limit)

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
            self._idle, self._loop, self._slots = [], loop, asyncio.Semaphore(self._limit)
        try:
            async with asyncio.timeout(self._timeout_s), self._slots:
                return await self._ask_reused(key)
        except TimeoutError as error:
            raise self.failure(error) from error

    async def _ask_reused(self, key: str) -> str | None:
        while self._idle:
            connection = self._idle.pop()
            if time.monotonic() - connection.used > self._idle_s or connection.reader.at_eof():
                connection.writer.close()
                continue
            try:
                return await self._over(connection, key)
            except _BROKEN:
                break                   # it may have been closed while we asked: once more, on a new one
        try:
            return await self._over(await self._connected(), key)
        except _BROKEN as error:
            if isinstance(error, TimeoutError):
                raise
            raise self.failure(error) from error

    async def _connected(self) -> _Connection:
        try:
            return _Connection(*await self.connect())
        except OSError as error:
            if self.endpoint and not isinstance(error, TimeoutError):
                self._log.warning("connect to %s: %s", self.endpoint, _reason(error))
            raise

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
        return "unexpected EOF"
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error)


def _cause(error: BaseException) -> str:
    return _reason(error) if isinstance(error, OSError) else "Application error"


def _host_port(text: str) -> tuple[str, int | str]:
    """"host:port", "[host]:port", ":port". Raises BadTable in Postfix's words."""
    host, colon, port = text.rpartition(":")
    if not colon:
        if not text.isdigit():
            raise BadTable(f"{text}: garbage after numerical service" if text[:1].isdigit() else
                           f"need host:port instead of \"{text}\"")
        port = text
    if not port or "/" in port:
        raise BadTable(f"need host:port instead of \"{text}\"")
    return (host.removeprefix("[").removesuffix("]") or "localhost"), int(port) if port.isdigit() else port


_PLAIN = frozenset(range(0x21, 0x7F)) - {0x25}
_CODED = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class TcpTable(NetworkTable):
    """tcp: "get key" -> "200 value", "500 not found", "400 error"; octets outside printable ASCII as %XX."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name, source)
        self._host, self._port = _host_port(name)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port, limit=TCP_REPLY_LIMIT)

    def failure(self, error: BaseException) -> TableError:
        reason = _reason(error)
        if isinstance(error, asyncio.LimitOverrunError):
            reason = f"text longer than {TCP_REPLY_LIMIT}"
        return TableError(f"connect to TCP map {self.name}: {reason}" if isinstance(error, OSError)
                          else f"read TCP map reply from {self.name}: {reason}", cause=_cause(error))

    async def exchange(self, connection: _Connection, key: str) -> str | None:
        octets = key.encode("utf-8", "surrogateescape")
        coded = "".join(chr(one) if one in _PLAIN else f"%{one:02X}" for one in octets)
        put(connection.writer, f"get {coded}\n".encode("ascii"))
        line = await connection.reader.readuntil(b"\n")
        if len(line) > TCP_REPLY_LIMIT:
            raise ValueError(f"text longer than {TCP_REPLY_LIMIT}")
        line = line.rstrip(b"\r\n")
        code, text = line[:3], line[4:]
        shown = line[:200].decode("utf-8", "replace")
        value = unquote_to_bytes(text).decode("utf-8", "surrogateescape")
        if not code.isdigit() or line[3:4] not in (b" ", b"\t") or _CODED.search(text) or "\0" in value:
            raise ValueError(f"malformed reply: {shown}")
        if code == b"200":
            return value
        if code == b"500":
            return None
        if code == b"400":
            raise TableError(f"{self.spec}: {value}")
        raise ValueError(f"bad status code: {shown}")


_WHY = {"TEMP": "temporary", "TIMEOUT": "timeout", "PERM": "permanent"}


class SocketmapTable(NetworkTable):
    """socketmap: netstrings "name key" -> "OK value", "NOTFOUND ", "TEMP reason", "TIMEOUT reason", "PERM reason"."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name, source)
        server, _, self._map = name.rpartition(":")
        if not server or not self._map:
            raise BadTable("socketmap requires server:socketmap argument")
        kind, colon, place = server.partition(":")
        if not colon or not place:
            raise BadTable(f"need service transport:endpoint instead of \"{server}\"")
        self._path, self.endpoint = "", place
        if kind == "unix":
            self._path = os.path.join(source.settings.text("queue_directory"), place)
        elif kind == "inet":
            self._host, self._port = _host_port(place)
        else:
            raise BadTable(f"invalid transport name: {kind} in service: {server}")
        self._reply_limit = source.settings[SOCKETMAP_MAX_REPLY_SIZE]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._path:
            return await asyncio.open_unix_connection(self._path)
        return await asyncio.open_connection(self._host, self._port)

    def failure(self, error: BaseException) -> TableError:
        reason = "unexpected disconnect" if isinstance(error, EOFError) else _reason(error)
        return TableError(f"table {self.spec} lookup error: {reason}", cause=_cause(error))

    async def exchange(self, connection: _Connection, key: str) -> str | None:
        query = f"{self._map} {key}".encode("utf-8", "surrogateescape")
        put(connection.writer, b"%d:%b," % (len(query), query))
        reply = await self._netstring(connection.reader)
        word, _, text = reply.decode("utf-8", "surrogateescape").partition(" ")
        if "\0" in text:
            raise ValueError("input format error")
        if word == "OK":
            return text
        if word == "NOTFOUND":
            return None
        raise TableError(f"{self.spec} socketmap server {_WHY.get(word, 'unknown')} error"
                         + (f": {text}" if text else ""), config=word == "PERM")

    async def _netstring(self, reader: asyncio.StreamReader) -> bytes:
        """Raises ValueError in Postfix's words, EOFError, OSError."""
        digits = b""
        while (octet := await reader.readexactly(1)) != b":":
            digits += octet
            if not octet.isdigit() or len(digits) > 9:
                raise ValueError("input format error")
        if not digits:
            raise ValueError("input format error")
        size = int(digits)
        if size > self._reply_limit:
            raise ValueError("input exceeds size limit")
        reply = await reader.readexactly(size + 1)
        if reply[-1:] != b",":
            raise ValueError("input format error")
        return reply[:-1]
