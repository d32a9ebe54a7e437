"""quota_warning: a command is called when usage passes a limit.

    passed(warnings, before, now) -> words      of the first warning whose limit lies between, None: none
    start(base_dir, words)                      in the background, at most RUNNING at once

quota_warning names the socket of a script service (service quota-warning { executable = script
/usr/local/bin/quota-warning.sh }), which runs the command as its own user: access/script_service.py.
"""

import logging
import os
import threading
from collections.abc import Sequence

from mailsuite.base.script import call
from mailsuite.quota.roots import Warning_
from mailsuite.store.quota import Usage

RUNNING = 10                    # calls of one process under way; more are not made, and that is logged

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


def start(folder: str, words: Sequence[str]) -> None:
    """Call the service at the socket words[0], with the others; who brought the mail does not wait for it."""
    if not _running.acquire(blocking=False):
        log.error("quota_warning: %s is not called, %d calls are under way", words[0], RUNNING)
        return
    threading.Thread(target=_call, args=(folder, list(words)), daemon=True).start()


def _call(folder: str, words: list[str]) -> None:
    path = os.path.join(folder, words[0])
    try:
        call(path, words[1:])
    except OSError as error:
        log.error("quota_warning: connect(%s) failed: %s", path, error.strerror or error)
    finally:
        _running.release()
