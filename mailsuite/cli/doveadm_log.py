"""doveadm log find, errors, test, reopen: where the access side's lines go, and which of the last were serious."""

import logging
import os
import time

from mailsuite.cli.doveadm import EX_TEMPFAIL, EX_USAGE, Doveadm, Exit
from mailsuite.cli.doveadm_print import printer_for

RING = "log-errors.ring"            # below base_dir
LEVELS = (("Debug", logging.DEBUG), ("Info", logging.INFO), ("Warning", logging.WARNING), ("Error", logging.ERROR),
          ("Fatal", logging.CRITICAL))
LOG_FOLDERS = ("/var/log",)
SYSLOG_WAIT_S = 2.0                 # how long a test line may be under way to a file
TAIL = 1 << 16                      # of a log file, where a fresh line must be


def _nothing_left(rest: list[str]) -> None:
    if rest:
        raise Exit(EX_USAGE, f"Error: Extraneous arguments found: {rest[0]}")


def errors(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm log errors."""
    from mailsuite.base.error_ring import ErrorRing

    found, rest = doveadm.options(arguments, "s")
    _nothing_left(rest)
    since = found.get("s", ["0"])[-1]
    if not since.isascii() or not since.isdigit():
        raise Exit(EX_USAGE, f"Error: Invalid timestamp: {since}")
    path = doveadm.socket_path(RING)
    try:
        kept = [one for one in ErrorRing.read(path) if one.stamp >= int(since)]
    except OSError as error:
        raise Exit(EX_TEMPFAIL, f"Fatal: open({path}) failed: {error.strerror}") from error
    printer = printer_for(doveadm.formatter or "tab") if doveadm.formatter else None
    if printer is not None:
        printer.header(["timestamp", "prefix", "type", "text"])
    for one in kept:
        stamp = time.strftime("%b %d %H:%M:%S", time.localtime(one.stamp))
        if printer is not None:
            printer.row([stamp, one.prefix, one.kind, one.text])
        else:
            print(f"{stamp} {one.kind}: {one.prefix}: {one.text}")
    if printer is not None:
        printer.end()
    return 0


def find(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm log find: the files that the configuration names, or those in which a line by syslog arrives."""
    folders = arguments or list(LOG_FOLDERS)
    settings = doveadm.settings
    path = settings.text("log_path")
    if path not in ("", "syslog"):
        info = settings.text("info_log_path") or path
        debug = settings.text("debug_log_path") or info
        for (kind, _), where in zip(LEVELS, (debug, info, path, path, path), strict=True):
            print(f"{kind}: {_described(where)}")
        return 0
    print(f"Looking for log files from {' '.join(folders)}")
    token = f"{os.getpid()}-{time.time_ns()}"
    for kind, level in LEVELS:
        _send(doveadm, level, f"This is a test line of doveadm log find, {kind} {token}-{kind}")
    end = time.monotonic() + SYSLOG_WAIT_S
    places: dict[str, str] = {}
    while len(places) < len(LEVELS) and time.monotonic() < end:
        places = {kind: where for kind, _ in LEVELS if (where := _holding(folders, f"{token}-{kind}"))}
        if not places:
            time.sleep(0.1)
    for kind, _ in LEVELS:
        print(f"{kind}: {places.get(kind, 'Not found')}")
    return 0


def _described(path: str) -> str:
    return {"/dev/stderr": "standard error", "/dev/stdout": "standard output"}.get(path, path)


def _holding(folders: list[str], token: str) -> str:
    """The file below folders whose end has the token, "" for none."""
    for folder in folders:
        for top, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(top, name)
                try:
                    if time.time() - os.stat(path).st_mtime > 60:
                        continue
                    with open(path, "rb") as file:
                        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
                        if token.encode() in file.read(TAIL):
                            return path
                except OSError:
                    continue
    return ""


def _send(doveadm: Doveadm, level: int, text: str) -> None:
    """A line of doveadm's into the access side's log. Raises Exit."""
    from mailsuite.base.errors import ConfigError
    from mailsuite.base.log import DovecotFormat, SyslogTarget
    from mailsuite.master.logging import LogFiles, access_target

    try:
        target = access_target(doveadm.settings, LogFiles(), SyslogTarget(DovecotFormat()))
    except ConfigError as error:
        raise Exit(EX_TEMPFAIL, f"Fatal: {error.public}") from error
    target.handle(logging.LogRecord("mailsuite.dovecot.doveadm", level, "", 0, text, None, None))


def test(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm log test: a line of each kind."""
    _nothing_left(arguments)
    now = int(time.time())
    for kind, level in LEVELS:
        _send(doveadm, level, f"This is Dovecot's {kind.lower()} log ({now})")
    return 0


def reopen(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm log reopen: a reload opens the files anew."""
    from mailsuite.cli.doveadm_control import reload

    _nothing_left(arguments)
    return reload(doveadm, [])
