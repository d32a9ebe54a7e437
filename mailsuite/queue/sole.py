"""The right to be the only process that works on a queue folder.

    lock = await hold("/var/spool/postfix/active", wait_s=12)       close it, or end, to give it back

When the master is killed its children finish what they have in hand, and a new master may start meanwhile. Two qmgrs
would deliver the same mail twice, two pickups take the same file: the new one waits for the old one's end. The lock is
flock(2) on the folder, so nothing is left of it after a crash. Postfix locks pid/unix.qmgr.
"""

import asyncio
import fcntl
import os

from mailsuite.base.log import logger

LOOK_S = 0.05
log = logger("qmgr")


async def hold(folder: str, *, wait_s: float) -> int:
    """A descriptor that holds the lock, -1 where the file system has none. After wait_s it is done without: mail that
    comes twice is better than mail that waits for a process that hangs."""
    loop = asyncio.get_running_loop()
    end = loop.time() + wait_s
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        log.warning("cannot lock %s: %s", folder, error)
        return -1
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if loop.time() >= end:
                log.warning("another process still works in %s after %.0f s", folder, wait_s)
                return fd
        except OSError as error:
            log.warning("cannot lock %s: %s", folder, error)
            return fd
        await asyncio.sleep(LOOK_S)
