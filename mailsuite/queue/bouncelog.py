"""What could not be told of yet: one small file per message, in bounce/ for failures, in trace/ for deliveries.

    write(path, ended)            durable when it returns: the recipients may be marked as done then
    read(path) -> [Ended, ...]    [] when there is none

One JSON line per recipient: {"to": [address, original, orcpt, notify, number], "report": {...}}.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from mailsuite.base.files import write_whole
from mailsuite.base.log import logger
from mailsuite.queue.active import Ended
from mailsuite.queue.agent import RecipientReport
from mailsuite.queue.envelope import Notify, Recipient

LIMIT = 64 * 1024 * 1024
log = logger("bounce")


def write(path: str, ended: Sequence[Ended]) -> None:
    """Raises OSError."""
    lines = []
    for one in ended:
        to = one.recipient
        lines.append(json.dumps({"to": [to.address, to.original, to.orcpt, int(to.notify), to.number],
                                 "report": one.report.to_json()}))
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    write_whole(Path(path), ("\n".join(lines) + "\n").encode("ascii"), mode=0o600)


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
            said = json.loads(line)
            address, original, orcpt, notify, number = said["to"]
            found.append(Ended(Recipient(address, original, orcpt, Notify(notify), number),
                               RecipientReport.from_json(said["report"])))
        except (ValueError, TypeError, KeyError) as error:
            log.warning("%s is damaged: %s", path, error)
    return found


def remove(path: str) -> None:
    """It may be gone already. Raises OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
