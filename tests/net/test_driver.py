"""The driver, with a session that is easy to see through."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from certs.authority import ensure_certificates
from mailsuite.base.dialogue import Action, Ask, Body, Close, Peer, Send, StartTls, TlsInfo
from mailsuite.base.lines import LineBuffer
from mailsuite.net import proxy
from mailsuite.net.driver import AT_ONCE, BACKLOG_LIMIT, Connection
from mailsuite.net.handler import Channel
from mailsuite.net.service import Acceptor, Listener, new_event_loop


class Toy:
    """Echoes lines; "ask X" asks, "body X" gives content, "tls" starts TLS, "quit" closes."""

    timeout_s = 5.0

    def __init__(self, log: list[object]) -> None:
        self.log, self._lines, self._waiting = log, LineBuffer(1 << 20), False

    @property
    def backlog(self) -> int:
        return len(self._lines)

    def opened(self) -> list[Action]:
        return [Send(b"hello\r\n")]

    def feed(self, octets: bytes) -> list[Action]:
        self._lines.feed(octets)
        return self._run()

    def _run(self) -> list[Action]:
        actions: list[Action] = []
        while not self._waiting and (line := self._lines.take_line()) is not None:
            verb, _, rest = line.partition(b" ")
            match verb:
                case b"ask":
                    self._waiting = True
                    actions.append(Ask(rest))
                case b"body":
                    actions.append(Body(rest))
                case b"tls":
                    self._waiting = True
                    actions += [Send(b"go\r\n"), StartTls()]
                case b"quit":
                    return [*actions, Send(b"bye\r\n"), Close("quit")]
                case _:
                    actions.append(Send(line + b"\r\n"))
        return actions

    def answered(self, result: object) -> list[Action]:
        self._waiting = False
        return [Send(b"answer %b\r\n" % str(result).encode()), *self._run()]

    def failed(self, error: BaseException) -> list[Action]:
        self._waiting = False
        return [Send(b"failed\r\n"), *self._run()]

    def secured(self, tls: TlsInfo) -> list[Action]:
        self._waiting = False
        self._lines.clear()
        return [Send(b"secured %b\r\n" % tls.protocol.encode())]

    def timed_out(self) -> list[Action]:
        return [Send(b"too slow\r\n"), Close("timeout")]

    def lost(self) -> list[Action]:
        self.log.append("lost")
        return []


class ToyHandler:
    def __init__(self, log: list[object], peer: Peer, timeout_s: float = 60.0) -> None:
        self.log, self.peer, self._timeout_s = log, peer, timeout_s
        self.gate = asyncio.Event()

    def open(self, channel: Channel) -> Toy:
        self.channel = channel
        self.log.append(("peer", channel.peer.address))
        session = Toy(self.log)
        session.timeout_s = self._timeout_s
        return session

    async def answer(self, question: object) -> object:
        if question == b"crash":
            raise RuntimeError("unforeseen")
        if question == b"wait":
            await self.gate.wait()
        return len(question) if isinstance(question, bytes) else 0

    def body(self, octets: bytes) -> None:
        self.log.append(("body", octets))

    def closed(self, reason: str) -> None:
        self.log.append(("closed", reason))


SHORT = False               # what the servers of a test take their connections to be (net/plain.py)


@pytest.fixture(params=["uvloop", "asyncio", "uvloop, short", "asyncio, short"])
def loop(request, monkeypatch):
    if request.param.startswith("asyncio"):
        monkeypatch.setenv("MAILSUITE_LOOP", "asyncio")
    monkeypatch.setattr("tests.net.test_driver.SHORT", request.param.endswith("short"))
    loop = new_event_loop()
    yield loop
    loop.close()


class Server:
    """One acceptor on a port of its own; handlers and log as they come."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, implicit: bool = False, haproxy: bool = False,
                 limit: int = 0, timeout_s: float = 60.0, trusted: str = "127.0.0.1", greeting: bytes = b"") -> None:
        self.log: list[object] = []
        self.handlers: list[ToyHandler] = []
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]

        def make(peer: Peer) -> ToyHandler:
            self.handlers.append(ToyHandler(self.log, peer, timeout_s))
            return self.handlers[-1]

        self.acceptor = Acceptor(Listener("toy", sock, tls=implicit, haproxy=haproxy), make, tls=lambda: tls,
                                 limit=limit, proxy_trusted=lambda address: address == trusted, short=SHORT,
                                 greeting=lambda peer: greeting)
        self.acceptor.start()

    async def connect(self, **options: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, **options)

    def close(self) -> None:
        self.acceptor.stop()
        self.acceptor.listener.sock.close()


def run(loop, scenario, **options) -> None:
    async def whole() -> None:
        server = Server(**options)
        try:
            await asyncio.wait_for(scenario(server), 60)
        finally:
            server.close()

    loop.run_until_complete(whole())


@pytest.fixture(scope="module")
def contexts(tmp_path_factory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    import datetime
    made = ensure_certificates(Path(tmp_path_factory.mktemp("certs")), ["localhost"],
                               datetime.datetime.now(datetime.UTC))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.chain, made.key)
    return server, ssl.create_default_context(cafile=str(made.authority))


def test_what_is_said_before_the_session_is_made_it_does_not_say_again(loop, contexts) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"one\r\ntls\r\n")
        first = b"early\r\n" if SHORT else b"hello\r\n"
        assert await reader.readexactly(len(first) + 9) == first + b"one\r\ngo\r\n"
        await writer.start_tls(contexts[1], server_hostname="localhost")
        assert (await reader.readline()).startswith(b"secured")
        writer.write(b"quit\r\n")
        assert await reader.read() == b"bye\r\n"

    run(loop, scenario, greeting=b"early\r\n", tls=contexts[0])


def test_through_tls_the_session_says_it(loop, contexts) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect(ssl=contexts[1], server_hostname="localhost")
        writer.write(b"quit\r\n")
        assert await reader.read() == b"hello\r\nbye\r\n"

    run(loop, scenario, greeting=b"early\r\n", tls=contexts[0], implicit=True)


def test_dialogue_and_close(loop) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"one\r\nbody abc\r\nask xyz\r\ntwo\r\nquit\r\nnever\r\n")
        assert await reader.read() == b"hello\r\none\r\nanswer 3\r\ntwo\r\nbye\r\n"
        await server.acceptor.until_idle()
        assert server.log == [("peer", "127.0.0.1"), ("body", b"abc"), ("closed", "quit")]

    run(loop, scenario)


def test_questions_without_waiting_have_no_task(loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """But only so many in a row: then the other connections have their turn."""
    tasks: list[str] = []

    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        monkeypatch.setattr(Connection, "_answer", counted(Connection._answer))
        writer.write(b"ask x\r\n" * (2 * AT_ONCE + 6) + b"quit\r\n")
        assert await reader.read() == b"hello\r\n" + b"answer 1\r\n" * (2 * AT_ONCE + 6) + b"bye\r\n"

    def counted(answer: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def inner(connection: Connection, question: object) -> Any:
            if isinstance(asyncio.current_task(), asyncio.Task):
                tasks.append("task")
            return await answer(connection, question)
        return inner

    run(loop, scenario)
    assert len(tasks) == 2


def test_an_unforeseen_exception_ends_no_session(loop) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"ask crash\r\nstill here\r\nquit\r\n")
        assert await reader.read() == b"hello\r\nfailed\r\nstill here\r\nbye\r\n"

    run(loop, scenario)


def test_lost_connection_is_told_once(loop) -> None:
    async def scenario(server: Server) -> None:
        _, writer = await server.connect()
        writer.write(b"ask wait\r\n")
        await writer.drain()
        # Broken, not closed: who closes his side may still want the answer.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        while ("closed", "lost connection") not in server.log:
            await asyncio.sleep(0.01)
        assert server.log.count("lost") == 1

    run(loop, scenario)


@pytest.mark.parametrize("end", [b"ask wait\r\nmore\r\n", b"ask wait\r\nmore\r\nquit\r\n"])
def test_a_half_closed_client_is_answered(loop, end: bytes) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"one\r\n" + end)
        writer.write_eof()
        assert await reader.readuntil(b"one\r\n") == b"hello\r\none\r\n"
        await asyncio.sleep(0.05)
        server.handlers[0].gate.set()
        said = await reader.read()
        assert said == b"answer 4\r\nmore\r\n" + (b"bye\r\n" if b"quit" in end else b"")
        await server.acceptor.until_idle()

    run(loop, scenario)


def test_a_half_closed_client_without_a_question_is_lost(loop) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"one\r\nincomplete")
        writer.write_eof()
        assert await reader.read() == b"hello\r\none\r\n"
        await server.acceptor.until_idle()
        assert server.log[-2:] == ["lost", ("closed", "lost connection")]

    run(loop, scenario)


def test_silence_ends_a_session(loop) -> None:
    async def scenario(server: Server) -> None:
        reader, _ = await server.connect()
        assert await reader.read() == b"hello\r\ntoo slow\r\n"

    run(loop, scenario, timeout_s=0.1)


def test_a_flood_behind_a_question_is_not_read(loop) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"ask wait\r\n" + b"x\r\n" * 10)
        assert await reader.readline() == b"hello\r\n"
        flood = b"y" * 1000 + b"\r\n"
        for _ in range(20_000):
            writer.write(flood)
        for _ in range(50):
            await asyncio.sleep(0.01)
            session = server.handlers[0].channel.session
            assert session.backlog < BACKLOG_LIMIT + 300_000
        server.handlers[0].gate.set()
        assert await reader.readline() == b"answer 4\r\n"
        writer.transport.abort()

    run(loop, scenario)


def test_starttls_forgets_what_was_sent_before(loop, contexts) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        assert await reader.readline() == b"hello\r\n"
        writer.write(b"tls\r\ninjected\r\n")
        assert await reader.readline() == b"go\r\n"
        await writer.start_tls(contexts[1], server_hostname="localhost")
        assert await reader.readline() == b"secured TLSv1.3\r\n"
        writer.write(b"quit\r\n")
        assert await reader.read() == b"bye\r\n"

    run(loop, scenario, tls=contexts[0])


def test_implicit_tls(loop, contexts) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect(ssl=contexts[1], server_hostname="localhost")
        writer.write(b"quit\r\n")
        assert await reader.read() == b"hello\r\nbye\r\n"

    run(loop, scenario, tls=contexts[0], implicit=True)


def test_a_plain_client_on_a_tls_port_harms_nobody(loop, contexts) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"EHLO there\r\n\r\n" * 10)
        await reader.read()
        reader, writer = await server.connect(ssl=contexts[1], server_hostname="localhost")
        assert await reader.readline() == b"hello\r\n"
        writer.transport.abort()

    run(loop, scenario, tls=contexts[0], implicit=True)


V2 = (b"\r\n\r\n\x00\r\nQUIT\n" + b"\x21\x11\x00\x0c" + bytes([192, 0, 2, 9]) + bytes([192, 0, 2, 1])
      + (4321).to_bytes(2, "big") + (25).to_bytes(2, "big"))


@pytest.mark.parametrize("header", [b"PROXY TCP4 192.0.2.9 192.0.2.1 4321 25\r\n", V2], ids=["v1", "v2"])
def test_proxy_header(loop, header: bytes) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(header + b"quit\r\n")
        assert await reader.read() == b"hello\r\nbye\r\n"
        peer = server.handlers[0].peer
        assert (peer.address, peer.port, peer.server_address, peer.server_port) == ("192.0.2.9", 4321, "192.0.2.1", 25)

    run(loop, scenario, haproxy=True)


@pytest.mark.parametrize("header", [b"EHLO x\r\n", b"PROXY TCP4 x y z\r\n", b"\r\n\r\n\x00\r\nQUIT\n\xff\xff\xff\xff",
                                    b"PROXY " + b"A" * proxy.HEADER_LIMIT + b"\r\n"])
def test_bad_proxy_header_is_dropped(loop, header: bytes) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(header)
        try:
            assert await reader.read() == b""
        except ConnectionError:
            pass
        assert not server.handlers

    run(loop, scenario, haproxy=True)


def test_limit_leaves_the_others_waiting_in_the_kernel(loop) -> None:
    async def scenario(server: Server) -> None:
        first, writer = await server.connect()
        assert await first.readline() == b"hello\r\n"
        second, _ = await server.connect()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(second.readline(), 0.2)
        writer.write(b"quit\r\n")
        assert await second.readline() == b"hello\r\n"

    run(loop, scenario, limit=1)


def test_a_stranger_may_not_say_who_the_client_is(loop) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(V2)
        try:
            assert await reader.read() == b""
        except ConnectionError:
            pass
        assert not server.handlers

    run(loop, scenario, haproxy=True, trusted="192.0.2.1")


def test_a_peer_that_never_reads_is_dropped(loop) -> None:
    async def scenario(server: Server) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.setblocking(False)
            line, end = b"echo" * 2000 + b"\r\n", loop.time() + 30
            while ("closed", "lost connection") not in server.log and loop.time() < end:
                try:
                    sock.send(line)
                except BlockingIOError:
                    await asyncio.sleep(0.01)
                except ConnectionError:
                    break
                else:
                    await asyncio.sleep(0)
            await asyncio.wait_for(server.acceptor.until_idle(), 20)
            assert ("closed", "lost connection") in server.log

    run(loop, scenario, timeout_s=0.5)
