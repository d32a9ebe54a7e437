"""Which cores a service's processes run on.

    keep_to(cores_for(kind, worker, os.sched_getaffinity(0)))

A process that is moved to another core finds nothing of its code and data in that core's caches, and one message makes
half a dozen processes run. Left to itself the kernel pulls smtpd to whoever woke it. So each smtpd process has a core
of its own, and the queue manager and virtual(8) with its workers keep to the upper half of the cores (of two: the other
one). Everything else, the commands of users among it, runs where there is room.
With one core, or cpu_affinity = no, nothing is done. Source: sched_setaffinity(2).
"""

import os
from collections.abc import Set

from mailsuite.master.services import Cores, ServiceKind


def cores_for(kind: ServiceKind, worker: int, available: Set[int]) -> frozenset[int]:
    """The cores for process number `worker` of a service; empty: all. available: those that we may use."""
    order = sorted(available)
    if len(order) < 2 or kind.cores is Cores.ANY:
        return frozenset()
    if kind.cores is Cores.ONE_EACH:
        return frozenset({order[worker % len(order)]})
    return frozenset(order[len(order) // 2:])


def keep_to(cores: Set[int]) -> None:
    """Run this process, and those that it will fork, on these cores only; on none: where it may run now."""
    if cores:
        try:
            os.sched_setaffinity(0, cores)
        except OSError:
            pass                # somebody took a core away meanwhile: it only costs time
