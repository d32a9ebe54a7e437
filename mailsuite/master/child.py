"""From fork to the service's `serve`: what happens in a new process, in an order that matters.

  1. descriptors of others are closed, signals are set back
  2. the log is set up (its file is open already)
  3. the service's `prepare` reads what only root may read (TLS keys); so are the files of database tables
  4. rights are dropped, for good
  5. the event loop runs `serve`; the control channel brings stop, drain and reload

Control channel: one JSON line each. Master to child {"op": "stop" | "drain" | "reload", ...}; child to master
{"op": "ready"}. Its end means that the master is gone: the child stops.
"""

import asyncio
import contextlib
import ctypes
import gc
import importlib
import json
import logging
import os
import random
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from mailsuite.base.errors import ConfigError
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.settings import Settings
from mailsuite.maps.parameters import read_ahead
from mailsuite.master.affinity import cores_for, keep_to
from mailsuite.master.logging import LogFiles, setup_logging
from mailsuite.master.plan import ServicePlan
from mailsuite.net.params import CPU_AFFINITY
from mailsuite.net.service import Listener, ServiceContext, new_event_loop

log = logging.getLogger("mailsuite.master")

STOP_GRACE_S = 10.0      # how long a service that was told to stop may take
_PR_SET_NAME, _PR_SET_NO_NEW_PRIVS, _PR_SET_PDEATHSIG = 15, 38, 1


def run_child(plan: ServicePlan, worker: int, listeners: list[Listener], control: socket.socket,
              dovecot: DovecotSettings | None, files: LogFiles) -> None:
    """Run one service process; never returns. listeners: the plan's sockets, inherited."""
    status = 1
    try:
        _reset_signals()
        gc.enable()
        random.seed()
        _set_name(plan.name if plan.name == plan.command else f"{plan.command}:{plan.name}")
        if plan.settings[CPU_AFFINITY]:
            keep_to(cores_for(plan.kind, worker, os.sched_getaffinity(0)))
        setup_logging(plan.settings, dovecot, files)
        context = ServiceContext(
            name=plan.name, command=plan.command, settings=plan.settings, dovecot=dovecot, listeners=listeners,
            worker=worker, workers=plan.processes, process_limit=plan.process_limit, wakeup_s=plan.wakeup_s,
            arguments=plan.arguments, library=plan.library)
        serve, prepare = entry_points(plan.kind.entry)
        if prepare is not None:
            context.prepared = prepare(context)
        read_ahead(plan.settings.written.values())
        drop_rights(plan.user)
        _serve(serve, context, control)
        status = 0
    except ConfigError as error:
        logging.getLogger(f"mailsuite.{plan.command}").critical("%s", error.public)
    except BaseException:
        log.exception("service %s ended", plan.name)
    finally:
        logging.shutdown()
        os._exit(status)


def _reset_signals() -> None:
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)      # Ctrl-C is the master's to act on
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)


def _set_name(name: str) -> None:
    """What ps and top show."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def drop_rights(user: tuple[str, int, int] | None) -> None:
    """Become user, with its groups and nothing else; None or an unprivileged suite: stay. Raises OSError."""
    os.umask(0o077)
    if user is None or os.geteuid() != 0:
        return
    name, uid, gid = user
    os.initgroups(name, gid)
    os.setgid(gid)
    os.setuid(uid)
    if os.geteuid() != uid or os.getuid() != uid or os.getegid() != gid:
        raise PermissionError("rights were not dropped")
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


Serve = Callable[[ServiceContext], Awaitable[None]]


def entry_points(entry: str) -> tuple[Serve, Callable[[ServiceContext], object] | None]:
    """The function behind "module:function", and its module's `prepare`, if any."""
    name, _, function = entry.partition(":")
    module = importlib.import_module(name)
    serve: Serve = getattr(module, function)
    return serve, getattr(module, "prepare", None)


def _serve(serve: Serve, context: ServiceContext, control: socket.socket) -> None:
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_run(serve, context, control))
    finally:
        with contextlib.suppress(Exception):
            loop.close()


async def _run(serve: Serve, context: ServiceContext, control: socket.socket) -> None:
    channel = _Control(control, context)
    context.ready = channel.ready
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, channel.stop)
    channel.start()
    waker = loop.create_task(_wake(context)) if context.wakeup_s else None
    service = asyncio.ensure_future(serve(context))
    stopped = loop.create_task(context.stopping.wait())
    await asyncio.wait({service, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not service.done() and not context.draining:
        await asyncio.wait({service}, timeout=STOP_GRACE_S)
    elif not service.done():
        await asyncio.wait({service})
    for task in (waker, stopped):
        if task is not None:
            task.cancel()
    if not service.done():
        service.cancel()
        log.warning("service %s did not end within %d s", context.name, STOP_GRACE_S)
    elif service.exception() is not None:
        raise service.exception() or RuntimeError
    if not context.stopping.is_set():
        log.warning("service %s returned without being told to", context.name)


async def _wake(context: ServiceContext) -> None:
    while True:
        await asyncio.sleep(context.wakeup_s)
        context.wakeup.set()


class _Control:
    """The child's end of the control channel."""

    def __init__(self, sock: socket.socket, context: ServiceContext) -> None:
        self._sock, self._context, self._buffer = sock, context, bytearray()
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)

    def start(self) -> None:
        self._loop.add_reader(self._sock.fileno(), self._readable)

    def ready(self) -> None:
        """Tell the master that requests can be taken."""
        with contextlib.suppress(OSError):
            self._sock.send(b'{"op":"ready"}\n')

    def stop(self) -> None:
        self._context.stopping.set()

    def _readable(self) -> None:
        try:
            octets = self._sock.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self._loop.remove_reader(self._sock.fileno())
            self._context.stopping.set()
            return
        self._buffer += octets
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._obey(json.loads(line))

    def _obey(self, message: dict[str, Any]) -> None:
        context = self._context
        match message["op"]:
            case "stop":
                context.draining = False
                context.stopping.set()
            case "drain":
                context.draining = True
                context.stopping.set()
            case "reload":
                settings = Settings.from_json(message["settings"])
                dovecot = DovecotSettings.from_json(message["dovecot"]) if message["dovecot"] else None
                context.settings, context.dovecot = settings, dovecot
                if context.on_reload is not None:
                    try:
                        context.on_reload(settings, dovecot)
                    except Exception:
                        log.exception("service %s keeps its old settings", context.name)
                    gc.collect()        # old tables, which may be part of a circle, hold connections


def preload(kinds: list[tuple[str, ...]]) -> None:
    """Import modules and packages with all that lies in them: after setuid the files may be out of reach."""
    import pkgutil

    seen: set[str] = set()
    for names in kinds:
        for name in names:
            if name in seen:
                continue
            seen.add(name)
            module = importlib.import_module(name)
            for info in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
                if not info.name.endswith(("net.twisted", "__main__")):
                    importlib.import_module(info.name)
    for codec in ("idna", "ascii", "latin_1", "utf_8", "punycode", "unicode_escape"):
        importlib.import_module(f"encodings.{codec}")
    assert "asyncio" in sys.modules


# What a table type needs besides our own modules: memory that a site without such tables does not spend.
_DRIVERS = {"pgsql:": "psycopg", "mysql:": "pymysql"}


def preload_drivers(values: Iterable[str]) -> None:
    """Import the database drivers of the tables that these parameters name; a missing one is told by its table."""
    text = "\n".join(values)
    for type, module in _DRIVERS.items():
        if type in text:
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
