"""A transport for a connection that is short: it costs no turn of the event loop to begin, and holds nothing back.

    begin(connection, sock)                 connection_made, at once
    begin(connection, sock, look=True)      and data_received with what the peer has said already
    begin(connection, sock, shared=True)    another process may still have the descriptor: the end is told all the same
    transport.take_socket()                 the socket back, for who goes on with it (TLS); the transport is over

uvloop's own transports are faster for each octet, but a login lives for two commands in the login process and often for
one in the user's worker; there, beginning and ending is most of the work. `pause_reading` takes the socket out of the
epoll set at once (uvloop leaves it there until something comes): a process that has given a connection away is not
woken by what its client says to the next one. That set is our own, and the event loop watches it as one descriptor:
to watch a socket takes one system call instead of uvloop's five, and no object of its.

The contract is asyncio.Transport's: connection_lost comes later, never from within a call of the protocol. What a
protocol raises is logged and ends its connection. The socket is non-blocking, and the transport's.
Limits: HIGH_WATER octets wait to be sent before the protocol is told to pause.
"""

import asyncio
import logging
import select
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

READ_SIZE = 128 * 1024
_WATCH = "mailsuite_watch"
AT_ONCE = 64                     # sockets that are read before the event loop has its turn
HIGH_WATER, LOW_WATER = 64 * 1024, 16 * 1024

log = logging.getLogger("mailsuite.net")


class _Watch:
    """The sockets of one event loop that may have something to read."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        # By descriptor: called when there is something to read, until the descriptor's end at the latest.
        self.reads: dict[int, Callable[[], None]] = {}

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "_Watch":
        # It lives on the loop itself: its readers know the loop, so a table of all loops would keep each for ever.
        watch: _Watch | None = getattr(loop, _WATCH, None)
        if watch is None:
            watch = cls()
            setattr(loop, _WATCH, watch)
            loop.add_reader(watch.epoll.fileno(), watch._ready)
        return watch

    def _ready(self) -> None:
        for fd, _ in self.epoll.poll(0, AT_ONCE):
            read = self.reads.get(fd)           # one that came before may have ended it
            if read is not None:
                read()


class PlainTransport(asyncio.Transport):
    """One socket's. Made by `begin`."""

    __slots__ = ("_closing", "_ends", "_fd", "_high", "_in_read", "_loop", "_low", "_over", "_paused", "_protocol",
                 "_reading", "_size", "_sock", "_unsent", "_watch", "_watched", "shared")

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: asyncio.Protocol, *,
                 shared: bool = False) -> None:
        """shared: at the end the peer hears it, whoever else has the descriptor; may be changed until then."""
        # Not super().__init__(): what it keeps is get_extra_info's, which is our own.
        self.shared = shared
        self._loop, self._sock, self._protocol = loop, sock, protocol
        self._watch: _Watch = getattr(loop, _WATCH, None) or _Watch.of(loop)
        self._fd = sock.fileno()
        self._unsent: deque[memoryview] = deque()
        self._size = 0                      # octets of them
        self._high, self._low = HIGH_WATER, LOW_WATER
        self._reading, self._watched = True, False      # watched: the loop calls `read`
        self._closing = self._over = self._paused = False
        self._in_read = self._ends = False              # ends: as soon as the protocol's call returns

    # --- reading ----------------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False
        if self._watched:
            self._watched = False
            watch = self._watch
            del watch.reads[self._fd]
            watch.epoll.unregister(self._fd)

    def resume_reading(self) -> None:
        self._reading = not self._closing
        self.watch()

    def watch(self) -> None:
        """Have the loop tell when there is something to read."""
        if self._reading and not self._watched:
            self._watched = True
            watch = self._watch
            watch.epoll.register(self._fd, select.EPOLLIN)
            watch.reads[self._fd] = self.read

    def read(self) -> None:
        """Take what the peer has said, if it has."""
        try:
            octets = self._sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        self._in_read = True
        try:
            if octets:
                self._protocol.data_received(octets)
            elif self._protocol.eof_received():
                self.pause_reading()
            else:
                self.close()
        except Exception:
            log.exception("unforeseen in a connection")
            self.abort()
        self._in_read = False
        if self._ends:                      # the protocol's call is over: no turn of the loop for that
            self._ends = False
            self._end(None)

    # --- writing ----------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send at once what the kernel takes, the rest when it can."""
        if self._closing or not data:
            return
        sent = 0
        if not self._unsent:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self._lose(error)
                return
            if sent == len(data):
                return
            self._loop.add_writer(self._fd, self._writable)
        self._unsent.append(memoryview(bytes(data))[sent:])
        self._size += len(data) - sent
        if self._size > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def _writable(self) -> None:
        try:
            while self._unsent:
                block = self._unsent[0]
                sent = self._sock.send(block)
                self._size -= sent
                if sent < len(block):
                    self._unsent[0] = block[sent:]
                    break
                self._unsent.popleft()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        if not self._unsent:
            self._loop.remove_writer(self._fd)
            if self._closing:
                self._loop.call_soon(self._end, None)
                return
        if self._paused and self._size <= self._low:
            self._paused = False
            self._protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self._size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low

    def can_write_eof(self) -> bool:
        return False

    # --- the end ----------------------------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Read no more; say what is still to be said, then end."""
        if not self._closing:
            self.pause_reading()
            self._closing = True
            if self._unsent:
                return
            if self._in_read:
                self._ends = True
            else:
                self._loop.call_soon(self._end, None)

    def abort(self) -> None:
        self._lose(None)

    def _lose(self, error: OSError | None) -> None:
        if self._over or self._closing and not self._unsent:
            return                          # its end is under way
        self.pause_reading()
        if self._unsent:
            self._loop.remove_writer(self._fd)
            self._unsent.clear()
            self._size = 0
        self._closing = True
        self._loop.call_soon(self._end, error)

    def _end(self, error: OSError | None) -> None:
        if self._over:
            return
        self._over = True
        try:
            self._protocol.connection_lost(error)
        except Exception:
            log.exception("unforeseen at a connection's end")
        finally:
            if self.shared:
                try:
                    self._sock.shutdown(socket.SHUT_RDWR)
                except OSError:             # the peer has gone first
                    pass
            self._sock.close()

    def take_socket(self) -> socket.socket:
        """For who goes on with the connection; nothing may be waiting to be sent."""
        assert not self._closing and not self._unsent
        self.pause_reading()
        self._closing = self._over = True
        return self._sock

    # --- who is who -------------------------------------------------------------------------------------------------

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """"socket", and "plain", which is the transport itself; nothing else is known."""
        return self._sock if name == "socket" else self if name == "plain" else default


def begin(connection: asyncio.Protocol, sock: socket.socket, *, look: bool = False,
          shared: bool = False) -> PlainTransport:
    """Tell the connection that it stands. look: what the peer has said already is taken before the loop watches."""
    transport = PlainTransport(asyncio.get_running_loop(), sock, connection, shared=shared)
    try:
        connection.connection_made(transport)
    except Exception:
        log.exception("unforeseen on a new connection")
        transport.abort()
    if look and transport._reading:
        transport.read()
    transport.watch()
    return transport
