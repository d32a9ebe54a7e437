"""The queue as a table for people, and its sums.

    rows = Oldest(50); sums = Sums()
    for entry in entries: rows.add(entry); sums.add(entry)
    console.print(table(rows.entries, now, width=console.width)); console.print(*sums.lines(), sep="\\n")

Memory: the rows that are shown, and one count per queue, domain and reason (LARGEST of each).
"""

import heapq
import itertools
import time
from collections import Counter
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mailsuite.queue.listing import Listed

LARGEST = 10_000            # different domains and reasons that are counted
NARROW = 110
SHOWN = 3                   # of them in the sums
STYLES = {"active": "green", "incoming": "green", "maildrop": "green", "hold": "yellow"}


class Oldest:
    """The oldest messages of many, oldest first. most: how many are kept; 0: all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, int, Listed]] = []
        self._count = itertools.count()
        self.passed_over = 0

    def add(self, entry: Listed) -> None:
        item = (-entry.arrival_time, next(self._count), entry)
        if self._most and len(self._heap) >= self._most:
            heapq.heappushpop(self._heap, item)
            self.passed_over += 1
        else:
            heapq.heappush(self._heap, item)

    @property
    def entries(self) -> list[Listed]:
        return [entry for _, _, entry in sorted(self._heap, reverse=True)]


class Sums:
    """How much there is, and of what."""

    def __init__(self) -> None:
        self.messages = self.octets = 0
        self.queues: Counter[str] = Counter()
        self._domains: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def add(self, entry: Listed) -> None:
        self.messages += 1
        self.octets += entry.size
        self.queues[entry.queue] += 1
        for name in {address.rpartition("@")[2].lower() for address, _ in entry.recipients}:
            _count(self._domains, name)
        for reason in {reason for _, reason in entry.recipients if reason}:
            _count(self._reasons, reason)

    def lines(self) -> list[str]:
        if not self.messages:
            return ["no message"]
        queues = ", ".join(f"{count} in {queue}" for queue, count in self.queues.most_common())
        plural = "" if self.messages == 1 else "s"
        out = [f"{self.messages} message{plural}, {size_text(self.octets)}: {queues}"]
        for what, counter in (("recipients' domains", self._domains), ("reasons", self._reasons)):
            if counter:
                most = "; ".join(f"{name} ({count})" for name, count in counter.most_common(SHOWN))
                out.append(f"most frequent {what}: {most}")
        return out


def _count(counter: "Counter[str]", name: str) -> None:
    if name in counter or len(counter) < LARGEST:
        counter[name] += 1


def table(entries: Sequence[Listed], now: float, *, width: int, details: bool = False) -> Table:
    """One row a message; details: all its recipients, each reason. now: epoch seconds. width: of the terminal, which
    the three long columns share; on a narrow one their texts are folded instead of cut."""
    fold = details or width < NARROW
    made = Table(box=None, pad_edge=False, header_style="bold")
    fixed = {"Queue ID": max(8, *(len(entry.queue_id) for entry in entries)), "Queue": 8, "Age": 4, "Size": 5,
             "Next try": 8}
    free = max(30, width - sum(fixed.values()) - 2 * 7)
    sender_width, recipients_width = free * 2 // 9, free * 3 // 9
    fixed |= {"Sender": sender_width, "Recipients": recipients_width,
              "Why it waits": free - sender_width - recipients_width}
    for name in ("Queue ID", "Queue", "Age", "Size", "Sender", "Recipients", "Next try", "Why it waits"):
        made.add_column(name, width=fixed[name], justify="right" if name in ("Age", "Size") else "left",
                        overflow="fold" if fold else "ellipsis", no_wrap=not fold)
    for entry in entries:
        reasons = list(dict.fromkeys(reason for _, reason in entry.recipients if reason))
        addresses = [address for address, _ in entry.recipients]
        if details:
            who = "\n".join(addresses)
            why = "\n".join(reasons)
        else:
            who = addresses[0] if addresses else ""
            who += f" +{len(addresses) - 1}" if len(addresses) > 1 else ""
            why = reasons[0] if reasons else ""
            why += f" (+{len(reasons) - 1})" if len(reasons) > 1 else ""
        queue = Text(entry.queue, style=STYLES.get(entry.queue, ""))
        sender = "<>" if entry.sender == "MAILER-DAEMON" else entry.sender
        made.add_row(Text(entry.queue_id), queue, age_text(now - entry.arrival_time), size_text(entry.size),
                     Text(sender), Text(who), next_try(entry, now), Text(why))
    return made


def next_try(entry: Listed, now: float) -> str:
    """When, in words: "in 4m", "due"; "on hold"; "returned" at the next one; "" where that is no question."""
    if entry.queue == "hold":
        return "on hold"
    if entry.queue != "deferred":
        return ""
    if entry.expire:
        return "returned"
    return "due" if entry.retry_at <= now else f"in {age_text(entry.retry_at - now)}"


def age_text(seconds: float) -> str:
    """"45s", "12m", "3h", "5d"."""
    whole = max(0, int(seconds))
    for unit, length, most in (("s", 1, 120), ("m", 60, 120), ("h", 3600, 72)):
        if whole < length * most:
            return f"{whole // length}{unit}"
    return f"{whole // 86400}d"


def size_text(octets: int) -> str:
    """"812", "14k", "2.1M"."""
    if octets < 1024:
        return str(octets)
    for unit in "kMG":
        amount = octets / 1024 ** ("kMG".index(unit) + 1)
        if amount < 1024 or unit == "G":
            break
    return f"{amount:.1f}{unit}" if amount < 10 else f"{amount:.0f}{unit}"


def clock_text(seconds: float) -> str:
    """"Sat Nov 21 10:00:05"."""
    return time.strftime("%a %b %e %H:%M:%S", time.localtime(seconds))
