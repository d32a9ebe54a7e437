"""Indexed files: hash:, btree: (NAME.db) and lmdb: (NAME.lmdb), as our postmap and postalias write them.

    table = IndexedTable("hash", "/etc/postfix/access", source)         opened at once; raises TableError
    write_index("/etc/postfix/access.db", entries, mode=0o644)           whole or not at all
    with updating("/etc/postfix/access.db") as entries: ...              a dictionary; written back when changed

Inside is LMDB: a single file, opened without its lock file, read in one long transaction, never changed in place: a
writer makes a new file and renames it, a reader notices the new inode. A key over 500 octets is kept by its digest.
A file made by Postfix with Berkeley DB is known by its magic number and read with the optional `berkeleydb` package.
"""

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from mailsuite.maps.table import Freshness, Table, TableError, fold

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource

SUFFIX = {"hash": ".db", "btree": ".db", "lmdb": ".lmdb", "cdb": ".cdb"}
_LMDB_MAGIC = bytes.fromhex("dec0efbe")
_BDB_MAGIC = {0x061561: "hash", 0x053162: "btree"}
_LONG = 500


def octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def text(octets_: bytes) -> str:
    return octets_.decode("utf-8", "surrogateescape")


def _stored_key(key: bytes) -> bytes:
    return key if len(key) <= _LONG else b"\xff" + hashlib.sha256(key).digest()


class _Index(Protocol):
    """An open file."""

    identity: tuple[int, int]

    def get(self, key: bytes) -> bytes | None: ...
    def items(self) -> Iterator[tuple[bytes, bytes]]: ...


class _Lmdb:
    """An open LMDB file and its one read transaction."""

    def __init__(self, path: str, identity: tuple[int, int]) -> None:
        import lmdb

        try:
            self._env = lmdb.open(path, subdir=False, readonly=True, lock=False, max_readers=1)
            self._transaction = self._env.begin()
        except lmdb.Error as error:
            raise TableError(f"open database {path}: {error}", config=True) from error
        self.identity = identity
        self._get = self._transaction.get

    def get(self, key: bytes) -> bytes | None:
        if 0 < len(key) <= _LONG:
            value: bytes | None = self._get(key)
            return value
        if not key:
            return None
        found: bytes | None = self._get(_stored_key(key))
        return None if found is None else found.partition(b"\0")[2]

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._transaction.cursor():
            if key[:1] == b"\xff":
                key, _, value = value.partition(b"\0")
            yield key, value


class _Berkeley:
    """A file of Postfix's own; its keys and values end in NUL."""

    def __init__(self, path: str, kind: str, identity: tuple[int, int], tool: str) -> None:
        try:
            from berkeleydb import db
        except ImportError:
            raise TableError(f"open database {path}: made by another mail system (Berkeley DB); rebuild it with "
                             f"{tool}, or install the berkeleydb package", config=True) from None
        self._db: Any = db.DB()
        try:
            self._db.open(path, dbtype=db.DB_HASH if kind == "hash" else db.DB_BTREE, flags=db.DB_RDONLY)
        except db.DBError as error:
            raise TableError(f"open database {path}: {error}", config=True) from error
        self.identity = identity

    def get(self, key: bytes) -> bytes | None:
        for stored in (key + b"\0", key):
            value: bytes | None = self._db.get(stored)
            if value is not None:
                return value.removesuffix(b"\0")
        return None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._db.items():
            yield key.removesuffix(b"\0"), value.removesuffix(b"\0")


# LMDB refuses to open one file twice in a process, so tables of one file share it. Children of a fork go on with what
# their parent opened: without lock file and writers an environment is just a mapped file.
_OPEN: "WeakValueDictionary[tuple[int, int], _Index]" = WeakValueDictionary()


def open_index(path: str, tool: str = "postmap") -> _Index:
    """Open NAME.db. Raises TableError in Postfix's words."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            head = file.read(32)
    except OSError as error:
        raise TableError(f"open database {path}: {error.strerror}", config=True) from error
    identity = (status.st_dev, status.st_ino)
    index = _OPEN.get(identity)
    if index is None:
        magic = int.from_bytes(head[12:16], "little")
        if head[16:20] == _LMDB_MAGIC:
            index = _Lmdb(path, identity)
        elif magic in _BDB_MAGIC:
            index = _Berkeley(path, _BDB_MAGIC[magic], identity, tool)
        else:
            raise TableError(f"open database {path}: not a table; rebuild it with {tool}", config=True)
        _OPEN[identity] = index
    return index


class IndexedTable(Table):
    """A table in NAME.db. folds: keys are compared in lower case (postmap -f: they are not)."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        self._path, self._folds = name + SUFFIX[type], folds
        self._fresh = Freshness()
        self._index: _Index | None = open_index(self._path, self._tool)
        self._warn_if_old(source)

    @property
    def _tool(self) -> str:
        return f"postmap {self.spec}"

    def _warn_if_old(self, source: "MapSource") -> None:
        try:
            made, edited = os.stat(self._path).st_mtime, os.stat(self.name).st_mtime
        except OSError:
            return
        if made < edited < time.time() - 100:      # younger edits: postmap may be about to run
            source.log.warning("database %s is older than source file %s", self._path, self.name)

    def _current(self) -> _Index:
        """The index of the file that is there now. Raises TableError when there is none."""
        index = self._index
        try:
            status = os.stat(self._path)
        except OSError as error:
            self._index = None
            raise TableError(f"{self.spec} is unavailable. open database {self._path}: {error.strerror}",
                             config=True) from error
        if index is None or index.identity != (status.st_dev, status.st_ino):
            self._index = index = open_index(self._path, self._tool)
        return index

    def lookup(self, key: str) -> str | None:
        index = self._index
        if index is None or self._fresh.due():
            index = self._current()
        value = index.get(octets(fold(key) if self._folds else key))
        return None if value is None else value.decode("utf-8", "surrogateescape")

    def items(self) -> Iterator[tuple[str, str]]:
        for key, value in self._current().items():
            yield text(key), text(value)

    def close(self) -> None:
        self._index = None


def write_index(path: str, entries: Iterable[tuple[str, str]], *, mode: int = 0o644) -> None:
    """Make path anew with these entries. Raises OSError: path is then as it was."""
    import lmdb

    folder = os.path.dirname(path) or "."
    pairs = [(octets(key), octets(value)) for key, value in entries]
    # Readers map as much address space as the writer asked for: enough, but not more.
    room = (1 << 20) + 4 * sum(len(key) + len(value) + 32 for key, value in pairs)
    fd, temp = tempfile.mkstemp(dir=folder, prefix=".new-", suffix=".db")
    os.close(fd)
    try:
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


def _fill(path: str, pairs: list[tuple[bytes, bytes]], room: int) -> bool:
    """Write a file with these entries; False when they need more room. Raises lmdb.Error, OSError."""
    import lmdb

    os.unlink(path)
    env = lmdb.open(path, subdir=False, lock=False, map_size=room, mode=0o600, sync=False)
    try:
        with env.begin(write=True) as transaction:
            for key, value in pairs:
                _put(transaction, key, value)
        env.sync(True)
    except lmdb.MapFullError:
        return False
    finally:
        env.close()
    return True


def _put(transaction: Any, key: bytes, value: bytes) -> None:
    if len(key) > _LONG:
        transaction.put(_stored_key(key), key + b"\0" + value)
    else:
        transaction.put(key, value)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


@contextmanager
def updating(path: str, tool: str) -> Iterator[dict[str, str]]:
    """The entries of path to change; written back at the end when they differ. Others wait meanwhile.

    Raises OSError (also when there is no such file), TableError.
    """
    while True:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_ino == os.stat(path).st_ino:
            break
        os.close(lock)      # somebody replaced it while we waited
    try:
        before = {text(key): text(value) for key, value in open_index(path, tool).items()}
        entries = dict(before)
        yield entries
        if entries != before:
            write_index(path, entries.items(), mode=os.fstat(lock).st_mode & 0o777)
    finally:
        os.close(lock)
