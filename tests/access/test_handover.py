"""From a client's first octet to the user's worker: logins, auth service and access parent in one loop."""

import asyncio
import datetime
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from certs.authority import ensure_certificates
from mailsuite.access.handover import HandOver
from mailsuite.access.login_handler import LoginHandler
from mailsuite.access.login_server import LoginServer
from mailsuite.access.server import AccessParent
from mailsuite.access.worker import Worker
from mailsuite.access.world import UserWorld
from mailsuite.base.dialogue import Peer, Proxied, Send, TlsInfo
from mailsuite.base.errors import MailError
from mailsuite.base.log import access_logger
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.settings import Settings
from mailsuite.net.accepting import Accepting
from mailsuite.net.dovecot_tls import DovecotTls
from mailsuite.net.service import Acceptor, Listener
from mailsuite.net.workers import Request, WorkerChannel
from mailsuite.sasl.auth_client import Mechanism
from mailsuite.sasl.user import UserInfo
from tests.sasl.support import CONF, auth_service, listener, settings


async def echo(sock: socket.socket, handover: HandOver, user: UserInfo, world: UserWorld) -> None:
    """A mail session: greets, then sends back what comes."""
    reader, writer = await asyncio.open_connection(sock=sock)
    tls = "TLS" if handover.tls else "plain"
    writer.write(f"{handover.tag.decode()} OK {user.user} {user.uid} {tls} {handover.octets!r}\r\n".encode())
    while octets := await reader.read(65536):
        writer.write(octets)
        await writer.drain()
    writer.close()


class PoolInside:
    """A WorkerPool whose one worker lives in this process."""

    count = 1

    def __init__(self, world: UserWorld, told: Callable[[int, Any], None]) -> None:
        self.answers: dict[int, Any] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.worker = Worker(cast(WorkerChannel, self), world, 0, {"imap": echo, "pop3": echo})
        self.requests, self.busy, self._told = 0, 0, told

    # --- the worker's channel ---

    def answer(self, number: int, message: object) -> None:
        self.answers[number] = message

    def answer_batch(self, answers: Sequence[tuple[int, object]]) -> None:
        self.answers.update(answers)

    def report_busy(self, count: int) -> None:
        self.busy = count

    def tell(self, what: object) -> None:
        self._told(os.getpid(), json.loads(json.dumps(what)))

    # --- the pool ---

    async def ask(self, identity: object, message: dict[str, Any], fds: Sequence[int] = (), *, key: str = "",
                  taken: Callable[[], None] = lambda: None) -> Any:
        self.requests += 1
        number = self.requests
        request = Request(number, message, [os.dup(fd) for fd in fds])
        taken()
        await self.worker._serve(request)
        return self.answers.pop(number)

    def start(self, identity: object, message: dict[str, Any], fds: list[int],
              over: Callable[[dict[str, Any] | MailError], None], *, key: str = "") -> int:
        self.requests += 1
        number = self.requests

        async def run() -> None:
            await self.worker._serve(Request(number, message, list(fds)))
            while number not in self.answers:           # ends of sessions are told together
                await asyncio.sleep(0.005)
            over(self.answers.pop(number))

        task = asyncio.create_task(run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return os.getpid()

    def pids(self) -> list[int]:
        return []

    def renew_spares(self) -> None:
        pass

    async def close(self) -> None:
        pass


@asynccontextmanager
async def suite(folder: Path, more: str = "", *, short: bool = False) -> AsyncIterator[
        tuple[int, int, AccessParent, DovecotSettings]]:
    """Ports for IMAP in the clear and with TLS."""
    made = ensure_certificates(folder / "tls", ["localhost"], datetime.datetime.now(datetime.UTC))
    conf = settings(folder, f"base_dir = {folder}\nssl_cert = <{made.chain}\nssl_key = <{made.key}\n"
                    f"login_trusted_networks = 127.0.0.1\n{more}", conf=CONF)
    async with auth_service(folder, conf):
        parent = AccessParent(conf, Settings.of({}), {"imap": echo})
        pool = PoolInside(UserWorld(conf, Settings.of({})), parent.workers.told)
        parent.workers.pool = pool  # type: ignore[assignment]
        entrance = listener(folder, "imap")
        entrance.sock.setblocking(False)
        Accepting(entrance.sock, parent.accept).start()
        tls = DovecotTls(conf, access_logger("imap-login"))
        tls.load()
        server = LoginServer("imap", conf, tls)
        await server.find_mechanisms()
        acceptors = []
        for with_tls in (False, True):
            sock = socket.create_server(("127.0.0.1", 0))
            acceptors.append(Acceptor(Listener("imap", sock, tls=with_tls), lambda peer: LoginHandler(server, peer),
                                      tls_for=server.context_for, short=short, greeting=server.greeting))
            acceptors[-1].start()
        plain, secret = (each.listener.sock.getsockname()[1] for each in acceptors)
        try:
            yield plain, secret, parent, conf
        finally:
            for acceptor in acceptors:
                acceptor.stop()
                for connection in list(acceptor.connections):
                    connection.abort()
                acceptor.listener.sock.close()
            asyncio.get_running_loop().remove_reader(entrance.sock.fileno())
            entrance.sock.close()
            server.auth.close()
            server.access.close()
            parent.auth.close()
            await asyncio.sleep(0)


async def client(port: int, tls: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context() if tls else None
    if context is not None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    assert (await reader.readline()).startswith(b"* OK [CAPABILITY IMAP4rev1")
    return reader, writer


@pytest.mark.parametrize("tls", [False, True])
def test_the_worker_gets_the_connection(tmp_path: Path, tls: bool) -> None:
    async def work() -> None:
        async with suite(tmp_path) as (plain, secret, parent, _):
            reader, writer = await client(secret if tls else plain, tls)
            writer.write(b"a LOGIN alice secret-alice\r\nb NOOP\r\n")
            kind = b"TLS" if tls else b"plain"
            assert await reader.readline() == b"a OK alice 5000 " + kind + b" b'b NOOP\\r\\n'\r\n"
            big = os.urandom(3_000_000)              # more than all buffers: back-pressure both ways
            sending = asyncio.create_task(_send(writer, big))
            assert await reader.readexactly(len(big)) == big
            await sending
            writer.close()
            for _ in range(5000):
                if not list(parent.workers.sessions) and not parent._tasks:
                    break
                await asyncio.sleep(0.01)
            assert not list(parent.workers.sessions) and not parent.workers._counts and not parent._tasks

    asyncio.run(work())


def test_who_comes_again_hears_the_same(tmp_path: Path) -> None:
    """From the second connection on it is said before there is a session."""
    async def heard(port: int, *, then: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(then)
        octets = await reader.read()
        writer.close()
        return octets

    async def work() -> None:
        async with suite(tmp_path, short=True) as (plain, _, _, _):
            first, second, third = [await heard(plain, then=b"a LOGOUT\r\n") for _ in range(3)]
            assert first.count(b"* OK [CAPABILITY ") == 1 and first == second == third

    asyncio.run(work())


@pytest.mark.parametrize(("protocol", "more", "known"), [
    ("imap", "", True), ("pop3", "", True), ("sieve", "", True), ("imap", "login_greeting = from %r", False),
    ("pop3", "auth_mechanisms = plain apop", False)])
def test_what_is_known_of_a_greeting(tmp_path: Path, protocol: str, more: str, known: bool) -> None:
    """One that tells of the client, or holds a challenge, is each session's own; so is that of a proxy's client."""
    conf = settings(tmp_path, f"base_dir = {tmp_path}\nssl = no\ndisable_plaintext_auth = no\n{more}", conf=CONF)

    async def work() -> None:
        server = LoginServer(protocol, conf, DovecotTls(conf, access_logger("login")))
        server.mechanisms = (Mechanism("PLAIN", plaintext=True),
                             *([Mechanism("APOP")] if "apop" in more else []))
        peer = Peer("192.0.2.7", 4321, "192.0.2.1", 143)
        assert server.greeting(peer) == b""                     # who knows whether it comes again
        session = LoginHandler(server, peer)._begun(None)
        said = b"".join(action.octets for action in session.opened() if isinstance(action, Send))
        assert said and server.greeting(peer) == (said if known else b"")
        proxied = Proxied("192.0.2.9", 1, "192.0.2.1", 143)
        assert server.greeting(Peer("192.0.2.7", 4321, "192.0.2.1", 143, proxied=proxied)) == b""

    asyncio.run(work())


async def _send(writer: asyncio.StreamWriter, octets: bytes) -> None:
    for start in range(0, len(octets), 50_000):
        writer.write(octets[start:start + 50_000])
        await writer.drain()


def test_limits_and_strangers(tmp_path: Path) -> None:
    async def work() -> None:
        async with suite(tmp_path, "mail_max_userip_connections = 1") as (plain, _, parent, _):
            reader, writer = await client(plain, False)
            writer.write(b"a LOGIN alice secret-alice\r\n")
            assert (await reader.readline()).startswith(b"a OK alice")
            other, more = await client(plain, False)
            more.write(b"a LOGIN alice wrong\r\n")
            assert await other.readline() == b"a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"
            more.write(b"a LOGIN alice secret-alice\r\n")
            assert await other.readline() == (b"a NO [LIMIT] Maximum number of connections from user+IP exceeded "
                                              b"(mail_max_userip_connections=1)\r\n")
            assert await other.read() == b""
            stranger, asks = await asyncio.open_unix_connection(str(tmp_path / "imap"))
            asks.write(b'{"handover": {}, "ticket": [1, 1, "x"]}\n')
            assert await stranger.read() == b""
            for each in (writer, more, asks):
                each.close()
            await asyncio.sleep(0.02)

    asyncio.run(work())


def test_new_settings_reach_an_old_worker(tmp_path: Path) -> None:
    async def work() -> None:
        async with suite(tmp_path) as (plain, _, parent, conf):
            parent.reload(Settings.of({}), settings(tmp_path, f"base_dir = {tmp_path}\nmail_location = mbox:~/m"))
            reader, writer = await client(plain, False)
            writer.write(b"a LOGIN alice secret-alice\r\n")
            assert (await reader.readline()).startswith(b"a OK alice")
            worker = cast(PoolInside, parent.workers.pool).worker
            assert worker._world.dovecot.text("mail_location") == "mbox:~/m"
            writer.close()
            await asyncio.sleep(0.02)

    asyncio.run(work())


def test_message_round_trip() -> None:
    for tls in (None, TlsInfo("TLSv1.3", "X", 256, 256, "mx.test")):
        handover = HandOver("imap", "ä@b", b"a1", b"\xff\0x", Peer("::1", 1, "::1", 143), tls, "s", "PLAIN", True, True)
        assert HandOver.from_message(handover.to_message()) == handover


def test_a_worker_that_speaks_first_is_heard(tmp_path: Path) -> None:
    """Its greeting was in the socketpair before the relay stood, and was lost now and then."""
    async def work() -> None:
        async with suite(tmp_path) as (_, secret, _, _):
            for _ in range(20):
                reader, writer = await client(secret, True)
                writer.write(b"a LOGIN alice secret-alice\r\n")
                assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"a OK alice")
                writer.close()
            await asyncio.sleep(0.02)

    asyncio.run(work())
