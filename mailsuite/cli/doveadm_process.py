"""doveadm process status, service status: what the master has running, as the kernel and the configuration tell it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mailsuite.cli.doveadm import EX_NOTFOUND, EX_TEMPFAIL, Doveadm, Exit
from mailsuite.cli.doveadm_print import printer_for


class Process(NamedTuple):
    """name: of the service. started: seconds since the epoch."""

    pid: int
    parent: int
    name: str
    started: int


def _directory(doveadm: Doveadm) -> str:
    return os.path.dirname(os.path.abspath(doveadm.config))


def _processes() -> Iterator[Process]:
    """All of this machine."""
    boot = 0
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            boot = int(line.split()[1])
    ticks = os.sysconf("SC_CLK_TCK")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text("ascii", "replace")
            except OSError:
                continue            # it has ended meanwhile
            head, _, rest = stat.rpartition(")")
            fields = rest.split()
            yield Process(int(entry.name), int(fields[1]), head.partition("(")[2],
                          boot + int(fields[19]) // ticks)


def running(doveadm: Doveadm) -> list[Process]:
    """The master's processes, those of its services' own workers too. Raises Exit when there is no master."""
    from mailsuite.base.errors import ConfigError
    from mailsuite.config.settings import Settings
    from mailsuite.master.prepare import PidFile

    try:
        master = PidFile(Settings.load(_directory(doveadm), strict=False).text("queue_directory")).running()
    except ConfigError as error:
        raise Exit(EX_TEMPFAIL, f"Fatal: {error.public}") from error
    if not master:
        path = doveadm.socket_path("master")
        raise Exit(EX_TEMPFAIL, f"Fatal: net_connect_unix({path}) failed: No such file or directory")
    everyone = list(_processes())
    family: set[int] = {master}
    found: list[Process] = []
    while True:
        more = [process for process in everyone if process.parent in family and process.pid not in family]
        if not more:
            return found
        found += more
        family.update(process.pid for process in more)


def process_status(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm process status: counts are known of the users' workers only."""
    from mailsuite.cli.doveadm_who import about

    processes = sorted(running(doveadm), key=lambda process: (process.name, process.pid))
    try:
        connections = {int(pid): count for pid, count in about(doveadm, "", {"what": "workers"})["workers"].items()}
    except Exit:
        connections = {}
    printer = printer_for(doveadm.formatter or "table")
    printer.header(["name", "pid", "available_count", "total_count", "idle_start", "last_status_update",
                    "last_kill_sent"])
    for process in processes:
        if not arguments or process.name in arguments:
            total = connections.get(process.pid, 0)
            printer.row([process.name, str(process.pid), "0", str(total), "0", str(process.started), "0"])
    printer.end()
    return 0


FIELDS = ("name", "process_count", "process_avail", "process_limit", "client_limit", "throttle_secs",
          "exit_failure_last", "exit_failures_in_sec", "last_drop_warning", "listen_pending", "listening",
          "doveadm_stop", "process_total")


def service_status(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm service status."""
    from mailsuite.base.errors import ConfigError
    from mailsuite.master.configuration import load_configuration

    processes = running(doveadm)
    try:
        plans = load_configuration(_directory(doveadm)).plans
    except ConfigError as error:
        raise Exit(EX_TEMPFAIL, f"Fatal: {error.public}") from error
    names = [process.name for process in processes]
    printer = printer_for(doveadm.formatter or "pager")
    printer.header(FIELDS)
    for plan in plans:
        if arguments and plan.name not in arguments:
            continue
        shown = (plan.name if plan.name == plan.command else f"{plan.command}:{plan.name}")[:15]
        count = names.count(shown)
        printer.row([plan.name, str(count), str(count), str(plan.process_limit or plan.processes), "0", "0", "0", "0",
                     "0", "n", "y" if plan.sockets else "n", "n", str(count)])
    printer.end()
    return 0


def service_stop(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm service stop: a service that is not wanted is taken out of the configuration."""
    from mailsuite.base.errors import ConfigError
    from mailsuite.master.configuration import load_configuration

    if not arguments:
        raise Exit(EX_TEMPFAIL, "Fatal: service parameter missing")
    try:
        known = {plan.name for plan in load_configuration(_directory(doveadm)).plans}
    except ConfigError as error:
        raise Exit(EX_TEMPFAIL, f"Fatal: {error.public}") from error
    if unknown := [name for name in arguments if name not in known]:
        raise Exit(EX_NOTFOUND, f"Error: Unknown service: {unknown[0]}")
    raise Exit(EX_TEMPFAIL, "Error: a service is stopped by taking it out of dovecot.conf or master.cf, "
                            "and doveadm reload")
