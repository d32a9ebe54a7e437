"""A message on its way: in memory while it is small, else in a temporary file without a name.

    spool = Spool();  spool.begin(size);  spool.write(octets)...
    for block in spool.blocks(): ...            as often as wanted;  spool.close()
"""

import tempfile
from collections.abc import Iterator
from typing import BinaryIO

MEMORY = 1 << 20
BLOCK = 1 << 18


class Spool:
    """size: octets written so far."""

    __slots__ = ("_file", "_parts", "begun", "size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._file: BinaryIO | None = None
        self.size, self.begun = 0, False

    @classmethod
    def of(cls, octets: bytes) -> "Spool":
        spool = cls()
        spool.begin(len(octets))
        spool.write(octets)
        return spool

    def begin(self, size: int) -> None:
        """A message of this size comes; a server may send a second body in one answer: the last holds."""
        self.close()
        self.begun = True
        if size > MEMORY:
            self._file = tempfile.TemporaryFile()           # noqa: SIM115 (closed by close)

    def write(self, octets: bytes) -> None:
        self.size += len(octets)
        if self._file is not None:
            self._file.write(octets)
        else:
            self._parts.append(octets)

    def blocks(self) -> Iterator[bytes]:
        if self._file is None:
            yield from self._parts
            return
        self._file.seek(0)
        while octets := self._file.read(BLOCK):
            yield octets

    def close(self) -> None:
        """Forget the content."""
        self._parts, self.size, self.begun = [], 0, False
        if self._file is not None:
            self._file.close()
            self._file = None
