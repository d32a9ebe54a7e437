"""quota_warning: a command is called when usage passes a limit.

    passed(warnings, before, now) -> words      of the first warning whose limit lies between, None: none
    socket_command(settings, "quota-warning")   the words behind `script` of the service that listens there
    start(words, folder)                        in the background, at most RUNNING at once

quota_warning names a socket; the service that has it says what to call (service quota-warning { executable = script
/usr/local/bin/quota-warning.sh }). Here the user's own mail process calls it, with the rights it has.
"""

import logging
import os
import subprocess
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailsuite.quota.roots import Warning_
from mailsuite.store.quota import Usage

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

LIMIT_S = 60.0                  # how long a command may run
RUNNING = 10                    # commands of one process at once; more are not called, and that is logged
ENVIRONMENT: dict[str, str] = {}         # as Dovecot: a shell knows its own PATH

log = logging.getLogger("mailsuite.dovecot.quota")
_running = threading.BoundedSemaphore(RUNNING)


def passed(warnings: Sequence[Warning_], before: Usage, now: Usage) -> tuple[str, ...] | None:
    """The command of the first warning that this change calls for."""
    for warning in warnings:
        for limit, old, new in ((warning.limits.octets, before.octets, now.octets),
                                (warning.limits.messages, before.messages, now.messages)):
            if limit and (new < limit <= old if warning.below else old < limit <= new):
                return warning.command
    return None


def socket_command(settings: "DovecotSettings", socket: str) -> list[str] | None:
    """What the service at a Unix socket runs, where that is a script."""
    for service in settings.sections("service"):
        names = [listener.name for listener in service.sections("unix_listener")]
        words = service.text("executable").split()
        if socket in names and words[:1] == ["script"]:
            while words[1:2] and words[1].startswith("-"):
                del words[1]
            return words[1:] or None
    return None


def start(words: Sequence[str], folder: str) -> None:
    """Call a command; who brought the mail does not wait for it."""
    if not _running.acquire(blocking=False):
        log.error("quota_warning: %s is not called, %d commands run already", words[0], RUNNING)
        return
    threading.Thread(target=_run, args=(list(words), folder), daemon=True).start()


def _run(words: list[str], folder: str) -> None:
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=ENVIRONMENT, cwd=folder if os.path.isdir(folder) else "/", timeout=LIMIT_S,
                              check=False, start_new_session=True)
        if done.returncode:
            log.error("quota_warning: %s: exit status %d: %s", words[0], done.returncode,
                      done.stdout[-500:].decode("utf-8", "replace").strip())
    except (OSError, subprocess.SubprocessError) as error:
        log.error("quota_warning: %s: %s", words[0], error)
    finally:
        _running.release()
