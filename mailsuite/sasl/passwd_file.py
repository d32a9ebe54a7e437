"""Files in the form of /etc/passwd, for passdb and userdb alike.

    user:password:uid:gid:(gecos):home:(shell):extra fields

    entry = await files.find("/etc/dovecot/users", "alice")      list of up to eight texts, or None

Empty lines and lines that begin with "#" are skipped; of two entries with one name the first counts. A file is read
again when it changed (looked at once in CHECK_EVERY_S seconds at most). A file that cannot be read is a
TemporaryError: its users may exist.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.sasl.pool import HashPool

CHECK_EVERY_S = 0.2
FILES_LIMIT = 1000               # files kept in memory (%d in a path makes many)

log = access_logger("auth")


@dataclass
class _File:
    stamp: tuple[int, int, int]
    checked: float
    entries: dict[str, list[str]]


class PasswdFiles:
    """All passwd-files of one auth service."""

    def __init__(self, pool: HashPool) -> None:
        self._pool = pool
        self._files: dict[str, _File] = {}

    async def find(self, path: str, user: str) -> list[str] | None:
        """The entry of a user. Raises TemporaryError."""
        known = self._fresh(path)
        return (await self._entries(path) if known is None else known.entries).get(user)

    async def names(self, path: str, least: int) -> list[str]:
        """Users whose entries have at least so many fields. Raises TemporaryError."""
        return [name for name, entry in (await self._entries(path)).items() if len(entry) >= least]

    async def is_usable(self, number: Callable[[str], int], value: str) -> bool:
        """Whether a uid or gid, as number or name, is one that mail may have: not root's, and known."""
        try:
            return (int(value) if value.isdecimal() else await self._pool.run(number, value)) > 0
        except KeyError:
            return False

    async def first(self, path: str) -> list[str] | None:
        """Any entry with a password: what the file's hashes look like."""
        return next((entry for entry in (await self._entries(path)).values() if len(entry) > 1 and entry[1]), None)

    def forget(self) -> int:
        """Have all files read again; returns how many entries were in memory."""
        count = sum(len(file.entries) for file in self._files.values())
        self._files.clear()
        return count

    def _fresh(self, path: str) -> _File | None:
        """The file, where there is no need to look at it."""
        known = self._files.get(path)
        return known if known is not None and time.monotonic() - known.checked < CHECK_EVERY_S else None

    async def _entries(self, path: str) -> dict[str, list[str]]:
        if (fresh := self._fresh(path)) is not None:
            return fresh.entries
        known, now = self._files.get(path), time.monotonic()
        try:
            stamp = _stamp(path)
            if known is None or known.stamp != stamp:
                known = _File(stamp, now, await self._pool.run(read, path))
                if len(self._files) >= FILES_LIMIT:
                    self._files.pop(next(iter(self._files)))
                self._files[path] = known
        except FileNotFoundError:
            # One of many files (%d in the path): a domain that we don't serve.
            raise TemporaryError("internal error", detail=f"open({path}) failed: No such file or directory") from None
        except OSError as error:
            raise TemporaryError("internal error", detail=f"open({path}) failed: {error.strerror}") from error
        known.checked = now
        return known.entries


def _stamp(path: str) -> tuple[int, int, int]:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_ino, status.st_size


def read(path: str) -> dict[str, list[str]]:
    """All entries of a file. Raises OSError."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        return parse(file.read(), path)


def parse(text: str, path: str = "") -> dict[str, list[str]]:
    entries: dict[str, list[str]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line or line.startswith(("#", ":")):
            continue
        parts = line.split(":", 7)
        if parts[0] in entries:
            log.error("passwd-file %s: User %s exists more than once (line %d is ignored)", path, parts[0], number)
            continue
        entries[parts[0]] = parts
    return entries


def split_args(args: str, default_scheme: str) -> tuple[str, str, str]:
    """scheme, username_format and path of a passwd-file's args."""
    scheme, username_format = default_scheme, "%u"
    words = args.split()
    while words and "=" in words[0] and not words[0].startswith("/"):
        name, _, value = words.pop(0).partition("=")
        if name == "scheme":
            scheme = value
        elif name == "username_format":
            username_format = value
    return scheme, username_format, " ".join(words)
