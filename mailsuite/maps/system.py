"""unix: the machine's users and groups: unix:passwd.byname, unix:group.byname.

The value is the line of passwd(5) or group(5). Answers are kept for a short while, as long as /etc/passwd and
/etc/group are unchanged. With sources besides files (nsswitch.conf: ldap, sss...) look-ups run in a thread.
"""

import asyncio
import ctypes
import errno
import grp
import os
import pwd
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from mailsuite.maps.table import BadTable, Table, TableError, fold

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource

CACHE_S = 5.0
CACHE_LIMIT = 2000
_AT_ONCE = {"files", "compat", "systemd"}


# What the C library answers for a name that is not there (getpwnam(3)); everything else is trouble.
_ABSENT = {0, errno.ENOENT, errno.ESRCH, errno.EBADF, errno.EPERM}


@lru_cache(maxsize=4)
def _function(name: str) -> Callable[..., int] | None:
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
    return function


def _check_absent(function: str, name: str, path: str) -> None:
    """Make sure that a name is really absent. Python's pwd and grp say KeyError for trouble as well, and the C library
    passes over a file that it cannot open.

    Out of descriptors, for instance, every user would be unknown and their mail refused for good. Raises TableError.
    """
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise TableError(f"open {path}: {error.strerror}", cause=error.strerror or "") from error
    ask = _function(function)
    if ask is None:
        return
    entry, text, found = ctypes.create_string_buffer(512), ctypes.create_string_buffer(1 << 16), ctypes.c_void_p()
    code = ask(name.encode("utf-8", "surrogateescape"), entry, text, ctypes.c_size_t(len(text)), ctypes.byref(found))
    if code not in _ABSENT or found.value:
        reason = os.strerror(code) if code else "found only now"
        raise TableError(f"{function}: {reason}", cause=reason)


def _passwd_line(name: str) -> str | None:
    try:
        user = pwd.getpwnam(name)
    except ValueError:                  # a NUL in the name
        return None
    except KeyError:
        _check_absent("getpwnam_r", name, "/etc/passwd")
        return None
    return ":".join(str(part) for part in user)


def _group_line(name: str) -> str | None:
    try:
        group = grp.getgrnam(name)
    except ValueError:
        return None
    except KeyError:
        _check_absent("getgrnam_r", name, "/etc/group")
        return None
    return f"{group.gr_name}:{group.gr_passwd}:{group.gr_gid}:{','.join(group.gr_mem)}"


_TABLES = {"passwd.byname": (_passwd_line, "passwd"), "group.byname": (_group_line, "group")}


def slow_source(database: str, path: str = "/etc/nsswitch.conf") -> bool:
    """Whether the C library may ask a network service for this database."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, services = line.partition("#")[0].partition(":")
                if name.strip() == database:
                    return any(word not in _AT_ONCE and not word.startswith("[") for word in services.split())
    except OSError:
        pass
    return False


class UnixTable(Table):
    """passwd.byname or group.byname."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        if name not in _TABLES:
            raise BadTable(f"unknown table: {type}:{name}")
        self._find, database = _TABLES[name]
        self._path, self._folds = "/etc/" + database, folds
        self.waits = slow_source(database)
        self._cache: dict[str, str | None] = {}
        self._until, self._stamp = 0.0, 0

    def _cached(self, key: str) -> bool:
        """Whether the cache still knows the key; empties it when it is too old or too large."""
        now = time.monotonic()
        if now >= self._until or len(self._cache) >= CACHE_LIMIT or self._changed():
            self._cache.clear()
            self._until = now + CACHE_S
        return key in self._cache

    def _changed(self) -> bool:
        try:
            stamp = os.stat(self._path).st_mtime_ns
        except OSError:
            stamp = 0
        changed, self._stamp = stamp != self._stamp, stamp
        return changed

    def lookup(self, key: str) -> str | None:
        key = fold(key) if self._folds else key
        if not self._cached(key):
            self._cache[key] = self._find(key)
        return self._cache[key]

    async def ask(self, key: str) -> str | None:
        key = fold(key) if self._folds else key
        if not self._cached(key):
            self._cache[key] = await asyncio.get_running_loop().run_in_executor(None, self._find, key)
        return self._cache.get(key)
