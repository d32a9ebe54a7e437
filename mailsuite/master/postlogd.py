"""postlogd: log lines of commands that may not write the log file themselves, over a datagram socket.

A datagram is "<syslog_name>/<program>[pid]: text", LINE_LIMIT octets at most; control characters are masked. See
postlogd(8).
"""

import asyncio
import functools
import logging
import os
import socket
import time

from mailsuite.base import log
from mailsuite.net.service import ServiceContext

LINE_LIMIT = 4096
_MASK = dict.fromkeys([*range(32), 127], "?")


async def serve(context: ServiceContext) -> None:
    """Append what arrives until the master says stop; without a log file the commands reach syslog themselves."""
    target = logging.getLogger("mailsuite").handlers[0]
    loop = asyncio.get_running_loop()
    for listener in context.listeners:
        listener.sock.setblocking(False)
        if isinstance(target, log.FileTarget):
            loop.add_reader(listener.sock.fileno(), functools.partial(_receive, listener.sock, target))
    context.ready()
    await context.stopping.wait()


def _receive(sock: socket.socket, target: log.FileTarget) -> None:
    try:
        text = sock.recv(LINE_LIMIT).decode("utf-8", "replace").translate(_MASK)
        host = socket.gethostname().split(".")[0]
        os.write(target.fd, f"{time.strftime('%b %e %H:%M:%S')} {host} {text}\n".encode())
    except OSError:
        pass        # nobody is there to be told
