"""A client and the server that it was passed on to, joined until one of them goes.

    end = join(connection, remote, to_server, heard, ended)     both are paused; ended(Ended) is called once, at last
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from mailsuite.access.proxy_remote import Remote
from mailsuite.access.relay import Outer, Side
from mailsuite.net.driver import Connection


@dataclass(frozen=True)
class Ended:
    """by: who closed first: "client", "server", or "admin" (doveadm proxy kick). error: "" when orderly.

    octets_in: to the server, octets_out: to the client.
    """

    by: str
    error: str
    idle_s: int
    octets_in: int
    octets_out: int


class _Watch:
    """What both sides count."""

    def __init__(self, ended: Callable[[Ended], None], octets_in: int, octets_out: int) -> None:
        self._ended: Callable[[Ended], None] | None = ended
        self.octets_in, self.octets_out = octets_in, octets_out
        self.last = time.monotonic()

    def over(self, by: str, error: Exception | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(Ended(by, str(error or ""), int(time.monotonic() - self.last), self.octets_in,
                        self.octets_out))


class _ClientSide(Outer):
    def __init__(self, connection: Connection, watch: _Watch) -> None:
        super().__init__(connection)
        self._watch = watch

    def data_received(self, octets: bytes) -> None:
        self._watch.octets_in += len(octets)
        self._watch.last = time.monotonic()
        super().data_received(octets)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.over("client", exc)
        super().connection_lost(exc)


class _ServerSide(Side):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def data_received(self, octets: bytes) -> None:
        self._watch.octets_out += len(octets)
        self._watch.last = time.monotonic()
        super().data_received(octets)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.over("server", exc)
        super().connection_lost(exc)


def join(connection: Connection, remote: Remote, to_server: bytes, heard: int, ended: Callable[[Ended], None]
         ) -> Callable[[], None]:
    """to_server: what the client has already sent behind its login. heard: octets it was sent until now.

    Returns what ends it early.
    """
    assert remote.transport is not None
    watch = _Watch(ended, remote.sent, heard)
    outer, inner = _ClientSide(connection, watch), _ServerSide(watch)
    outer.other, inner.other = inner, outer
    outer.attach(connection.detach(outer))
    inner.attach(remote.transport)
    remote.transport.set_protocol(inner)
    inner.data_received(remote.login_octets + bytes(remote.rest))
    if to_server:
        outer.data_received(to_server)
    assert outer.transport is not None and inner.transport is not None
    for side, transport in ((inner, outer.transport), (outer, inner.transport)):
        if transport.is_closing():
            side.finish()
        elif side.transport is not None and not side.transport.is_closing():
            side.transport.resume_reading()

    def kick() -> None:
        watch.over("admin", None)
        connection.abort()

    return kick
