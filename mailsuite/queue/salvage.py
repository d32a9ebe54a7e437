"""What can still be read of a damaged queue file, for those who look at it; delivery never uses this.

    stored, fault = salvage(fd)         fault: "" for a whole file; stored None: nothing of it makes sense

Recipients and envelope whose lines are whole are there; of the content, what the file still has. Finished recipients
are included, with negated numbers. Raises OSError.
"""

import os

from msgspec.structs import replace

from mailsuite.queue.envelope import Envelope, Recipient
from mailsuite.queue.file import HEAD, TAIL_LIMIT, Damaged, Stored, read, read_head, read_recipient


def salvage(fd: int) -> tuple[Stored | None, str]:
    """See above."""
    try:
        return read(fd, with_done=True), ""
    except Damaged as error:
        fault = error.detail
    try:
        offset, size, start, length, _ = read_head(fd)
    except Damaged as error:
        return None, error.detail
    end = os.fstat(fd).st_size
    tail = os.pread(fd, min(length, TAIL_LIMIT), start) if start >= HEAD else b""
    envelope, recipients = _lines(tail, start)
    offset = min(max(offset, HEAD), end)
    return Stored(envelope, recipients, sum(one.number < 0 for one in recipients), offset,
                  max(0, min(size, end - offset))), fault


def _lines(tail: bytes, start: int) -> tuple[Envelope, list[Recipient]]:
    envelope, recipients, at = Envelope(arrival_time=0.0), [], start
    for line in tail.split(b"\n"):
        try:
            if line[:1] == b"E":
                envelope = Envelope.of_facts(line[1:])
            elif line[:1] == b"R":
                number = -(at + 1) if line[1:2] == b"x" else at + 1
                recipients.append(replace(read_recipient(line[2:]), number=number))
        except (ValueError, TypeError, KeyError):
            pass                        # this line is the damage
        at += len(line) + 1
    return envelope, recipients
