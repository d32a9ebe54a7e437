"""A whole suite: mail by LMTP is read by IMAP at once, and is there after a kill."""

import imaplib
import os
import signal
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.suite import Suite, open_folder, wait_for

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def site() -> Iterator[Suite]:
    with open_folder() as folder:
        suite = Suite(folder)
        with (suite.top / "dovecot.conf").open("a") as conf:
            conf.write("protocols = imap pop3 lmtp\n")
        suite.start()
        yield suite
        suite.stop()


def send(suite: Suite, user: str, text: bytes) -> None:
    path = suite.program("doveconf", "-h", "base_dir").stdout.strip() + "/lmtp"
    with smtplib.LMTP(path) as client:
        assert client.sendmail("x@y.test", [user], text) == {}


def test_imap_sees_it(site: Suite) -> None:
    client = imaplib.IMAP4_SSL("localhost", site.ports["imaps"], ssl_context=site.tls(), timeout=20)
    client.login(site.first, site.users[site.first])
    client.select("INBOX")
    before = int(client.response("EXISTS")[1][0] or 0)
    send(site, site.first, b"Subject: seen\r\n\r\nhi\r\n")
    client.noop()
    assert int(client.response("EXISTS")[1][0] or 0) == before + 1
    client.logout()


@pytest.mark.skipif(os.geteuid() != 0, reason="rights are dropped by root only")
def test_front_has_no_rights(site: Suite) -> None:
    send(site, site.second, b"Subject: who\r\n\r\n")
    line = next(line for line in site.log().splitlines() if "lmtp(" in line and "Connect from" in line)
    pid = int(line.split("lmtp(")[1].split(")")[0])
    status = Path(f"/proc/{pid}/status").read_text()
    assert "Uid:\t0" not in status and "NoNewPrivs:\t1" in status


def test_accepted_mail_survives_a_kill(site: Suite) -> None:
    for number in range(5):
        send(site, site.second, b"Subject: kept %d\r\n\r\n" % number)
    os.kill(site.pid(), signal.SIGKILL)
    kept = b"".join(site.messages(site.second))
    assert all(b"Subject: kept %d\n" % number in kept for number in range(5))
    wait_for(lambda: _restarted(site))
    send(site, site.second, b"Subject: again\r\n\r\n")


def _restarted(site: Suite) -> bool:
    try:
        site.start()
    except AssertionError:
        return False
    return True
