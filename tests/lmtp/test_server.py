"""The server on a socket: what it asks the access service, and what stands before a message."""

import asyncio
import json
import os
import re
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from mailsuite.access.lmtp_server import LmtpHandler, LmtpServer
from mailsuite.base.errors import TemporaryError
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.net.service import Acceptor, Listener
from mailsuite.net.tls import ServerSpec, ServerTls
from mailsuite.sasl.user import UserInfo


class Users:
    """In the place of the auth service."""

    async def userdb(self, user: str, **_: object) -> UserInfo | None:
        if user.startswith("root"):
            return UserInfo(user, 0, 0, "/root")
        if user.startswith("later"):
            raise TemporaryError("later")
        return None if user.startswith("no") else UserInfo(user, 1000, 1000, "/home/x")


class Access:
    """In the place of the access service: keeps jobs and contents, answers what a test wants."""

    def __init__(self, path: Path, answers: dict[str, object]) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.contents: list[bytes] = []
        self._answers = answers
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(path))
        self.sock.listen()
        self.sock.setblocking(False)

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self.sock)
            with client:
                client.setblocking(True)
                octets, fds, _, _ = socket.recv_fds(client, 65536, 1)
                job = json.loads(octets)["deliver"]
                self.jobs.append(job)
                self.contents.append(os.pread(fds[0], 1 << 20, 0))
                os.close(fds[0])
                answer = self._answers.get(job["user"], {"delivered": [250, "2.0.0", "Saved"]})
                if answer is not None:
                    client.send(json.dumps(answer).encode() + b"\n")


def play(tmp_path: Path, octets: bytes, settings: str = "", **answers: object) -> tuple[list[str], Access]:
    """The dialogue over a Unix socket; answers: user -> what the access service says."""

    async def run() -> tuple[list[str], Access]:
        dovecot = DovecotSettings.of(f"base_dir = {tmp_path}\nhostname = mx.test\nssl = no\n{settings}")
        access = Access(tmp_path / "lmtp-delivery", answers)
        server = LmtpServer(dovecot, ServerTls(ServerSpec()))
        server.users = Users()      # type: ignore[assignment]
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "lmtp"))
        listening.listen()
        acceptor = Acceptor(Listener("lmtp", listening, "unix"), lambda peer: LmtpHandler(server, peer))
        acceptor.start()
        task = asyncio.ensure_future(access.serve())
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "lmtp"))
        writer.write(octets)
        said = await asyncio.wait_for(reader.read(), 30)
        task.cancel()
        acceptor.stop()
        await acceptor.until_idle()
        writer.close()
        listening.close()
        access.sock.close()
        return said.decode().split("\r\n")[:-1], access

    job: Coroutine[Any, Any, tuple[list[str], Access]] = run()
    return asyncio.run(job)


def message(*recipients: str, extra: bytes = b"") -> bytes:
    lines = [b"LHLO c.test", b"MAIL FROM:<x@y.test>", *[b"RCPT TO:<%b>" % each.encode() for each in recipients],
             b"DATA", b"Subject: hi\r\n\r\n" + extra + b".", b"QUIT", b""]
    return b"\r\n".join(lines)


def test_header_of_one_recipient(tmp_path: Path) -> None:
    said, access = play(tmp_path, message("Alice+x@e.test"))
    session = re.fullmatch(r"250 2\.0\.0 <Alice\+x@e\.test> (\S{22}) Saved", said[-2])
    assert session is not None
    job = access.jobs[0]
    assert {key: job[key] for key in ("user", "detail", "sender", "session")} == {
        "user": "Alice@e.test", "detail": "x", "sender": "x@y.test", "session": session[1]}
    assert re.fullmatch(
        r"Return-Path: <x@y\.test>\nDelivered-To: Alice\+x@e\.test\nReceived: from c\.test\n\tby mx\.test with LMTP\n"
        rf"\tid {re.escape(session[1])}\n\t\(envelope-from <x@y\.test>\)\n\tfor <Alice\+x@e\.test>; "
        r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\n", job["header"])
    assert access.contents == [b"Subject: hi\n\n"]


@pytest.mark.parametrize(("settings", "header"), [
    ("lmtp_add_received_header = no\n", "Return-Path: <x@y.test>\nDelivered-To: a@b\n"),
    ("lmtp_add_received_header = no\nlmtp_hdr_delivery_address = none\n", "Return-Path: <x@y.test>\n"),
    ("protocol lmtp {\n  lmtp_add_received_header = no\n  lmtp_hdr_delivery_address = original\n}\n",
     "Return-Path: <x@y.test>\nDelivered-To: o+p@q\n")])
def test_header_settings(tmp_path: Path, settings: str, header: str) -> None:
    octets = message("a@b").replace(b"<a@b>", b"<a@b> ORCPT=rfc822;o+2Bp@q")
    assert play(tmp_path, octets, settings)[1].jobs[0]["header"] == header


def test_several_recipients(tmp_path: Path) -> None:
    octets = message("a@b", "no@b", "A@B", "a@B", "root@b", "later@b", "full@b", "gone@b", "bad@b")
    said, access = play(tmp_path, octets, **{"full@b": {"delivered": [552, "5.2.2", "Quota exceeded"]}, "gone@b": None,
                                             "bad@b": {"failed": "no such folder"}})
    assert said[8:14] == ["550 5.1.1 <no@b> User doesn't exist: no@b", "250 2.1.5 OK", "250 2.1.5 OK",
                          "451 4.3.0 <root@b> Temporary internal error",
                          "451 4.3.0 <later@b> Temporary internal error", "250 2.1.5 OK"]
    replies = [re.sub(r" \S{22}(:\S+)? Saved", " Saved", each) for each in said[-7:-1]]
    assert replies == ["250 2.0.0 <a@b> Saved", "250 2.0.0 <A@B> Saved", "250 2.0.0 <a@b> Saved",
                       "552 5.2.2 <full@b> Quota exceeded", "451 4.3.0 <gone@b> Temporary internal error",
                       "451 4.3.0 <bad@b> Temporary internal error"]
    assert [job["address"] for job in access.jobs].count("a@b") == 1
    assert not any("Delivered-To" in job["header"] or "\tfor " in job["header"] for job in access.jobs)


def test_large_content_and_lost_chunks(tmp_path: Path) -> None:
    big = b"x" * 70 + b"\r\n"
    octets = (b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nBDAT 3\r\nabcRSET\r\n" + message("a@b", extra=big * 9000))
    _, access = play(tmp_path, octets)
    assert access.contents == [b"Subject: hi\n\n" + big.replace(b"\r\n", b"\n") * 9000]


def test_content_that_cannot_be_kept(tmp_path: Path) -> None:
    said, access = play(tmp_path, message("a@b", extra=b"x\r\n" * 200_000), f"mail_temp_dir = {tmp_path}/missing\n")
    assert said[-2] == "451 4.3.0 <a@b> Temporary internal error" and access.jobs == []


def test_a_user_has_so_many_deliveries_at_a_time(tmp_path: Path) -> None:
    """lmtp_user_concurrency_limit counts the recipients of open transactions."""
    octets = message("a@b", "a@b", "c@b").replace(b"QUIT", b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nQUIT")
    said, _ = play(tmp_path, octets, "lmtp_user_concurrency_limit = 1\n")
    assert said[7:10] == ["250 2.1.5 OK", "451 4.3.0 <a@b> Too many concurrent deliveries for user", "250 2.1.5 OK"]
    assert said[-2] == "250 2.1.5 OK"


@pytest.mark.parametrize(("setting", "rcpt", "want"), [
    ("original", "<a@b> ORCPT=rfc822;o@q", "<o@q>"), ("original", "<a@b>", "<a@b>"),
    ("final", "<a@b> ORCPT=rfc822;o@q", "<a@b>"), ("none", "<a@b>", "")])
def test_whom_received_is_for(tmp_path: Path, setting: str, rcpt: str, want: str) -> None:
    octets = message("a@b").replace(b"<a@b>", rcpt.encode())
    header = play(tmp_path, octets, f"lmtp_hdr_delivery_address = {setting}\n")[1].jobs[0]["header"]
    assert (f"\tfor {want}; " in header) if want else "\tfor" not in header
    assert ("Delivered-To" in header) == (setting == "final" or "ORCPT" in rcpt)
