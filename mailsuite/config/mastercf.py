"""master.cf: which services run, where they listen, with which parameters of their own.

    for entry in read_master_cf("/etc/postfix/master.cf"): entry.command, entry.overrides, ...

A line: name type private unprivileged chroot wakeup maxproc command [-o name=value | argument]...
Lines that begin with white space continue the one before, also behind comments and empty lines. An argument in {}
may hold blanks: -o { name = value }. Raises ConfigErrors with every bad line.
"""

from dataclasses import dataclass, field
from typing import Literal

TYPES = ("inet", "unix", "fifo", "pass", "unix-dgram")


@dataclass(frozen=True, slots=True)
class MasterEntry:
    """One service. Raw columns stay as written in `columns` (7 texts: name to maxproc)."""

    name: str                       # "smtp", "127.0.0.1:2525", "private name of a socket"
    type: Literal["inet", "unix", "fifo", "pass", "unix-dgram"]
    private: bool                   # socket below private/ rather than public/
    unprivileged: bool              # runs as mail_owner; else as root
    chroot: bool                    # runs confined to queue_directory
    wakeup_s: int                   # wake the service this often; 0: never
    wakeup_if_used: bool            # ... only while it is in use ("60?")
    maxproc: int | None             # most processes, 0: no limit; None: default_process_limit
    command: str                    # "smtpd"
    arguments: tuple[str, ...]      # all arguments but the -o overrides, {} removed
    overrides: dict[str, str]       # from -o name=value; the last of equal names wins
    file: str
    line: int
    columns: tuple[str, ...] = field(default=(), compare=False)

    @property
    def where(self) -> str:
        """"FILE, line N", for messages."""
        return f"{self.file}, line {self.line}"


def read_master_cf(path: str) -> list[MasterEntry]:
    """All services in the file's order; of two with one name and type the later stays. Raises ConfigErrors."""
    from mailsuite.config.mastercf_syntax import read_entries

    return read_entries(path)
