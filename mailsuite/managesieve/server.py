"""ManageSieve after login: ties a session to its socket and to the user's scripts.

    await serve_user(sock, handover, user, world)       access/worker calls it; returns when the session is over

Files are read and written in a thread, with the rights of the user.
Settings: plugin { sieve, sieve_dir, sieve_max_script_size, sieve_quota_max_scripts, sieve_quota_max_storage },
managesieve_max_line_length, managesieve_logout_format, the capabilities.
"""

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from mailsuite.access.conversation import converse
from mailsuite.access.handover import HandOver
from mailsuite.access.threads import Job, pool
from mailsuite.access.world import UserWorld
from mailsuite.base.errors import ConfigError
from mailsuite.base.log import access_logger
from mailsuite.config.dovecot_defaults import size_octets
from mailsuite.config.variables import expand_variables, user_variables
from mailsuite.managesieve import commands
from mailsuite.managesieve.commands import Context, Done
from mailsuite.managesieve.scripts import Limits, Place, ScriptStore
from mailsuite.managesieve.session import Answer, Session
from mailsuite.managesieve.syntax import Command
from mailsuite.net.driver import Connection
from mailsuite.net.handler import Channel
from mailsuite.sasl.user import UserInfo

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

log = access_logger("managesieve")
LINE_LIMIT = 64 * 1024
SCRIPT_LIMIT = 64 << 20          # octets of a script where sieve_max_script_size says "none"


class Handler:
    """One connection: runs the session's commands against the scripts."""

    def __init__(self, context: Context, line_limit: int, log_prefix: str) -> None:
        self.context, self._line_limit = context, line_limit
        self.extra = {"prefix": log_prefix}
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._running: Job[Done] | None = None

    def open(self, channel: Channel) -> Session:
        self.session = Session(line_limit=self._line_limit, literal_limit=self.context.max_octets)
        return self.session

    async def answer(self, question: object) -> object:
        assert isinstance(question, Command)
        command = question
        job = self._running = pool().start(lambda: commands.run(self.context, command))
        done = await job.future
        for note in self.context.notes:
            log.info("%s", note, extra=self.extra)
        self.context.notes.clear()
        return Answer(done.octets, done.bad, done.close)

    def body(self, octets: bytes) -> None:
        """Scripts come as arguments."""

    def closed(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    async def finish(self, reason: str, logout_format: str) -> None:
        if self._running is not None:
            await self._running.ended()
        counts = {"i": str(self.session.octets_in), "o": str(self.session.octets_out)}
        lost = reason in ("", "lost connection")
        log.info("%s %s", "Connection closed" if lost else f"Disconnected: {reason}",
                 expand_variables(logout_format, counts), extra=self.extra)


def _context(user: UserInfo, settings: "DovecotSettings") -> Context:
    plugin = {**settings.plugin, **{name: value for name, value in user.fields.items() if name.startswith("sieve")}}
    values = user_variables(user.user, service="sieve", home=user.home)

    def limit(name: str, default: int) -> int:
        try:
            return size_octets(plugin[name]) if plugin.get(name) else default
        except (ConfigError, ValueError):
            log.error("%s: \"%s\" is no size", name, plugin[name])
            return default

    largest = limit("sieve_max_script_size", 1 << 20) or SCRIPT_LIMIT
    limits = Limits(largest, limit("sieve_quota_max_scripts", 0), limit("sieve_quota_max_storage", 0))

    def open_store() -> ScriptStore:
        expanded = {name: expand_variables(plugin[name], values) for name in ("sieve", "sieve_dir") if plugin.get(name)}
        return ScriptStore(Place.of(expanded, user.home or ""), limits)

    return Context(settings.text("managesieve_implementation_string"), settings.text("managesieve_sieve_capability"),
                   settings.text("managesieve_notify_capability"), open_store, largest)


async def serve_user(sock: socket.socket, handover: HandOver, user: UserInfo, world: UserWorld) -> None:
    """One session from its first word to its end. Owns the socket; raises nothing that concerns one session only."""
    settings = world.dovecot.for_protocol("sieve")
    prefix = f"managesieve({user.user})<{os.getpid()}><{handover.session_id}>"
    handler = Handler(_context(user, settings), settings.size("managesieve_max_line_length") or LINE_LIMIT, prefix)
    reason = await converse(sock, handover, Connection(handler, peer=handover.peer), handler.ended, world,
                            goodbye=lambda: handler.session.end("Server shutting down."))
    await handler.finish(reason, settings.text("managesieve_logout_format"))
