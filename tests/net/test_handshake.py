"""A TLS handshake that fails: the client hears why, and so does the log."""

import asyncio
import datetime
import logging
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from certs.authority import ensure_certificates
from mailsuite.net.handshake import secure, upgrade
from mailsuite.net.service import new_event_loop
from mailsuite.net.tls import Pair, ServerSpec, ServerTls
from mailsuite.smtp import server
from mailsuite.tls.failures import openssl_text
from mailsuite.tls.protocols import parse_protocols
from tests.access.test_handover import suite
from tests.smtp.test_server import queue, settings, with_server  # noqa: F401  # queue: a fixture

OLD = "error:0A000102:SSL routines::unsupported protocol"
NO_TLS = "error:0A00009C:SSL routines::http request"


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.AbstractEventLoop]:
    monkeypatch.setenv("MAILSUITE_LOOP", request.param)
    loop = new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    made = ensure_certificates(tmp_path_factory.mktemp("certificates"), ["localhost"],
                               datetime.datetime.now(datetime.UTC))
    return Pair(str(made.chain), str(made.key))


def old_client(sock: socket.socket) -> str:
    """One that knows TLS 1.1 and no better; what it is told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    sock.settimeout(20)
    try:
        with context.wrap_socket(sock):
            return "secured"
    except ssl.SSLError as error:
        return error.reason or str(error)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
@pytest.mark.parametrize("upgraded", [False, True])
def test_the_client_is_told(loop: asyncio.AbstractEventLoop, pair: Pair, upgraded: bool) -> None:
    tls = ServerTls(ServerSpec(pairs=(pair,), protocols=parse_protocols(">=TLSv1.2")))
    tls.load()
    context = tls.context()
    assert context is not None

    async def work() -> tuple[str, str]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        running = asyncio.get_running_loop()
        if upgraded:
            transport, protocol = await running.connect_accepted_socket(asyncio.Protocol, ours)
            transport.pause_reading()
            talking = running.run_in_executor(None, old_client, theirs)
            with pytest.raises(OSError) as told:
                await upgrade(transport, protocol, context, 20)
        else:
            talking = running.run_in_executor(None, old_client, theirs)
            with pytest.raises(OSError) as told:
                await secure(asyncio.Protocol(), ours, context, 20)
        return await talking, openssl_text(told.value)

    assert loop.run_until_complete(work()) == ("TLSV1_ALERT_PROTOCOL_VERSION", OLD)


@pytest.mark.parametrize(("error", "text"), [
    (ConnectionResetError("gone"), ""), (ssl.SSLError("no certificate"), "('no certificate',)"), (TimeoutError(), "")])
def test_what_is_no_word_of_openssl(error: OSError, text: str) -> None:
    assert openssl_text(error) == text


@pytest.mark.parametrize(("said", "why"), [(b"GET / HTTP/1.0\r\n\r\n", f": SSL_accept() failed: {NO_TLS}"), (b"", "")])
@pytest.mark.parametrize("short", [False, True])
def test_imaps_tells_of_who_got_no_tls(tmp_path: Path, said: bytes, why: str, short: bool,
                                       caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with suite(tmp_path, short=short) as (_, secret, _, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", secret)
            writer.write(said)
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 20)
            writer.close()
            for _ in range(1000):
                if caplog.records:
                    break
                await asyncio.sleep(0.01)

    with caplog.at_level(logging.INFO):
        asyncio.run(work())
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    handshaking = why.removeprefix(": ") or "Connection closed"
    assert re.sub(r"(in )\d+|(session=<)[^>]+", r"\1\2", line) == (
        f"Disconnected: Connection closed{why} (no auth attempts in  secs): user=<>, rip=127.0.0.1, lip=127.0.0.1, "
        f"TLS handshaking: {handshaking}, session=<>")


@pytest.mark.parametrize(("said", "why"), [(b"GET / HTTP/1.0\r\n\r\n", f"SSL_accept() failed: {NO_TLS}"),
                                           (b"", "Connection closed")])
@pytest.mark.parametrize("short", [False, True])
def test_a_connection_that_ends_in_starttls_is_over(tmp_path: Path, said: bytes, why: str, short: bool,
                                                    caplog: pytest.LogCaptureFixture) -> None:
    """Sessions on plain transports stayed for ever, and were counted, when their handshake failed."""
    async def work() -> None:
        async with suite(tmp_path, short=short) as (plain, _, _, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", plain)
            await reader.readline()
            writer.write(b"a STARTTLS\r\n")
            assert (await reader.readline()).startswith(b"a OK")
            writer.write(said)
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 20)
            writer.close()
            for _ in range(1000):
                if caplog.records:
                    break
                await asyncio.sleep(0.01)

    with caplog.at_level(logging.INFO):
        asyncio.run(work())
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert f"TLS handshaking: {why}, session=<" in line


@pytest.mark.parametrize(("limit", "host"), [(100, "localhost"), (0, "unknown")])
def test_smtps_tells_of_who_got_no_tls(queue: Path, pair: Pair, caplog: pytest.LogCaptureFixture,  # noqa: F811
                                       monkeypatch: pytest.MonkeyPatch, limit: int, host: str) -> None:
    """In a flood of such clients nobody's name is looked up."""
    monkeypatch.setattr(server, "BACKGROUND_LIMIT", limit)

    def client(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            heard = b""
            while octets := sock.recv(100):
                heard += octets
            return heard

    chosen = settings(queue, smtpd_tls_wrappermode="yes", smtpd_tls_security_level="encrypt",
                      smtpd_tls_cert_file=pair.certificate, smtpd_tls_key_file=pair.key)
    with caplog.at_level(logging.INFO, "mailsuite.smtpd"):
        with_server(chosen, client)
    lines = [record.getMessage().replace(f"{host}[127.0.0.1]", "CLIENT") for record in caplog.records
             if "anvil" not in record.getMessage()]
    assert lines == ["connect from CLIENT", "SSL_accept error from CLIENT: -1", f"TLS library problem: {NO_TLS}",
                     "lost connection after CONNECT from CLIENT", "disconnect from CLIENT commands=0/0"]
