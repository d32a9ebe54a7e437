"""A group that a process may take for moments: mail_privileged_group, to make files in /var/mail.

    allow(gid)                           once, in a worker that kept the group as its saved one (net.privileges)
    with privileged_group(): os.open(...)        nothing without allow()

setfsgid is about the calling thread only, so other threads never have the group meanwhile. Keep what is done inside to
one call on a path that the administrator's settings name, never on one that a user can turn elsewhere.
"""

import ctypes
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_allowed = -1


def allow(gid: int) -> None:
    """From now on this process may take the group; -1: none."""
    global _allowed
    _allowed = gid


@functools.cache
def _setfsgid() -> Callable[[int], int]:
    function: Callable[[int], int] = ctypes.CDLL(None).setfsgid
    return function


@contextmanager
def privileged_group(wanted: bool = True) -> Iterator[None]:
    """Have the group for file access in this thread, where the process may."""
    if not wanted or _allowed < 0:
        yield
        return
    before = _setfsgid()(_allowed)
    try:
        yield
    finally:
        _setfsgid()(before)
