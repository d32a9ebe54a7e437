"""What became of each accepted message, and what came twice.

    account = settle(world, ledger, far)          now
    account = wait_settled(world, ledger, far, limit_s=60)      when the queue is empty and everything is there

A recipient of an accepted message has one of these ends: delivered, or its report arrived at the sender. None: lost
(while the queue is empty). More than one: a double. What arrived incomplete is damaged, whatever else came.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.faults.far_end import FarEnd
from tests.faults.load import Arrival, Ledger, arrivals_of
from tests.faults.world import World

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


def settle(world: World, ledger: Ledger, far: FarEnd | None, read: Iterable[Arrival] = ()) -> Account:
    """read: what was taken out of mailboxes meanwhile."""
    account = Account()
    arrivals = [*read, *(far.taken if far is not None else ())]
    for when, address, content in world.deliveries():
        arrivals += arrivals_of(content, address, when)
    for report in world.reports():
        arrivals += [one for one in arrivals_of(report, world.sender, 0.0) if one.reported]  # others: to the postmaster
    for one in arrivals:
        key = one.ident, one.address
        account.ends.setdefault(key, []).append(one.when)
        if not one.whole or not one.ident:
            account.damaged.append(key)
        if one.reported:
            account.bounced += 1
            if not one.address.endswith("@far.test"):
                account.misjudged.append(key)
    account.queue = world.queued()
    with ledger.lock:
        promised = {(ident, address) for ident, to in ledger.accepted.items() for address in to}
    account.lost = sorted(promised - account.ends.keys())
    account.unasked = len(account.ends.keys() - promised)
    return account


def wait_settled(world: World, ledger: Ledger, far: FarEnd | None, read: Iterable[Arrival] = (), *,
                 limit_s: float) -> Account:
    """Until the queue is empty and nothing is missing; or the account as it stands when the time is over."""
    end = time.monotonic() + limit_s
    while True:
        if not world.queued() or time.monotonic() > end:
            account = settle(world, ledger, far, read)
            if account.settled or time.monotonic() > end:
                return account
        time.sleep(0.2)
