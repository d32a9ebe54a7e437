"""The queue's folders, and the files that are there.

    folders = QueueFolders("/var/spool/postfix", hashed=("deferred", "defer"), depth=1)
    path = folders.path("active", queue_id); folders.move(queue_id, "incoming", "active")
    folders.remove("active", queue_id)
    for queue_id in folders.scan("deferred"): ...

Raises OSError untouched. Names that are no queue ids are not looked at, symbolic links not followed.
"""

import os
from collections.abc import Iterator, Sequence

from mailsuite.queue import ids
from mailsuite.queue.file import Stored, read
from mailsuite.queue.journal import FOLDER
from mailsuite.queue.new_file import refuse_taken

FOLDERS = ("incoming", "active", "deferred", "hold", "corrupt", "bounce", "defer", "trace", "flush", "maildrop",
           FOLDER, "pid", "private", "public", "saved")
MESSAGE_QUEUES = ("incoming", "active", "deferred", "hold")
KEPT = (*MESSAGE_QUEUES, "maildrop", "corrupt")         # where a message's file may be


class QueueFolders:
    """hashed: the queues with subfolders, depth of them one below the other, named by digits of the id."""

    def __init__(self, queue_directory: str, *, hashed: Sequence[str], depth: int) -> None:
        self.directory = queue_directory.rstrip("/")
        self.hashed, self.depth = frozenset(hashed), depth

    def path(self, queue: str, queue_id: str) -> str:
        """Raises ValueError for what is no queue id."""
        depth = self.depth if queue in self.hashed else 0
        return f"{self.directory}/{ids.hashed(queue, queue_id, depth)}"

    def open(self, queue: str, queue_id: str, *, write: bool = False) -> int:
        """A descriptor. Raises OSError: not there, or a symbolic link."""
        flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self.path(queue, queue_id), flags)

    def read(self, queue: str, queue_id: str, *, with_done: bool = False) -> Stored:
        """Raises OSError, Damaged."""
        fd = self.open(queue, queue_id)
        try:
            return read(fd, with_done=with_done)
        finally:
            os.close(fd)

    def move(self, queue_id: str, source: str, target: str) -> None:
        """Rename, making subfolders. Raises OSError: FileNotFoundError when it is not in source (any more)."""
        old, new = self.path(source, queue_id), self.path(target, queue_id)
        refuse_taken(queue_id, new)
        try:
            os.rename(old, new)
        except FileNotFoundError:
            if os.path.isdir(os.path.dirname(new)):
                raise
            self.make_folder(os.path.dirname(new))
            os.rename(old, new)

    def make_folder(self, path: str) -> None:
        """A subfolder of a queue, with those above it; they belong to whom the queue belongs. Raises OSError."""
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path)
        if parent != self.directory:
            self.make_folder(parent)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            return
        if os.geteuid() == 0:
            above = os.stat(parent)
            os.chown(path, above.st_uid, above.st_gid)

    def remove(self, queue: str, queue_id: str) -> bool:
        """Unlink; False when it was not there."""
        try:
            os.unlink(self.path(queue, queue_id))
        except FileNotFoundError:
            return False
        return True

    def find(self, queue_id: str, queues: Sequence[str] = MESSAGE_QUEUES) -> str | None:
        """The queue that has a message. Raises ValueError for what is no queue id."""
        for _ in range(2):      # it may move on while we look
            for queue in queues:
                if os.path.lexists(self.path(queue, queue_id)):
                    return queue
        return None

    def scan(self, queue: str) -> Iterator[str]:
        """Ids in a queue, in no order, subfolders included (also those of another hash depth)."""
        yield from (name for _, name in self.scan_paths(queue))

    def scan_paths(self, queue: str) -> Iterator[tuple[str, str]]:
        """(folder, id) of each file, in the order of the folders' entries. Memory: the names of one folder."""
        folders = [f"{self.directory}/{queue}"]
        while folders:
            folder = folders.pop()
            names, inner = [], []
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if len(entry.name) > 1:
                            names.append(entry.name)
                        elif entry.is_dir(follow_symlinks=False):
                            inner.append(entry.path)
            except FileNotFoundError:
                continue
            folders += reversed(inner)
            for name in names:
                if ids.is_id(name):
                    yield folder, name


def make_folders(queue_directory: str) -> None:
    """All folders, for tests and for commands before the first start; those that exist stay as they are."""
    modes = {"maildrop": 0o1730, "public": 0o2711, "pid": 0o755}
    for name in FOLDERS:
        path = f"{queue_directory}/{name}"
        if not os.path.isdir(path):
            os.makedirs(path, exist_ok=True)
            os.chmod(path, modes.get(name, 0o700))
