"""A board of shared memory on which each process writes how many connections it has, in a row of its own.

    board, fd = Board.make();  mine = Board(fd, board.key, row)
    mine.up("smtp:192.0.2.1") -> at least as many as are open in all processes

So that most connections cost no question to anvil: a place on the board stands for all clients whose ident has one
checksum, and the sum over a place's rows is never less than what one of them has open. Only where that sum is over
the limit is anvil asked for the truth. Nobody but a row's owner writes it, so no lock is needed; anvil wipes the rows
of the dead. The last cell holds how many rows were ever in use. Memory: 32 KB for each of them.
"""

import mmap
import os
import zlib

ROWS = 128                  # processes that can have one; more must ask
PLACES = 8192
_CELLS = ROWS * PLACES + 1
_EMPTY = memoryview(bytes(PLACES * 4)).cast("I")


class Board:
    """One process's view. row -1: it may wipe, not count. Raises OSError."""

    def __init__(self, fd: int, key: int, row: int = -1) -> None:
        """key: makes checksums that an outsider cannot foresee. fd stays the caller's."""
        self.key, self._first = key, row * PLACES
        self._memory = mmap.mmap(fd, _CELLS * 4)
        self._counts = memoryview(self._memory).cast("I")

    @classmethod
    def make(cls) -> "tuple[Board, int]":
        """A new board and its descriptor."""
        fd = os.memfd_create("mailsuite-anvil", os.MFD_CLOEXEC)
        os.ftruncate(fd, _CELLS * 4)
        return cls(fd, int.from_bytes(os.urandom(4), "big")), fd

    def up(self, ident: str) -> int:
        """One more of ours; the sum at its place."""
        counts = self._counts
        place = zlib.crc32(ident.encode("utf-8", "surrogateescape"), self.key) % PLACES
        counts[self._first + place] += 1
        return sum(counts[place:counts[-1] * PLACES:PLACES])

    def down(self, ident: str) -> None:
        """One less of ours."""
        cell = self._first + zlib.crc32(ident.encode("utf-8", "surrogateescape"), self.key) % PLACES
        if self._counts[cell]:
            self._counts[cell] -= 1

    def use(self, row: int) -> None:
        """A process gets that row, empty."""
        self.wipe(row)
        self._counts[-1] = max(self._counts[-1], row + 1)

    def wipe(self, row: int) -> None:
        """Nothing is open in that row any more."""
        self._counts[row * PLACES:(row + 1) * PLACES] = _EMPTY

    def close(self) -> None:
        self._counts.release()
        self._memory.close()
