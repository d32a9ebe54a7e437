"""memcached, by its text protocol: get, set, delete.

    MemcachedDriver("inet:cache:11211", "inet:[::1]:11211", "unix:/run/memcached.sock")    one place
    connection.get(b"key", deadline) -> octets | None        connection.set(b"key", b"value", flags=0, ttl_s=3600, ...)

A key has 1 to 250 octets without blanks and control characters (`usable`): others cannot be in a cache. Replies have
limits.
Source: memcached's doc/protocol.txt.
"""

import os
import re
import socket

from mailsuite.database.errors import Broken, Unreachable
from mailsuite.database.pool import Deadline
from mailsuite.database.sql import SqlPlace

KEY_LIMIT = 250
_VALUE = re.compile(rb"VALUE \S+ \d+ (\d{1,10})(?: \d+)?")


def usable(key: bytes) -> bool:
    """Whether a cache can have this key."""
    return 0 < len(key) <= KEY_LIMIT and not any(octet <= 0x20 or octet == 0x7F for octet in key)


def place_of(text: str) -> SqlPlace:
    """Where the server listens. Raises ValueError with Postfix's words."""
    kind, colon, rest = text.partition(":")
    if not colon or not rest:
        raise ValueError(f"need service transport:endpoint instead of \"{text}\"")
    if kind == "unix":
        return SqlPlace(rest, path=rest)
    if kind != "inet":
        raise ValueError(f"invalid transport name: {kind} in service: {text}")
    host, _, port = rest.rpartition(":")
    if not host:
        raise ValueError(f"{rest}: garbage after numerical service")
    return SqlPlace(rest, host=host.strip("[]"), port=port)


class MemcachedDriver:
    """One server. label: what complaints about its replies begin with."""

    in_order = True

    def __init__(self, server: str, *, label: str = "", line_limit: int = 1024, data_limit: int = 10240) -> None:
        self.places = [place_of(server)]
        self._label, self._line_limit, self._data_limit = label, line_limit, data_limit

    def connect(self, place: SqlPlace, deadline: Deadline) -> "MemcachedConnection":
        try:
            if place.path:
                peer = socket.socket(socket.AF_UNIX)
                peer.settimeout(deadline.left())
                peer.connect(place.path)
            else:
                port = place.port if str(place.port).isdigit() else socket.getservbyname(str(place.port), "tcp")
                peer = socket.create_connection((place.host, int(port)), deadline.left())
        except OSError as error:
            why = "Connection timed out" if isinstance(error, TimeoutError) else error.strerror or str(error)
            raise Unreachable(f"connect to {place.name}: {why}", cause=why) from error
        return MemcachedConnection(peer, self._line_limit, self._data_limit)

    def broken(self, place: SqlPlace, error: Broken) -> str:
        return f"{self._label}{error}"


class MemcachedConnection:
    """A connection. All of its methods raise Broken: the framing is lost, or the peer is."""

    def __init__(self, peer: socket.socket, line_limit: int, data_limit: int) -> None:
        self._peer, self._line_limit, self._data_limit = peer, line_limit, data_limit
        self._buffer = b""

    def get(self, key: bytes, deadline: Deadline) -> bytes | None:
        """The value, None when there is none."""
        self._send(b"get %b\r\n" % key, deadline)
        line = self._line(deadline)
        if line == b"END":
            return None
        match = _VALUE.fullmatch(line)
        if match is None or int(match[1]) > self._data_limit:
            raise self._unexpected(line)
        value = self._take(int(match[1]) + 2, deadline)
        end = self._line(deadline)
        if value[-2:] != b"\r\n" or end != b"END":
            raise self._unexpected(end)
        return value[:-2]

    def set(self, key: bytes, value: bytes, deadline: Deadline, *, flags: int = 0, ttl_s: int = 0) -> bool:
        """Whether the server stored it."""
        self._send(b"set %b %d %d %d\r\n%b\r\n" % (key, flags, ttl_s, len(value), value), deadline)
        return self._line(deadline) == b"STORED"

    def delete(self, key: bytes, deadline: Deadline) -> bool:
        """Whether it was there."""
        self._send(b"delete %b\r\n" % key, deadline)
        line = self._line(deadline)
        if line not in (b"DELETED", b"NOT_FOUND"):
            raise self._unexpected(line)
        return line == b"DELETED"

    @staticmethod
    def _unexpected(line: bytes) -> Broken:
        return Broken(f"unexpected memcache server reply: {line[:200].decode('utf-8', 'replace')}", timed_out=True)

    def _send(self, octets: bytes, deadline: Deadline) -> None:
        if self._buffer:
            raise self._unexpected(self._buffer)
        try:
            self._peer.settimeout(deadline.left())
            self._peer.sendall(octets)
        except OSError as error:
            raise self._lost(error) from error

    @staticmethod
    def _lost(error: OSError) -> Broken:
        late = isinstance(error, TimeoutError)
        why = "Connection timed out" if late else os.strerror(error.errno) if error.errno else str(error)
        return Broken(f"memcache server: {why}", timed_out=late, cause=why)

    def _fill(self, deadline: Deadline) -> None:
        try:
            self._peer.settimeout(deadline.left())
            block = self._peer.recv(65536)
        except OSError as error:
            raise self._lost(error) from error
        if not block:
            raise Broken("memcache server: lost connection")
        self._buffer += block

    def _line(self, deadline: Deadline) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > self._line_limit:
                raise self._unexpected(self._buffer)
            self._fill(deadline)
        line, _, self._buffer = self._buffer.partition(b"\n")
        if len(line) > self._line_limit:
            raise self._unexpected(line)
        return line.removesuffix(b"\r")

    def _take(self, size: int, deadline: Deadline) -> bytes:
        while len(self._buffer) < size:
            self._fill(deadline)
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def close(self) -> None:
        self._peer.close()
