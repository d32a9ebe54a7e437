"""The service and its clients over a Unix socket: shared counts, processes that die, a service that is away."""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mailsuite.anvil import client as anvil_client
from mailsuite.anvil import server
from mailsuite.anvil.board import Board
from mailsuite.anvil.client import AnvilClient
from mailsuite.config.settings import Settings
from mailsuite.net.service import Listener, ServiceContext


def test_the_board_adds_up_what_several_have() -> None:
    board, fd = Board.make()
    rows = [Board(fd, board.key, row) for row in (0, 1, 2)]
    for row in (0, 1, 2):
        board.use(row)
    assert [rows[0].up("a"), rows[1].up("a"), rows[2].up("a"), rows[2].up("a")] == [1, 2, 3, 4]
    rows[0].down("a")
    assert rows[1].up("a") == 4
    board.wipe(2)
    assert rows[0].up("a") == 3
    rows[2].down("a")                       # of a row that was wiped: not below zero
    assert rows[0].up("a") == 4


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.01)


async def _service(path: Path) -> tuple[ServiceContext, "asyncio.Future[None]"]:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(16)
    context = ServiceContext("anvil", "anvil", Settings.of({}), listeners=[Listener("anvil", sock, "unix")])
    serving = asyncio.ensure_future(server.serve(context))
    await asyncio.sleep(0)
    return context, serving


async def _end(context: ServiceContext, serving: "asyncio.Future[None]") -> None:
    context.stopping.set()
    await serving
    for listener in context.listeners:
        os.unlink(listener.sock.getsockname())
        listener.sock.close()


def test_processes_share_their_counts(tmp_path: Path) -> None:
    async def run() -> None:
        context, serving = await _service(tmp_path / "anvil")
        one, two = (AnvilClient(str(tmp_path / "anvil"), "smtp") for _ in range(2))
        other = AnvilClient(str(tmp_path / "anvil"), "submission")
        assert [await link.event("message", "192.0.2.1") for link in (one, two, other)] == [1, 2, 1]
        assert await one.peek("message", "192.0.2.1") == 2
        assert [one.connect("192.0.2.1"), two.connect("192.0.2.1"), two.connect("192.0.2.1")] == [1, 2, 3]

        async def has(count: int, rate: int) -> bool:
            return await one.seen("192.0.2.1") == (count, rate)

        await _until(lambda: has(3, 3))
        two.disconnect("192.0.2.1")
        two.disconnect("192.0.2.99")                # never counted
        await _until(lambda: has(2, 3))
        two.close()                                 # with one open

        await _until(lambda: has(1, 3))
        assert one.connect("192.0.2.1") == 2
        one.close()
        other.close()
        await _end(context, serving)

    asyncio.run(run())


def test_a_service_that_is_away_holds_up_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anvil_client, "RETRY_S", 0.0)

    async def run() -> None:
        link = AnvilClient(str(tmp_path / "anvil"), "smtp")
        assert [link.connect("a"), link.connect("a"), link.connect("b")] == [1, 2, 1]
        assert await link.seen("a") is None
        assert await link.event("message", "a") is None
        context, serving = await _service(tmp_path / "anvil")
        assert await link.event("message", "a") == 1
        assert (await link.seen("a") or (0,))[0] == 2          # told of what was open already
        await _end(context, serving)

        async def noticed() -> bool:
            return await link.event("message", "a") is None

        await _until(noticed)
        link.disconnect("a")
        context, serving = await _service(tmp_path / "anvil")
        assert await link.seen("a") == (1, 0)
        link.close()
        await _end(context, serving)

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert [record.message for record in caplog.records if "connect to" in record.message][0].endswith(
        "No such file or directory; clients are counted in this process only")
    assert "statistics: max connection count" in caplog.text or "statistics: max message rate" in caplog.text


@pytest.mark.parametrize("octets", [b"nonsense\n", b"? x y\n", b"! 1 sleep a\n", b"= a b\n", b"+" * 100_000])
def test_nonsense_ends_that_link_only(tmp_path: Path, octets: bytes) -> None:
    async def run() -> None:
        context, serving = await _service(tmp_path / "anvil")
        good = AnvilClient(str(tmp_path / "anvil"), "smtp")
        assert await good.event("auth", "a") == 1
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "anvil"))
        await reader.readline()
        writer.write(octets)
        async with asyncio.timeout(60):
            try:
                assert await reader.read() == b""
            except ConnectionError:
                pass
        assert await good.event("auth", "a") == 2
        writer.close()
        good.close()
        await _end(context, serving)

    asyncio.run(run())
