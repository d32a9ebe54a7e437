"""smtpd_proxy_filter in a running suite: a filter that sends on, refuses, breaks off, and is away."""

import smtplib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.support.suite import Suite, free_port, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("proxy_filter")]


@dataclass
class Filter:
    """An aiosmtpd handler: what it says depends on the message."""

    back: int                                       # where what is accepted goes
    seen: list[bytes] = field(default_factory=list)
    silent: threading.Event = field(default_factory=threading.Event)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.startswith("ben") and b"refuse-ben" in str(envelope.mail_from).encode():
            return "550-5.1.1 not\r\n550 5.1.1 him"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        content = bytes(envelope.content)
        self.seen.append(content)
        if b"EICAR" in content:
            return "554 5.7.0 virus found"
        if b"break off" in content:
            server.transport.abort()
            return "451 never said"
        with smtplib.SMTP("127.0.0.1", self.back, timeout=20) as smtp:
            smtp.sendmail(envelope.mail_from, envelope.rcpt_tos, content + b"X-Not-In-Header: end\r\n")
        return "250 2.0.0 from the filter"


@contextmanager
def filtered_suite(options: str) -> Iterator[tuple[Suite, Filter, Controller]]:
    back, port = free_port(), free_port()
    handler = Filter(back)
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    with open_folder() as folder:
        suite = Suite(folder)
        smtp = suite.ports["smtp"]
        for words in (["-P", f"{smtp}/inet/smtpd_proxy_filter=127.0.0.1:{port}"],
                      ["-P", f"{smtp}/inet/smtpd_proxy_options={options}"],
                      ["-P", f"{smtp}/inet/smtpd_proxy_timeout=10s"],
                      ["-M", f"127.0.0.1:{back}/inet=127.0.0.1:{back} inet n - n - - smtpd"]):
            done = suite.program("postconf", "-e", *words)
            assert done.returncode == 0, done.stderr
        controller.start()
        try:
            suite.start()
            yield suite, handler, controller
        finally:
            suite.stop()
            if controller.server is not None:
                controller.stop()


def test_a_reset_forgets_the_message() -> None:
    with filtered_suite("") as (suite, handler, _), smtplib.SMTP("127.0.0.1", suite.ports["smtp"], timeout=40) as smtp:
        smtp.ehlo("client.test")
        for recipient in (suite.first, suite.second):
            smtp.mail("x@else.test")
            assert smtp.rcpt(recipient)[0] == 250
            if recipient == suite.first:
                smtp.rset()
        assert smtp.data("Subject: s\r\n\r\nfor one\r\n")[0] == 250
        suite.wait_messages(suite.second, 1)
        wait_for(lambda: "status=sent" in suite.log())
        log = suite.log()
        assert len(handler.seen) == 1 and log.count("to=<") == log.count(f"to=<{suite.second}>")


def send(suite: Suite, text: str, sender: str = "x@else.test", *, to: list[str] | None = None) -> tuple[int, str]:
    """The reply to the message."""
    with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], timeout=40) as smtp:
        smtp.ehlo("client.test")
        smtp.mail(sender, ["SIZE=1000"])
        for recipient in to or [suite.first]:
            code, answer = smtp.rcpt(recipient)
            if code != 250:
                return code, answer.decode()
        code, answer = smtp.data(f"Subject: s\r\n\r\n{text}\r\n")
        return code, answer.decode()


@pytest.mark.parametrize("options", ["", "speed_adjust"])
def test_the_filter_answers(options: str) -> None:
    with filtered_suite(options) as (suite, handler, controller):
        assert send(suite, "good\r\n.. dots") == (250, "2.0.0 from the filter")
        [message] = suite.wait_messages(suite.first, 1)
        assert b"\n.. dots\n" in message
        assert send(suite, "EICAR") == (554, "5.7.0 virus found")
        assert send(suite, "break off") == (451, "4.3.0 Error: queue file write error")
        reply = send(suite, "x", "refuse-ben@else.test", to=[suite.first, suite.second])
        assert reply == (550, "5.1.1 not\n5.1.1 him")
        assert "rejected \"RCPT TO:<" in suite.log() and '"550-5.1.1 not??550 5.1.1 him"' in suite.log()
        big = "0123456789" * 7 + "\r\n"
        assert send(suite, big * 20_000)[0] == 250
        assert len(suite.wait_messages(suite.first, 2)[-1]) > 0
        controller.stop()
        assert send(suite, "x") == (451, "4.3.0 Error: queue file write error")
        assert "connect to proxy filter 127.0.0.1:" in suite.log()
        assert "proxy-accept: END-OF-MESSAGE: 250 2.0.0 from the filter; from=<x@else.test>" in suite.log()
        assert "Traceback" not in suite.log()
        assert [b"EICAR" in content for content in handler.seen].count(True) == 1
        wait_for(lambda: suite.program("postqueue", "-p").stdout.startswith("Mail queue is empty"))
