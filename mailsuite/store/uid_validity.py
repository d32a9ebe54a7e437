"""UIDVALIDITY values of one user: none is given twice, also when a mailbox is deleted and made again within a second.

    new_uid_validity("/home/alice/Maildir") -> 1795279462

Kept as Dovecot keeps them, so that either goes on where the other stopped. The folder is that of the control files:
a Maildir's root, .imap below an mbox user's root.
"""

import os
import time
from contextlib import suppress

MAX_UID_VALIDITY = 0xFFFFFFFF


def new_uid_validity(root: str) -> int:
    """A UIDVALIDITY that no mailbox below root had: the time, or one more than the last given out.

    Kept as Dovecot does: the last value is the name of an empty file dovecot-uidvalidity.<8 hex digits> in root.
    """
    prefix = "dovecot-uidvalidity."
    last, old = 0, []
    with suppress(OSError):
        for name in os.listdir(root):
            if name.startswith(prefix) and len(name) == len(prefix) + 8:
                with suppress(ValueError):
                    last = max(last, int(name[len(prefix):], 16))
                    old.append(name)
    value = max(int(time.time()), last + 1)
    while value < MAX_UID_VALIDITY:
        try:
            os.close(os.open(os.path.join(root, f"{prefix}{value:08x}"),
                             os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
            break
        except FileExistsError:
            value += 1
        except OSError:
            break
    for name in old:
        with suppress(OSError):
            os.unlink(os.path.join(root, name))
    return value
