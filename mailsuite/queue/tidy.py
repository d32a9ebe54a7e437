"""Putting the queue's folders in order: what a restored backup, another hash depth or a crash left.

    fix_structure(store, warn, long_names=False) -> how many files got another name
    purge(store, now)                                what crashed programs left behind

A short queue id holds the inode number of its file, which keeps it unique; a file that was copied back has another
inode, and a new message could get the same id. Such a file and its log files are renamed to fit. Files go to the
subfolders that hash_queue_names and hash_queue_depth want; empty subfolders go. Long ids are unique by themselves: they
are looked at where long_names says so, and become short where enable_long_queue_ids is off.
Run with the rights of the queue's owner: what lies in its folders is not trusted. Source: postsuper(1), -s, -S and -p.
"""

import os
import stat
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mailsuite.queue import ids
from mailsuite.queue.admin import LOGS, QUEUES

if TYPE_CHECKING:
    from mailsuite.queue.store import QueueStore

STALE_S = 86400.0
FOLDERS = (*LOGS, *QUEUES, "maildrop")      # logs first: a message finds its own where they belong
UNFINISHED = ".new-"

Warn = Callable[[str], None]


def fix_structure(store: "QueueStore", warn: Warn, *, folders: Sequence[str] = FOLDERS,
                  long_names: bool = False) -> int:
    """Returns how many messages got another id. Raises OSError."""
    renamed = 0
    for queue in (name for name in FOLDERS if name in folders):
        for folder, name in _files(store, queue, warn):
            fit = _fitting(store, folder, name, long_names) if queue in QUEUES else name
            if fit is None:
                continue
            if fit != name and _taken(store, fit):
                warn(f"{queue}/{name} should be named {fit}, but there is such a message")
                fit = name
            if fit != name:
                renamed += 1
                for log in LOGS:        # before the message: a crash between leaves nothing without its message
                    _place(store, log, store.path(log, name), fit)
            _place(store, queue, f"{folder}/{name}", fit)
        _remove_empty(store, queue)
    return renamed


def _files(store: "QueueStore", queue: str, warn: Warn) -> list[tuple[str, str]]:
    """(folder, name) of each file; what has another name is complained of. Raises OSError."""
    found = []
    for top, folders, names in os.walk(f"{store.directory}/{queue}"):
        for name in [name for name in folders if len(name) > 1]:
            folders.remove(name)
            warn(f"bogus file name: {os.path.relpath(top, store.directory)}/{name}")
        for name in names:
            if ids.is_id(name):
                found.append((top, name))
            elif not name.startswith(UNFINISHED):       # those are their writers'
                warn(f"bogus file name: {os.path.relpath(top, store.directory)}/{name}")
    return found


def _fitting(store: "QueueStore", folder: str, name: str, long_names: bool) -> str | None:
    """The id that a file should have; None: it is no regular file, or it has gone."""
    try:
        found = os.stat(f"{folder}/{name}", follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    if ids.is_long(name) and store.long_ids and not long_names:
        return name
    return ids.with_inode(name, found.st_ino, long_ids=store.long_ids)


def _taken(store: "QueueStore", queue_id: str) -> bool:
    return store.find(queue_id, (*QUEUES, "maildrop", "corrupt")) is not None


def _place(store: "QueueStore", queue: str, path: str, queue_id: str) -> None:
    """Move a file to where its queue keeps this id. One that is not there (any more) is left alone. Raises OSError."""
    wanted = store.path(queue, queue_id)
    if path == wanted or not os.path.lexists(path):
        return
    store.make_folder(os.path.dirname(wanted))
    try:
        try:
            os.link(path, wanted, follow_symlinks=False)    # never replaces what is there, as a rename would
        except PermissionError:                             # maildrop/: the file is its submitter's
            if os.path.lexists(wanted):
                return
            os.rename(path, wanted)
        else:
            os.unlink(path)
    except FileExistsError:
        if os.path.samefile(path, wanted):                  # a crash between link and unlink
            os.unlink(path)
    except FileNotFoundError:
        pass


def _remove_empty(store: "QueueStore", queue: str) -> None:
    """Subfolders without a file; those that the hash depth uses are made again when needed."""
    top = f"{store.directory}/{queue}"
    depth = store.depth if queue in store.hashed else 0
    for folder, _, _ in os.walk(top, topdown=False):
        below = os.path.relpath(folder, top)
        if folder == top or not all(len(part) == 1 for part in below.split("/")):
            continue
        if below.count("/") + 1 <= depth:
            continue                    # in use: a writer may be about to put a file there
        try:
            os.rmdir(folder)
        except OSError:
            pass                        # not empty


def purge(store: "QueueStore", now: float, *, folders: Sequence[str] = FOLDERS) -> int:
    """Remove unfinished files older than STALE_S; returns how many. Raises OSError."""
    count = 0
    for queue in folders:
        for top, _, names in os.walk(f"{store.directory}/{queue}"):
            for name in names:
                path = f"{top}/{name}"
                if name.startswith(UNFINISHED) and os.lstat(path).st_mtime < now - STALE_S:
                    os.unlink(path)
                    count += 1
    return count
