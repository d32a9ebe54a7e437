"""Services that run a program for whoever connects: service NAME { executable = script PATH ARGUMENTS }.

    service quota-warning {
      executable = script /usr/local/bin/quota-warning.sh
      user = vmail
      unix_listener quota-warning {
        user = vmail
      }
    }

Dovecot's protocol of script(1), a request for each connection:

    VERSION \\t script \\t 4 \\t 0
    [alarm=SECONDS]
    noreply  or  -
    ARGUMENT        as many as there are, tabs and the like escaped
    (an empty line)
    what the program finds at its standard input, up to the end

After "noreply" nothing is answered; else what the program writes, and then "+" and a line end for exit status 0, "-"
for another. The program runs as `user`, without one as default_internal_user: never as root because a line is missing.
base/script.py is the client's end.
Limits: ARGUMENTS, LINE_LIMIT, RUN_S for a program (an alarm may be shorter), client_limit connections.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time

from mailsuite.base.log import access_logger
from mailsuite.base.script import BEGINNING, plain
from mailsuite.net.accepting import Accepting
from mailsuite.net.service import ServiceContext

ARGUMENTS = 200
LINE_LIMIT = 8192
COMPLAINTS = 20         # lines of a program's standard error that are logged
REQUEST_S = 60.0
RUN_S = 600.0

log = access_logger("script")


class _Service:
    """words: the program and its first arguments."""

    def __init__(self, words: list[str], folder: str, limit: int) -> None:
        self._words, self._folder, self._limit = words, folder, limit
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, sock: socket.socket) -> None:
        if len(self._tasks) >= self._limit:
            log.error("%s: %d programs run already", self._words[0], self._limit)
            sock.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """What runs may end; what does not is killed."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                async with asyncio.timeout(REQUEST_S):
                    limit_s, replies, arguments = await _read_request(sock)
                status = await self._run(sock, arguments, limit_s, replies=replies)
                if replies:
                    sock.setblocking(True)
                    sock.settimeout(1)
                    sock.send(b"+\n" if status == 0 else b"-\n")
            except (OSError, TimeoutError, ValueError) as error:
                log.error("%s: %s", self._words[0], error or "no whole request")
            except Exception:
                log.exception("unforeseen in a request")

    async def _run(self, sock: socket.socket, arguments: list[bytes], limit_s: float, *, replies: bool) -> int:
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            # The program writes to the socket itself, and waits where its reader is slow.
            own = stack.enter_context(sock.dup())
            own.setblocking(True)
            output = own.fileno() if replies else asyncio.subprocess.DEVNULL
            process = await asyncio.create_subprocess_exec(
                *self._words, *arguments, stdin=own.fileno(), stdout=output,
                stderr=asyncio.subprocess.PIPE, env={}, cwd=self._folder, start_new_session=True)
        complaints = asyncio.get_running_loop().create_task(self._tell(process.stderr))
        try:
            status = await asyncio.wait_for(process.wait(), min(limit_s, RUN_S))
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        finally:
            log.debug("%s took %.1f s", self._words[0], time.monotonic() - began)
            complaints.cancel()         # its children may keep the pipe
            await asyncio.gather(complaints, return_exceptions=True)
        if status:
            log.error("%s: exit status %d", self._words[0], status)
        return status

    async def _tell(self, stream: asyncio.StreamReader | None) -> None:
        """What the program complains of goes to the log."""
        assert stream is not None
        told = 0
        while octets := await stream.read(LINE_LIMIT):
            for line in octets.splitlines():
                told += 1
                if told <= COMPLAINTS:
                    log.error("%s: %s", self._words[0], line.decode("utf-8", "replace"))


async def _read_request(sock: socket.socket) -> tuple[float, bool, list[bytes]]:
    """(seconds for the program, whether it is answered, its arguments); the octets behind stay in the socket.
    Raises ValueError, OSError."""
    line = await _line(sock)
    if not line.startswith(BEGINNING):
        raise ValueError(f"not script's protocol: {line[:60]!r}")
    line, limit_s = await _line(sock), RUN_S
    if line.startswith(b"alarm="):
        limit_s = max(1.0, float(line[6:]))
        line = await _line(sock)
    arguments: list[bytes] = []
    while argument := await _line(sock):
        arguments.append(plain(argument))
        if len(arguments) > ARGUMENTS:
            raise ValueError(f"more than {ARGUMENTS} arguments")
    return limit_s, line != b"noreply", arguments


async def _line(sock: socket.socket) -> bytes:
    """A line without its end. What is behind it belongs to the program, so it is only looked at."""
    loop, found = asyncio.get_running_loop(), b""
    while True:
        seen = await _peek(loop, sock)
        if not seen:
            raise ValueError("the connection ended early")
        line, end, _ = seen.partition(b"\n")
        found += await loop.sock_recv(sock, len(line) + len(end))
        if end:
            return found[:-1]
        if len(found) > LINE_LIMIT:
            raise ValueError("an endless line")


async def _peek(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    while True:
        try:
            return sock.recv(LINE_LIMIT, socket.MSG_PEEK)
        except BlockingIOError:
            ready = asyncio.Event()
            loop.add_reader(sock.fileno(), ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(sock.fileno())


async def serve(context: ServiceContext) -> None:
    """context.arguments: the program and its first arguments."""
    assert context.dovecot is not None
    service = _Service(context.arguments, context.dovecot.text("base_dir"), max(1, context.process_limit))
    entrances = [Accepting(listener.sock, service.take) for listener in context.listeners]
    for entrance in entrances:
        entrance.start()
    context.ready()
    await context.stopping.wait()
    for entrance in entrances:
        entrance.stop()
    await service.finish()
