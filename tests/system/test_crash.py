"""kill -9 of everything at random instants: what was answered with 250 is never lost."""

import os
import random
import signal
import smtplib
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.suite import Suite, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("crash")]

MESSAGES = 2000
CONNECTIONS = 10
KILLS = 50


class Sender(threading.Thread):
    """Sends numbered messages over one connection at a time until its share is accepted."""

    def __init__(self, suite: Suite, numbers: range) -> None:
        super().__init__(daemon=True)
        self.suite, self.numbers = suite, numbers
        self.accepted: list[int] = []
        self.stop = False

    def run(self) -> None:
        waiting = list(self.numbers)
        while waiting and not self.stop:
            try:
                with smtplib.SMTP("127.0.0.1", self.suite.ports["smtp"], timeout=20) as smtp:
                    while waiting and not self.stop:
                        text = f"Subject: number {waiting[0]}\r\n\r\n" + "x" * 70 + "\r\n"
                        smtp.sendmail(self.suite.first, [self.suite.second], text)
                        self.accepted.append(waiting.pop(0))
            except (OSError, smtplib.SMTPException):
                time.sleep(0.02)        # down for the moment: the next connection finds it up again


def processes_of(suite: Suite) -> list[int]:
    """Every process of the suite: all that was started with its folder on the command line, and what they forked."""
    mark = str(suite.top).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if mark in command and b"mailsuite" in command and b"start" in command.split(b"\0"):
                found.append(int(entry.name))
    return found


def kill_all(suite: Suite) -> None:
    while pids := processes_of(suite):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.005)


def numbers_in(messages: list[bytes]) -> list[int]:
    return [int(line.split()[-1]) for m in messages for line in m.split(b"\n") if line.startswith(b"Subject: number")]


def test_nothing_that_was_accepted_is_lost(record_property) -> None:
    chance = random.Random(20260101)
    with open_folder() as folder:
        suite = Suite(folder)
        suite.postconf("minimal_backoff_time=1s", "maximal_backoff_time=1s", "queue_run_delay=1s",
                       "smtpd_client_connection_count_limit=0")
        suite.start()
        share = MESSAGES // CONNECTIONS
        senders = [Sender(suite, range(n * share, (n + 1) * share)) for n in range(CONNECTIONS)]
        try:
            for sender in senders:
                sender.start()
            kills = 0
            while kills < KILLS:
                time.sleep(chance.uniform(0.02, 0.4))
                kill_all(suite)
                kills += 1
                suite.start()
            for sender in senders:
                sender.join(120)
            accepted = {number for sender in senders for number in sender.accepted}
            assert len(accepted) == MESSAGES

            def all_there() -> bool:
                return accepted <= set(numbers_in(suite.messages(suite.second)))
            try:
                wait_for(all_there, 60)
            except TimeoutError:
                lost = sorted(accepted - set(numbers_in(suite.messages(suite.second))))
                queue = suite.program("postqueue", "-p").stdout
                raise AssertionError(f"{len(lost)} lost: {lost[:9]}\n{queue[-2000:]}") from None
            messages = suite.messages(suite.second)
            arrived = numbers_in(messages)
            assert len(arrived) == len(messages), "a partial file in new/"
            assert all(m.endswith(b"x" * 70 + b"\n") for m in messages), "a partial file in new/"
            doubles = len(arrived) - len(set(arrived))
            record_property("doubles", doubles)
            print(f"{kills} kills, {MESSAGES} accepted, {doubles} delivered twice, none lost")
        finally:
            for sender in senders:
                sender.stop = True
            subprocess.run([str(Path(sys.executable).parent / "mailsuite"), "-c", str(suite.top), "stop"],
                           check=False, capture_output=True, timeout=60)
            kill_all(suite)
