"""anvil's limits over all smtpd processes of a running suite, with processes that are killed meanwhile."""

import os
import re
import signal
import smtplib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.suite import Suite, running_suite, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("limits")]
LIMIT = 6


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with running_suite(f"smtpd_client_connection_count_limit = {LIMIT}", "smtpd_client_event_limit_exceptions =",
                       "smtpd_client_message_rate_limit = 3", "anvil_rate_time_unit = 1h") as running:
        yield running


def processes(suite: Suite, name: str) -> list[int]:
    """Children of the master with that name."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            inner, _, rest = stat.partition("(")[2].rpartition(")")
            if inner == name[:15] and int(rest.split()[1]) == suite.pid():
                found.append(int(entry.name))
    return found


def greeting(suite: Suite, stack: ExitStack) -> str:
    sock = stack.enter_context(socket.create_connection(("127.0.0.1", suite.ports["smtp"]), timeout=20))
    return stack.enter_context(sock.makefile("r", newline="")).readline()


def test_connections_are_counted_over_all_processes_and_released_by_the_dead(suite: Suite) -> None:
    smtpd = f"smtpd:{suite.ports['smtp']}"
    with ExitStack() as stack:
        said = [greeting(suite, stack) for _ in range(LIMIT + 2)]
        assert [line[:3] for line in said] == ["220"] * LIMIT + ["421"] * 2
        assert re.fullmatch(r"421 4\.7\.0 \S+ Error: too many connections from 127\.0\.0\.1\r\n", said[-1])
        assert f"warning: Connection concurrency limit exceeded: {LIMIT + 1} from localhost[127.0.0.1] for service " \
               f"{suite.ports['smtp']}" in suite.log()
        before = processes(suite, smtpd)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(set(processes(suite, smtpd)) - set(before)) >= len(before))

        def welcome() -> bool:
            with ExitStack() as inner:
                return greeting(suite, inner).startswith("220")

        wait_for(welcome)


def test_mail_goes_on_while_anvil_is_killed(suite: Suite) -> None:
    def send() -> int:
        with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], timeout=20) as smtp:
            return smtp.mail(suite.first)[0]

    assert [send() for _ in range(4)] == [250, 250, 250, 450]
    old = wait_for(lambda: processes(suite, "anvil"))
    assert isinstance(old, list)
    os.kill(old[0], signal.SIGKILL)
    assert wait_for(lambda: send() == 250)          # what was counted is gone with it; a new one counts again
    wait_for(lambda: send() == 450)
    assert processes(suite, "anvil") not in ([], old)
