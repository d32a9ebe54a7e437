"""For commands and showq, which look at the queue's folders: what is in the journal becomes files first.

    bring_to_files(store)                   blocks; returns when it is done, or cannot be done

A running qmgr is asked (requests.py, "files"). While the mail system is down, whoever owns the queue does it himself.
Never raises: at worst a message that came in the last second is not seen yet.
"""

import fcntl
import json
import os
import socket
from typing import TYPE_CHECKING

from mailsuite.base.log import logger
from mailsuite.queue import journal
from mailsuite.queue.journal_reader import recover

if TYPE_CHECKING:
    from mailsuite.queue.store import QueueStore

ANSWER_S = 10.0
log = logger("qmgr")


def bring_to_files(store: "QueueStore") -> None:
    """Limit: ANSWER_S seconds for qmgr's answer."""
    try:
        if journal.names(f"{store.directory}/{journal.FOLDER}") and not _asked(store.directory):
            _recover(store)
    except OSError as error:
        log.debug("the journal was not looked at: %s", error)


def _asked(queue_directory: str) -> bool:
    """False: there is no qmgr. Raises OSError: it does not answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(ANSWER_S)
        try:
            peer.connect(f"{queue_directory}/public/qmgr")
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        peer.sendall(json.dumps({"op": "files", "answer": True}).encode() + b"\n")
        while octets := peer.recv(4096):
            if b"\n" in octets:
                break
        return True


def _recover(store: "QueueStore") -> None:
    """As a qmgr at its start. Raises OSError: the queue is not ours, or one is starting."""
    fd = os.open(f"{store.directory}/active", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        recover(store, lambda text: log.warning("%s", text))
    finally:
        os.close(fd)
