"""IMAP after login: ties a connection to its socket and to the user's mail.

    await serve_user(sock, handover, user, world)       access/worker calls it; returns when the session is over

The connection's life is in server_connection.py.
"""

import asyncio
import contextlib
import os
import socket
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from mailsuite.access import user_mail
from mailsuite.access.conversation import converse
from mailsuite.access.handover import HandOver
from mailsuite.access.last_login import noting
from mailsuite.access.mail_log import logging_to, mail_log, wanted_of
from mailsuite.access.user_mail import UserMail
from mailsuite.access.way_back import GivenBack
from mailsuite.access.world import UserWorld
from mailsuite.base.errors import MailError
from mailsuite.base.log import access_logger
from mailsuite.imap import commands
from mailsuite.imap.params import Params
from mailsuite.imap.server_connection import Handler
from mailsuite.net.deflate import DeflatingConnection
from mailsuite.sasl.user import UserInfo

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

log = access_logger("imap")
FAILED = b"* BYE Internal error occurred. Refer to server log for more information.\r\n"


@lru_cache(maxsize=16)
def _params(settings: "DovecotSettings") -> Params:
    return Params.of(settings)


def get_ready(settings: "DovecotSettings") -> None:
    """What sessions ask of the settings, once for the processes that are forked from this one."""
    commands.known(_params(settings).withheld)
    user_mail.get_ready(settings)


def greeting(handover: HandOver, params: Params, *, failed: bool = False) -> bytes:
    """The reply to the login."""
    if failed:
        return b"%b OK Logged in, but initialization failed.\r\n%b" % (handover.tag, FAILED)
    capability = params.capability.encode()
    if handover.capability_asked:
        return b"* CAPABILITY %b\r\n%b OK Logged in\r\n" % (capability, handover.tag)
    return b"%b OK [CAPABILITY %b] Logged in\r\n" % (handover.tag, capability)


def _say(sock: socket.socket, octets: bytes) -> bytes:
    """Say it at once, before anything else is made ready; what does not go out now is left for the session."""
    try:
        return octets[sock.send(octets):]
    except OSError:         # nothing can be sent now, or never again: the transport finds out which
        return octets


async def serve_user(sock: socket.socket, handover: HandOver, user: UserInfo, world: UserWorld) -> GivenBack | None:
    """One session from its greeting to its end. Owns the socket; raises nothing that concerns one session only.

    Returns the connection when it is to go on without a user.
    """
    settings = world.dovecot.for_protocol("imap")
    params = _params(settings)
    prefix = f"imap({user.user})<{os.getpid()}><{handover.session_id}>"
    with UserMail.of(user, settings, world) as mail:
        try:
            await mail.ready()
            events = mail_log(settings, logging_to(log, {"prefix": prefix})) if wanted_of(settings) else None
        except Exception as error:
            detail = getattr(error, "detail", "") or str(error)
            log.error("Failed to initialize user: %s", detail, extra={"prefix": prefix},
                      exc_info=not isinstance(error, MailError))
            with contextlib.suppress(OSError), sock:
                await asyncio.get_running_loop().sock_sendall(sock, greeting(handover, params, failed=True))
            return None
        said = greeting(handover, params)
        handler = Handler(mail, params, _say(sock, said), prefix, world.at_leisure)
        handler.octets_out, handler.events = len(said), events
        note = noting(user, settings, partial(log.error, "%s", extra={"prefix": prefix}), peer=handover.peer,
                      session=handover.session_id)
        noted = None if note is None else mail.start(note)
        handler.context.anonymous = handover.mechanism == "ANONYMOUS"
        reason = await converse(sock, handover, DeflatingConnection(handler, peer=handover.peer), handler.ended, world,
                                goodbye=lambda: handler.session.end("Server shutting down"))
        try:
            await handler.finish(reason)
            if noted is not None:
                await noted.ended()
        except Exception:
            log.exception("unforeseen at a session's end", extra=handler.extra)
        return handler.given_back
