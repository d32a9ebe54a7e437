"""Reading the files of a Maildir with as few system calls as it takes.

    octets, date = read_file(path)      all of it, and the time of its last change
    octets = read_octets(path)          all of it
    octets = read_head(path)            from its beginning to some point behind the header
    file = open_file(path)              for one that is too large for memory
    advise(path)                        it will be wanted soon: the kernel begins to read it; raises nothing

path: bytes. Never follows a symbolic link, and never waits for the other end of a pipe. Raises OSError; is_no_mail
tells whether it was because what lies there is no file.
"""

import errno
import os
import stat
from io import FileIO

HEAD = 8192             # octets: most headers fit
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_file(path: bytes) -> tuple[bytes, int]:
    """date: seconds since the epoch."""
    fd = os.open(path, _FLAGS)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise IsADirectoryError(errno.EISDIR, "no file")
        octets = os.read(fd, info.st_size + 1)
        if len(octets) != info.st_size:             # it grew, or is longer than one read gives
            octets = _rest(fd, octets)
        return octets, int(info.st_mtime)
    finally:
        os.close(fd)


def read_octets(path: bytes) -> bytes:
    fd = os.open(path, _FLAGS)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)         # cheaper than all that fstat tells
        if size >> 48:                              # what ext4 says of a folder
            raise IsADirectoryError(errno.EISDIR, "no file")
        octets = os.pread(fd, size + 1, 0)
        if len(octets) != size:
            os.lseek(fd, len(octets), os.SEEK_SET)
            octets = _rest(fd, octets)
        return octets
    finally:
        os.close(fd)


def read_head(path: bytes) -> bytes:
    fd = os.open(path, _FLAGS)
    try:
        octets = os.read(fd, HEAD)
        if not octets and not stat.S_ISREG(os.fstat(fd).st_mode):
            raise IsADirectoryError(errno.EISDIR, "no file")
        if b"\n\n" not in octets and b"\n\r\n" not in octets and len(octets) == HEAD:
            octets = _rest(fd, octets)
        return octets
    finally:
        os.close(fd)


def open_file(path: bytes) -> FileIO:
    return FileIO(os.open(path, _FLAGS), "rb")


def is_no_mail(error: OSError) -> bool:
    """A folder, a pipe, a symbolic link."""
    return error.errno in (errno.EISDIR, errno.ELOOP, errno.ESPIPE)


def advise(path: bytes) -> None:
    try:
        fd = os.open(path, _FLAGS)
    except OSError:         # renamed or gone meanwhile: who reads it will see
        return
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
    except OSError:
        pass
    finally:
        os.close(fd)


def _rest(fd: int, octets: bytes) -> bytes:
    parts = [octets]
    while parts[-1]:
        parts.append(os.read(fd, 1 << 20))
    return b"".join(parts)
