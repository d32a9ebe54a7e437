"""A stolen password in a running suite: what is sent beyond the limit waits, and the postmaster hears of it."""

import smtplib
from collections.abc import Iterator

import pytest

from tests.support.suite import Suite, running_suite, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("verify")]


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with running_suite("smtpd_sasl_recipient_rate_limit = 3") as running:
        yield running


def test_excess_is_held_and_told(suite: Suite) -> None:
    with smtplib.SMTP("127.0.0.1", suite.ports["submission"], timeout=30) as smtp:
        smtp.starttls(context=suite.tls())
        smtp.login(suite.first, suite.users[suite.first])
        for number in range(5):
            smtp.sendmail(suite.first, [suite.second], f"Subject: n{number}\r\n\r\nx\r\n".encode())
    found = suite.wait_messages(suite.second, 3)
    assert sum(b"Subject: n" in message for message in found) == 3
    queue = suite.program("postqueue", "-j").stdout
    assert queue.count('"queue_name": "hold"') == 2
    log = wait_for(lambda: suite.log() if "sending limit of account" in suite.log() else "")
    assert f"sending limit of account {suite.first} exceeded: 4 recipients in 3600s (limit 3)" in str(log)
    wait_for(lambda: any(b"sends more than it may: its mail is on hold" in message
                         for user in (suite.first, suite.second) for message in suite.messages(user))
             or 'to=<postmaster' in suite.log())
    suite.program("postsuper", "-H", "ALL")
    suite.program("postqueue", "-f")
    assert len(suite.wait_messages(suite.second, 5)) >= 5
