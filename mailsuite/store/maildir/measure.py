"""How much a Maildir holds, without opening it as a mailbox: for quotas.

    stamp(folder) -> object | None          changes when the listing does; None: there is no Maildir
    measure(folder, wire=False) -> Usage

Sizes are in the files' names (S=, W=); of others the file is asked, once for W= (it has to be read). Takes no lock.
Raises OSError.
"""

import os
import time
from contextlib import suppress

from mailsuite.store.maildir.filename import base_of, stored_size_of, wire_size_of
from mailsuite.store.quota import Usage

TICK_NS = 50_000_000            # a folder that changed so lately may change again within the same time stamp
BLOCK = 1 << 20
KNOWN = 100_000                 # sizes of files without W= that are remembered

_known: dict[bytes, int] = {}


def stamp(folder: str) -> object | None:
    """None also where the folder has just changed: then it has to be looked at each time."""
    try:
        times = [os.stat(os.path.join(folder, name)).st_mtime_ns for name in ("new", "cur")]
    except FileNotFoundError:
        return None
    return (*times, time.time_ns() if max(times) > time.time_ns() - TICK_NS else 0)


def measure(folder: str, *, wire: bool) -> Usage:
    octets = messages = 0
    size_of = _wire_size if wire else _stored_size
    for name in ("new", "cur"):
        with suppress(FileNotFoundError), os.scandir(os.fsencode(os.path.join(folder, name))) as entries:
            for entry in entries:
                if not entry.name.startswith(b"."):
                    with suppress(FileNotFoundError):           # expunged or renamed meanwhile
                        octets += size_of(entry)
                        messages += 1
    return Usage(octets, messages)


def _stored_size(entry: "os.DirEntry[bytes]") -> int:
    size = stored_size_of(base_of(entry.name))
    return size if size is not None else entry.stat(follow_symlinks=False).st_size


def _wire_size(entry: "os.DirEntry[bytes]") -> int:
    base = base_of(entry.name)
    size = wire_size_of(base)
    if size is None and (size := _known.get(base)) is None:
        fd = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb", buffering=0) as file:
            size = sum(len(block) + block.count(b"\n") for block in iter(lambda: file.read(BLOCK), b""))
        if len(_known) >= KNOWN:
            _known.clear()
        _known[base] = size
    return size
