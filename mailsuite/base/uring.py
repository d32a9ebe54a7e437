"""File operations that the kernel carries out by itself: Linux' io_uring, without a line of C.

    ring = Ring.open(entries=64)                    None where the kernel, or who confines us, does not have it
    ring.chain(token, [link(fd, path), sync(fd)])   one after the other, also when one fails
    ring.chain(token, [open_file(path, flags, mode)])
    refused = ring.submit()                         hands over what was chained: one system call, which does not wait
    for token, step, result in ring.ended(): ...    each operation of each chain, in order; result negative: an errno
    loop.add_reader(ring.fd, ...)                   readable while there is something in `ended`

Threads that wait for the disk change places with the event loop's thread many times a message (each call takes and
gives back the interpreter); here nothing does. Needs Linux 5.17; `open` finds out.
Limits: operations between two submits: `entries`, under way: `room`; the caller counts.
Source: io_uring_setup(2), io_uring_enter(2); linux/io_uring.h.
"""

import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

_SETUP, _ENTER = 425, 426               # the same numbers on all processors but alpha
_SQES = 0x10000000                      # mmap offsets
_ONE_MAP, _NEW = 1 << 0, 1 << 11        # features: both rings in one mapping; IORING_FEAT_CQE_SKIP tells Linux 5.17
_FSYNC, _OPENAT, _UNLINKAT, _LINKAT = 3, 18, 36, 39
_DATA_ONLY = 1 << 0                     # IORING_FSYNC_DATASYNC
_LINKED = 1 << 2                        # the next one waits for this
_AT_FDCWD, _AT_SYMLINK_FOLLOW = -100, 0x400
_PARAMS = struct.Struct("=10I 8IQ 8IQ")
_SQE = struct.Struct("=BBHiQQIIQQQQ")
_CQE = struct.Struct("=QiI")
_WORD = struct.Struct("=I")
_STEPS = 16                             # operations of one chain at most


class Operation(NamedTuple):
    """One entry of the submission ring. keep: what its addresses point to; the kernel copies it in `submit`."""

    code: int
    fd: int
    address2: int = 0
    address: int = 0
    length: int = 0
    flags: int = 0
    keep: tuple[object, ...] = ()


def link(fd: int, path: str) -> Operation:
    """Give a file without a name (O_TMPFILE) a name."""
    old, new = b"/proc/self/fd/%d\0" % fd, os.fsencode(path) + b"\0"
    return Operation(_LINKAT, _AT_FDCWD, _address(new), _address(old), _AT_FDCWD & 0xFFFFFFFF, _AT_SYMLINK_FOLLOW,
                     (old, new))


def sync(fd: int) -> Operation:
    """fsync(2)."""
    return Operation(_FSYNC, fd)


@lru_cache(64)
def sync_data(fd: int) -> Operation:
    """fdatasync(2)."""
    return Operation(_FSYNC, fd, flags=_DATA_ONLY)


def open_file(path: str, flags: int, mode: int) -> Operation:
    """open(2); the result is the descriptor."""
    name = os.fsencode(path) + b"\0"
    return Operation(_OPENAT, _AT_FDCWD, 0, _address(name), mode, flags, (name,))


def unlink(path: str) -> Operation:
    """unlink(2)."""
    name = os.fsencode(path) + b"\0"
    return Operation(_UNLINKAT, _AT_FDCWD, 0, _address(name), keep=(name,))


class Ring:
    """One per event loop; not to be used after a fork."""

    def __init__(self, fd: int, params: Sequence[int]) -> None:
        """Of what io_uring_setup gave; use `open`. Raises OSError."""
        self.fd = fd
        sq_entries, cq_entries = params[0], params[1]
        (self._sq_head, self._sq_tail, _, _, _, _, array) = params[10:17]
        (self._cq_head, self._cq_tail, _, _, _, cqes) = params[19:25]
        self.entries, self.room = sq_entries, cq_entries
        size = max(array + 4 * sq_entries, cqes + _CQE.size * cq_entries)
        self._rings = mmap.mmap(fd, size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self._sqes = mmap.mmap(fd, _SQE.size * sq_entries, mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=_SQES)
        for number in range(sq_entries):            # entry n of the ring is always slot n
            _WORD.pack_into(self._rings, array + 4 * number, number)
        self._sq_mask, self._cq_mask, self._cqes = sq_entries - 1, cq_entries - 1, cqes
        self._tail: int = _WORD.unpack_from(self._rings, self._sq_tail)[0]
        self._seen: int = _WORD.unpack_from(self._rings, self._cq_head)[0]
        self._waiting: list[int] = []
        self._kept: list[tuple[object, ...]] = []

    @classmethod
    def open(cls, entries: int = 64) -> "Ring | None":
        """entries: a power of two."""
        params = ctypes.create_string_buffer(_PARAMS.size)
        fd = _call(_SETUP, entries, ctypes.addressof(params), 0, 0)
        if fd < 0:
            return None
        os.set_inheritable(fd, False)
        found = _PARAMS.unpack(params.raw)
        try:
            if found[5] & (_ONE_MAP | _NEW) == _ONE_MAP | _NEW:
                return cls(fd, found)
        except (OSError, ValueError):
            pass
        os.close(fd)
        return None

    def close(self) -> None:
        """What was submitted is carried out all the same."""
        if self.fd >= 0:
            self._rings.close()
            self._sqes.close()
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            os.close(self.fd)           # the mappings go with their objects

    def chain(self, token: int, operations: Sequence[Operation]) -> None:
        """Put operations into the ring; each begins when the one before is over. At most `entries` before a submit.

        token: below 2**59."""
        last = len(operations) - 1
        for step, (code, fd, address2, address, length, flags, keep) in enumerate(operations):
            data = token * _STEPS + step
            _SQE.pack_into(self._sqes, (self._tail & self._sq_mask) * _SQE.size, code,
                           0 if step == last else _LINKED, 0, fd, address2, address, length, flags, data, 0, 0, 0)
            self._tail = (self._tail + 1) & 0xFFFFFFFF
            self._waiting.append(data)
            if keep:
                self._kept.append(keep)

    @property
    def waiting(self) -> int:
        """Operations put since the last submit."""
        return len(self._waiting)

    def submit(self) -> list[tuple[int, int]]:
        """Returns (token, place in the chain) of what the kernel did not take (no memory): it will never be done."""
        _WORD.pack_into(self._rings, self._sq_tail, self._tail)
        waiting = self._waiting
        taken = _call(_ENTER, self.fd, len(waiting), 0, 0)
        while taken < 0 and ctypes.get_errno() == errno.EINTR:
            taken = _call(_ENTER, self.fd, len(waiting), 0, 0)
        refused: list[tuple[int, int]] = []
        if taken != len(waiting):
            refused = [(data // _STEPS, data % _STEPS) for data in waiting[max(taken, 0):]]
            self._tail = (self._tail - len(refused)) & 0xFFFFFFFF
            _WORD.pack_into(self._rings, self._sq_tail, self._tail)
        waiting.clear()
        self._kept.clear()
        return refused

    def ended(self) -> Iterator[tuple[int, int, int]]:
        """(token, place in the chain, result) of what is over. Never waits."""
        tail = _WORD.unpack_from(self._rings, self._cq_tail)[0]
        while self._seen != tail:
            data, result, _ = _CQE.unpack_from(self._rings, self._cqes + (self._seen & self._cq_mask) * _CQE.size)
            self._seen = (self._seen + 1) & 0xFFFFFFFF
            _WORD.pack_into(self._rings, self._cq_head, self._seen)
            yield data // _STEPS, data % _STEPS, result


_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                     ctypes.c_long)


def _call(number: int, first: int, second: int, third: int, fourth: int) -> int:
    return int(_syscall(number, first, second, third, fourth, None, 0))


def _address(text: bytes) -> int:
    """Where the octets of an object stand; good as long as the object is kept."""
    found = ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p).value
    assert found is not None
    return found
