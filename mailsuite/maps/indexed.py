"""Indexed files: hash:, btree: (NAME.db) and lmdb: (NAME.lmdb), as our postmap and postalias write them.

    table = IndexedTable("hash", "/etc/postfix/access", source)         opened at once; raises TableError
    table.lookup("key"), table.lookup_many([b"key", ...])
    open_index("/etc/postfix/access.db") -> Index                       .get(octets), .get_many(list), .items()

Inside is LMDB: a single file, opened without its lock file, read in one long transaction, never changed in place: a
writer (index_file.py) makes a new file and renames it, a reader notices the new inode. Postfix's own lmdb: files are
the same and are read as they are; its hash: and btree: files (Berkeley DB) are read by berkeley.py.

A key is stored with a NUL behind it and its value, as Postfix does it by default, or without (postmap -n): a look-up
tries both until one is found, then goes on with that one. A key over LONG octets is kept by its digest.
"""

import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from mailsuite.maps.table import Freshness, Table, TableError, fold

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource

SUFFIX = {"hash": ".db", "btree": ".db", "lmdb": ".lmdb", "cdb": ".cdb"}
LONG = 500              # octets of a key, with its NUL; LMDB's limit is 511
_DIGEST, _DIGEST_SIZE = b"\xff", 33     # how the digest of a long key begins, and its octets
_LMDB_MAGIC = bytes.fromhex("dec0efbe")
_PART_TO_READ_ALL = 0.1     # of the entries: to read all of them is faster than to look for so many
_OLD_S = 100            # a source file younger than this is perhaps being edited: no warning that its index is older


def octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def text(octets_: bytes) -> str:
    return octets_.decode("utf-8", "surrogateescape")


def stored_key(key: bytes) -> bytes:
    """The key under which LMDB keeps a key: itself, or its digest."""
    if len(key) <= LONG:
        return key
    import hashlib

    return _DIGEST + hashlib.sha256(key).digest()


def is_digest(key: bytes) -> bool:
    """Whether a long key is meant; its entry has the key as well."""
    return key[:1] == _DIGEST and len(key) == _DIGEST_SIZE


def long_entry(key: bytes, value: bytes) -> bytes:
    """What is kept for a key that is kept by its digest."""
    return len(key).to_bytes(4, "big") + key + value


def split_long_entry(entry: bytes) -> tuple[bytes, bytes]:
    """Key and value."""
    size = 4 + int.from_bytes(entry[:4], "big")
    return entry[4:size], entry[size:]


class Index(Protocol):
    """An open file. Keys and values as they are stored, with their NULs."""

    identity: tuple[int, int]

    def get(self, key: bytes) -> bytes | None: ...
    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]: ...
    def items(self) -> Iterator[tuple[bytes, bytes]]: ...
    def current(self, status: os.stat_result) -> bool:
        """Whether this is the file of that status; one that was changed in place is looked at anew."""
        ...


class _Lmdb:
    """An open LMDB file and its one read transaction."""

    def __init__(self, path: str, identity: tuple[int, int]) -> None:
        import lmdb

        try:
            self._env = lmdb.open(path, subdir=False, readonly=True, lock=False, max_readers=1)
            self._transaction = self._env.begin()
        except lmdb.Error as error:
            raise TableError(f"open database {path}: {str(error).partition(': ')[2]}", config=True) from error
        self.identity = identity
        self._stamp = (0, 0)
        self._get = self._transaction.get

    def current(self, status: os.stat_result) -> bool:
        if self.identity != (status.st_dev, status.st_ino):
            return False
        stamp = status.st_mtime_ns, status.st_size
        if stamp != self._stamp:        # Postfix's postmap changes its lmdb: files in place
            if self._stamp != (0, 0):
                self._transaction.abort()
                self._env.set_mapsize(0)
                self._transaction = self._env.begin()
                self._get = self._transaction.get
            self._stamp = stamp
        return True

    def get(self, key: bytes) -> bytes | None:
        if not key:
            return None
        if len(key) <= LONG:
            value: bytes | None = self._get(key)
            return value
        found: bytes | None = self._get(stored_key(key))
        return None if found is None else split_long_entry(found)[1]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of keys, in their order."""
        if len(keys) < self._transaction.stat()["entries"] * _PART_TO_READ_ALL:
            return [self.get(key) for key in keys]
        with self._transaction.cursor() as cursor:
            entries = dict(self.items() if cursor.set_range(_DIGEST) else self._transaction.cursor())
        return list(map(entries.get, keys))

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._transaction.cursor():
            yield split_long_entry(value) if is_digest(key) else (key, value)


# LMDB refuses to open one file twice in a process, so tables of one file share it. Children of a fork go on with what
# their parent opened: without lock file and writers an environment is just a mapped file.
_OPEN: "WeakValueDictionary[tuple[int, int], Index]" = WeakValueDictionary()


def open_index(path: str, tool: str = "postmap", *, locked: bool = False) -> Index:
    """Open NAME.db. locked: the caller has locked the file. Raises TableError in Postfix's words."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            head = file.read(64)
    except OSError as error:
        raise TableError(f"open database {path}: {error.strerror}", config=True) from error
    identity = (status.st_dev, status.st_ino)
    index = _OPEN.get(identity)
    if index is None:
        if head[16:20] == _LMDB_MAGIC:
            index = _Lmdb(path, identity)
        elif path.endswith(SUFFIX["lmdb"]):
            raise TableError(f"open database {path}: MDB_INVALID: File is not an LMDB file", config=True)
        else:
            from mailsuite.maps import berkeley

            try:
                index = berkeley.open_file(path, identity, locked=locked)
            except berkeley.NotBerkeley:
                raise TableError(f"open database {path}: not a table; rebuild it with {tool}", config=True) from None
        if not locked:
            _OPEN[identity] = index
    return index


class IndexedTable(Table):
    """A table in NAME.db. folds: keys are compared in lower case (postmap -f: they are not).

    nul: whether keys end in NUL; None until the first key is found.
    """

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        self.path, self._folds = name + SUFFIX[type], folds
        self.nul: bool | None = None
        self._fresh = Freshness()
        self._index: Index | None = open_index(self.path, self._tool)
        self._warn_if_old(source)

    @property
    def _tool(self) -> str:
        return f"postmap {self.spec}"

    def _warn_if_old(self, source: "MapSource") -> None:
        try:
            made, edited = os.stat(self.path).st_mtime, os.stat(self.name).st_mtime
        except OSError:
            return
        if made < edited < time.time() - _OLD_S:
            source.log.warning("database %s is older than source file %s", self.path, self.name)

    def _current(self) -> Index:
        """The index of the file that is there now. Raises TableError when there is none."""
        index = self._index
        try:
            status = os.stat(self.path)
        except OSError as error:
            self._index = None
            raise TableError(f"{self.spec} is unavailable. open database {self.path}: {error.strerror}",
                             config=True) from error
        if index is None or not index.current(status):
            self._index = index = open_index(self.path, self._tool)
            self.nul = None
        return index

    def lookup(self, key: str) -> str | None:
        index = self._index
        if index is None or self._fresh.due():
            index = self._current()
        wanted = octets(fold(key) if self._folds else key)
        if self.nul is not False:
            value = index.get(wanted + b"\0")
            if value is not None:
                self.nul = True
                return text(value[:-1] if value[-1:] == b"\0" else value)
        if self.nul is not True:
            value = index.get(wanted)
            if value is not None:
                self.nul = False
                return text(value)
        return None

    def lookup_many(self, keys: bytes) -> list[bytes | None]:
        """The values of many keys at once, as they are stored, None where there is none: what postmap asks for.

        keys: folded, one a line. Raises TableError.
        """
        index = self._current()
        if self.nul is not False:
            values = index.get_many((keys.replace(b"\n", b"\0\n") + b"\0").split(b"\n"))
            if self.nul or any(values):
                self.nul = True
                return values
        values = index.get_many(keys.split(b"\n"))
        self.nul = False if any(values) else self.nul
        return values

    def items(self) -> Iterator[tuple[str, str]]:
        for key, value in self._current().items():
            yield text(key.removesuffix(b"\0")), text(value.removesuffix(b"\0"))

    def close(self) -> None:
        self._index = None
