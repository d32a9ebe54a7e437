"""Why mail waits: one small file per deferred message, in defer/.

    write(path, reasons, warned=False)          replaces what was there; not synced: it is for humans
    read(path) -> Reasons(warned, of)
    recall(path) -> {number: report}        as the reports were, for who is told of them later

One JSON line, {"warned": bool}, then one per recipient: [number, address, dsn, reason, diagnostic, remote_mta].
A file that is missing or damaged reads as empty: it never decides about mail.
"""

import json
import os
from dataclasses import dataclass, field

from mailsuite.queue.active import Ended
from mailsuite.queue.agent import DEFERRED, RecipientReport

LIMIT = 16 * 1024 * 1024


@dataclass(slots=True)
class Reasons:
    """warned: the sender was told of the delay. of: recipient's number to reason."""

    warned: bool = False
    of: dict[int, str] = field(default_factory=dict)


def write(path: str, ended: list[Ended], *, warned: bool) -> None:
    """Raises OSError."""
    lines = [json.dumps({"warned": warned})]
    for one in ended:
        report = one.report
        lines.append(json.dumps([one.recipient.number, one.recipient.address, report.dsn, report.reason,
                                 report.diagnostic, report.remote_mta]))
    content = ("\n".join(lines) + "\n").encode("ascii")
    temp = f"{os.path.dirname(path)}/.new-{os.path.basename(path)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(temp, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(temp, flags, 0o600)
    with open(fd, "wb") as file:
        file.write(content)
    os.rename(temp, path)


def read(path: str) -> Reasons:
    """Never raises."""
    reasons = Reasons()
    try:
        with open(path, "rb") as file:
            lines = file.read(LIMIT).splitlines()
        reasons.warned = bool(json.loads(lines[0])["warned"])
        for line in lines[1:]:
            number, _, _, reason, *_ = json.loads(line)
            reasons.of[int(number)] = str(reason)
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        pass
    return reasons


def recall(path: str) -> dict[int, RecipientReport]:
    """What each recipient's last attempt came to; never raises."""
    found: dict[int, RecipientReport] = {}
    try:
        with open(path, "rb") as file:
            lines = file.read(LIMIT).splitlines()
        for line in lines[1:]:
            number, _, dsn, reason, diagnostic, remote_mta = json.loads(line)
            found[int(number)] = RecipientReport(0, int(number), DEFERRED, str(dsn), str(reason),
                                                 diagnostic=str(diagnostic), remote_mta=str(remote_mta))
    except (OSError, ValueError, TypeError):
        pass
    return found


def remove(path: str) -> None:
    """It may be gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
