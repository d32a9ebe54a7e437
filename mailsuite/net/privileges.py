"""Giving up rights for good, in a process just forked.

    become_worker(Identity(1000, 1000, user="alice"), keep=[fd])      close what was inherited, then drop: these two
    leave_parent(keep=[fd]); drop_for_good(identity)
    drop_privileges(identity)                                          only drop

Without root nothing is dropped, and all identities are one (Identity.effective). With root, uid 0 as a target is a
Bug, unless allow_root says that nothing but our own code runs there (root's mailbox).
"""

import asyncio
import ctypes
import gc
import logging
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass

from mailsuite.base.errors import Bug
from mailsuite.base.log import FileTarget, SyslogTarget

_PR_SET_NO_NEW_PRIVS = 38
_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a process becomes. user: take this account's supplementary groups; else exactly `groups`.

    root: the folder that becomes its root folder ("" : none); needs root.
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    user: str = ""
    root: str = ""
    privileged_gid: int = -1         # kept as the saved group, for base.privilege

    def effective(self) -> "Identity":
        """What it comes to in this process: without root, everyone is who we are."""
        return self if os.geteuid() == 0 else Identity(os.geteuid(), os.getegid())


def drop_privileges(identity: Identity, *, allow_root: bool = False) -> None:
    """Become identity for good, if root. Raises OSError, Bug."""
    if os.geteuid() != 0:
        return
    if identity.uid == 0 and not allow_root:
        raise Bug("a worker must not be root")
    if identity.user:
        os.initgroups(identity.user, identity.gid)
    else:
        os.setgroups(list(identity.groups))
    if identity.root:
        os.chroot(identity.root)
        os.chdir("/")
    saved = identity.gid if identity.privileged_gid < 0 else identity.privileged_gid
    os.setresgid(identity.gid, identity.gid, saved)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    if os.getresuid() != (identity.uid,) * 3 or os.getresgid() != (identity.gid, identity.gid, saved):
        raise Bug("rights were not dropped")


def become_worker(identity: Identity, *, keep: Iterable[int] = (), umask: int = 0o077,
                  no_new_privileges: bool = True, allow_root: bool = False) -> None:
    """Turn a fresh fork of a service into a worker: no foreign descriptors, signals or loop, and fewer rights."""
    leave_parent(keep=keep, umask=umask)
    drop_for_good(identity, no_new_privileges=no_new_privileges, allow_root=allow_root)


def leave_parent(*, keep: Iterable[int] = (), umask: int = 0o077) -> None:
    """In a fresh fork: let go of the parent's descriptors, signals and loop, not yet of its rights."""
    # What the parent had stays referenced by its frozen objects: none of them may ever close a descriptor number
    # that is ours by then.
    gc.freeze()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2,
                   signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # a Ctrl-C goes to the group; the parent ends us in order
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    asyncio._set_running_loop(None)
    asyncio.set_event_loop(None)
    close_descriptors({0, 1, 2, *keep, *log_descriptors()})
    os.umask(umask)


def drop_for_good(identity: Identity, *, no_new_privileges: bool = True, allow_root: bool = False) -> None:
    """Become identity; no_new_privileges: set-uid programs give nothing back either. Raises OSError, Bug."""
    drop_privileges(identity, allow_root=allow_root)
    if no_new_privileges:
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def close_descriptors(keep: set[int]) -> None:
    """Close all but keep."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd not in keep:
            try:
                os.close(fd)
            except OSError:
                pass                    # the folder's own


def log_descriptors() -> set[int]:
    """The descriptors that this process logs to."""
    found: set[int] = set()
    for name in (None, "mailsuite", "mailsuite.dovecot"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, FileTarget):
                found.add(handler.fd)
            elif isinstance(handler, SyslogTarget) and handler._socket is not None:
                found.add(handler._socket.fileno())
    return found
