"""The far end of a delivery: an SMTP or LMTP server that plays a script and keeps the octets that came.

    async with far_ends({"127.0.0.21": {"RCPT": "550 5.1.1 no"}}, port=0) as ends: ends.port, ends.said["127.0.0.21"]

A script maps the beginning of a command (the longest that fits counts; CONNECT, "." for the end of the message, 334 for
what answers a challenge) to a reply, or to a list of replies, one after the other, of which the last stays. A reply may
have several lines. A line CLOSE drops the connection, RESET resets it, SILENCE says no more; NOTHING leaves the
command unanswered; {"raw": text} is sent without a line end, {"drip": text, "s": 0.1} octet by octet, {"flood": text}
for ever. {"cut": N} as the reply to DATA closes after N octets of the message. The keys `ehlo` (keywords) and `lmtp`
are no commands.
"""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from typing import Any

Script = Mapping[str, Any]
DEFAULT = {"CONNECT": "220 far.test ESMTP", "HELO": "250 far.test", "MAIL": "250 2.1.0 Ok", "RCPT": "250 2.1.5 Ok",
           "DATA": "354 go", "BDAT": "250 2.0.0 Taken", ".": "250 2.0.0 Taken", "QUIT": "221 2.0.0 Bye\nCLOSE",
           "RSET": "250 2.0.0 Ok", "XFORWARD": "250 2.0.0 Ok", "": "500 5.5.1 what"}
LOW_PORT, WORKER_PORTS, WORKERS_LIMIT = 4000, 1000, 10       # 4000 to 13999: below what tests/support/suite.py gives
KEYWORDS = ["PIPELINING", "SIZE 10240000", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN"]


class FarEnd:
    """One address. said: for each connection what came, commands line by line, a message as one text."""

    def __init__(self, script: Script) -> None:
        self.lmtp = bool(script.get("lmtp"))
        hello = "\n".join(f"250-{word}" for word in ["far.test", *script.get("ehlo", KEYWORDS)])
        head, _, last = hello.rpartition("250-")
        known = {**DEFAULT, ("LHLO" if self.lmtp else "EHLO"): f"{head}250 {last}"} | dict(script)
        self._replies = {key.upper(): list(value) if isinstance(value, list) else [value]
                         for key, value in known.items() if key not in ("ehlo", "lmtp")}
        self.said: list[list[str]] = []
        self.open = 0

    def _reply(self, line: str) -> Any:
        key = max((key for key in self._replies if line.upper().startswith(key)), key=len)
        replies = self._replies[key]
        return replies.pop(0) if len(replies) > 1 else replies[0]

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said: list[str] = []
        self.said.append(said)
        self.open += 1
        try:
            await self._dialogue(reader, writer, said)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _dialogue(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: list[str]) -> None:
        recipients = 0
        if not await self._say(reader, writer, self._reply("CONNECT")):
            return
        challenged = False
        while octets := await reader.readline():
            line = octets.decode("utf-8", "surrogateescape")
            said.append(line)
            verb = line.split()[0].upper() if line.split() else ""
            reply = self._reply("334" if challenged and "334" in self._replies else line)
            if verb == "BDAT":
                said.append((await reader.readexactly(int(line.split()[1]))).decode("utf-8", "surrogateescape"))
            if isinstance(reply, dict) and "cut" in reply:
                writer.write(b"354 go\r\n")
                said.append((await reader.readexactly(reply["cut"])).decode("utf-8", "surrogateescape"))
                return
            challenged = isinstance(reply, str) and reply.startswith("334")
            if not await self._say(reader, writer, reply):
                return
            if verb == "RCPT" and isinstance(reply, str) and reply.startswith("2"):
                recipients += 1
            if isinstance(reply, str) and reply.startswith("354"):
                said.append((await _message(reader)).decode("utf-8", "surrogateescape"))
                for _ in range(recipients if self.lmtp else 1):
                    if not await self._say(reader, writer, self._reply(".")):
                        return
            if verb in ("MAIL", "RSET"):
                recipients = 0

    async def _say(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: Any) -> bool:
        """False: the connection's end."""
        if isinstance(reply, dict):
            return await self._strange(writer, reply)
        for line in reply.split("\n"):
            if line in ("CLOSE", "RESET"):
                if line == "RESET":
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            if line == "SILENCE":
                while await reader.read(65536):
                    pass
                return False
            if line != "NOTHING":
                writer.write(line.encode("utf-8", "surrogateescape") + b"\r\n")
        await writer.drain()
        return True

    @staticmethod
    async def _strange(writer: asyncio.StreamWriter, reply: Mapping[str, Any]) -> bool:
        if "raw" in reply:
            writer.write(reply["raw"].encode("latin-1"))
        for octet in reply.get("drip", "").encode("latin-1"):
            writer.write(bytes([octet]))
            await writer.drain()
            await asyncio.sleep(reply.get("s", 0.1))
        while "flood" in reply:
            writer.write(reply["flood"].encode("latin-1") * 100)
            await writer.drain()
        await writer.drain()
        return True


async def _message(reader: asyncio.StreamReader) -> bytes:
    octets = b""
    while not octets.endswith(b"\r\n.\r\n") and octets != b".\r\n":
        line = await reader.readuntil(b"\n")
        octets += line
    return octets


class FarEnds:
    """Several addresses with one port."""

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self.ends = {address: FarEnd(script) for address, script in scripts.items()}
        self.port = 0

    @property
    def said(self) -> dict[str, list[list[str]]]:
        return {address: end.said for address, end in self.ends.items()}

    @property
    def open(self) -> int:
        return sum(end.open for end in self.ends.values())


@asynccontextmanager
async def far_ends(scripts: Mapping[str, Script], port: int = 0) -> AsyncIterator[FarEnds]:
    """Serve the scripts; an address that begins with "/" is a Unix socket. port 0: one that all addresses have free."""
    made = FarEnds(scripts)
    made.port = port or free_port(list(scripts))
    servers: list[asyncio.AbstractServer] = []
    try:
        for address, end in made.ends.items():
            if address.startswith("/"):
                servers.append(await asyncio.start_unix_server(end.talk, address, limit=1 << 24))
            else:
                servers.append(await asyncio.start_server(end.talk, address, made.port, limit=1 << 24))
        yield made
    finally:
        for server in servers:
            server.close()


def free_port(addresses: list[str]) -> int:
    """A TCP port that is free at all of them; those of Unix sockets are passed over.

    Not the system's choice: it would give one port to two workers of a parallel run, at different addresses, and a
    case where nobody listens at 127.0.0.21 would find the other worker's far end there.
    """
    addresses = [address for address in addresses if not address.startswith("/")] or ["127.0.0.1"]
    for _ in range(WORKER_PORTS):
        port = next(_ports)
        with ExitStack() as socks:
            try:
                for address in addresses:
                    sock = socks.enter_context(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET))
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.bind((address, port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port for the far ends")


def _own_ports() -> Iterator[int]:
    """The ports of this worker of a parallel run, round and round, from a place that differs from run to run."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").lstrip("gw") or 0) % WORKERS_LIMIT
    for number in count(os.getpid()):
        yield LOW_PORT + worker * WORKER_PORTS + number % WORKER_PORTS


_ports = _own_ports()
