"""One process woken for a connection, where several wait at one listening socket.

    share_fairly(loop, listener.sock)           after loop.add_reader; again after each

An event loop waits for a listening socket with epoll, and a connection wakes every process that does: all but one find
nothing. With EPOLLEXCLUSIVE (Linux 4.5) the kernel wakes the first that is idle. Neither asyncio nor uvloop can ask
for that, so the registration is made anew in the loop's own epoll descriptor: the one in /proc/self/fd that waits for
the socket. The data of it is the descriptor's number, as both have it. Where there is no such thing, nothing is
changed.
See: epoll_ctl(2).
"""

import asyncio
import os
import select
import socket

REGISTERED_S = 0.05              # after how long uvloop has told the kernel of a new reader


def share_fairly(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """From the event loop; takes effect a moment later, unless the socket is not waited for any more by then."""
    loop.call_later(REGISTERED_S, _make_exclusive, sock)


def _make_exclusive(sock: socket.socket) -> None:
    if sock.fileno() < 0:
        return
    descriptors = [fd for fd in _epoll_descriptors() if _waits(fd, sock.fileno())]
    if len(descriptors) != 1:
        return
    duplicate = os.dup(descriptors[0])          # the object below closes its descriptor
    with select.epoll.fromfd(duplicate) as epoll:
        try:
            epoll.unregister(sock.fileno())
        except OSError:
            return                              # not waited for now
        try:
            epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLEXCLUSIVE)
        except OSError:
            epoll.register(sock.fileno(), select.EPOLLIN)


def _waits(epoll: int, fd: int) -> bool:
    """Is the descriptor in that epoll set? See proc_pid_fdinfo(5)."""
    try:
        with open(f"/proc/self/fdinfo/{epoll}") as info:
            return any(words[:2] == ["tfd:", str(fd)] for words in map(str.split, info))
    except OSError:
        return False


def _epoll_descriptors() -> list[int]:
    found = []
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return []
    for name in names:
        try:
            if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:[eventpoll]":
                found.append(int(name))
        except OSError:
            continue                            # that of the listing itself
    return found
