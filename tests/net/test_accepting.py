"""Accepting: descriptors that run out pause it instead of making it spin."""

import asyncio
import errno
import logging
import socket
from pathlib import Path
from typing import cast

import pytest

from mailsuite.net import accepting
from mailsuite.net.accepting import Accepting, accept_streams


class Full:
    """A listening socket on a machine that is out of descriptors; then it is not."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.refusals, self.calls = sock, 1, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.sock, name)

    def accept(self) -> tuple[socket.socket, object]:
        self.calls += 1
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.sock.accept()


def test_no_descriptor_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                               caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(accepting, "PAUSE_S", 0.05)

    async def play() -> int:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        full = Full(listener)
        taken: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        entrance = Accepting(cast(socket.socket, full), taken.set_result)
        entrance.start()
        with socket.socket(socket.AF_UNIX) as client, caplog.at_level(logging.WARNING):
            client.connect(str(tmp_path / "s"))
            (await asyncio.wait_for(taken, 20)).close()
        entrance.stop()
        entrance.stop()
        listener.close()
        return full.calls

    assert asyncio.run(play()) <= 3       # refused, taken, nothing more there
    assert "cannot accept a connection" in caplog.text


def test_streams_wait_for_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "PAUSE_S", 0.05)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async def play() -> bytes:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        entrance = accept_streams(cast(socket.socket, Full(listener)), connected)
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(b"hello\n")
        said = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        entrance.stop()
        listener.close()
        return said

    assert asyncio.run(play()) == b"hello\n"
