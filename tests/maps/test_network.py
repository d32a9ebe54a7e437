"""tcp: and socketmap: tables against servers on the loopback."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mailsuite.base.errors import TemporaryError
from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource, open_maps

SOURCE = MapSource(Settings.of({}), "smtpd")
TCP = {"a%20b": b"200 va%20l%C3%A4\n", "later": b"400 busy\n", "junk": b"junk\n", "long": b"200 " + b"x" * 9000 + b"\n"}
SOCKETMAP = {"a b": "OK välue", "later": "TEMP busy", "wrong": "PERM no", "odd": "WHAT"}
Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        key = line.decode().removeprefix("get ").strip()
        if key == "die":
            break
        writer.write(TCP.get(key, b"500 not%20found\n"))
    writer.close()


async def socketmap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            size = int((await reader.readuntil(b":"))[:-1])
            name, _, key = (await reader.readexactly(size + 1))[:-1].decode().partition(" ")
            assert name == "users"
            if key == "die":
                break
            answer = b"%d!" % 3 if key == "junk" else SOCKETMAP.get(key, "NOTFOUND ").encode()
            writer.write(answer if key == "junk" else b"%d:%b," % (len(answer), answer))
    except EOFError:
        pass
    writer.close()


def ask(server: Server, spec: str, keys: list[str]) -> list[Any]:
    async def main() -> list[Any]:
        listening = await asyncio.start_server(server, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        maps = open_maps(spec.replace("PORT", str(port)), SOURCE)
        answers: list[Any] = []
        for key in keys:
            try:
                answers.append(await maps.find(key))
            except TemporaryError:
                answers.append(TemporaryError)
        listening.close()
        return answers
    return asyncio.run(main())


@pytest.mark.parametrize(("server", "spec", "value"), [
    (tcp, "tcp:127.0.0.1:PORT", "va lä"), (socketmap, "socketmap:inet:127.0.0.1:PORT:users", "välue"),
    (tcp, "unionmap:{tcp:127.0.0.1:PORT}", "va lä"), (tcp, "pipemap:{static:a b, tcp:127.0.0.1:PORT}", None),
])
def test_answers(server: Server, spec: str, value: str | None) -> None:
    want = [value, None, TemporaryError, TemporaryError, TemporaryError, value]
    if value is None:
        spec, want = "pipemap:{static:{a b}, tcp:127.0.0.1:PORT}", ["va lä"] * 6
    assert ask(server, spec, ["a b", "none", "later", "junk", "die", "a b"]) == want


def test_reply_limit() -> None:
    assert ask(tcp, "tcp:127.0.0.1:PORT", ["long", "a b"]) == [TemporaryError, "va lä"]


@pytest.mark.parametrize("spec", ["tcp:127.0.0.1:1", "socketmap:unix:/nonexistent:x", "socketmap:inet:127.0.0.1:1:x"])
def test_nobody_there(spec: str) -> None:
    assert ask(tcp, spec, ["a"]) == [TemporaryError]
