"""What could not be told of yet: one small file per message, in bounce/ for failures, in trace/ for deliveries.

    write(path, ended)            durable when it returns: the recipients may be marked as done then
    read(path) -> [Ended, ...]    [] when there is none

One JSON line per recipient: {"to": [address, original, orcpt, notify, number], "report": {...}}.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from mailsuite.base import wire
from mailsuite.base.files import write_whole
from mailsuite.base.log import logger
from mailsuite.queue.active import Ended
from mailsuite.queue.agent import RecipientReport
from mailsuite.queue.envelope import Recipient

LIMIT = 64 * 1024 * 1024
log = logger("bounce")


class _Kept(Struct):
    """A line."""

    to: Recipient
    report: RecipientReport


_read = wire.Reader(_Kept)


def write(path: str, ended: Sequence[Ended]) -> None:
    """Raises OSError."""
    lines = []
    for one in ended:
        lines.append(wire.encode(_Kept(one.recipient, one.report)))
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    write_whole(Path(path), b"\n".join([*lines, b""]), mode=0o600)


def read(path: str) -> list[Ended]:
    """A damaged file is logged and reads as far as it can. Raises OSError."""
    try:
        with open(path, "rb") as file:
            content = file.read(LIMIT)
    except FileNotFoundError:
        return []
    found = []
    for line in content.splitlines():
        try:
            kept = _read(line)
            found.append(Ended(kept.to, kept.report))
        except ValueError as error:
            log.warning("%s is damaged: %s", path, error)
    return found


def remove(path: str) -> None:
    """It may be gone already. Raises OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
