"""tcp: and socketmap: tables against servers on the loopback."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
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


async def socketmap_odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says what the key names."""
    replies = {"toolong": b"100001:", "nodigits": b":x,", "letters": b"xx:", "huge": b"9999999999:",
               "nocomma": b"4:OK xZ", "nul": b"6:OK a\0b,", "bare": b"2:OK,", "lower": b"4:ok x,",
               "max": b"100000:OK " + b"x" * 99997 + b","}
    try:
        while True:
            size = int((await reader.readuntil(b":"))[:-1])
            key = (await reader.readexactly(size + 1))[:-1].decode().partition(" ")[2]
            writer.write(replies[key])
    except EOFError:
        pass
    writer.close()


@pytest.mark.parametrize("key", ["toolong", "nodigits", "letters", "huge", "nocomma", "nul", "bare", "lower"])
def test_socketmap_replies_that_are_none(key: str) -> None:
    assert ask(socketmap_odd, "socketmap:inet:127.0.0.1:PORT:x", [key]) == [TemporaryError]


def test_socketmap_largest_reply() -> None:
    assert ask(socketmap_odd, "socketmap:inet:127.0.0.1:PORT:x", ["max"]) == ["x" * 99997]


async def tcp_odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    replies = {"tab": b"200\tx\n", "crlf": b"200 x\r\n", "nul": b"200 a%00b\n", "hex": b"200 a%zz\n", "short": b"200\n",
               "code": b"300 x\n", "empty": b"200 \n", "max": b"200 " + b"y" * 4091 + b"\n",
               "toolong": b"200 " + b"y" * 4092 + b"\n"}
    while line := await reader.readline():
        writer.write(replies[line.decode().removeprefix("get ").strip()])
    writer.close()


@pytest.mark.parametrize(("key", "want"), [
    ("tab", "x"), ("crlf", "x"), ("nul", TemporaryError), ("hex", TemporaryError), ("short", TemporaryError),
    ("code", TemporaryError), ("empty", TemporaryError), ("max", "y" * 4091), ("toolong", TemporaryError)])
def test_tcp_replies(key: str, want: object) -> None:
    assert ask(tcp_odd, "tcp:127.0.0.1:PORT", [key]) == [want]


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.parametrize("spec", ["tcp:127.0.0.1:PORT", "socketmap:inet:127.0.0.1:PORT:x"])
def test_silence_has_an_end(spec: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("tests.maps.test_network.SOURCE", MapSource(Settings.of({"table_time_limit": "1s"}), "smtpd"))
    assert ask(silent, spec, ["k"]) == [TemporaryError]
    assert "Connection timed out" in caplog.text


@pytest.mark.parametrize(("server", "spec", "key", "value"), [(tcp, "tcp:127.0.0.1:PORT", "a b", "va lä"),
                                                              (socketmap, "socketmap:inet:127.0.0.1:PORT:users", "a b",
                                                               "välue")])
def test_a_server_that_was_restarted(server: Server, spec: str, key: str, value: str) -> None:
    """Its connections are dead: a new one is made, nobody notices."""
    async def main() -> list[str | None]:
        peers = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peers.append(writer)
            await server(reader, writer)
        first = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = first.sockets[0].getsockname()[1]
        maps = open_maps(spec.replace("PORT", str(port)), SOURCE)
        answers = [await maps.find(key)]
        first.close()
        peers[0].transport.abort()
        second = await asyncio.start_server(server, "127.0.0.1", port)
        answers += await asyncio.gather(*(maps.find(key) for _ in range(20)))
        second.close()
        return answers
    assert asyncio.run(main()) == [value] * 21


def test_socketmap_on_a_unix_socket(tmp_path: Path) -> None:
    async def main() -> str | None:
        serving = await asyncio.start_unix_server(socketmap, tmp_path / "s")
        source = MapSource(Settings.of({"queue_directory": str(tmp_path)}), "smtpd")
        answers = {await open_maps(f"socketmap:unix:{path}:users", source).find("a b")
                   for path in ("s", f"{tmp_path}/s")}
        serving.close()
        return answers.pop() if len(answers) == 1 else None
    assert asyncio.run(main()) == "välue"


def test_who_cannot_be_connected_to_is_named(caplog: pytest.LogCaptureFixture) -> None:
    ask(socketmap, "socketmap:inet:127.0.0.1:1:x", ["a"])
    assert [record.getMessage() for record in caplog.records][:2] == [
        "connect to 127.0.0.1:1: Connection refused",
        "table socketmap:inet:127.0.0.1:1:x lookup error: Connection refused"]
