"""reject_unverified_recipient and _sender in a running suite: probes, the cache, and a service that is killed."""

import os
import signal
import smtplib
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.suite import Suite, running_suite, wait_for
from tests.system.test_limits import processes

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("verify")]


class Far(socketserver.StreamRequestHandler):
    """A remote host that knows good@ only, and asks others to come back."""

    def handle(self) -> None:
        said: list[bytes] = self.server.said                # type: ignore[attr-defined]
        self.wfile.write(b"220 far.test ESMTP\r\n")
        for line in self.rfile:
            said.append(line.strip())
            verb = line[:4].upper()
            if verb == b"RCPT":
                reply = (b"250 2.1.5 known" if b"<good@" in line else b"450 4.2.0 later" if b"<later@" in line
                         else b"550 5.1.1 no such user")
            else:
                reply = b"354 go" if verb == b"DATA" else b"221 bye" if verb == b"QUIT" else b"250 ok"
            self.wfile.write(reply + b"\r\n")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Far)
        self.said: list[bytes] = []


@contextmanager
def far_host() -> Iterator[_Server]:
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Suite, _Server]]:
    with far_host() as far, running_suite(
            "smtpd_recipient_restrictions = reject_unverified_recipient, permit_mynetworks, reject",
            "smtpd_sender_restrictions = check_sender_access inline:{ {checked.test = reject_unverified_sender} }",
            "unverified_recipient_reject_code = 550",
            f"transport_maps = inline:{{ {{far.test=smtp:[127.0.0.1]:{far.server_address[1]}}}, "
            f"{{checked.test=smtp:[127.0.0.1]:{far.server_address[1]}}} }}") as suite:
        yield suite, far


def rcpt(suite: Suite, recipient: str, sender: str = "someone@else.test") -> tuple[int, str]:
    with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], timeout=30) as smtp:
        smtp.ehlo("client.test")
        smtp.mail(sender)
        code, text = smtp.rcpt(recipient)
        return code, text.decode()


def test_recipients_are_verified_and_nothing_is_sent(world: tuple[Suite, _Server]) -> None:
    suite, far = world
    assert rcpt(suite, "good@far.test") == (250, "2.1.5 Ok")
    code, text = rcpt(suite, "bad@far.test")
    assert code == 550
    assert text.startswith("5.1.1 <bad@far.test>: Recipient address rejected: undeliverable address: host 127.0.0.1")
    code, text = rcpt(suite, "later@far.test")
    assert (code, text[:60]) == (450, "4.1.1 <later@far.test>: Recipient address rejected: unverifi")
    assert any(line.startswith(b"MAIL FROM:<double-bounce@") for line in far.said)
    assert not any(line.upper() == b"DATA" for line in far.said)
    assert "status=deliverable (250 2.1.5 known)" in suite.log()
    assert "status=undeliverable (host 127.0.0.1" in suite.log()


def test_the_answer_is_remembered(world: tuple[Suite, _Server]) -> None:
    suite, far = world
    def probes() -> int:
        return sum(line.upper().startswith(b"RCPT") for line in far.said)       # QUIT comes when it comes

    rcpt(suite, "good@far.test")
    before = probes()
    assert rcpt(suite, "good@far.test")[0] == 250
    assert probes() == before
    for pid in processes(suite, "verify"):
        os.kill(pid, signal.SIGKILL)
    assert wait_for(lambda: rcpt(suite, "good@far.test")[0] == 250)     # a new one reads what the dead one knew
    assert probes() == before


def test_senders_are_verified(world: tuple[Suite, _Server]) -> None:
    suite, _ = world
    assert rcpt(suite, suite.first, "good@checked.test")[0] == 250
    code, text = rcpt(suite, suite.first, "bad@checked.test")
    assert (code, text[:70]) == (450, "4.1.7 <bad@checked.test>: Sender address rejected: unverified address:")
    assert rcpt(suite, suite.first, "")[0] == 250


def test_mail_to_the_prober_is_taken_and_thrown_away(world: tuple[Suite, _Server]) -> None:
    suite, _ = world
    name = suite.program("postconf", "-hx", "myhostname").stdout.strip()
    with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], timeout=30) as smtp:
        smtp.sendmail("", [f"double-bounce@{name}"], b"Subject: x\r\n\r\nx\r\n")
    wait_for(lambda: "undeliverable postmaster notification discarded" in suite.log())
