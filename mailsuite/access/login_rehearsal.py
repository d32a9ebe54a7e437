"""A worker in reserve plays a login through before anybody needs it (net/spare.py): a hand-over by a link, from its
packet to the first words for the client.

    rehearse(dovecot, settings)

A process that was forked copies each page of memory when it first touches it; what a login touches is copied in
advance. All sockets are our own, nobody's mail is looked at, and no thread is started: rights are still to be dropped.
"""

import asyncio
import logging
import os
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from mailsuite.access.handover import HandOver
from mailsuite.access.user_mail import UserMail
from mailsuite.access.worker_logins import WorkerLogins
from mailsuite.access.world import UserWorld
from mailsuite.base.dialogue import Peer
from mailsuite.base.errors import MailError
from mailsuite.net import packets
from mailsuite.net.privileges import Identity
from mailsuite.net.service import new_event_loop
from mailsuite.net.worker_channel import WorkerChannel
from mailsuite.sasl import grant as grants
from mailsuite.sasl.user import UserInfo

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings

PROTOCOLS = ("imap", "pop3")
WAIT_S = 2.0
USER = b"nobody\tuid=1\tgid=1\thome=/\n"
_TICKET = 1, 1, "cookie"

log = logging.getLogger("mailsuite.dovecot.access")


def rehearse(dovecot: "DovecotSettings", settings: "Settings") -> None:
    """In a loop of its own, which ends with it. Raises nothing."""
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            for protocol in PROTOCOLS:
                runner.run(_play(UserWorld(dovecot, settings), protocol))
    except Exception:
        log.debug("the rehearsal of a login ended early", exc_info=True)


async def _play(world: UserWorld, protocol: str) -> None:
    served: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def serve(handover: HandOver, user: UserInfo, fd: int) -> None:
        with logins.counted(user, handover, told=True), socket.socket(fileno=fd) as sock:
            sock.setblocking(False)
            settings = world.dovecot.for_protocol(handover.protocol)
            with suppress(MailError), UserMail.of(user, settings, world):
                sock.send(b"+OK\r\n")
        served.set_result(None)

    with ExitStack() as held:
        parent, ours, login, link, client, theirs = (
            held.enter_context(sock) for kind in (socket.SOCK_SEQPACKET, socket.SOCK_SEQPACKET, socket.SOCK_STREAM)
            for sock in socket.socketpair(socket.AF_UNIX, kind))
        logins = WorkerLogins(WorkerChannel(ours, Identity(os.geteuid(), os.getegid())), world, serve)
        key, rights = grants.new_key(), grants.rights_of(protocol, {})
        held.callback(logins.close)             # before its sockets are closed
        logins.open({"protocol": protocol, "key": grants.Keys(key).of(rights).hex(), "workers": 1, "share": 0}, link)
        handover = HandOver(protocol, "", b"", b"", Peer("127.0.0.1", 1, "127.0.0.1", 1), None, "rehearsal")
        sealed = grants.Sealer(key).seal(grants.about(*_TICKET, protocol, handover.session_id), rights, USER)
        packets.send(login, {"n": 1, "h": handover.to_message(), "t": _TICKET, "g": sealed}, [theirs.fileno()])
        await asyncio.wait_for(served, WAIT_S)
        logins.hurry()
        logins.tell()
