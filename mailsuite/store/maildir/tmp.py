"""Left-overs in tmp/ of a Maildir: what deliveries that crashed left, removed now and then as maildir(5) asks.

    clean_tmp("/home/alice/Maildir/tmp")        at most once in SCAN_S, by the folder's access time; never raises

A file goes when neither content nor inode changed for AGE_S.
"""

import os
import time
from contextlib import suppress

AGE_S = 36 * 3600
SCAN_S = 8 * 3600


def clean_tmp(folder: str) -> None:
    with suppress(OSError):
        now = time.time()
        info = os.stat(folder)
        if now - info.st_atime < SCAN_S:
            return
        for entry in os.scandir(folder):
            with suppress(OSError):
                one = entry.stat(follow_symlinks=False)
                if now - max(one.st_mtime, one.st_ctime) > AGE_S:
                    os.unlink(entry.path)
        os.utime(folder, (now, info.st_mtime))
