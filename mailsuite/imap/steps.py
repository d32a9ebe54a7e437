"""A command's replies, a block at a time: so much as is worth a write."""

from collections.abc import Iterator

from mailsuite.imap.commands.context import Run
from mailsuite.imap.reply import Reply

STEP = 256 * 1024       # octets that a step makes before they are written: each costs two switches of threads
STEP_AT_HAND = 64 * 1024    # those that the event loop makes itself: less than a ms


def take_step(steps: Run, most: int = STEP) -> tuple[bytes, Reply | None]:
    """Go on until there is enough to write or the command is over."""
    out: list[bytes] = []
    size = 0
    while size < most:
        try:
            octets = next(steps)
        except StopIteration as end:
            return b"".join(out), end.value
        out.append(octets)
        size += len(octets)
    return b"".join(out), None


def take_news(steps: Iterator[bytes]) -> tuple[bytes, bool]:
    """As take_step, of what has no reply at its end. True: it was all."""
    out: list[bytes] = []
    size = 0
    for octets in steps:
        out.append(octets)
        size += len(octets)
        if size >= STEP:
            return b"".join(out), False
    return b"".join(out), True
