"""Listening sockets: bound once, kept across reload, closed when no plan wants them.

A Unix socket is bound under its final name with its final owner and mode before anybody can connect: the folder is
private to the suite, and listen() comes last. Raises ConfigError with one clear sentence when an address is taken.
"""

import errno
import os
import socket
import stat

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.master.plan import ServicePlan, SocketSpec
from mailsuite.net.window import limit_window

BACKLOG = 1024


class Sockets:
    """All listening sockets of a master, by what they listen on."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, int], socket.socket] = {}

    def of(self, spec: SocketSpec) -> socket.socket:
        return self._open[spec.key]

    def all(self) -> list[socket.socket]:
        return list(self._open.values())

    def adopt(self, plans: list[ServicePlan]) -> None:
        """Bind what is new. Raises ConfigErrors with every address that can't be had; nothing new stays open then."""
        errors: list[ConfigError] = []
        fresh: dict[tuple[str, str, int], socket.socket] = {}
        for plan in plans:
            for spec in plan.sockets:
                if spec.key in self._open or spec.key in fresh:
                    continue
                try:
                    fresh[spec.key] = bind(spec)
                except OSError as error:
                    errors.append(ConfigError(_explain(plan, spec, error)))
        if errors:
            for sock in fresh.values():
                sock.close()
            raise ConfigErrors(errors)
        self._open.update(fresh)

    def drop_unwanted(self, plans: list[ServicePlan]) -> None:
        """Close what no plan wants any more, and remove its name."""
        wanted = {spec.key for plan in plans for spec in plan.sockets}
        for key in [key for key in self._open if key not in wanted]:
            self._open.pop(key).close()
            if key[0] != "inet":
                _unlink_socket(key[1])

    def close(self) -> None:
        """Close all. Names in the queue's folders stay, as Postfix's do: "connection refused" says that the suite is
        down, and the next start takes them over."""
        for key, sock in self._open.items():
            sock.close()
            if key[0] != "inet" and os.path.basename(os.path.dirname(key[1])) not in ("private", "public"):
                _unlink_socket(key[1])
        self._open.clear()


def bind(spec: SocketSpec) -> socket.socket:
    """A bound, listening, close-on-exec, non-blocking socket. Raises OSError."""
    if spec.kind == "inet":
        return _bind_inet(spec)
    kind = socket.SOCK_DGRAM if spec.kind == "unix-dgram" else socket.SOCK_STREAM
    os.makedirs(os.path.dirname(spec.path), exist_ok=True)
    _unlink_socket(spec.path)
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        old = os.umask(0o777 & ~spec.mode)
        try:
            sock.bind(spec.path)
        finally:
            os.umask(old)
        if spec.owner is not None:
            os.chown(spec.path, *spec.owner, follow_symlinks=False)
        os.chmod(spec.path, spec.mode)
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_inet(spec: SocketSpec) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in spec.address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        limit_window(sock, spec.window)
        sock.bind((spec.address, spec.port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _unlink_socket(path: str) -> None:
    """Remove a stale socket, and nothing else that may stand under its name."""
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except OSError:
        pass


def _explain(plan: ServicePlan, spec: SocketSpec, error: OSError) -> str:
    where = spec.path or f"{spec.address} port {spec.port}"
    if error.errno == errno.EADDRINUSE:
        return f"service {plan.name}: {where} is taken: another program listens there"
    if error.errno == errno.EACCES and spec.kind == "inet" and spec.port < 1024:
        return f"service {plan.name}: {where}: only root may listen on ports below 1024"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"service {plan.name}: {where}: this machine has no such address"
    return f"service {plan.name}: cannot listen on {where}: {error.strerror}"
