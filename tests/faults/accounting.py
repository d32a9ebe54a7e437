"""What became of each accepted message, and what came twice.

    account = settle(world, ledger, far)          now
    account = wait_settled(world, ledger, far, limit_s=60)      when the queue is empty and everything is there

A recipient of an accepted message has one of these ends: delivered, or its report arrived at the sender. None: lost
(while the queue is empty). More than one: a double. What arrived incomplete is damaged, whatever else came.
"""

import re
import time
from dataclasses import dataclass, field

from tests.faults.far_end import FarEnd
from tests.faults.load import Ledger, ident_of, is_whole
from tests.faults.world import World

_FINAL = re.compile(rb"^Final-Recipient: rfc822; *(\S+)\nOriginal-Recipient: rfc822; *(\S+)|"
                    rb"^Final-Recipient: rfc822; *(\S+)", re.M)
Key = tuple[str, str]           # id, recipient


@dataclass
class Account:
    """ends: id and recipient -> when they ended (0: not known when). foreign: whole messages that nobody sent."""

    ends: dict[Key, list[float]] = field(default_factory=dict)
    lost: list[Key] = field(default_factory=list)
    damaged: list[Key] = field(default_factory=list)
    bounced: int = 0
    misjudged: list[Key] = field(default_factory=list)      # reported though only the far end refuses
    unasked: int = 0            # ends of attempts that nobody was promised: no fault
    queue: list[str] = field(default_factory=list)

    @property
    def doubles(self) -> dict[Key, list[float]]:
        return {key: times for key, times in self.ends.items() if len(times) > 1}

    @property
    def settled(self) -> bool:
        return not self.lost and not self.queue

    def describe(self) -> str:
        return (f"{len(self.ends)} ends ({self.bounced} by report), {len(self.lost)} lost {self.lost[:9]}, "
                f"{len(self.damaged)} damaged {self.damaged[:5]}, {len(self.doubles)} twice, "
                f"{len(self.misjudged)} returned for no reason {self.misjudged[:5]}, "
                f"{self.unasked} unpromised, {len(self.queue)} in the queue {self.queue[:5]}")


def settle(world: World, ledger: Ledger, far: FarEnd | None) -> Account:
    account = Account()
    arrived = world.deliveries() + (list(far.taken) if far is not None else [])
    for when, address, content in arrived:
        ident = ident_of(content)
        if not ident or not is_whole(content):
            account.damaged.append((ident or repr(content[:60]), address))
        account.ends.setdefault((ident, address), []).append(when)
    for report in world.reports():
        if b"multipart/report" not in report or b"Action: failed" not in report:
            continue
        ident = ident_of(report)
        for found in _FINAL.finditer(report):
            address = (found[2] or found[1] or found[3]).decode()
            account.bounced += 1
            if not address.endswith("@far.test"):
                account.misjudged.append((ident, address))
            account.ends.setdefault((ident, address), []).append(0.0)
    account.queue = world.queued()
    with ledger.lock:
        promised = {(ident, address) for ident, to in ledger.accepted.items() for address in to}
    account.lost = sorted(promised - account.ends.keys())
    account.unasked = len(account.ends.keys() - promised)
    return account


def wait_settled(world: World, ledger: Ledger, far: FarEnd | None, *, limit_s: float) -> Account:
    """Until the queue is empty and nothing is missing; or the account as it stands when the time is over."""
    end = time.monotonic() + limit_s
    while True:
        if not world.queued() or time.monotonic() > end:
            account = settle(world, ledger, far)
            if account.settled or time.monotonic() > end:
                return account
        time.sleep(0.2)
