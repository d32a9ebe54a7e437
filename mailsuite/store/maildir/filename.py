"""Names of files in a Maildir: UNIQUE[,S=size][,W=size-with-CRLF][:2,FLAGS].

    base_of(b"1.M2P3.mx,S=10:2,FS") -> b"1.M2P3.mx,S=10"        what stays while flags change; the key in the uidlist
    letters_of(name) -> b"FS"                                   up to a comma: behind it is other programs' own
    wire_size_of(name) -> int | None                            W
    in_order(bases)                                             by time of delivery
    UniqueNames(host).next() -> b"1700000000.M123P45.mx"        never twice in this process

Upper-case letters: D draft, F flagged, R replied, S seen, T trashed (deleted); P and others are kept as they are.
Lower-case letters are keywords by their number in dovecot-keywords.
"""

import os
import re
import socket
import threading
import time
from collections.abc import Collection, Iterable

from mailsuite.store.flags import ANSWERED, DELETED, DRAFT, FLAGGED, KEYWORD_SHIFT, SEEN

KEYWORD_LETTERS = 26

_LETTER_BITS = {ord("D"): DRAFT, ord("F"): FLAGGED, ord("R"): ANSWERED, ord("S"): SEEN, ord("T"): DELETED}
_STORED_SIZE = re.compile(rb",S=(\d{1,15})(?![\d])")
_WIRE_SIZE = re.compile(rb",W=(\d{1,15})(?![\d])")
_SIZE = re.compile(rb"((?:,[SW]=\d+)*)$")
# Names whose times have as many digits as all others' are in order as they stand.
_SAME_LENGTH = re.compile(rb"(?:\d{10}\.M\d{6}(?!\d)[^\n]*+\n)*+")
_TIME = re.compile(rb"(\d{1,18})(?:\.M(\d{1,9}))?")


def base_of(name: bytes) -> bytes:
    return name.partition(b":")[0]


def bases_of(paths: Iterable[bytes]) -> list[bytes]:
    """Of paths b"cur/NAME" or b"new/NAME"."""
    return [path[4:].partition(b":")[0] for path in paths]


def infos_of(paths: Iterable[bytes]) -> list[bytes]:
    """What stands behind the colons."""
    return [path.partition(b":")[2] for path in paths]


def letters_of(name: bytes) -> bytes:
    return name.rpartition(b":2,")[2].partition(b",")[0] if b":2," in name else b""


def rest_of(name: bytes) -> bytes:
    """What another program wrote behind the letters, with the comma in front of it."""
    _, comma, rest = name.rpartition(b":2,")[2].partition(b",") if b":2," in name else (b"", b"", b"")
    return comma + rest


def bits_of(letters: bytes) -> int:
    bits = 0
    for letter in letters:
        if letter in _LETTER_BITS:
            bits |= _LETTER_BITS[letter]
        elif 97 <= letter <= 122:
            bits |= 1 << (KEYWORD_SHIFT + letter - 97)
    return bits


def letters_for(bits: int, old: bytes) -> bytes:
    """The letters of these flags, sorted; letters of other programs in `old` stay."""
    letters = [letter for letter, bit in _LETTER_BITS.items() if bits & bit]
    letters += [letter for letter in set(old) if letter not in _LETTER_BITS and not 97 <= letter <= 122]
    keywords = bits >> KEYWORD_SHIFT
    letters += [97 + number for number in range(KEYWORD_LETTERS) if keywords >> number & 1]
    return bytes(sorted(letters))


def wire_size_of(name: bytes) -> int | None:
    match = _WIRE_SIZE.search(name)
    return int(match[1]) if match else None


def stored_size_of(base: bytes) -> int | None:
    """S"""
    match = _STORED_SIZE.search(base)
    return int(match[1]) if match else None


def sizes_of(base: bytes) -> bytes:
    """b",S=10,W=12" of a base, as far as it has them."""
    match = _SIZE.search(base)
    return match[1] if match else b""


def in_order(bases: Collection[bytes]) -> list[bytes]:
    """Sorted by the time in the names."""
    ordered = sorted(bases)
    if all(_SAME_LENGTH.fullmatch(b"\n".join([*ordered[at: at + 1000], b""])) for at in range(0, len(ordered), 1000)):
        return ordered
    return sorted(ordered, key=_time_key)


def _time_key(base: bytes) -> tuple[int, int, bytes]:
    match = _TIME.match(base)
    return (int(match[1]), int(match[2] or 0), base) if match else (0, 0, base)


class UniqueNames:
    """host: "/" and ":" in it are written as maildir(5) asks."""

    def __init__(self, host: str = "") -> None:
        self._host = (host or socket.gethostname()).replace("/", "\\057").replace(":", "\\072").encode(
            "utf-8", "surrogateescape")
        self._lock, self._last = threading.Lock(), 0

    def next(self) -> bytes:
        with self._lock:
            self._last = max(self._last + 1, time.time_ns() // 1000)
            seconds, micro = divmod(self._last, 1_000_000)
        return b"%d.M%dP%d.%b" % (seconds, micro, os.getpid(), self._host)
