"""What lies in new/ and cur/: the files' names, all of them taken apart by a few operations.

    files = list_sorted("/home/alice/Maildir/cur", b"cur/")
    files.paths     [b"cur/1700000000.M1P2.mx:2,S", ...]        sorted by name
    files.bases     [b"1700000000.M1P2.mx", ...]                what stays while flags change
    files.infos     [b"2,S", ...]                               what stands behind the colon, b"" where there is none
    for some in list_blocks(folder, b"cur/"): ...               unsorted, BLOCK at a time, for a million

A folder of twenty thousand is listed while a client waits for its SELECT. Names are sorted as str, which Python does
faster than octets, joined, and taken apart as one piece; names that are odd somewhere (a line end, octets beyond ASCII,
different infos) one by one. Hidden files are left out. Raises OSError.
"""

import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from mailsuite.store.maildir.filename import infos_of

BLOCK = 5000
TOGETHER = 1000         # names; more would not fit into memory that is reused


class Files(NamedTuple):
    """See above; the lists have the same order."""

    paths: list[bytes]
    bases: list[bytes]
    infos: list[bytes]

    def joined(self, other: "Files") -> "Files":
        """The files of two folders."""
        if not self.paths or not other.paths:
            return self if self.paths else other
        return Files(self.paths + other.paths, self.bases + other.bases, self.infos + other.infos)


def files_of(paths: Mapping[bytes, bytes]) -> Files:
    """paths: by base."""
    return Files(list(paths.values()), list(paths), infos_of(paths.values()))


def list_sorted(folder: str, prefix: bytes) -> Files:
    """prefix: in front of each name in the paths."""
    names = os.listdir(folder)
    names.sort()
    del names[bisect_left(names, "."):bisect_left(names, "/")]          # hidden ones
    if not all(map(str.isascii, names)):
        return _one_by_one(prefix, sorted(map(os.fsencode, names)))
    files, nothing = Files([], [], []), [""] * TOGETHER
    for at in range(0, len(names), TOGETHER):
        some = names[at:at + TOGETHER]
        names[at:at + TOGETHER] = nothing[:len(some)]       # their memory holds the paths
        joined = "\n".join(some).encode()
        odd = joined.count(b"\n") != len(some) - 1          # a line end within a name
        paths, bases, infos = _one_by_one(prefix, list(map(os.fsencode, some))) if odd else _together(
            prefix, joined, len(some))
        files.paths.extend(paths)
        files.bases.extend(bases)
        files.infos.extend(infos)
    return files


def _together(prefix: bytes, lines: bytes, count: int) -> Files:
    """Of names that were joined."""
    info = _info_of_all(lines, count)
    if info is None:
        return _one_by_one(prefix, lines.split(b"\n"))
    paths = (prefix + lines.replace(b"\n", b"\n" + prefix)).split(b"\n")
    bases = (lines.replace(info + b"\n", b"\n").removesuffix(info)).split(b"\n") if info else lines.split(b"\n")
    return Files(paths, bases, [info[1:]] * count)


def _info_of_all(lines: bytes, count: int) -> bytes | None:
    """What stands behind all the names, colon included, when it is the same; None: it is not."""
    colon = lines.find(b":")
    if colon < 0:
        return b""
    end = lines.find(b"\n", colon)
    info = lines[colon:end] if end >= 0 else lines[colon:]
    same = lines.count(info + b"\n") + lines.endswith(info) == count == lines.count(b":")
    return info if same else None


def _one_by_one(prefix: bytes, names: list[bytes]) -> Files:
    parts = [name.partition(b":") for name in names]
    return Files(list(map(prefix.__add__, names)), [part[0] for part in parts], [part[2] for part in parts])


def list_blocks(folder: str, prefix: bytes) -> Iterator[set[bytes]]:
    """The paths, in the folder's own order."""
    with os.scandir(os.fsencode(folder)) as entries:
        names = (entry.name for entry in entries)
        while some := list(islice(names, BLOCK)):
            yield {prefix + name for name in some if not name.startswith(b".")}
