"""qmgr's end of the journal: which records it has in hand, and what a crash or a lost notice left.

    journal = Journal(store)
    journal.is_open(place)              nobody has taken it out
    journal.set_left(place); journal.set_free(place)
    errors = journal.write_files(moves)                 blocks: records become queue files, durable on return
    found = journal.look()                              blocks: records that have not left
    recover(store, warn)                                blocks: all that a former qmgr left becomes files of incoming/

A file for a record gets the record's queue id. Where a file of that name is there already it is either the same message
(a crash came between file and mark) or, which one may not live to see, another one with the same id: then the record's
message gets a new id, and its log says so.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from mailsuite.base.files import fsync_directory
from mailsuite.queue import journal
from mailsuite.queue.file import Damaged, same_message
from mailsuite.queue.folders import KEPT
from mailsuite.queue.journal import FOLDER, Found, Gone, Place, Segment

if TYPE_CHECKING:
    from mailsuite.queue.store import QueueFile, QueueStore

BATCH = 32                  # records that become files together
Warn = Callable[[str], None]


class Move(Struct, eq=False):
    """One record that is to become a file of a queue. queue_id: changed if it was taken; there: it was one already."""

    place: Place
    queue_id: str
    queue: str
    there: bool = False


class Journal:
    """One per qmgr. Segments stay open while they are there."""

    def __init__(self, store: "QueueStore") -> None:
        self._store, self.folder = store, f"{store.directory}/{FOLDER}"
        self._segments: dict[str, Segment] = {}

    def path(self, place: Place) -> str:
        """For delivery agents, which open it themselves."""
        return f"{self.folder}/{place.segment}"

    def _segment(self, name: str) -> Segment:
        """Raises OSError, ValueError."""
        found = self._segments.get(name)
        if found is None:
            if not journal.is_name(name):
                raise ValueError(f"not a segment of the journal: {name[:50]!r}")
            # Two threads may open it at once; both maps show the same file.
            found = self._segments.setdefault(name, Segment.open(self.folder, name))
        return found

    def is_open(self, place: Place) -> bool:
        """Raises OSError, ValueError."""
        segment = self._segment(place.segment)
        if not 0 < place.block < segment.blocks:
            raise ValueError(f"no block {place.block} in the journal")
        return segment.is_open(place)

    def set_left(self, place: Place) -> None:
        self._segment(place.segment).set_left(place)

    def set_free(self, place: Place) -> None:
        try:
            self._segment(place.segment).set_free(place)
        except FileNotFoundError:
            pass                        # it was free already

    def content(self, place: Place, offset: int, size: int) -> bytes:
        """A part of the image of a record that has not left; whoever asks is the one who takes them out.

        Raises OSError, ValueError."""
        octets = os.pread(self._segment(place.segment).fd, size, place.block * journal.BLOCK + journal.HEADER + offset)
        if len(octets) != size or offset + size > place.size:
            raise ValueError("the segment ends")
        return octets

    def mark_done(self, place: Place, numbers: list[int]) -> None:
        """Blocks. Raises OSError, ValueError."""
        self._segment(place.segment).mark_done(place, numbers)

    def close(self) -> None:
        while self._segments:
            self._segments.popitem()[1].close()

    # --- records become files -----------------------------------------------------------------------------------

    def write_files(self, moves: Sequence[Move]) -> list[BaseException | None]:
        """Blocks. Raises nothing: Gone, Damaged, OSError for each. Marks nothing."""
        errors: list[BaseException | None] = [None] * len(moves)
        files: list[tuple[int, QueueFile, str]] = []
        for number, move in enumerate(moves):
            try:
                image = self._segment(move.place.segment).read(move.place, move.queue_id)
                self._settle_name(move, image)
                if not move.there:
                    files.append((number, self._store.create_copy(move.queue_id, image, move.queue), move.queue))
            except (OSError, ValueError, Gone, Damaged) as error:
                errors[number] = error
        ends = self._store.commit_all([(file, queue) for _, file, queue in files])
        for (number, _, _), end in zip(files, ends, strict=True):
            errors[number] = end
        return errors

    def _settle_name(self, move: Move, image: bytes) -> None:
        """Raises OSError, Damaged."""
        queue = self._store.find(move.queue_id, KEPT)
        if queue is None:
            return
        try:
            fd = self._store.open(queue, move.queue_id)
        except FileNotFoundError:
            return                  # it has gone meanwhile; if it comes back, link(2) will say so
        try:
            move.there = same_message(image, os.pread(fd, len(image) + 1, 0))
            if move.there:              # whoever made it may have died before it was on disk
                os.fsync(fd)
                fsync_directory(os.path.dirname(self._store.path(queue, move.queue_id)))
        except Damaged:
            move.there = False
        finally:
            os.close(fd)
        if not move.there:
            move.queue_id = self._store.free_id()

    # --- what nobody told us of ---------------------------------------------------------------------------------

    def look(self) -> list[tuple[Found, bool]]:
        """Records that have not left; True: who wrote the segment has gone. Removes segments that nobody will use
        again, and marks what was never finished. Blocks. Raises OSError."""
        found: list[tuple[Found, bool]] = []
        there = journal.names(self.folder)
        for name in there:
            try:
                segment = self._segment(name)
            except (FileNotFoundError, ValueError):
                continue
            with segment.kept_from_others() as orphan:
                records = segment.records()
                if orphan:
                    records = [record for record in records if self._is_whole(segment, record)]
                    if segment.retired and journal.finished(segment):
                        segment.remove()
            found += [(record, orphan) for record in records]
        for name in set(self._segments) - set(there):
            self._segments.pop(name)            # its descriptor goes when nobody looks at it any more
        return found

    def _is_whole(self, segment: Segment, found: Found) -> bool:
        """Whether the record of a writer that is gone was written to its end; else it was never promised. Nobody else
        has the segment."""
        try:
            segment.read(found.place, found.queue_id)
        except (Gone, Damaged):
            segment.set_free(found.place)
            return False
        return True


def recover(store: "QueueStore", warn: Warn, *, keep: bool = True) -> int:
    """Every record that has not left becomes a file of incoming/; returns how many. What a dead qmgr had taken out but
    not freed is freed. Nobody else may be at it: the caller is the only qmgr. Blocks. Raises OSError.

    keep: smtpd goes on with the segments."""
    count = 0
    reader = Journal(store)
    try:
        journal.tidy(reader.folder, time.time())
        moves: list[Move] = []
        for segment in journal.opened(reader.folder):
            for place, queue_id in segment.headers():
                if segment.is_open(place):
                    moves.append(Move(place, queue_id, "incoming"))
                else:
                    segment.set_free(place)
        for start in range(0, len(moves), BATCH):
            batch = moves[start:start + BATCH]
            wanted = [move.queue_id for move in batch]
            for move, queue_id, error in zip(batch, wanted, reader.write_files(batch), strict=True):
                if isinstance(error, OSError):
                    warn(f"{queue_id}: cannot take from the journal: {error.strerror or type(error).__name__}")
                    continue                    # a later look finds it
                if error is not None:
                    # A record that its writer has not finished yet, or never did: nobody was promised anything.
                    continue
                reader.set_free(move.place)
                count += not move.there
                if move.queue_id != queue_id:
                    warn(f"{queue_id}: there is another message of that id: renamed to {move.queue_id}")
        reader.look()               # frees what was torn, removes what nobody needs
        for segment in journal.opened(reader.folder) if not keep else ():
            with segment.kept_from_others() as orphan:
                if orphan and journal.finished(segment):
                    segment.remove()
    finally:
        reader.close()
    return count
