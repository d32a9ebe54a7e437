"""How much an mbox file holds, without opening it as a mailbox: for quotas.

    stamp(path) -> object | None            changes when the file does; None: there is none
    Measure().usage(path, wire=False) -> Usage

Messages as stored, without their From lines; a pseudo message does not count. A file that only grew is read from its
old end on. Takes no lock: a message that is just being written may be counted with the next look. Raises OSError.
"""

import os
import stat
from typing import NamedTuple

from mailsuite.store.mbox.parse import scan
from mailsuite.store.mbox.window import FileData
from mailsuite.store.quota import Usage

BLOCK = 1 << 20


class _Known(NamedTuple):
    inode: int
    size: int
    wire: bool
    usage: Usage


def stamp(path: str) -> object | None:
    try:
        info = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (info.st_ino, info.st_size, info.st_mtime_ns) if stat.S_ISREG(info.st_mode) else None


class Measure:
    """Of one user's files."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def usage(self, path: str, *, wire: bool) -> Usage:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return Usage(0, 0)
        try:
            info, old = os.fstat(fd), self._known.get(path)
            data = FileData(fd)
            usage = None
            if old is not None and old[:1] == (info.st_ino,) and old.wire == wire and len(data) > old.size > 0:
                usage = _measure(data, old.size, wire)
                if usage is not None:
                    usage = Usage(old.usage.octets + usage.octets, old.usage.messages + usage.messages)
            if usage is None:
                usage = _measure(data, 0, wire) or Usage(len(data), 0)      # damaged: it takes its room all the same
            self._known[path] = _Known(info.st_ino, len(data), wire, usage)
            return usage
        finally:
            os.close(fd)


def _measure(data: FileData, start: int, wire: bool) -> Usage | None:
    """None: no message begins at start."""
    octets = messages = 0
    try:
        for span, state in scan(data, start):
            if not state.pseudo:
                messages += 1
                octets += span.end - span.header
                if wire:
                    octets += sum(data[at: min(at + BLOCK, span.end)].count(b"\n")
                                  for at in range(span.header, span.end, BLOCK))
    except ValueError:
        return None
    return Usage(octets, messages)
