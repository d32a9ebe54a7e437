"""What must not end the master."""

import errno
import selectors
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import NoReturn, cast

import pytest

from mailsuite.master.plan import ServicePlan
from mailsuite.master.supervise import LONGEST_PAUSE_S, Master, Process, Service


def test_a_child_that_has_closed_its_channel_is_told_by_a_signal() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()
    try:
        Master._tell(None, Process(child.pid, 0, ours, 0.0), {"op": "reload"})
        assert child.wait(20) == -15
    finally:
        child.kill()


def idle_master() -> Master:
    """One without processes and sockets."""
    master = Master.__new__(Master)
    master._selector, master._signals, master._stopping, master.services = selectors.DefaultSelector(), [], False, {}
    return master


def test_a_reload_that_fails_for_no_foreseen_reason(monkeypatch: pytest.MonkeyPatch,
                                                    caplog: pytest.LogCaptureFixture) -> None:
    """Modules of another version, after an update of the package, say."""
    def reload() -> NoReturn:
        raise ImportError("no such name")
    master = idle_master()
    monkeypatch.setattr(master, "reload", reload)
    monkeypatch.setattr(master, "_reap", lambda: None)
    master._signals = [signal.SIGHUP]
    master._wait(0.0)
    assert "reload: unforeseen" in caplog.text and not master._stopping


def test_no_descriptors_for_a_new_process(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def socketpair() -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")
    monkeypatch.setattr(socket, "socketpair", socketpair)
    service = Service(cast(ServicePlan, SimpleNamespace(name="smtpd")))
    idle_master()._fork(service, 0)
    assert not service.processes and service.not_before > 0
    assert "cannot start service smtpd" in caplog.text


@pytest.mark.parametrize(("said", "pause_s"), [(b'{"op":"ready"}\n', 0.0), (b"", LONGEST_PAUSE_S)])
def test_the_last_words_of_one_that_was_killed(said: bytes, pause_s: float) -> None:
    """It was ready, though nobody had read so yet: its successor does not rest for a minute."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    service = Service(cast(ServicePlan, SimpleNamespace(name="smtpd", program="smtpd")))
    began = time.monotonic()
    with theirs:
        theirs.sendall(said)
        idle_master()._ended(service, Process(1, 0, ours, began), signal.SIGKILL)
    assert ours.fileno() == -1 and (service.not_before - began >= LONGEST_PAUSE_S) == bool(pause_s)
