"""What a file system promises, by its type.

    syncs_new_names("/var/spool/postfix") -> True        fsync of a new file makes its name durable as well
    is_local(os.stat(folder).st_dev) -> True             no other machine is asked

POSIX promises nothing about names. On the file systems listed here link(2) and rename(2) change the inode and the
folder in one transaction, which fsync of the file has to write out (ext4 without a journal writes the folder of a new
name itself, ext4_sync_parent). Everywhere else the folder needs a sync of its own.
Source: Linux, fs/ext4/fsync.c; proc_pid_mountinfo(5).
"""

import os
from functools import lru_cache

_ONE_SYNC = frozenset({"ext4", "xfs", "btrfs"})
_LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "jfs", "tmpfs", "overlay"})


def type_of(path: str) -> str:
    """The type of the file system that holds path, "" when it cannot be found out."""
    try:
        return _type_of_device(os.stat(path).st_dev)
    except OSError:
        return ""


def _type_of_device(device: int) -> str:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                before, _, after = line.partition(" - ")
                if before.split()[2] == f"{os.major(device)}:{os.minor(device)}":
                    return after.split()[0]
    except (OSError, IndexError):
        pass
    return ""


@lru_cache(maxsize=64)
def is_local(device: int) -> bool:
    """Whether a file system is one of this machine's disks, so that what was looked at lately is in memory. device: its
    number, as stat tells it."""
    return _type_of_device(device) in _LOCAL


def syncs_new_names(folder: str) -> bool:
    """Whether fsync of a new file also makes its name in the folder durable."""
    return type_of(folder) in _ONE_SYNC
