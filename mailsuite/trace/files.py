"""The mail log and its rotated parts, oldest first, read as a stream.

    for file in log_files(Path("/var/log/mail.log")): ...        mail.log-20261119.gz, mail.log.1, mail.log
    for lines in blocks(path): ...                               lists of whole lines, without their ends

Files that gzip, bzip2 or xz compressed are read through. Memory: one block of BLOCK octets; a line longer than
LINE_LIMIT is cut there. Raises OSError; a damaged compressed file ends early, with EOFError or OSError.
"""

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

BLOCK = 1 << 20
LINE_LIMIT = 64 * 1024
SYSLOG = ("/var/log/mail.log", "/var/log/maillog", "/var/log/mail")


def log_files(path: Path) -> list[Path]:
    """The log and what was rotated away from it, by their times of last change. Raises OSError for the folder."""
    found = [one for one in path.parent.iterdir()
             if one.is_file() and (one == path or _is_rotated(one.name, path.name))]
    return sorted(found, key=lambda one: (one.stat().st_mtime, one != path, one.name))


def _is_rotated(name: str, log: str) -> bool:
    """mail.log.1, mail.log.2.gz, mail.log-20261120.gz, mail.log.20261120-040000: a digit follows, nothing else."""
    rest = name.removeprefix(log)
    for end in (".gz", ".bz2", ".xz"):
        rest = rest.removesuffix(end)
    return name.startswith(log) and rest[:1] in (".", "-") and rest[1:].replace("-", "").isdigit()


def open_log(path: Path) -> BinaryIO:
    """Raises OSError."""
    with open(path, "rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if start.startswith(b"BZh"):
        return cast(BinaryIO, bz2.open(path, "rb"))
    if start == b"\xfd7zXZ\0":
        return cast(BinaryIO, lzma.open(path, "rb"))
    return open(path, "rb", buffering=0)


def blocks(path: Path) -> Iterator[list[bytes]]:
    """Whole lines, many at a time."""
    with open_log(path) as file:
        rest = b""
        # Of a damaged compressed file, read1 gives all that comes before the damage.
        read: Callable[[int], bytes] = getattr(file, "read1", file.read)
        while octets := read(BLOCK):
            lines = (rest + octets).split(b"\n")
            rest = lines.pop()[:LINE_LIMIT]
            yield lines
        if rest:
            yield [rest]
