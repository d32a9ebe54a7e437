"""A segment as a row of the file: UIDs, words of headers, words of bodies, and a sum that tells whether it is whole.

    header, body = sections_of(entries, pause)          octets of the two sections (segment.py)
    entries_of((uids, header, body), pause) -> entries  the reverse; raises Damaged, LookupError, ValueError
"""

import zlib
from array import array
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from mailsuite.fulltext.segment import Section, build


class Entry(NamedTuple):
    """The distinct words of a message: of all headers in it, and of all its text."""

    uid: int
    header: Collection[str]
    body: Collection[str]


class Damaged(Exception):
    """The file does not hold what it should."""


def uids_of(octets: bytes) -> "array[int]":
    found = array("I")
    found.frombytes(octets)
    return found


def check_sum(*parts: bytes) -> int:
    total = 0
    for part in parts:
        total = zlib.crc32(part, total)
    return total


def sections_of(entries: Sequence[Entry], pause: Callable[[], None]) -> tuple[bytes, bytes]:
    return build([entry.header for entry in entries], pause), build([entry.body for entry in entries], pause)


def entries_of(row: tuple[bytes, ...], pause: Callable[[], None]) -> list[Entry]:
    uids = uids_of(row[0])
    header = Section(row[1]).words()
    pause()
    body = Section(row[2]).words()
    pause()
    if not len(uids) == len(header) == len(body):
        raise Damaged("a segment's parts do not fit")
    return list(map(Entry, uids, header, body))
