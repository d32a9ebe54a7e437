"""The flush logs: which deferred mail waits for a domain of fast_flush_domains; for ETRN and `postqueue -s`.

    logs = FlushLogs(settings, store.directory, store.pool)
    await logs.add(queue_id, addresses)        the message was deferred for these recipients
    ids = await logs.take("site.test")         what waits for it, each once; the log is empty then
    ids = await logs.refresh()                 of logs that nobody read for fast_flush_refresh_time; removes empty ones

One file per domain in flush/, "site_test" for site.test, a queue id a line, as Postfix's flush(8) keeps them. A log may
name mail that has gone meanwhile, or name it several times, until it is taken. Files are read and written in threads.
Limits: a log that has grown beyond COMPACT octets is freed of repetitions each time its size doubles;
fast_flush_domains limits how many there are.
"""

import os
import re
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mailsuite.address.syntax import split_domain
from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.maps.maps import MapSource
from mailsuite.maps.matchlist import DomainList
from mailsuite.queue import params
from mailsuite.queue.ids import is_id

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.pool import SyncPool

COMPACT = 1 << 20
LIMIT = 64 << 20                # octets of a log that are read
_SITE = re.compile(r"[a-z0-9_:\[\]-][a-z0-9_.:\[\]-]{0,250}")
log = logger("flush")


def flush_domains(settings: "Settings", program: str) -> DomainList:
    """fast_flush_domains; `matches` may raise TemporaryError."""
    parents = "fast_flush_domains" in settings.text("parent_domain_matches_subdomains").replace(",", " ").split()
    return DomainList(settings.text("fast_flush_domains"), MapSource(settings, program), parents=parents,
                      name="fast_flush_domains")


class FlushLogs:
    """One per qmgr: nobody else changes the logs."""

    def __init__(self, settings: "Settings", queue_directory: str, pool: "SyncPool") -> None:
        self._folder, self._pool = f"{queue_directory}/flush", pool
        self._lock = threading.Lock()
        self.configure(settings)

    def configure(self, settings: "Settings") -> None:
        """Take new settings."""
        self._on = bool(settings.text("fast_flush_domains").strip())
        self._domains = flush_domains(settings, "flush")
        self._refresh_s = settings[params.FAST_FLUSH_REFRESH_TIME]
        self._purge_s = settings[params.FAST_FLUSH_PURGE_TIME]

    def _path(self, site: str) -> str | None:
        """None for what is no domain."""
        site = site.lower()
        return f"{self._folder}/{site.replace('.', '_')}" if _SITE.fullmatch(site) else None

    async def add(self, queue_id: str, addresses: Iterable[str]) -> None:
        """Never raises: a message that is in no log is delivered when its time comes."""
        if not self._on:
            return
        paths = set()
        for site in {split_domain(address)[1].lower() for address in addresses}:
            try:
                if (path := self._path(site)) is not None and await self._domains.matches(site):
                    paths.add(path)
            except TemporaryError:
                pass                    # logged already
        if paths:
            try:
                await self._pool.run(self._append, paths, queue_id)
            except OSError as error:
                log.warning("cannot write to a log of %s: %s", self._folder, error)

    def _append(self, paths: Iterable[str], queue_id: str) -> None:
        line = f"{queue_id}\n".encode()
        with self._lock:
            for path in paths:
                fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                try:
                    os.write(fd, line)
                    size = os.fstat(fd).st_size
                    if size > COMPACT and size.bit_length() != (size - len(line)).bit_length():
                        whole = "".join(f"{one}\n" for one in _ids(os.pread(fd, LIMIT, 0)))
                        os.ftruncate(fd, 0)
                        os.write(fd, whole.encode())
                finally:
                    os.close(fd)

    async def take(self, site: str) -> list[str]:
        """Raises OSError."""
        path = self._path(site)
        return await self._pool.run(self._take, path) if path is not None else []

    def _take(self, path: str) -> list[str]:
        with self._lock:
            try:
                fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return []
            try:
                found = _ids(os.pread(fd, LIMIT, 0))
                os.ftruncate(fd, 0)
                os.utime(fd)            # when it was read last decides about its refresh
            finally:
                os.close(fd)
        return found

    async def refresh(self) -> list[str]:
        """What waits in logs that were not read for long. Raises OSError."""
        return await self._pool.run(self._refresh)

    def _refresh(self) -> list[str]:
        now, found = time.time(), []
        with os.scandir(self._folder) as entries:
            names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        for name in names:
            path = f"{self._folder}/{name}"
            status = os.stat(path, follow_symlinks=False)
            if not status.st_size:
                if not 0 <= now - status.st_mtime < self._purge_s:
                    with self._lock:
                        if not os.stat(path, follow_symlinks=False).st_size:
                            os.unlink(path)
            elif not 0 <= now - status.st_atime < self._refresh_s:
                found += self._take(path)
        return found


def _ids(content: bytes) -> list[str]:
    """Each id once, in order; a line cut by a crash, or by anybody, is passed over."""
    return [one for one in dict.fromkeys(content.decode("ascii", "replace").split("\n")) if is_id(one)]
