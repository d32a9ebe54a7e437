"""The server on a loopback socket: mail reaches the queue, TLS, what is left behind by clients that go."""

import asyncio
import datetime
import logging
import smtplib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from certs.authority import ensure_certificates
from mailsuite.base.errors import ConfigError
from mailsuite.config.settings import Settings
from mailsuite.net.service import Listener, ServiceContext
from mailsuite.queue.folders import make_folders
from mailsuite.smtp import server

T = TypeVar("T")
BASE = {
    "compatibility_level": "3.6", "myhostname": "mx.example.test", "mydestination": "example.test",
    "mynetworks": "127.0.0.0/8", "local_recipient_maps": "", "smtpd_peername_lookup": "no",
}


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    make_folders(str(tmp_path))
    return tmp_path


def settings(queue: Path, **values: str) -> Settings:
    return Settings.of({**BASE, "queue_directory": str(queue), **values})


def with_server(chosen: Settings, client: Callable[[int], T]) -> T:
    """Run client(port) in a thread beside a server."""
    async def run() -> T:
        sock = socket.create_server(("127.0.0.1", 0))
        context = ServiceContext("smtp", "smtpd", chosen, listeners=[Listener("smtp", sock)])
        context.prepared = server.prepare(context)
        serving = asyncio.ensure_future(server.serve(context))
        try:
            return await asyncio.to_thread(client, sock.getsockname()[1])
        finally:
            context.stopping.set()
            await serving
            sock.close()

    return asyncio.run(run())


def queued(queue: Path) -> list[Path]:
    return [path for path in (queue / "incoming").iterdir() if path.is_file()]


def test_mail_is_in_the_queue_when_it_is_answered(queue: Path) -> None:
    def client(port: int) -> int:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="c.test", timeout=60) as smtp:
            smtp.sendmail("a@b.test", ["x@example.test", "y@example.test"], b"Subject: x\r\n\r\n.dot\r\n")
            return len(queued(queue))

    assert with_server(settings(queue), client) == 1
    content = queued(queue)[0].read_bytes()
    assert b"Received: from c.test (unknown [127.0.0.1])\n\tby mx.example.test (Postfix) with ESMTP id " in content
    assert b"\n\n.dot\n" in content


def test_a_client_that_goes_in_the_middle_leaves_nothing(queue: Path) -> None:
    def client(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock, sock.makefile("rb") as lines:
            lines.readline()
            for line in (b"HELO x", b"MAIL FROM:<a@b.test>", b"RCPT TO:<x@example.test>", b"DATA"):
                sock.sendall(line + b"\r\n")
                lines.readline()
            sock.sendall(b"Subject: half\r\n")

    with_server(settings(queue), client)
    assert queued(queue) == []


def test_relaying_is_refused(queue: Path) -> None:
    def client(port: int) -> tuple[int, bytes]:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="c.test", timeout=60) as smtp:
            smtp.ehlo()
            smtp.mail("a@b.test")
            return smtp.rcpt("x@far.test")

    assert with_server(settings(queue, mynetworks="192.0.2.0/24"), client) == \
        (454, b"4.7.1 <x@far.test>: Relay access denied")


def test_starttls_and_the_header_that_tells_of_it(queue: Path, tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path / "certificates", ["mx.example.test"], datetime.datetime.now(datetime.UTC))
    context = ssl.create_default_context(cafile=str(made.authority))
    context.check_hostname = False

    def client(port: int) -> bool:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="c.test", timeout=60) as smtp:
            smtp.ehlo()
            assert smtp.docmd("MAIL FROM:<a@b.test>")[0] == 530
            smtp.starttls(context=context)
            smtp.sendmail("a@b.test", ["x@example.test"], b"Subject: x\r\n\r\n")
            return smtp.has_extn("starttls")

    chosen = settings(queue, smtpd_tls_security_level="encrypt", smtpd_tls_received_header="yes",
                      smtpd_tls_cert_file=str(made.chain), smtpd_tls_key_file=str(made.key))
    assert with_server(chosen, client) is False
    content = queued(queue)[0].read_bytes()
    assert b"\t(using TLSv1.3 with cipher " in content and b") with ESMTPS id " in content


def test_the_header_may_say_nothing_of_the_client(queue: Path) -> None:
    def client(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="c.test", timeout=60) as smtp:
            smtp.sendmail("a@b.test", ["x@example.test"], b"Subject: x\r\n\r\n")

    with_server(settings(queue, smtpd_hide_client_session="yes"), client)
    content = queued(queue)[0].read_bytes()
    received = content[content.index(b"Received: "):].split(b"\nSubject")[0]
    assert received.startswith(b"Received: by mx.example.test (") and b"\n\tfor <x@example.test>; " in received
    assert b"c.test" not in received and b"127.0.0.1" not in received and b"SMTP" not in received


def test_implicit_tls(queue: Path, tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path / "certificates", ["mx.example.test"], datetime.datetime.now(datetime.UTC))
    context = ssl.create_default_context(cafile=str(made.authority))
    context.check_hostname = False

    def client(port: int) -> int:
        with smtplib.SMTP_SSL("127.0.0.1", port, local_hostname="c.test", timeout=60, context=context) as smtp:
            return smtp.docmd("MAIL FROM:<a@b.test>")[0]

    chosen = settings(queue, smtpd_tls_wrappermode="yes", smtpd_tls_security_level="encrypt",
                      smtpd_tls_cert_file=str(made.chain), smtpd_tls_key_file=str(made.key))
    assert with_server(chosen, client) == 250


def test_too_many_connections(queue: Path) -> None:
    def client(port: int) -> list[bytes]:
        socks = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(3)]
        try:
            return [sock.recv(100)[:3] for sock in socks]
        finally:
            for sock in socks:
                sock.close()

    chosen = settings(queue, smtpd_client_connection_count_limit="2", smtpd_client_event_limit_exceptions="")
    assert sorted(with_server(chosen, client)) == [b"220", b"220", b"421"]


def test_an_auth_service_that_is_away(queue: Path, caplog: pytest.LogCaptureFixture) -> None:
    def client(port: int) -> tuple[bool, int]:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="c.test", timeout=60) as smtp:
            smtp.ehlo()
            return smtp.has_extn("auth"), smtp.docmd("AUTH PLAIN AGEAYg==")[0]

    chosen = settings(queue, smtpd_sasl_auth_enable="yes", smtpd_sasl_type="dovecot", smtpd_sasl_path="private/auth")
    with caplog.at_level(logging.WARNING, "mailsuite.smtpd"):
        offered, code = with_server(chosen, client)
    assert not offered and code == 454


def test_a_configuration_that_relays_everything_does_not_start(queue: Path) -> None:
    chosen = settings(queue, smtpd_relay_restrictions="", smtpd_recipient_restrictions="permit_mynetworks")
    with pytest.raises(ConfigError, match="specify at least one working instance"):
        with_server(chosen, lambda port: None)


def test_a_queue_id_from_the_sender_on(queue: Path, caplog: pytest.LogCaptureFixture) -> None:
    """smtpd_delay_open_until_valid_rcpt = no: what is refused has an id in the log; what is given up leaves no file."""
    def client(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="c.test", timeout=60) as smtp:
            smtp.ehlo()
            assert smtp.mail("a@b.test")[0] == 250 and smtp.rcpt("x@else.test")[0] == 454
            smtp.rset()
            smtp.sendmail("a@b.test", ["x@example.test"], b"Subject: x\r\n\r\nx\r\n")

    with caplog.at_level(logging.INFO, "mailsuite.smtpd"):
        with_server(settings(queue, smtpd_delay_open_until_valid_rcpt="no", mynetworks=""), client)
    lines = [record.getMessage().partition(": ") for record in caplog.records]
    refused, kept = (line[0] for line in lines if line[2].startswith("client="))
    assert [line[0] for line in lines if line[2].startswith("reject: RCPT")] == [refused]
    assert [path.name for path in queued(queue)] == [kept]


def test_a_dialogue_in_the_log(queue: Path, caplog: pytest.LogCaptureFixture) -> None:
    """debug_peer_list: commands and replies, but neither passwords nor content."""
    def client(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="c.test", timeout=60) as smtp:
            smtp.sendmail("a@b.test", ["x@example.test"], b"Subject: s3cret\r\n\r\nx\r\n")
            smtp.docmd("AUTH PLAIN czNjcmV0")

    with caplog.at_level(logging.INFO, "mailsuite.smtpd"):
        with_server(settings(queue, debug_peer_list="127.0.0.0/8"), client)
    said = [record.getMessage().replace(" unknown[127.0.0.1]:", "") for record in caplog.records]
    assert "< rcpt TO:<x@example.test>" in said and "> 354 End data with <CR><LF>.<CR><LF>" in said
    assert "< AUTH PLAIN <hidden>" in said and "s3cret" not in caplog.text
