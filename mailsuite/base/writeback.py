"""Have the disk begin before somebody waits for it.

    for fd in files: start_sync(fd)
    for fd in files: os.fsync(fd)           all wait for the same writing, not each for its own

Makes nothing durable and never fails: fsync does, and tells of errors (a write that failed in between is told by the
next fsync of the same descriptor). Linux only; elsewhere it does nothing.
Source: sync_file_range(2).
"""

import ctypes

_WRITE = 2                  # SYNC_FILE_RANGE_WRITE: begin, do not wait
_call = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _call is not None:
    _call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def start_sync(fd: int) -> None:
    """Begin to write what of a file is in memory only."""
    if _call is not None:
        _call(fd, 0, 0, _WRITE)
