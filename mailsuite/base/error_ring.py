"""The last warnings and errors, kept by all processes in one file of fixed size: what `doveadm log errors` shows.

    ring = ErrorRing.open("/run/dovecot/log-errors.ring")       the master does, and its children inherit the descriptor
    handler.addFilter(ring)                                     every record of WARNING and above is kept
    ErrorRing.read("/run/dovecot/log-errors.ring") -> [Kept, ...]       oldest first

SLOTS entries of SLOT octets; the oldest is written over, a longer text is cut. A slot is written under a lock between
processes (fcntl), which logging's own lock makes one between threads, too. Whatever goes wrong here must not stop the
mail: an entry is lost then.
"""

import fcntl
import json
import logging
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

SLOTS, SLOT = 1000, 1024
_HEAD = struct.Struct("<8sQ")           # magic, entries ever written
_SIZE = struct.Struct("<H")
_MAGIC = b"errring1"
_TYPES = {logging.WARNING: "Warning", logging.ERROR: "Error", logging.CRITICAL: "Fatal"}


class Kept(NamedTuple):
    """stamp: seconds since the epoch. kind: Warning, Error or Fatal."""

    stamp: float
    prefix: str
    kind: str
    text: str


class ErrorRing(logging.Filter):
    """A filter that lets everything pass, and remembers what is serious."""

    def __init__(self, fd: int, prefix: Callable[[logging.LogRecord], str]) -> None:
        super().__init__()
        self._fd, self._prefix = fd, prefix

    @staticmethod
    def create(path: str) -> int:
        """A descriptor of the file, made or emptied where it is none of ours. Raises OSError."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        whole = _HEAD.size + SLOTS * SLOT
        if os.fstat(fd).st_size != whole or os.pread(fd, 8, 0) != _MAGIC:
            os.ftruncate(fd, 0)
            os.ftruncate(fd, whole)
            os.pwrite(fd, _HEAD.pack(_MAGIC, 0), 0)
        return fd

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            with suppress(OSError, ValueError, TypeError, struct.error):
                self._keep(record)
        return True

    def _keep(self, record: logging.LogRecord) -> None:
        text = record.getMessage().split("\n")[0]
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {record.exc_info[1]!r}"
        kind = next(word for level, word in sorted(_TYPES.items(), reverse=True) if record.levelno >= level)
        octets = b""
        for most in (SLOT, SLOT // 2, SLOT // 8, 0):            # JSON may be longer than the text
            octets = json.dumps([record.created, self._prefix(record)[:200], kind, text[:most]]).encode()
            if len(octets) <= SLOT - _SIZE.size:
                break
        fcntl.lockf(self._fd, fcntl.LOCK_EX)
        try:
            _, count = _HEAD.unpack(os.pread(self._fd, _HEAD.size, 0))
            os.pwrite(self._fd, _SIZE.pack(len(octets)) + octets, _HEAD.size + count % SLOTS * SLOT)
            os.pwrite(self._fd, _HEAD.pack(_MAGIC, count + 1), 0)
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)

    @staticmethod
    def read(path: str) -> list[Kept]:
        """Raises OSError; what cannot be understood is left out."""
        with open(path, "rb") as file:
            head = file.read(_HEAD.size)
            slots = file.read(SLOTS * SLOT)
        if len(head) < _HEAD.size or not head.startswith(_MAGIC):
            return []
        _, count = _HEAD.unpack(head)
        found = []
        for number in range(max(0, count - SLOTS), count):
            slot = slots[number % SLOTS * SLOT:][:SLOT]
            with suppress(ValueError, struct.error, TypeError):
                size = _SIZE.unpack(slot[:_SIZE.size])[0]
                stamp, prefix, kind, text = json.loads(slot[_SIZE.size:_SIZE.size + size])
                found.append(Kept(float(stamp), str(prefix), str(kind), str(text)))
        return found
