"""One destination out of reach never delays another."""

import smtplib

import pytest

from tests.support.remote_hosts import refusing_port, silent_host, taking_host
from tests.support.suite import Suite, running_suite, wait_for

pytestmark = pytest.mark.system

MESSAGES = 300


def submit(suite: Suite, count: int, recipient: str) -> None:
    """Messages of one recipient each, over one connection."""
    with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], timeout=60) as smtp:
        for number in range(count):
            smtp.sendmail(suite.first, [recipient], f"Subject: {number}\r\n\r\ntext\r\n")


@pytest.mark.parametrize("kind", ["refused", "silent"])
def test_a_dead_host_delays_only_its_own_mail(kind: str) -> None:
    with silent_host() as silent, taking_host() as live:
        dead = silent if kind == "silent" else refusing_port()
        with running_suite(
                f"transport_maps=inline:{{ {{dead.test=smtp:[127.0.0.1]:{dead}}}, "
                f"{{live.test=smtp:[127.0.0.1]:{live.port}}} }}", "smtp_connect_timeout=5s", "mynetworks=127.0.0.0/8",
                "smtpd_client_connection_count_limit=0", "in_flow_delay=0") as suite:
            submit(suite, MESSAGES, "x@dead.test")
            submit(suite, 1, "x@live.test")
            wait_for(lambda: live.arrived, 40, "the live host got nothing\n" + suite.log()[-3000:])
            submit(suite, 20, "y@live.test")
            wait_for(lambda: len(live.arrived) == 21, 40, "the live host got not all")
            # What waited for the dead host is deferred without having been tried.
            wait_for(lambda: suite.log().count("status=deferred") == MESSAGES)
            assert "delivery temporarily suspended" in suite.log()
            wait_for(lambda: suite.log().count("status=sent") == 21)        # logged after the host has it
