"""What is passed on to other servers: the access service's list, told by the login processes."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mailsuite.access import proxied
from mailsuite.access.entrance import read_message
from mailsuite.access.proxied import Announcer, Directory, Passed

ANNA = Passed("anna", "imap", "192.0.2.5", "192.0.2.9", 143)
BOB = Passed("bob", "pop3", "192.0.2.6", "192.0.2.8", 110)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


def play(tmp_path: Path, story: Callable[[str, Directory, Callable[[], None]], Awaitable[None]]) -> None:
    """A list behind a socket; the third argument ends all connections to it."""
    async def run() -> None:
        path, directory, tasks = str(tmp_path / "s"), Directory(), set[asyncio.Task[None]]()

        async def serve(sock: socket.socket) -> None:
            with sock:
                assert await read_message(sock, []) == {"proxying": True}
                await directory.serve(sock)

        async def accept(listener: socket.socket) -> None:
            while True:
                sock, _ = await asyncio.get_running_loop().sock_accept(listener)
                tasks.add(asyncio.create_task(serve(sock)))

        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            listener.setblocking(False)
            accepting = asyncio.create_task(accept(listener))
            await story(path, directory, lambda: [task.cancel() for task in tasks] and None)
            for task in (accepting, *tasks):
                task.cancel()
            await asyncio.gather(accepting, *tasks, return_exceptions=True)

    asyncio.run(run())


def test_rows_come_and_go(tmp_path: Path) -> None:
    async def story(path: str, directory: Directory, cut: Callable[[], None]) -> None:
        ended: list[str] = []
        first, second = Announcer(path), Announcer(path)
        number = first.begin(ANNA, lambda: ended.append("anna"))
        second.begin(BOB, lambda: ended.append("bob"))
        await until(lambda: len(directory.find()) == 2)
        assert directory.find(["a*"]) == [ANNA] and directory.find(hosts=["192.0.2.8"]) == [BOB]
        assert directory.find(["x"], ["192.0.2.5"]) == []
        assert directory.kick(["bo?"]) == 1
        await until(lambda: ended == ["bob"])
        first.over(number)
        first.over(number)
        await until(lambda: directory.find() == [BOB])
        second.close()
        await until(lambda: not directory.find())
        first.close()

    play(tmp_path, story)


def test_a_new_access_service_is_told_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxied, "AGAIN_S", 0.02)

    async def story(path: str, directory: Directory, cut: Callable[[], None]) -> None:
        announcer = Announcer(path)
        announcer.begin(ANNA, lambda: None)
        await until(lambda: directory.find() == [ANNA])
        cut()
        await until(lambda: directory.find() == [])
        announcer.begin(BOB, lambda: None)
        await until(lambda: sorted(directory.find()) == [ANNA, BOB])
        announcer.close()

    play(tmp_path, story)


def test_nonsense_and_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxied, "ROWS_LIMIT", 3)

    async def story(path: str, directory: Directory, cut: Callable[[], None]) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"proxying":true}\n')
        assert json.loads(await reader.readline()) == {"ok": True}
        long_name = [1, "u" * 2000, *ANNA[1:]]
        for message in ({}, {"begun": [1]}, {"begun": ["x", *ANNA]}, {"begun": long_name}, {"over": "x"}, {"over": 7},
                        *({"begun": [number, *ANNA]} for number in range(9))):
            writer.write(json.dumps(message).encode() + b"\n")
        await until(lambda: len(directory.find()) == 3)
        writer.close()
        await until(lambda: not directory.find())

    play(tmp_path, story)
