"""A worker in reserve plays a login through: to its end, without a thread, and nothing is left."""

import gc
import os
import threading

import pytest

from mailsuite.access import login_rehearsal
from mailsuite.access.login_rehearsal import PROTOCOLS, rehearse
from mailsuite.access.worker_logins import WorkerLogins
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.settings import Settings
from mailsuite.net.service import new_event_loop

DOVECOT = "mail_location = maildir:~/Maildir\n"


def played(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Protocols whose login came to its end."""
    began: list[str] = []
    counted = WorkerLogins.counted

    def noted(logins: WorkerLogins, user: object, handover: object, *, told: bool) -> object:
        began.append(handover.protocol)         # type: ignore[attr-defined]
        return counted(logins, user, handover, told=told)       # type: ignore[arg-type]

    monkeypatch.setattr(WorkerLogins, "counted", noted)
    new_event_loop().close()            # a process's first opens a pipe that stays
    gc.collect()                        # what other tests left is closed now; their threads may end meanwhile
    threads, files = set(threading.enumerate()), set(os.listdir("/proc/self/fd"))
    rehearse(DovecotSettings.of(DOVECOT), Settings("", {}))
    assert set(threading.enumerate()) <= threads and set(os.listdir("/proc/self/fd")) <= files
    return began


def test_a_login_of_each_protocol_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[str] = []
    monkeypatch.setattr(login_rehearsal.log, "debug", lambda text, **_: failed.append(text))
    assert played(monkeypatch) == list(PROTOCOLS) and not failed


def test_what_goes_wrong_is_nobodys_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(24, "no descriptors")

    monkeypatch.setattr("mailsuite.net.packets.send", broken)
    assert played(monkeypatch) == []
