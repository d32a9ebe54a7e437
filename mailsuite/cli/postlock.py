"""postlock: run a command while a mailbox file is locked, as the delivery agents lock it. See postlock(1).

    postlock [-c config_dir] [-l lock_style] [-v] file command...

lock_style: in the place of mailbox_delivery_lock, e.g. "fcntl, dotlock". A file that is not there is made. The command
is run directly, without a shell. Exit: that of the command (1 when a signal ended it); 75 when nothing was run.
"""

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

from mailsuite.cli.mailcommand import EX_TEMPFAIL, default_directory, fatal, load, parse

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.store.locks import MailboxLock

PROGRAM = "postlock"
USAGE = "usage: postlock [-c config_dir] [-l lock_style] [-v] folder command..."


def main() -> int:
    """The console script."""
    options, words = parse(PROGRAM, sys.argv[1:], "c:l:v", USAGE, EX_TEMPFAIL)
    if len(words) < 2:
        fatal(PROGRAM, USAGE, EX_TEMPFAIL)
    given = dict(options)
    settings = load(given.get("-c", default_directory()), PROGRAM)
    path, command = words[0], words[1:]
    lock = _lock(settings, path, given.get("-l"))
    from mailsuite.store.locks import LockBusy
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stopped)         # a dotlock must not stay behind
    status = EX_TEMPFAIL
    held = False
    try:
        with lock.dotlock():
            held = True
            status = _locked(lock, path, command)
    except LockBusy:
        _fail(path, f"unable to create lock file {path}.lock: File exists")
    except OSError as error:
        if held:
            raise
        _fail(path, f"unable to create lock file {path}.lock: {error.strerror}")
    return status


def _stopped(number: int, _: object) -> NoReturn:
    raise SystemExit(EX_TEMPFAIL)


def _fail(path: str, why: str) -> NoReturn:
    fatal(PROGRAM, f"open file {path}: {why}", EX_TEMPFAIL)


def _lock(settings: "Settings", path: str, style: str | None) -> "MailboxLock":
    """The locks that local(8) would take."""
    from mailsuite.base.errors import ConfigError
    from mailsuite.deliver.params import (
        DELIVER_LOCK_ATTEMPTS,
        DELIVER_LOCK_DELAY,
        MAILBOX_DELIVERY_LOCK,
        STALE_LOCK_TIME,
    )
    from mailsuite.store.locks import METHODS, MailboxLock
    try:
        names = settings[MAILBOX_DELIVERY_LOCK] if style is None else tuple(style.replace(",", " ").split())
        delay_s, attempts = settings[DELIVER_LOCK_DELAY], settings[DELIVER_LOCK_ATTEMPTS]
        stale_s = settings[STALE_LOCK_TIME]
    except ConfigError as error:
        fatal(PROGRAM, error.public, EX_TEMPFAIL)
    for name in names:
        if name.lower() not in METHODS:
            fatal(PROGRAM, f'unknown mailbox_delivery_lock value "{name}" in "{style or " ".join(names)}"', EX_TEMPFAIL)
    return MailboxLock(path, tuple(name.lower() for name in names), wait_s=delay_s * (attempts - 1), delay_s=delay_s,
                       stale_s=stale_s)


def _locked(lock: "MailboxLock", path: str, command: list[str]) -> int:
    """Open and lock the file, run the command, give its exit status."""
    from mailsuite.store.locks import LockBusy
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOCTTY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        _fail(path, f"cannot open file: {error.strerror}")
    try:
        lock.descriptor(fd)
    except LockBusy:
        _fail(path, "unable to lock for exclusive access: Resource temporarily unavailable")
    except OSError as error:
        _fail(path, f"unable to lock for exclusive access: {error.strerror}")
    try:
        status = subprocess.call(command)
    except OSError as error:
        fatal(PROGRAM, f"execvp {command[0]}: {error.strerror}", 1)
    finally:
        os.close(fd)
    return status if status >= 0 else 1


if __name__ == "__main__":
    sys.exit(main())
