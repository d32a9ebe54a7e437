"""spawn(8): a command for each connection, as inetd does it: `policy unix - n n - 9 spawn user=nobody argv=/usr/bin/x`.

    options = parse_options(["user=nobody", "argv=/usr/bin/tool", "-x"])        raises ConfigError, in Postfix's words

The command has the connection as its standard input, output and error, and runs without a shell, in queue_directory,
with the rights that user= says: never root's or mail_owner's. The parent accepts, and reads nothing from the network; a
worker with the command's rights (net/workers.py) runs it and waits for its end.
maxproc of master.cf bounds the commands that run at the same time, the others wait in the socket's queue. A command and
what it started is killed when it takes longer than NAME_time_limit (command_time_limit where that is not set), and when
the suite stops.
"""

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mailsuite.base.errors import ConfigError, MailError
from mailsuite.base.log import logger
from mailsuite.config.settings import Settings
from mailsuite.deliver import params as p
from mailsuite.deliver.environment import DEFAULT_PATH, exported_environment
from mailsuite.deliver.run_as import Forbidden, Unknown, forbidden, identity_of
from mailsuite.net.privileges import Identity
from mailsuite.net.service import Listener, ServiceContext
from mailsuite.net.workers import WorkerPool, serve_requests

ACCEPT_AGAIN_S = 1.0             # after an accept that failed, e.g. for want of descriptors
STOP_WAIT_S = 5.0
_PR_SET_PDEATHSIG = 1
_REFUSED = {Forbidden.ROOT: "request to deliver as root",
            Forbidden.MAIL_OWNER: "request to deliver as mail system owner",
            Forbidden.ROOT_GROUP: "request to use privileged group id 0"}

log = logger("spawn")


@dataclass(frozen=True)
class Options:
    """One service's command line."""

    identity: Identity
    argv: tuple[str, ...]


def parse_options(words: list[str], mail_owner: str = "") -> Options:
    """Read a command line. Raises ConfigError."""
    identity: Identity | None = None
    argv: tuple[str, ...] = ()
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "argv" and equals:
            argv = (*([value] if value else []), *words[number + 1:])
            break
        if name == "user" and equals:
            try:
                identity = identity_of(value)
            except Unknown as error:
                raise ConfigError(f"unknown {'user' if error.what == 'username' else 'group'} name: {error.name}"
                                  ) from error
        elif word != "-v":
            raise ConfigError(f"unknown attribute name: {word}")
    if identity is None:
        raise ConfigError("missing user= attribute")
    if not argv:
        raise ConfigError("missing argv= attribute")
    if (why := forbidden(identity, mail_owner)) is not None:
        raise ConfigError(_REFUSED[why])
    return Options(identity, argv)


# --- in the worker --------------------------------------------------------------------------------------------------

def run(message: dict[str, Any], fds: list[int]) -> Mapping[str, Any]:
    """Run a command over a connection until it ends; {"exit", "signal", "pid", "timeout", "fatal"}."""
    argv = message["argv"]
    os.set_blocking(fds[0], True)
    connection = fds.pop()
    try:
        process = subprocess.Popen(argv, stdin=connection, stdout=connection, stderr=connection, env=message["env"],
                                   cwd=message["cwd"], start_new_session=True, restore_signals=False,
                                   preexec_fn=_end_with_parent)
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
        return {"exit": 1, "fatal": f"spawn_comand: execvp {argv[0]}: {why}"}
    finally:
        os.close(connection)        # the connection is the command's alone
    try:
        status = process.wait(message["limit"])
    except subprocess.TimeoutExpired:
        _kill(process)
        return {"pid": process.pid, "timeout": True}
    return {"exit": max(0, status), "signal": max(0, -status)}


def _end_with_parent() -> None:
    """Whoever ends this worker ends its command."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


# --- the parent -----------------------------------------------------------------------------------------------------

class Spawner:
    """One spawn service."""

    def __init__(self, context: ServiceContext, pool: WorkerPool) -> None:
        self._context, self._pool = context, pool
        self._room = asyncio.Semaphore(context.process_limit or 100_000)
        self._running: set[asyncio.Task[None]] = set()
        self.configure(context.settings)

    def configure(self, settings: Settings) -> None:
        """Take new settings; a command line that makes no sense is told when somebody connects."""
        own = settings.text(f"{self._context.name}_time_limit")
        self._limit_s = p.COMMAND_TIME_LIMIT.parse(own) if own else settings[p.COMMAND_TIME_LIMIT]
        self._env = exported_environment(settings) | {"PATH": DEFAULT_PATH}
        self._cwd = settings.text("queue_directory")
        self._options: Options | None = None
        self._mistake = ""
        try:
            self._options = parse_options(self._context.arguments, settings.text("mail_owner"))
        except ConfigError as error:
            self._mistake = error.public

    async def accept(self, listener: Listener) -> None:
        """Take connections, as many at a time as maxproc allows, until cancelled."""
        loop = asyncio.get_running_loop()
        listener.sock.setblocking(False)
        while True:
            await self._room.acquire()
            try:
                sock, _ = await loop.sock_accept(listener.sock)
            except OSError as error:
                self._room.release()
                log.warning("cannot accept a connection: %s", error)
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            except BaseException:
                self._room.release()
                raise
            task = loop.create_task(self._serve(sock))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _serve(self, sock: socket.socket) -> None:
        try:
            if self._options is None:
                log.critical("%s", self._mistake)
                sock.close()
                return
            options = self._options
            answer = await self._pool.ask(options.identity, {
                "argv": options.argv, "env": self._env, "cwd": self._cwd, "limit": self._limit_s}, [sock.fileno()],
                taken=sock.close)
            self._tell(options.argv[0], answer)
        except MailError as error:
            log.warning("%s: %s", self._context.name, error)
        finally:
            sock.close()
            self._room.release()

    @staticmethod
    def _tell(program: str, answer: Mapping[str, Any]) -> None:
        if answer.get("fatal"):
            log.critical("%s", answer["fatal"])
        if answer.get("timeout"):
            log.warning("%s: process id %d: command time limit exceeded", program, answer["pid"])
        elif answer.get("signal"):
            log.warning("command %s killed by signal %d", program, answer["signal"])
        elif answer.get("exit"):
            log.warning("command %s exit status %d", program, answer["exit"])

    async def finish(self) -> None:
        """Wait a moment for commands whose clients are about to go."""
        if self._running:
            await asyncio.wait(self._running, timeout=STOP_WAIT_S)


def make_pool(context: ServiceContext, work: Callable[[dict[str, Any], list[int]], Mapping[str, Any]] = run
              ) -> WorkerPool:
    most = context.process_limit or 1000
    return WorkerPool(serve_requests(work), name=f"{context.name} worker", most=most, most_each=most, depth=1,
                      idle_s=context.settings[p.DELIVERY_WORKER_IDLE], no_new_privileges=False)


async def serve(context: ServiceContext) -> None:
    pool = make_pool(context)
    spawner = Spawner(context, pool)
    context.on_reload = lambda new, dovecot: spawner.configure(new)
    accepting = [asyncio.ensure_future(spawner.accept(listener)) for listener in context.listeners]
    context.ready()
    await context.stopping.wait()
    for task in accepting:
        task.cancel()
    await asyncio.gather(*accepting, return_exceptions=True)
    await spawner.finish()
    await pool.close(wait_s=0.5)
