"""cdb: tables (NAME.cdb), in D. J. Bernstein's constant database format: Postfix reads what we write, and we its files.

    table = CdbTable("cdb", "/etc/postfix/access", source)       opened at once; raises TableError
    write_cdb("/etc/postfix/access.cdb", {b"key": b"value"}, mode=0o644)      whole or not at all; raises OSError

The file begins with 256 pairs (place, slots) of hash tables; then come records (key length, value length, key, value),
then the tables of (hash, place) slots; all numbers are 32 bits, little-endian, so a file is smaller than 4 GB. Keys and
values may end in a NUL (postmap -N); both kinds are read. A file is never changed, only replaced.
Source: https://cr.yp.to/cdb/cdb.txt.
"""

import mmap
import os
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mailsuite.maps.table import Freshness, Table, TableError, fold

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource

SUFFIX = ".cdb"
READ_ONLY = ("dict_cdb_open: inappropriate open flags for cdb database - specify O_RDONLY or "
             "O_WRONLY|O_CREAT|O_TRUNC")
_HEADER = 2048
_LIMIT = 2**32 - 1
_PAIR = struct.Struct("<II")
_OLD_S = 100            # a source file younger than this is perhaps being edited


def _hash(key: bytes) -> int:
    value = 5381
    for octet in key:
        value = ((value << 5) + value ^ octet) & 0xFFFFFFFF
    return value


class _File:
    """An open file, mapped."""

    def __init__(self, path: str) -> None:
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if status.st_size >= _HEADER else None
        except OSError as error:
            raise TableError(f"open database {path}: {error.strerror}", config=True) from error
        if self._data is None:
            raise TableError(f"dict_cdbq_open: unable to init {path}: Protocol error", config=True)
        self.identity, self._path = (status.st_dev, status.st_ino), path

    def get(self, key: bytes) -> bytes | None:
        """Raises TableError: the file is damaged."""
        data = self._data
        assert data is not None
        number = _hash(key)
        try:
            table, slots = _PAIR.unpack_from(data, number % 256 * 8)
            first = (number >> 8) % slots if slots else 0
            for step in range(slots):
                found, place = _PAIR.unpack_from(data, table + (first + step) % slots * 8)
                if not place:
                    return None
                if found == number:
                    size, length = _PAIR.unpack_from(data, place)
                    start = place + 8
                    if data[start:start + size] == key:
                        value = data[start + size:start + size + length]
                        if len(value) != length:
                            raise struct.error("cut short")
                        return value
        except struct.error as error:
            raise TableError(f"error reading {self._path}: {error}", config=True) from error
        return None


class CdbTable(Table):
    """A table in NAME.cdb. folds: keys are compared in lower case."""

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        self._path, self._folds, self._fresh = name + SUFFIX, folds, Freshness()
        self._file: _File | None = _File(self._path)
        self._warn_if_old(source)

    def _warn_if_old(self, source: "MapSource") -> None:
        try:
            made, edited = os.stat(self._path).st_mtime, os.stat(self.name).st_mtime
        except OSError:
            return
        if made < edited < time.time() - _OLD_S:
            source.log.warning("database %s is older than source file %s", self._path, self.name)

    def _current(self) -> _File:
        try:
            status = os.stat(self._path)
        except OSError as error:
            self._file = None
            raise TableError(f"{self.spec} is unavailable. open database {self._path}: {error.strerror}",
                             config=True) from error
        if self._file is None or self._file.identity != (status.st_dev, status.st_ino):
            self._file = _File(self._path)
        return self._file

    def lookup(self, key: str) -> str | None:
        file = self._file
        if file is None or self._fresh.due():
            file = self._current()
        octets = (fold(key) if self._folds else key).encode("utf-8", "surrogateescape")
        value = file.get(octets)
        if value is None:
            value = file.get(octets + b"\0")
        return None if value is None else value.removesuffix(b"\0").decode("utf-8", "surrogateescape")

    def items(self) -> Iterator[tuple[str, str]]:
        raise TableError(f"table {self.type}:{self._path}: sequence operation is not supported")

    def close(self) -> None:
        self._file = None


def write_cdb(path: str, entries: Mapping[bytes, bytes], *, mode: int = 0o644) -> None:
    """Make path anew with these entries, as they are to be stored. Raises OSError: path is then as it was."""
    folder = os.path.dirname(path) or "."
    fd, temp = tempfile.mkstemp(dir=folder, prefix=".new-", suffix=SUFFIX)
    try:
        with open(fd, "wb") as file:
            file.write(_content(entries))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temp, mode)
        os.rename(temp, path)
    except BaseException:
        os.unlink(temp)
        raise
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)


def _content(entries: Mapping[bytes, bytes]) -> bytes:
    """The whole file. Raises OSError when it would be too large for the format."""
    records: list[bytes] = []
    tables: list[list[tuple[int, int]]] = [[] for _ in range(256)]
    place = _HEADER
    for key, value in entries.items():
        number = _hash(key)
        tables[number % 256].append((number, place))
        records.append(_PAIR.pack(len(key), len(value)) + key + value)
        place += len(records[-1])
    header, hashes = [], []
    for table in tables:
        slots: list[tuple[int, int]] = [(0, 0)] * (2 * len(table))
        for number, where in table:
            slot = (number >> 8) % len(slots)
            while slots[slot][1]:
                slot = (slot + 1) % len(slots)
            slots[slot] = number, where
        if place > _LIMIT:
            raise OSError(27, "File too large")
        header.append(_PAIR.pack(place, len(slots)))
        hashes.append(b"".join(_PAIR.pack(*slot) for slot in slots))
        place += len(hashes[-1])
    return b"".join((*header, *records, *hashes))
