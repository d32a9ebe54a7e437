"""COMPRESS=DEFLATE over a real connection: both ways, large messages, and octets that make no sense."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.mail_sessions import ImapServer, Settings


class Client:
    """A connection that can be compressed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        self._inflate = zlib.decompressobj(-15)
        self._plain, self._octets = True, b""
        self.heard = 0                      # octets on the wire

    def send(self, octets: bytes) -> None:
        self.writer.write(octets if self._plain else self._deflate.compress(octets)
                          + self._deflate.flush(zlib.Z_SYNC_FLUSH))

    async def until(self, tag: bytes) -> bytes:
        """All that came up to the tagged line."""
        while True:
            start = 0 if self._octets.startswith(tag + b" ") else self._octets.find(b"\r\n" + tag + b" ") + 2
            end = self._octets.find(b"\r\n", start)
            if (start != 1) and end >= 0:
                found, self._octets = self._octets[:end + 2], self._octets[end + 2:]
                return found
            octets = await self.reader.read(65536)
            assert octets, f"the server closed: {self._octets[-200:]!r}"
            self.heard += len(octets)
            self._octets += octets if self._plain else self._inflate.decompress(octets)

    async def compress(self) -> None:
        self.send(b"z COMPRESS DEFLATE\r\n")
        assert (await self.until(b"z")).startswith(b"z OK Begin compression (")
        self._plain = False


def converse(home: Path, talk: Callable[[Client], Awaitable[None]], plugins: str = "imap_zlib") -> None:
    async def run() -> None:
        async with ImapServer({"alice": home}, Settings({"mail_plugins": plugins})) as server:
            client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
            client.send(b"a LOGIN alice x\r\n")
            assert (b"COMPRESS=DEFLATE" in await client.until(b"a")) == bool(plugins)
            await asyncio.wait_for(talk(client), 30)
            client.writer.close()

    asyncio.run(run())


def test_both_ways_are_compressed(tmp_path: Path) -> None:
    message = b"Subject: large\r\n\r\n" + b"the same line again and again\r\n" * 50_000

    async def talk(client: Client) -> None:
        await client.compress()
        client.send(b"b APPEND INBOX {%d+}\r\n" % len(message) + message + b"\r\nc SELECT INBOX\r\nd NOOP\r\n")
        assert b"b OK [APPENDUID" in await client.until(b"d")
        before = client.heard
        client.send(b"e FETCH 1 BODY.PEEK[]\r\n")
        assert message in await client.until(b"e")
        assert client.heard - before < len(message) // 20

    converse(tmp_path, talk)


def test_idle_and_pipelined_commands(tmp_path: Path) -> None:
    async def talk(client: Client) -> None:
        await client.compress()
        client.send(b"".join(b"n%d NOOP\r\n" % number for number in range(500)))
        said = await client.until(b"n499")
        assert said.count(b"OK NOOP completed") == 500
        client.send(b"b SELECT INBOX\r\nc IDLE\r\n")
        await client.until(b"b")
        client.send(b"DONE\r\n")
        assert b"+ idling" in await client.until(b"c")

    converse(tmp_path, talk)


def test_once_and_deflate_only(tmp_path: Path) -> None:
    async def talk(client: Client) -> None:
        client.send(b"b COMPRESS LZ4\r\nc COMPRESS\r\n")
        said = await client.until(b"c")
        assert b"b NO Unknown compression mechanism" in said and b"c BAD " in said
        await client.compress()
        client.send(b"d COMPRESS DEFLATE\r\n")
        assert b"d NO [COMPRESSIONACTIVE] COMPRESSION=DEFLATE already enabled" in await client.until(b"d")

    converse(tmp_path, talk)


def test_unknown_without_the_plugin(tmp_path: Path) -> None:
    async def talk(client: Client) -> None:
        client.send(b"b COMPRESS DEFLATE\r\n")
        assert (await client.until(b"b")).startswith(b"b BAD Error in IMAP command COMPRESS: Unknown command")

    converse(tmp_path, talk, plugins="")


def test_octets_that_are_no_deflate_stream_end_the_connection(tmp_path: Path) -> None:
    async def talk(client: Client) -> None:
        await client.compress()
        client.writer.write(b"\xff\xff\xff\xff\xff plain words\r\n")
        assert await client.reader.read(1000) == b""

    converse(tmp_path, talk)


def test_what_inflates_without_end_is_an_ordinary_line_that_is_too_long(tmp_path: Path) -> None:
    """Half a gigabyte in half a megabyte: the session reads it piece by piece, and answers others meanwhile."""
    async def talk(client: Client) -> None:
        await client.compress()
        client.send(b"b NOOP " + b"x" * (100 << 20) + b"\r\nc NOOP\r\n")
        said = await client.until(b"c")
        assert b"b BAD " in said or b"* BAD " in said or b"BYE" in said

    converse(tmp_path, talk)
