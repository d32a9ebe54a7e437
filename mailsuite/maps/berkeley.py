"""Reading the hash and btree files of Berkeley DB, which Postfix's postmap and postalias make on most systems.

    index = open_file("/etc/postfix/access.db", identity)       raises NotBerkeley, TableError
    index.get(b"key\\0") -> b"value\\0" | None                  .get_many(keys), .items()

An existing site's tables are read as they are, without the library: hash format 8 to 10, btree format 9 and 10
(Berkeley DB 4.1 to 6), either byte order, large keys and values on pages of their own. Encrypted and compressed files,
several databases in one file and duplicates on pages of their own are refused with a clear error. Only reading: a
changed table is made anew by our postmap (index_file.py).

Postfix writes such a file in place, under an exclusive lock. So each look-up takes the shared lock and sees whether the
file changed; while it is being written, the table cannot be asked. Pages are read, never mapped: the writer truncates.
A malformed file is a TableError: chains of pages end after as many pages as there are, offsets must lie in their page.
Source: the format as Berkeley DB 5.3 writes it (page headers of 26 octets, items by an array of offsets behind them).
"""

import fcntl
import os
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mailsuite.maps.table import TableError

HASH, BTREE = 0x061561, 0x053162
_VERSIONS = {HASH: range(8, 11), BTREE: range(9, 11)}
_CACHE_LIMIT = 512              # pages kept; 2 MB with the usual pages
_PAGE_SIZES = range(512, 65537)
_HEADER, _HEADER_WITH_CHECKSUM = 26, 32
_NEVER_USED, _HASH_PAGES, _INTERNAL, _LEAF, _OVERFLOW = 0, (2, 13), 3, 5, 7
_KEYDATA, _DUPLICATES, _OFFPAGE = 1, 2, 3           # kinds of items; a btree's deleted ones have _DELETED as well
_DELETED = 0x80
_SAMPLE = b"%$sniglet^&\0"      # the hash of this text tells the hash function of a file
_DEPTH_LIMIT = 32


class NotBerkeley(Exception):
    """The file is of another kind."""


class _Meta(NamedTuple):
    """What the first page tells. masks, spares: of a hash; root: of a btree."""

    order: str
    kind: int
    page_size: int
    last_page: int
    header: int
    max_bucket: int
    high_mask: int
    low_mask: int
    spares: tuple[int, ...]
    root: int


def _read_meta(head: bytes) -> _Meta:
    """Raises NotBerkeley, ValueError (a format that we do not read)."""
    if len(head) < 512:
        raise NotBerkeley
    for order in "<>":
        magic, version, page_size = struct.unpack_from(order + "III", head, 12)
        if magic in _VERSIONS:
            break
    else:
        raise NotBerkeley
    encryption, _, meta_flags = head[24:27]
    last_page, = struct.unpack_from(order + "I", head, 32)
    flags, = struct.unpack_from(order + "I", head, 48)
    if version not in _VERSIONS[magic]:
        raise ValueError(f"Berkeley DB format {version} is not supported")
    if page_size not in _PAGE_SIZES or page_size & (page_size - 1):
        raise ValueError("bad page size")
    # A hash: 2 means several databases. A btree: 0x1e record numbers, 0x20 several databases, 0x80 compressed.
    if encryption or meta_flags & ~1 or flags & (0x02 if magic == HASH else 0xbe):
        raise ValueError("this kind of Berkeley DB file is not supported")
    header = _HEADER_WITH_CHECKSUM if meta_flags & 1 else _HEADER
    if magic == BTREE:
        root, = struct.unpack_from(order + "I", head, 88)
        return _Meta(order, magic, page_size, last_page, header, 0, 0, 0, (), root)
    max_bucket, high_mask, low_mask, _, _, sample = struct.unpack_from(order + "6I", head, 72)
    if sample != hash_of(_SAMPLE):
        raise ValueError("the file has a hash function of its own")
    return _Meta(order, magic, page_size, last_page, header, max_bucket, high_mask, low_mask,
                 struct.unpack_from(order + "32I", head, 96), 0)


def hash_of(key: bytes) -> int:
    """Berkeley DB's hash of a key: 32 bits, Fowler, Noll and Vo's with 0 at the start."""
    value = 0
    for octet in key:
        value = (value * 16777619 & 0xFFFFFFFF) ^ octet
    return value


class _Pages:
    """The file's pages; a few are kept."""

    def __init__(self, fd: int, meta: _Meta) -> None:
        self.meta, self._fd = meta, fd
        self._kept: dict[int, bytes] = {}
        self.u32 = struct.Struct(meta.order + "I").unpack_from
        self._head = struct.Struct(meta.order + "IIIHHBB").unpack_from

    def read(self, number: int) -> bytes:
        """One page. Raises ValueError."""
        page = self._kept.get(number)
        if page is None:
            size = self.meta.page_size
            page = os.pread(self._fd, size, number * size)
            if len(page) < size or number > self.meta.last_page:
                raise ValueError(f"page {number} is missing")
            if len(self._kept) >= _CACHE_LIMIT:
                self._kept.clear()
            self._kept[number] = page
        return page

    def head(self, page: bytes) -> tuple[int, int, int, int]:
        """(type, number of items, next page, octets used of an overflow page)."""
        _, _, following, entries, used, _, kind = self._head(page, 8)
        return kind, entries, following, used

    def offsets(self, page: bytes, entries: int) -> tuple[int, ...]:
        return struct.unpack_from(f"{self.meta.order}{entries}H", page, self.meta.header)

    def overflow(self, item: bytes, place: int) -> bytes:
        """A key or value that has pages of its own; item[place:] has the first page's number and the size."""
        number, = self.u32(item, place)
        size, = self.u32(item, place + 4)
        parts, got = [], 0
        for _ in range(self.meta.last_page + 1):
            page = self.read(number)
            kind, _, following, used = self.head(page)
            if kind != _OVERFLOW:
                break
            parts.append(page[self.meta.header:self.meta.header + used])
            got += used
            if not following:
                break
            number = following
        if got != size:
            raise ValueError("a long entry is not whole")
        return b"".join(parts)


class _HashFile:
    """Buckets are chains of pages; items stand in pairs, from the page's end downwards."""

    def __init__(self, pages: _Pages) -> None:
        self._pages, self._meta, self.pages = pages, pages.meta, pages.meta.last_page + 1

    def get(self, key: bytes) -> bytes | None:
        meta = self._meta
        bucket = hash_of(key) & meta.high_mask
        if bucket > meta.max_bucket:
            bucket &= meta.low_mask
        for page, offsets in self._bucket(bucket):
            for number in range(0, len(offsets) - 1, 2):
                if self._is(page, offsets, number, key):
                    return self._item(page, offsets, number + 1)
        return None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        for bucket in range(self._meta.max_bucket + 1):
            for page, offsets in self._bucket(bucket):
                for number in range(0, len(offsets) - 1, 2):
                    yield self._item(page, offsets, number), self._item(page, offsets, number + 1)

    def _bucket(self, bucket: int) -> Iterator[tuple[bytes, tuple[int, ...]]]:
        number = bucket + self._meta.spares[bucket.bit_length()]
        for _ in range(self._meta.last_page + 1):
            page = self._pages.read(number)
            kind, entries, number, _ = self._pages.head(page)
            if kind == _NEVER_USED:     # room was made for the bucket, and nothing came
                return
            if kind not in _HASH_PAGES:
                raise ValueError("not a hash page")
            yield page, self._pages.offsets(page, entries)
            if not number:
                return
        raise ValueError("pages without end")

    def _is(self, page: bytes, offsets: tuple[int, ...], number: int, key: bytes) -> bool:
        start, end = offsets[number], offsets[number - 1] if number else len(page)
        if page[start] == _KEYDATA:
            return end - start == len(key) + 1 and page.startswith(key, start + 1)
        return self._item(page, offsets, number) == key

    def _item(self, page: bytes, offsets: tuple[int, ...], number: int) -> bytes:
        start, end = offsets[number], offsets[number - 1] if number else len(page)
        kind = page[start]
        if kind == _KEYDATA:
            return page[start + 1:end]
        if kind == _OFFPAGE:
            return self._pages.overflow(page, start + 4)
        if kind == _DUPLICATES:             # size, octets, size; the first one counts
            size, = struct.unpack_from(self._meta.order + "H", page, start + 1)
            return page[start + 3:start + 3 + size]
        raise ValueError("an unknown kind of item")


class _BtreeFile:
    """Inner pages lead to leaves; keys are in the order of their octets."""

    def __init__(self, pages: _Pages) -> None:
        self._pages, self._meta, self.pages = pages, pages.meta, pages.meta.last_page + 1
        self._size = struct.Struct(pages.meta.order + "HB").unpack_from

    def get(self, key: bytes) -> bytes | None:
        number = self._meta.root
        for _ in range(_DEPTH_LIMIT):
            page = self._pages.read(number)
            kind, entries, _, _ = self._pages.head(page)
            offsets = self._pages.offsets(page, entries)
            if kind == _LEAF:
                return self._in_leaf(page, offsets, key)
            if kind != _INTERNAL or not offsets:
                raise ValueError("not a btree page")
            low, high = 0, len(offsets)     # the first key of an inner page stands for all that are smaller
            while high - low > 1:
                middle = (low + high) // 2
                if self._inner_key(page, offsets[middle]) <= key:
                    low = middle
                else:
                    high = middle
            number, = self._pages.u32(page, offsets[low] + 4)
        raise ValueError("a tree without end")

    def _in_leaf(self, page: bytes, offsets: tuple[int, ...], key: bytes) -> bytes | None:
        low, high = 0, len(offsets) // 2
        while low < high:
            middle = (low + high) // 2
            if self._item(page, offsets[2 * middle]) < key:
                low = middle + 1
            else:
                high = middle
        for number in range(low, len(offsets) // 2):
            if self._item(page, offsets[2 * number]) != key:
                return None
            if not page[offsets[2 * number + 1] + 2] & _DELETED:
                return self._item(page, offsets[2 * number + 1])
        return None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        number = self._meta.root
        for _ in range(_DEPTH_LIMIT):
            page = self._pages.read(number)
            kind, entries, _, _ = self._pages.head(page)
            if kind == _LEAF:
                break
            number, = self._pages.u32(page, self._pages.offsets(page, entries)[0] + 4)
        for _ in range(self._meta.last_page + 1):
            page = self._pages.read(number)
            kind, entries, number, _ = self._pages.head(page)
            if kind != _LEAF:
                raise ValueError("not a btree page")
            offsets = self._pages.offsets(page, entries)
            for place in range(0, len(offsets) - 1, 2):
                if not page[offsets[place + 1] + 2] & _DELETED:
                    yield self._item(page, offsets[place]), self._item(page, offsets[place + 1])
            if not number:
                return
        raise ValueError("pages without end")

    def _item(self, page: bytes, start: int) -> bytes:
        size, kind = self._size(page, start)
        if kind & ~_DELETED == _KEYDATA:
            return page[start + 3:start + 3 + size]
        if kind & ~_DELETED == _OFFPAGE:
            return self._pages.overflow(page, start + 4)
        raise ValueError("duplicates are not supported")

    def _inner_key(self, page: bytes, start: int) -> bytes:
        size, kind = self._size(page, start)
        if kind == _OFFPAGE:
            return self._pages.overflow(page, start + 16)
        return page[start + 12:start + 12 + size]


class BerkeleyFile:
    """An open file. Its descriptor lives as long as this. locked: the caller has the lock already."""

    def __init__(self, path: str, identity: tuple[int, int], *, locked: bool = False) -> None:
        self.identity, self._path, self._stamp, self._locked = identity, path, (0, 0), locked
        self._file = open(path, "rb", buffering=0)          # noqa: SIM115 - open until this is gone
        self._content: _HashFile | _BtreeFile | None = None
        try:
            with _Reading(self):
                pass
        except BaseException:
            self._file.close()
            raise

    def get(self, key: bytes) -> bytes | None:
        with _Reading(self) as content:
            return content.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        with _Reading(self) as content:
            if len(keys) > content.pages:       # to read all of it is less work than to look for each
                return list(map(dict(content.items()).get, keys))
            return [content.get(key) for key in keys]

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        with _Reading(self) as content:
            pairs = list(content.items())
        yield from pairs

    def current(self, status: os.stat_result) -> bool:
        """Whether the file that is there now is this one; changes inside are noticed by each look-up."""
        return self.identity == (status.st_dev, status.st_ino)

    def content(self) -> _HashFile | _BtreeFile:
        """What the file has now; the caller holds the lock. Raises NotBerkeley, ValueError, OSError."""
        fd = self._file.fileno()
        status = os.fstat(fd)
        stamp = status.st_mtime_ns, status.st_size
        if self._content is None or stamp != self._stamp:
            pages = _Pages(fd, _read_meta(os.pread(fd, 512, 0)))
            self._content = _HashFile(pages) if pages.meta.kind == HASH else _BtreeFile(pages)
            self._stamp = stamp
        return self._content

    def lock(self) -> None:
        """Raises BlockingIOError while the file is being written."""
        if not self._locked:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def unlock(self) -> None:
        if not self._locked:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def failure(self, why: str) -> TableError:
        return TableError(f"open database {self._path}: {why}", config=True)


class _Reading:
    """The shared lock for one look-up, and the words for what goes wrong in it."""

    def __init__(self, file: BerkeleyFile) -> None:
        self._file = file

    def __enter__(self) -> _HashFile | _BtreeFile:
        try:
            self._file.lock()
        except OSError as error:
            raise self._file.failure("it is being written") from error
        try:
            return self._file.content()
        except BaseException as error:
            self._leave(error)
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        self._file.unlock()
        if isinstance(error, (ValueError, struct.error, IndexError)):
            raise self._file.failure(f"{error}") from error
        if isinstance(error, OSError):
            raise self._file.failure(error.strerror or "cannot be read") from error


def open_file(path: str, identity: tuple[int, int], *, locked: bool = False) -> BerkeleyFile:
    """Raises NotBerkeley for a file of another kind, TableError for one that cannot be read."""
    return BerkeleyFile(path, identity, locked=locked)
