"""make faults: any process is killed, one after the other, at random instants under load.

    python -m tests.faults.kills [--kills 200] [--seed 1]

Prints what was done and what became of each accepted message. Exit status: 0; 1: something was lost or damaged, came
twice without a reason, or left a traceback.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.accounting import Account, wait_settled
from tests.faults.campaign import Campaign
from tests.faults.far_end import FarEnd, Plan
from tests.faults.load import BurstSender, CommandSender, ImapSender, Ledger, Sender, SmtpSender, SubmissionSender
from tests.faults.world import ARCHIVE, MBOX, PIPE, STORE, World, open_world
from tests.support.suite import free_port, wait_for

LOCAL_ADDRESSES = (MBOX, ARCHIVE, STORE, PIPE)
OPEN_S = 150.0          # a service that was killed as it began rests for a minute (service_throttle_time)
PLAN = Plan(temporary=0.05, permanent=0.05, cut=0.01, cut_after_dot=0.01, stall=0.005)


@dataclass
class Outcome:
    """A run's end: what was done, what became of the mail, and the log."""

    campaign: Campaign
    ledger: Ledger
    account: Account
    far_count: int
    log: str

    def faults(self) -> list[str]:
        """What must not be."""
        account, found = self.account, []
        if account.lost or account.damaged or account.queue or account.misjudged:
            found.append(account.describe())
        unexplained = [key for key, times in account.doubles.items()
                       if not self.campaign.explains(self.ledger.accepted_at.get(key[0], 0.0), times)]
        if unexplained:
            found.append(f"twice without a reason: {unexplained}")
        reached = {address for _, address in account.ends}
        if missing := {*LOCAL_ADDRESSES} - reached | (set() if self.far_count else {"far end"}):
            found.append(f"nothing was ever delivered to {missing}")
        if "Traceback" in self.log:
            found.append("a traceback:\n" + self.log.partition("Traceback")[2][:3000])
        return found

    def describe(self) -> str:
        done = ", ".join(f"{count} {what}" for what, count in sorted(self.campaign.done.items()))
        refusals = "\n".join(f"  {count} {text}" for text, count in
                             sorted(self.ledger.refusals.items(), key=lambda one: -one[1])[:15])
        return (f"{len(self.campaign.instants)} blows: {done}\n{len(self.ledger.accepted)} accepted of "
                f"{self.ledger.attempts}: {self.account.describe()}\nwhat senders heard:\n{refusals}")


def senders_of(world: World, ledger: Ledger, *, pause_s: float) -> Sequence[Sender]:
    """Every way in."""
    return [*(SmtpSender(world, ledger, n, pause_s=pause_s) for n in range(3)),
            SubmissionSender(world, ledger, 10, pause_s=pause_s * 2), BurstSender(world, ledger, 13, pause_s=pause_s),
            CommandSender(world, ledger, 11, pause_s=pause_s * 20), ImapSender(world, ledger, 12, pause_s=pause_s * 2)]


def all_got_in(senders: Sequence[Sender], ledger: Ledger) -> bool:
    """Whether every way in was open once, and every way out was used; who is not needed for that any more stops."""
    with ledger.lock:
        reached = {*LOCAL_ADDRESSES} <= {address for to in ledger.accepted.values() for address in to}
    for sender in senders:
        if sender.count and (reached or sender is not senders[0]):
            sender.stop()
    return reached and all(sender.count for sender in senders)


def run(kills: int, seed: int, *, limit_s: float, kinds: tuple[str, ...] = ()) -> Outcome:
    """One campaign on a fresh site."""
    far, ledger = FarEnd(free_port(), PLAN, seed), Ledger()
    with far, open_world(far.port) as world:
        world.suite.start()
        senders = senders_of(world, ledger, pause_s=0.02)
        for sender in senders:
            sender.start()
        campaign = Campaign(world, seed, kinds=kinds)
        try:
            campaign.run(kills)
            wait_for(lambda: all_got_in(senders, ledger), OPEN_S, "a way in stays closed")
        finally:
            for sender in senders:
                sender.stop()
            for sender in senders:
                sender.join(90)
        account = wait_settled(world, ledger, far, limit_s=limit_s)
        return Outcome(campaign, ledger, account, len(far.taken), world.suite.log())


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", default=[], help="only this kind of process (may be repeated)")
    args = parser.parse_args()
    outcome = run(args.kills, args.seed, limit_s=120, kinds=tuple(args.kind))
    print(outcome.describe())
    wrong = outcome.faults()
    print("\n".join(wrong) or "nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
