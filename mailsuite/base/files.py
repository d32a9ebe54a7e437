"""Files that are whole or not there, also after a crash.

Raises: OSError, untouched: the caller knows whether it is temporary (ENOSPC, EDQUOT) or a fault.
"""

import os
from pathlib import Path


def fsync_directory(path: Path | str) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def give_group(fd: int, gid: int) -> None:
    """gid as own_group() says it."""
    if gid >= 0:
        os.fchown(fd, -1, gid)


def own_group(folder: str) -> int:
    """The group that a new file in this folder should have: the folder's, where that is another than ours and we are in
    it; -1: it has the right one already. Mail that several system users share belongs to their group."""
    gid = os.stat(folder).st_gid
    return gid if gid != os.getegid() and gid in os.getgroups() else -1


def write_whole(path: Path, content: bytes, *, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Put content at path entirely or not at all, also across a power loss.

    mode and owner (uid, gid) are set before the name appears. Raises OSError: path then holds all of the old content
    or all of the new, and no other file is left behind.
    """
    temp = path.with_name(f".new-{path.name}.{os.getpid()}")
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            if owner is not None:
                os.fchown(fd, *owner)
            os.fchmod(fd, mode)
            os.fsync(fd)
        os.rename(temp, path)
    except OSError:
        os.unlink(temp)
        raise
    fsync_directory(path.parent)
