"""UIDVALIDITY values of one user: none is given twice, also when a mailbox is deleted and made again within a second.

    new_uid_validity("/home/alice/Maildir") -> 1795279462

Kept as Dovecot does, so that either goes on where the other stopped: the last value is the name of an empty file
dovecot-uidvalidity.<8 hex digits> in the folder of the control files (a Maildir's root, .imap below an mbox user's
root). It is renamed for the next one, which only one process can do; the folder, which may hold ten thousand others, is
listed when that fails.
"""

import os
import time
from contextlib import suppress

MAX_UID_VALIDITY = 0xFFFFFFFF
PREFIX = "dovecot-uidvalidity."
REMEMBERED = 1000               # folders

_last: dict[str, int] = {}      # what this process gave last


def new_uid_validity(root: str) -> int:
    """A UIDVALIDITY that no mailbox of this root had: the time, or one more than the last given out."""
    last = _last.get(root, 0)
    if last:
        value = max(int(time.time()), last + 1)
        with suppress(OSError):
            os.rename(_path(root, last), _path(root, value))
            return _given(root, value)
    found = _listed(root)
    value = max(int(time.time()), *(one + 1 for one in found)) if found else int(time.time())
    while value < MAX_UID_VALIDITY:
        try:
            os.close(os.open(_path(root, value), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
            break
        except FileExistsError:
            value += 1
        except OSError:
            return value
    for old in found:
        with suppress(OSError):
            os.unlink(_path(root, old))
    return _given(root, value)


def _path(root: str, value: int) -> str:
    return os.path.join(root, f"{PREFIX}{value:08x}")


def _given(root: str, value: int) -> int:
    if len(_last) >= REMEMBERED:
        _last.clear()
    _last[root] = value
    return value


def _listed(root: str) -> list[int]:
    found = []
    with suppress(OSError):
        for name in os.listdir(root):
            if name.startswith(PREFIX) and len(name) == len(PREFIX) + 8:
                with suppress(ValueError):
                    found.append(int(name[len(PREFIX):], 16))
    return found
