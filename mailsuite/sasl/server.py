"""The auth service: Dovecot's `auth`, on the Unix sockets that `service auth { unix_listener ... }` declares.

A socket's file name says what is spoken there: "*userdb" user lookups, "*master" all master requests, anything else
the client protocol (that is Dovecot's rule too). The master makes the sockets with their modes and owners; this
process reads the databases, so it keeps the rights it was started with.

Successful logins wait KEEP_S seconds for the access service to ask whose they were, KEPT_LIMIT of them at most.
"""

import asyncio
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigErrors
from mailsuite.base.huge_pages import Busy
from mailsuite.base.log import access_logger
from mailsuite.base.turns import Stay
from mailsuite.net.accepting import accept_protocols
from mailsuite.net.params import HUGE_PAGES_AFTER
from mailsuite.net.service import Listener, ServiceContext
from mailsuite.sasl import grant as grants
from mailsuite.sasl.client_protocol import ClientSession
from mailsuite.sasl.master_protocol import MasterSession
from mailsuite.sasl.penalty import Penalties, PenaltyRules
from mailsuite.sasl.pool import HashPool
from mailsuite.sasl.request import AuthRequest
from mailsuite.sasl.service import AuthService

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings

KEEP_S = 60.0
KEPT_LIMIT = 100_000

log = access_logger("auth")


class AuthHub:
    """What all connections of this process share."""

    def __init__(self, service: AuthService, busy: Busy | None = None) -> None:
        """busy: counts authentications."""
        self.service, self.stay, self.busy = service, Stay(), busy or Busy(0)
        self.sealer: grants.Sealer | None = None       # from the access service
        self._uid = 0
        self._kept: dict[tuple[int, int, str], tuple[float, AuthRequest, AuthService]] = {}

    def next_connection_uid(self) -> int:
        self._uid += 1
        return self._uid

    def keep(self, pid: int, number: int, cookie: str, request: AuthRequest, service: AuthService) -> None:
        self._forget_old()
        self._kept[pid, number, cookie] = (time.monotonic() + KEEP_S, request, service)

    def _forget_old(self) -> None:
        """The oldest stand first."""
        now = time.monotonic()
        while self._kept:
            key = next(iter(self._kept))
            if self._kept[key][0] > now and len(self._kept) < KEPT_LIMIT:
                return
            del self._kept[key]

    def take(self, pid: int, number: int, cookie: str) -> tuple[AuthRequest, AuthService] | None:
        # A cookie has 128 random bits; a dictionary's look-up tells nothing useful of it by time.
        kept = self._kept.pop((pid, number, cookie), None)
        return None if kept is None or kept[0] < time.monotonic() else (kept[1], kept[2])

    def closing(self, cookie: str) -> None:
        """A client's kept requests stay: the login process may end while the access service asks."""

    def flush(self, users: Sequence[str]) -> int:
        self.service.databases.files.forget()
        return self.service.cache.flush(users)

    def report(self) -> None:
        """SIGUSR2: what the cache is good for, as Dovecot tells it."""
        for line in self.service.cache.report():
            log.info("%s", line)


class _Connection(asyncio.Protocol):
    """One connection of either protocol."""

    def __init__(self, hub: AuthHub, listener: Listener, kind: str) -> None:
        self._hub, self._listener, self._kind = hub, listener, kind

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # typed as its base class
        if self._kind == "client":
            self._session: ClientSession | MasterSession = ClientSession(self._hub, self._write, transport.close)
        else:
            self._session = MasterSession(self._hub, self._write, transport.close, self._kind,
                                          _restricted_uid(transport, self._listener))
        self._session.opened()

    def _write(self, octets: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(octets)

    def data_received(self, octets: bytes) -> None:
        self._session.feed(octets)

    def connection_lost(self, exc: Exception | None) -> None:
        self._session.lost()

    def pause_writing(self) -> None:
        self._transport.pause_reading()         # who does not read is not read from

    def resume_writing(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()


def kind_of(name: str) -> str:
    """What is spoken on a socket of that name: "client", "userdb" or "master"."""
    last = os.path.basename(name)
    suffix = last.rpartition("-")[2]
    return suffix if suffix in ("userdb", "master") else "client"


def _restricted_uid(transport: asyncio.BaseTransport, listener: Listener) -> int | None:
    """The peer's uid when it may see no entry but its own; None for root, the socket's owner, or mode 0777."""
    peer = transport.get_extra_info("socket")
    packed = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", packed)[1]
    if uid in (0, os.geteuid()):
        return None
    try:
        status = os.stat(listener.sock.getsockname())
    except (OSError, TypeError, ValueError):
        return uid
    return None if status.st_uid == uid or status.st_mode & 0o777 == 0o777 else uid


async def serve(context: ServiceContext) -> None:
    """Run until context.stopping."""
    assert context.dovecot is not None
    grants.get_ready()
    pool = HashPool()
    penalties = Penalties(PenaltyRules.of(context.dovecot))
    hub = AuthHub(AuthService(context.dovecot, pool, penalties), Busy(context.settings[HUGE_PAGES_AFTER]))

    def on_reload(settings: "Settings", dovecot: "DovecotSettings | None") -> None:
        if dovecot is None:
            return
        try:
            new = AuthService(dovecot, pool, penalties)
            hub.service.close()         # its idle helpers; what is under way ends in the old
            hub.service = new
        except ConfigErrors as errors:
            log.error("the old settings stay in force: %s", errors.public)

    context.on_reload = on_reload
    loop = asyncio.get_running_loop()
    if threading.current_thread() is threading.main_thread():
        loop.add_signal_handler(signal.SIGUSR2, hub.report)
    entrances = [accept_protocols(listener.sock, partial(_Connection, hub, listener, kind_of(listener.name)))
                 for listener in context.listeners]
    context.ready()
    await context.stopping.wait()
    for entrance in entrances:
        entrance.stop()
    hub.service.close()
    pool.close()
