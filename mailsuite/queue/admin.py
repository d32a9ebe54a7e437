"""What an administrator does to queued mail, message by message: delete, expire, hold, release, requeue.

    act = Act.HOLD
    on_one(store, act, "4A2F1C83D", act.queues) -> bool          False: in none of these queues
    on_all(store, act, act.queues) -> int                         how many it was done to

They work on the files, whether qmgr runs or not: it notices that a file has gone or moved. A message that was expired
already is not expired again. Source: postsuper(1). Raises OSError for what the file system refuses.
"""

import os
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

from mailsuite.queue import ids
from mailsuite.queue.file import EXPIRE

if TYPE_CHECKING:
    from mailsuite.queue.store import QueueStore

QUEUES = ("hold", "incoming", "active", "deferred")
LOGS = ("defer", "bounce", "trace")         # folders with files of the message's name


class Act(Enum):
    """(name, queues it looks into, what the log says of a message, of all together); in the order of the summary."""

    REQUEUE = ("requeue", QUEUES, "requeued", "Requeued")
    DELETE = ("delete", (*QUEUES, "maildrop"), "removed", "Deleted")
    EXPIRE = ("expire", QUEUES, "expired", "Force-expired")
    HOLD = ("hold", ("incoming", "active", "deferred"), "placed on hold", "Placed on hold")
    RELEASE = ("release", ("hold",), "released from hold", "Released from hold")

    def __init__(self, label: str, queues: tuple[str, ...], said: str, summary: str) -> None:
        self.label, self.queues, self.said, self.summary = label, queues, said, summary

    def total(self, count: int) -> str:
        """"Deleted: 3 messages"."""
        return f"{self.summary}: {count} message{'' if count == 1 else 's'}"


def on_one(store: "QueueStore", act: Act, queue_id: str, queues: Sequence[str]) -> bool:
    """Do it to the message where it is. A name that cannot be one of ours is not there."""
    if not ids.is_id(queue_id):
        return False
    # Twice: a message may move on between two looks.
    return any(carry_out(store, act, queue, queue_id) for queue in (*queues, *queues))


def on_all(store: "QueueStore", act: Act, queues: Sequence[str]) -> int:
    """Do it to all messages of these queues."""
    return sum(carry_out(store, act, queue, queue_id) for queue in queues for queue_id in list(store.scan(queue)))


def carry_out(store: "QueueStore", act: Act, queue: str, queue_id: str) -> bool:
    """One message in one queue; False: it is not there (any more), or there is nothing to do."""
    try:
        match act:
            case Act.DELETE:
                if not store.remove(queue, queue_id):
                    return False
                _forget_logs(store, queue_id, LOGS)
            case Act.EXPIRE:
                path = store.path(queue, queue_id)
                mode = os.stat(path, follow_symlinks=False).st_mode
                if mode & EXPIRE:
                    return False
                os.chmod(path, mode & 0o7777 | EXPIRE)      # it is returned after the next attempt
            case Act.HOLD:
                store.move(queue_id, queue, "hold")
            case Act.RELEASE:
                os.utime(store.path(queue, queue_id))       # it is due at the next scan
                store.move(queue_id, queue, "deferred")
            case Act.REQUEUE:
                store.move(queue_id, queue, "maildrop")
                _forget_logs(store, queue_id, ("defer",))
    except FileNotFoundError:
        return False
    return True


def _forget_logs(store: "QueueStore", queue_id: str, folders: Sequence[str]) -> None:
    for folder in folders:
        store.remove(folder, queue_id)
