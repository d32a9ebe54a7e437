"""Who is logged in: the access parent's list, for doveadm who and kick, and what was counted of sessions.

    sessions.begin(Session(...)) -> number;  sessions.end(number)
    sessions.find("al*", "192.0.2.0/24") -> [Session, ...]

A session is in the list from its hand-over until the user's worker says that it is over, or dies.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import translate
from ipaddress import ip_address, ip_network
from random import Random
from re import compile as compile_mask
from typing import Any, NamedTuple

SAMPLES = 100           # of which the median and the 95th percentile are made


class Session(NamedTuple):
    """worker: which of the uid's workers has it, for a message to it. started: monotonic seconds."""

    user: str
    protocol: str
    address: str
    pid: int
    session_id: str
    identity: Any
    worker: str
    started: float


@dataclass
class Metric:
    """Durations in microseconds."""

    count: int = 0
    total: int = 0
    least: int = 0
    most: int = 0
    squares: int = 0
    samples: list[int] = field(default_factory=list)

    def add(self, duration_us: int, random: Random) -> None:
        self.least = min(self.least, duration_us) if self.count else duration_us
        self.most = max(self.most, duration_us)
        self.count += 1
        self.total += duration_us
        self.squares += duration_us * duration_us
        if len(self.samples) < SAMPLES:
            self.samples.append(duration_us)
        elif (at := random.randrange(self.count)) < SAMPLES:
            self.samples[at] = duration_us

    def row(self) -> list[str]:
        """count sum min max avg median stddev %95, as doveadm stats dump prints them."""
        mean = self.total / self.count if self.count else 0.0
        spread = max(0.0, self.squares / self.count - mean * mean) ** 0.5 if self.count else 0.0
        ordered = sorted(self.samples) or [0]
        return [str(self.count), str(self.total), str(self.least), str(self.most), f"{mean:.2f}",
                str(ordered[len(ordered) // 2]), f"{spread:.2f}", str(ordered[min(len(ordered) - 1,
                                                                                len(ordered) * 95 // 100)])]


class Sessions:
    """Belongs to the access parent's loop."""

    def __init__(self) -> None:
        self._open: dict[int, Session] = {}
        self._next = 0
        self._random = Random()
        self.metrics: dict[str, Metric] = {}

    def begin(self, session: Session) -> int:
        self._next += 1
        self._open[self._next] = session
        return self._next

    def end(self, number: int) -> None:
        session = self._open.pop(number)
        self.count(f"{session.protocol}_session", session.started)

    def count(self, metric: str, started: float) -> None:
        """Something that began at `started` (monotonic) is over."""
        self.metrics.setdefault(metric, Metric()).add(int((time.monotonic() - started) * 1e6), self._random)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._open.values()))

    def find(self, user: str = "", network: str = "") -> list[Session]:
        """user: a mask with * and ?; network: an address, or one with /bits. "" fits all. Raises ValueError."""
        mask = compile_mask(translate(user.replace("[", "[[]"))) if user else None
        net = ip_network(network, strict=False) if network else None
        return [session for session in self if (mask is None or mask.match(session.user))
                and (net is None or _within(session.address, net))]


def _within(address: str, net: Any) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return found in net or mapped is not None and mapped in net
