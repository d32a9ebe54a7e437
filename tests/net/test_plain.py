"""The transport of short connections; test_driver.py runs whole dialogues over it."""

import asyncio
import gc
import socket
import weakref
from collections.abc import Coroutine
from typing import Any

import pytest

from mailsuite.net import plain
from mailsuite.net.plain import HIGH_WATER, LOW_WATER, PlainTransport
from mailsuite.net.service import new_event_loop


class Noted(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self, greeting: bytes = b"") -> None:
        self.greeting, self.notes, self.heard = greeting, list[str](), b""
        self.over = asyncio.Event()
        self.transport: PlainTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, PlainTransport)
        self.transport = transport
        self.notes.append("made")
        transport.write(self.greeting)

    def data_received(self, data: bytes) -> None:
        self.heard += data
        if data == b"raise":
            raise RuntimeError("unforeseen")

    def eof_received(self) -> bool:
        self.notes.append("eof")
        return self.greeting == b"stay"

    def pause_writing(self) -> None:
        self.notes.append("pause")

    def resume_writing(self) -> None:
        self.notes.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.notes.append("lost" if exc is None else type(exc).__name__)
        self.over.set()


def run(work: Coroutine[Any, Any, None]) -> None:
    loop = new_event_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(work, 60))
    finally:
        loop.close()


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(60)
    return ours, theirs


def test_the_greeting_and_what_was_said_before_need_no_loop() -> None:
    async def work() -> None:
        ours, theirs = pair()
        theirs.sendall(b"early")
        noted = Noted(b"hello")
        transport = plain.begin(noted, ours, look=True)
        assert (theirs.recv(100), noted.heard, noted.notes) == (b"hello", b"early", ["made"])
        transport.close()
        await noted.over.wait()
        assert noted.notes == ["made", "lost"]
        assert theirs.recv(1) == b""

    run(work())


def test_what_the_kernel_does_not_take_waits() -> None:
    async def work() -> None:
        ours, theirs = pair()
        noted, content = Noted(), bytes(range(256)) * 16384
        transport = plain.begin(noted, ours)
        transport.write(content)
        transport.write(b"the end")
        transport.close()                   # after all that
        assert transport.get_write_buffer_size() > HIGH_WATER
        heard = b""
        while octets := await asyncio.to_thread(theirs.recv, 65536):
            heard += octets
        assert heard == content + b"the end"
        await noted.over.wait()
        assert noted.notes == ["made", "pause", "lost"] or noted.notes == ["made", "pause", "resume", "lost"]

    run(work())


def test_the_protocol_is_told_when_to_pause() -> None:
    async def work() -> None:
        ours, theirs = pair()
        noted = Noted()
        transport = plain.begin(noted, ours)
        while "pause" not in noted.notes:
            transport.write(b"x" * 10_000)
        while "resume" not in noted.notes:
            await asyncio.to_thread(theirs.recv, 65536)
        assert transport.get_write_buffer_size() <= LOW_WATER
        transport.abort()
        await noted.over.wait()
        assert noted.notes == ["made", "pause", "resume", "lost"]

    run(work())


def test_what_is_paused_is_not_read() -> None:
    async def work() -> None:
        ours, theirs = pair()
        noted = Noted()
        transport = plain.begin(noted, ours)
        transport.pause_reading()
        theirs.sendall(b"words")
        for _ in range(5):
            await asyncio.sleep(0.005)
        assert noted.heard == b""
        transport.resume_reading()
        while noted.heard != b"words":
            await asyncio.sleep(0.005)
        transport.abort()
        await noted.over.wait()

    run(work())


@pytest.mark.parametrize("greeting", [b"stay", b"go"])
def test_the_other_side_closes(greeting: bytes) -> None:
    async def work() -> None:
        ours, theirs = pair()
        noted = Noted(greeting)
        transport = plain.begin(noted, ours)
        theirs.shutdown(socket.SHUT_WR)
        while "eof" not in noted.notes:
            await asyncio.sleep(0.005)
        assert transport.is_closing() == (greeting == b"go")
        transport.write(b" more")           # heard while it stays open
        transport.close()
        await noted.over.wait()
        assert theirs.recv(100) == (b"stay more" if greeting == b"stay" else b"go")

    run(work())


def test_an_exception_ends_its_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        ours, theirs = pair()
        noted = Noted()
        plain.begin(noted, ours)
        theirs.sendall(b"raise")
        await noted.over.wait()
        assert noted.notes == ["made", "lost"]

    run(work())
    assert "RuntimeError: unforeseen" in caplog.text


def test_a_peer_that_is_gone() -> None:
    async def work() -> None:
        ours, theirs = pair()
        noted = Noted()
        transport = plain.begin(noted, ours)
        theirs.close()
        transport.write(b"x")
        transport.write(b"y")
        transport.abort()
        await noted.over.wait()
        assert noted.notes == ["made", "BrokenPipeError"]

    run(work())


def test_a_socket_that_is_taken_back_is_left_open() -> None:
    async def work() -> None:
        ours, theirs = pair()
        noted = Noted()
        sock = plain.begin(noted, ours).take_socket()
        theirs.sendall(b"for somebody else")
        await asyncio.sleep(0.01)
        assert (noted.heard, noted.notes, sock.recv(100)) == (b"", ["made"], b"for somebody else")
        sock.close()

    run(work())


def test_a_shared_socket_ends_for_the_peer_while_somebody_else_has_it() -> None:
    async def work() -> None:
        for shared, heard in ((True, b""), (False, b"from the other")):
            ours, theirs = pair()
            noted, other = Noted(), ours.dup()
            transport = plain.begin(noted, ours, shared=True)
            transport.get_extra_info("plain").shared = shared       # given away in the meantime, or not
            transport.close()
            await noted.over.wait()
            with other, theirs:
                if not shared:
                    other.send(b"from the other")
                assert theirs.recv(100) == heard

    run(work())


def test_who_says_goodbye_while_he_is_told_something_is_gone_without_a_turn_of_the_loop() -> None:
    class Polite(Noted):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(b"bye")
            self.transport.close()
            assert "lost" not in self.notes             # never from within its own call

    async def work() -> None:
        ours, theirs = pair()
        theirs.sendall(b"quit")
        noted = Polite()
        plain.begin(noted, ours, look=True)
        assert noted.notes == ["made", "lost"] and ours.fileno() == -1
        assert (theirs.recv(100), theirs.recv(100)) == (b"bye", b"")

    run(work())


def test_a_loop_that_is_over_keeps_no_connections() -> None:
    """The next loop of a process begins with none of the descriptors of the last."""
    async def leave() -> "tuple[weakref.ref[asyncio.Protocol], socket.socket]":
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        protocol = Noted()
        plain.begin(protocol, ours)
        return weakref.ref(protocol), theirs

    left, theirs = asyncio.run(leave())
    gc.collect()
    assert left() is None
    theirs.close()
