"""Making the files of indexed.py: whole or not at all.

    write_index("/etc/postfix/access.db", [("key", "value")], mode=0o644)       raises OSError: path is then as it was
    with updating("/etc/postfix/access.db", "postmap") as entries: ...          a dictionary of octets; written back

A new file is filled, synced and renamed over the old one: readers see the old table or the new one, and a crash leaves
the old one.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from mailsuite.maps.indexed import LONG, long_entry, octets, open_index, stored_key

_ROOM = 1 << 20         # octets of a new file besides its entries; a file that grows beyond is made anew, larger
_NODE = 24              # what LMDB keeps besides key and value, at most


def write_index(path: str, entries: Iterable[tuple[str, str]], *, mode: int = 0o644) -> None:
    """Make path anew with these entries, as postmap stores them: a NUL behind key and value. Raises OSError."""
    write_octets(path, {octets(key) + b"\0": octets(value) + b"\0" for key, value in entries}, mode=mode)


def write_octets(path: str, entries: Mapping[bytes, bytes], *, mode: int = 0o644) -> None:
    """Make path anew with these entries as they are. Raises OSError: path is then as it was."""
    import lmdb

    folder, name = os.path.split(path)
    folder = folder or "."
    if max(map(len, entries), default=0) > LONG:
        entries = dict(_shortened(key, value) for key, value in entries.items())
    keys = sorted(entries)
    pairs = list(zip(keys, map(entries.__getitem__, keys), strict=True))
    # Readers map as much address space as the writer asked for: enough, but not more.
    room = _ROOM + 4 * (sum(map(len, keys)) + sum(map(len, entries.values())) + _NODE * len(keys))
    temp = os.path.join(folder, f".new-{os.urandom(6).hex()}-{name}")
    try:
        os.close(os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        while not _fill(temp, pairs, room):
            room *= 2
        os.chmod(temp, mode)
        os.rename(temp, path)
    except lmdb.Error as error:
        _unlink(temp)
        raise OSError(28, str(error)) from error
    except BaseException:
        _unlink(temp)
        raise
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)


def _shortened(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    if len(key) <= LONG:
        return key, value
    return stored_key(key), long_entry(key, value)


def _fill(path: str, pairs: list[tuple[bytes, bytes]], room: int) -> bool:
    """Write a file with these entries (sorted); False when they need more room. Raises lmdb.Error, OSError."""
    import lmdb

    os.truncate(path, 0)
    env = lmdb.open(path, subdir=False, lock=False, map_size=room, mode=0o600, sync=False)
    try:
        with env.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(pairs, append=True)
        env.sync(True)
    except lmdb.MapFullError:
        return False
    finally:
        env.close()
    return True


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


@contextmanager
def updating(path: str, tool: str) -> Iterator[dict[bytes, bytes]]:
    """The entries of path to change, as they are stored; written back at the end when they differ. Others wait
    meanwhile.

    Raises OSError (also when there is no such file), TableError.
    """
    import fcntl

    while True:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_ino == os.stat(path).st_ino:
            break
        os.close(lock)      # somebody replaced it while we waited
    try:
        before = dict(open_index(path, tool, locked=True).items())
        entries = dict(before)
        yield entries
        if entries != before:
            write_octets(path, entries, mode=os.fstat(lock).st_mode & 0o777)
    finally:
        os.close(lock)
