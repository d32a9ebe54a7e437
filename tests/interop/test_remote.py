"""Remote hosts are aiosmtpd Controllers: STARTTLS when offered, 5xx to a DSN, 4xx kept and tried again."""

import datetime
import ssl
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from certs.authority import ensure_certificates
from tests.interop.test_python_clients import submit
from tests.support.suite import Suite, free_port, running_suite, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("remote")]


class Remote:
    """A host that takes mail; what is refused depends on the recipient's name."""

    def __init__(self) -> None:
        self.taken: list[tuple[Envelope, bool]] = []
        self.refused = 0

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str,
                          options: list[str]) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 no such user here"
        if address.startswith("later") and not self.refused:
            self.refused += 1
            return "450 4.2.0 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.taken.append((envelope, session.ssl is not None))
        return "250 taken"

    def with_mark(self, mark: str) -> tuple[Envelope, bool] | None:
        return next((entry for entry in self.taken if mark.encode() in (entry[0].content or b"")), None)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Suite, Remote]]:
    made = ensure_certificates(Path(tmp_path_factory.mktemp("certs")), ["localhost"],
                               datetime.datetime.now(datetime.UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.chain, made.key)
    remote, port = Remote(), free_port()
    controller = Controller(remote, hostname="127.0.0.1", port=port, tls_context=context)
    controller.start()
    try:
        with running_suite(f"relayhost=[127.0.0.1]:{port}", "minimal_backoff_time=1s", "maximal_backoff_time=2s",
                           "queue_run_delay=1s") as suite:
            yield suite, remote
    finally:
        controller.stop()


def test_delivered_over_tls(world: tuple[Suite, Remote]) -> None:
    suite, remote = world
    mark = uuid4().hex
    submit(suite, suite.first, "friend@elsewhere.test", mark, ".leading dot\n..two\nend\n")
    envelope, encrypted = wait_for(lambda: remote.with_mark(mark))
    assert encrypted and envelope.rcpt_tos == ["friend@elsewhere.test"] and envelope.mail_from == suite.first
    assert b"\r\n.leading dot\r\n..two\r\nend\r\n" in envelope.content
    wait_for(lambda: "to=<friend@elsewhere.test>, relay=127.0.0.1[127.0.0.1]" in suite.log())


def test_a_refused_recipient_comes_back_as_a_report(world: tuple[Suite, Remote]) -> None:
    suite, _ = world
    mark = uuid4().hex
    submit(suite, suite.first, "nobody@elsewhere.test", mark)
    report = wait_for(lambda: next((m for m in suite.messages(suite.first) if mark.encode() in m), None))
    assert b"Content-Type: multipart/report; report-type=delivery-status" in report
    assert b"Final-Recipient: rfc822; nobody@elsewhere.test" in report and b"Action: failed" in report
    assert b"Status: 5.1.1" in report and b"550 5.1.1 no such user here" in report


def test_deferred_mail_is_tried_again(world: tuple[Suite, Remote]) -> None:
    suite, remote = world
    mark = uuid4().hex
    submit(suite, suite.first, "later@elsewhere.test", mark)
    wait_for(lambda: "status=deferred (host 127.0.0.1[127.0.0.1] said: 450 4.2.0 come back later" in suite.log())
    wait_for(lambda: remote.with_mark(mark))
    wait_for(lambda: suite.program("postqueue", "-p").stdout.startswith("Mail queue is empty"))
