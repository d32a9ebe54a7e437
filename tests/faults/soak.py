"""make soak: mixed traffic for half an hour, with a remote host that fails, and a reload each minute.

    python -m tests.faults.soak [--minutes 30] [--pause 0.2]

Mail comes in by SMTP, submission, sendmail and IMAP APPEND, goes out in every way there is, and is read by IMAP and
POP3. The remote host refuses 20 % for now and 5 % for good, cuts connections in mid-DATA and after the dot, stalls.
Each minute a line tells the counts and every kind of process' memory and descriptors. At the end: the queue is empty,
every message is accounted for by its id, nothing came twice, memory and descriptors are flat, no traceback.
Exit status: 0, or 1 with what was wrong.
"""

import argparse
import statistics
import sys
import threading
import time
from dataclasses import dataclass, field

from tests.faults import processes
from tests.faults.accounting import Account, wait_settled
from tests.faults.far_end import FarEnd, Plan
from tests.faults.load import CommandSender, ImapSender, Ledger, Sender, SmtpSender, SubmissionSender
from tests.faults.readers import ImapReader, Pop3Reader, Reader
from tests.faults.world import STORE, STORE_PASSWORD, World, open_world
from tests.support.suite import free_port

PLAN = Plan(temporary=0.2, permanent=0.05, cut=0.01, cut_after_dot=0.005, stall=0.005)
GROWTH, LEAST_KIB, LEAST_DESCRIPTORS = 1.25, 6000, 8
SETTLE_S = 180.0


@dataclass
class Watch:
    """Memory (KiB of their own) and descriptors of each kind of process, minute by minute."""

    memory: list[dict[str, int]] = field(default_factory=list)
    descriptors: list[dict[str, int]] = field(default_factory=list)

    def look(self, world: World) -> None:
        """Processes of a kind count by the largest: after a reload there are more of them for a while."""
        kinds = processes.by_kind(world.suite)
        self.memory.append({kind: max(map(processes.memory_kib, pids)) for kind, pids in kinds.items()})
        self.descriptors.append({kind: max(map(processes.descriptors, pids)) for kind, pids in kinds.items()})

    def last(self) -> str:
        return ", ".join(f"{kind} {kib / 1024:.1f} MB/{self.descriptors[-1][kind]}"
                         for kind, kib in sorted(self.memory[-1].items()))

    def growth(self) -> list[str]:
        """Kinds whose last third is well above the first third after the first fifth of the time."""
        return (_growth(self.memory, LEAST_KIB, "KiB of memory")
                + _growth(self.descriptors, LEAST_DESCRIPTORS, "descriptors"))


def _growth(looks: list[dict[str, int]], least: int, what: str) -> list[str]:
    looks, found = looks[len(looks) // 5:], []
    third = len(looks) // 3
    if not third:
        return []
    for kind in sorted({kind for look in looks for kind in look}):
        early = [look[kind] for look in looks[:third] if kind in look]
        late = [look[kind] for look in looks[-third:] if kind in look]
        if early and late:
            before, after = statistics.median(early), statistics.median(late)
            if after > before * GROWTH and after > before + least:
                found.append(f"{kind}: {before:.0f}, then {after:.0f} {what}")
    return found


def traffic(world: World, ledger: Ledger, pause_s: float) -> tuple[list[Sender], list[Reader]]:
    """Who sends and who reads."""
    suite = world.suite
    senders: list[Sender] = [*(SmtpSender(world, ledger, n, pause_s=pause_s) for n in range(2)),
                             SubmissionSender(world, ledger, 10, pause_s=pause_s),
                             CommandSender(world, ledger, 11, pause_s=pause_s * 20),
                             ImapSender(world, ledger, 12, pause_s=pause_s * 10)]
    for sender in senders:
        sender.sizes = (200, 2000, 2000, 20_000)
    readers: list[Reader] = [ImapReader(world, user, suite.users[user]) for user in (suite.first, suite.second)]
    return senders, [*readers, Pop3Reader(world, STORE, STORE_PASSWORD)]


def soak(world: World, far: FarEnd, *, minutes: float, pause_s: float) -> tuple[Account, Ledger, Watch]:
    """The traffic, then the account."""
    ledger, watch = Ledger(), Watch()
    senders, readers = traffic(world, ledger, pause_s)
    threads: list[threading.Thread] = [*senders, *readers]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    minute = min(60.0, minutes * 60 / 6)
    count = 0
    while time.monotonic() < began + minutes * 60:
        count += 1
        time.sleep(max(0.0, began + count * minute - time.monotonic()))
        watch.look(world)
        print(f"{(time.monotonic() - began) / 60:5.1f} min: {len(ledger.accepted)} accepted, {len(far.taken)} sent on, "
              f"{sum(len(reader.arrivals) for reader in readers)} read, {len(world.queued())} in the queue; "
              f"{watch.last()}", flush=True)
        world.suite.command("reload")
    for sender in senders:
        sender.stop()
    for sender in senders:
        sender.join(60)
    end = time.monotonic() + SETTLE_S
    while world.queued() and time.monotonic() < end:
        time.sleep(0.5)
    for reader in readers:
        reader.stop()
    for reader in readers:
        reader.join(60)
    seen = [one for reader in readers for one in reader.arrivals]
    return wait_settled(world, ledger, far, seen, limit_s=30), ledger, watch


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two messages of a sender")
    args = parser.parse_args()
    far = FarEnd(free_port(), PLAN)
    # A process that becomes busy in the middle would have more memory of its own from then on, once.
    with far, open_world(far.port, "huge_pages_after=0", prefix="mailsuite-soak.") as world:
        world.suite.start()
        account, ledger, watch = soak(world, far, minutes=args.minutes, pause_s=args.pause)
        log = world.suite.log()
    print(f"{len(ledger.accepted)} accepted of {ledger.attempts}; the far end failed on purpose: {far.failures}")
    print(account.describe())
    wrong = []
    if not account.settled or account.damaged or account.misjudged:
        wrong.append("not every message is accounted for")
    if account.doubles:
        wrong.append(f"twice: {account.doubles}")
    wrong += watch.growth()
    if "Traceback" in log:
        wrong.append("a traceback in the log:\n" + log.partition("Traceback")[2][:3000])
    print("\n".join(wrong) or "nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
