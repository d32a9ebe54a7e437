"""A queue file that is being made: without a name until it is whole (store.py makes and commits them).

    file = QueueFile(fd, queue_id, temp)        temp: the name that it has meanwhile, "" where it needs none
    file.writer.add(octets); file.finish(facts, recipients)
    file.write_and_name(path); file.sync(); file.close()
"""

import errno
import os
from collections.abc import Callable

from mailsuite.queue import ids
from mailsuite.queue.envelope import Recipient
from mailsuite.queue.file import Writer
from mailsuite.queue.journal import Place


class QueueFile:
    """A file that is being made. queue_id is known at once; what `opener` opens has a descriptor when one is needed.
    place: where its record in the journal is, once it has one instead."""

    __slots__ = ("_complete", "_fd", "_opener", "_temp", "place", "queue_id", "writer")

    def __init__(self, fd: int, queue_id: str, temp: str, opener: Callable[[], tuple[int, str]] | None = None) -> None:
        """opener: returns the descriptor and the name that the file has meanwhile. Raises OSError."""
        self._fd, self.queue_id, self._temp, self._opener = fd, queue_id, temp, opener
        self.writer = Writer(fd if opener is None else self._open)
        self._complete = False
        self.place: Place | None = None

    def _open(self) -> int:
        if self._fd < 0 and self._opener is not None:
            self._fd, self._temp = self._opener()
            self._opener = None
        return self._fd

    @property
    def fd(self) -> int:
        """-1: it is closed. Raises OSError."""
        return self._open()

    def finish(self, facts: bytes, recipients: list[Recipient]) -> list[Recipient]:
        """No content follows; the recipients come back with their numbers. The commit writes."""
        return self.writer.finish(facts, recipients)

    @property
    def is_nameless(self) -> bool:
        """Raises OSError."""
        return self.fd >= 0 and not self._temp

    def complete(self) -> None:
        """Write what is left: at most a block, into the page cache. Raises OSError."""
        if not self._complete:
            self.writer.complete()
            self._complete = True

    def write_and_name(self, path: str) -> None:
        """Write what is left, then give the whole file its name; `sync` has to follow. Blocks. Raises OSError."""
        self.complete()
        if self._temp:
            refuse_taken(self.queue_id, path)
            os.rename(self._temp, path)
            self._temp = ""
        else:
            # src_dir_fd makes CPython use linkat, which alone follows the link in /proc.
            os.link(f"/proc/self/fd/{self.fd}", path, src_dir_fd=self.fd, follow_symlinks=True)

    def sync(self) -> None:
        """Content and inode reach the disk, and the name too where `syncs_new_names`. Blocks. Raises OSError."""
        os.fsync(self.fd)

    def close(self) -> None:
        """Let go; a file without a name is gone then. May be called twice."""
        self._opener = None
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            temp, self._temp = self._temp, ""
            try:
                if temp:
                    os.unlink(temp)
            finally:
                os.close(fd)


def refuse_taken(queue_id: str, path: str) -> None:
    """Raises FileExistsError where a rename would replace another message: only a counted id may be that of two."""
    if ids.is_counted(queue_id) and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
