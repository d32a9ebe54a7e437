"""Which processes a suite has, and what can be done to them.

    by_kind(suite) -> {"master": [pid], "smtpd": [...], "virtual": [...], "virtual worker": [...], ...}
    end_all(suite)           kill -9 of everything, until nothing is left

A kind is the command's name (what the process calls itself); a child of a service is its worker.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

from tests.support.suite import Suite


def _table() -> dict[int, tuple[int, str]]:
    """pid -> parent, name of all that run."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
                words = rest.split()
                if words[0] != "Z":
                    found[int(entry.name)] = (int(words[1]), name)
    return found


def master_of(suite: Suite) -> int:
    """0: none runs."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pid = suite.pid()
        if str(suite.top).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return 0


def by_kind(suite: Suite) -> dict[str, list[int]]:
    """All processes below the master, by kind."""
    master = master_of(suite)
    if not master:
        return {}
    table = _table()
    found = {"master": [master]}
    for pid, (parent, name) in table.items():
        kind = name.partition(":")[0]
        if parent == master:
            found.setdefault(kind, []).append(pid)
        elif table.get(parent, (0, ""))[0] == master:
            found.setdefault(f"{table[parent][1].partition(':')[0]} worker", []).append(pid)
    return found


def everything(suite: Suite) -> list[int]:
    """Also what lives on after its master: whatever was started with the site's folder on its command line."""
    mark, found = str(suite.top).encode(), []
    for pid in _table():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if pid != os.getpid() and mark in words and b"start" in words:
                found.append(pid)
    return found


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_everything(suite: Suite) -> None:
    """As a power failure would, but for the disk's cache."""
    while pids := everything(suite):
        send(pids, signal.SIGKILL)
        time.sleep(0.005)


def end_all(suite: Suite) -> None:
    """Stop in order, then make sure."""
    if master_of(suite):
        with contextlib.suppress(AssertionError):
            suite.stop()
    kill_everything(suite)


def descriptors(pid: int) -> int:
    """Open descriptors; 0: the process has gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def memory_kib(pid: int) -> int:
    """Memory of its own (USS), in KiB; 0: the process has gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


def cpu_s(pid: int) -> float:
    """Seconds of processor time so far."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
