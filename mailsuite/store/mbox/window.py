"""A large file as if it were octets: slices and find, through one window that moves over it.

    data = FileData(fd)      data[a:b]      data.find(b"\\nFrom ", a, b)      len(data)

Not a memory map: another program may cut the file without asking for a lock, and touching a map behind the new end
kills the process. Here it is an OSError of that one call. What is in the window is not read again: a caller that
writes to the file must not expect to see it.
"""

import errno
import os

WINDOW = 1024 * 1024
ASIDE = 4096            # a slice up to this size outside of the window does not move it


class FileData:
    """fd stays the caller's. Raises OSError when the file became shorter than it was at the beginning."""

    def __init__(self, fd: int) -> None:
        self._fd, self._size = fd, os.fstat(fd).st_size
        self._at, self._window = 0, b""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, piece: slice) -> bytes:
        start, stop, _ = piece.indices(self._size)
        if stop <= start:
            return b""
        offset = start - self._at
        if offset < 0 or stop - self._at > len(self._window):
            if stop - start <= ASIDE and offset < 0 or stop - start > WINDOW:
                return self._read(start, stop - start)
            self._move(start)
            offset = 0
        return self._window[offset: offset + stop - start]

    def find(self, wanted: bytes, start: int = 0, end: int | None = None) -> int:
        """As bytes.find, for offsets that are not negative."""
        end = self._size if end is None else min(end, self._size)
        while start + len(wanted) <= end:
            offset = start - self._at
            if offset < 0 or offset + len(wanted) > len(self._window):
                self._move(start)
                offset = 0
            found = self._window.find(wanted, offset, end - self._at)
            if found >= 0:
                return self._at + found
            # The last octets may be the beginning of a hit that the next window holds whole.
            start = self._at + len(self._window) - len(wanted) + 1
        return -1

    def _move(self, start: int) -> None:
        self._window = self._read(start, min(WINDOW, self._size - start))
        self._at = start

    def _read(self, start: int, size: int) -> bytes:
        octets = os.pread(self._fd, size, start)
        while len(octets) < size:
            more = os.pread(self._fd, size - len(octets), start + len(octets))
            if not more:
                raise OSError(errno.ESTALE, "the mailbox became shorter while it was read")
            octets += more
        return octets
