"""IMAP and POP3 sessions on loopback sockets, without login processes and without a suite around them.

    async with ImapServer({"alice": home}) as server: server.port

The server takes any password: "a1 LOGIN alice x" or "USER alice", "PASS x" as the first lines, then it hands the
connection over to serve_user as a login process would.
"""

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

from mailsuite.access.handover import HandOver
from mailsuite.access.world import UserWorld
from mailsuite.base.dialogue import Peer
from mailsuite.sasl.user import UserInfo
from mailsuite.store.options import StoreOptions


class Settings:
    """dovecot.conf as far as sessions ask: values by name, KeyError for what is not given."""

    protocol = ""

    def __init__(self, values: dict[str, str] | None = None) -> None:
        self.values = {"mail_location": "maildir:~/Maildir", "mail_plugins": "", "base_dir": "/nowhere",
                       **(values or {})}

    def for_protocol(self, protocol: str) -> "Settings":
        return self

    def text(self, name: str) -> str:
        return self.values[name]

    def words(self, name: str) -> list[str]:
        return self.values[name].split()

    @property
    def plugin(self) -> dict[str, str]:
        return {}

    def flag(self, name: str) -> bool:
        return self.values[name] == "yes"

    def size(self, name: str) -> int:
        return int(self.values[name])

    def time_s(self, name: str) -> float:
        return float(self.values[name])

    def sections(self, kind: str) -> list[Any]:
        return []


class SessionServer:
    """Listens on a free port of 127.0.0.1."""

    protocol = ""
    utf8 = False            # what a POP3 client said before its login

    def __init__(self, homes: dict[str, Path], settings: Settings | None = None, *,
                 options: StoreOptions | None = None) -> None:
        self.homes, self.settings = homes, settings or Settings()
        self.world = UserWorld(self.settings, None)  # type: ignore[arg-type]  # only what sessions use of them
        self.options = options
        self.tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "SessionServer":
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]
        self.accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.accepting.cancel()
        await asyncio.wait([self.accepting])        # the loop forgets the socket before it is closed
        self.world.stop()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=10)
        self.sock.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self.sock)
            sock.setblocking(False)
            task = asyncio.create_task(self._serve(sock))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            user, tag, rest = await self.login(sock)
            handover = HandOver(self.protocol, user, tag, rest, Peer("127.0.0.1"), None, "session", utf8=self.utf8)
            info = UserInfo(user, home=str(self.homes[user]))
            await self.serve(sock, handover, info)

    async def serve(self, sock: socket.socket, handover: HandOver, info: UserInfo) -> None:
        raise NotImplementedError

    async def login(self, sock: socket.socket) -> tuple[str, bytes, bytes]:
        raise NotImplementedError


async def _lines(sock: socket.socket, wanted: bytes, replies: list[bytes]) -> tuple[bytes, bytes]:
    """Lines up to one that begins with wanted (any case), and what came behind it."""
    loop = asyncio.get_running_loop()
    data = b""
    while True:
        while b"\r\n" in data:
            line, data = data.split(b"\r\n", 1)
            if wanted in line.upper():
                return line, data
            await loop.sock_sendall(sock, replies.pop(0) if replies else b"-ERR\r\n")
        octets = await loop.sock_recv(sock, 65536)
        if not octets:
            raise ConnectionError("gone")
        data += octets


class ImapServer(SessionServer):
    protocol = "imap"

    async def login(self, sock: socket.socket) -> tuple[str, bytes, bytes]:
        await asyncio.get_running_loop().sock_sendall(sock, b"* OK [CAPABILITY IMAP4rev1] ready.\r\n")
        line, rest = await _lines(sock, b" LOGIN ", [])
        words = line.split()
        return words[2].decode().strip('"'), words[0], rest

    async def serve(self, sock: socket.socket, handover: HandOver, info: UserInfo) -> None:
        from mailsuite.imap.server import serve_user
        await serve_user(sock, handover, info, self.world)


class Pop3Server(SessionServer):
    protocol = "pop3"

    async def login(self, sock: socket.socket) -> tuple[str, bytes, bytes]:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, b"+OK ready.\r\n")
        line, rest = await _lines(sock, b"USER ", [b"+OK\r\n"])
        await loop.sock_sendall(sock, b"+OK\r\n")
        while b"\r\n" not in rest:
            rest += await loop.sock_recv(sock, 65536)
        return line.split()[1].decode(), b"", rest.split(b"\r\n", 1)[1]

    async def serve(self, sock: socket.socket, handover: HandOver, info: UserInfo) -> None:
        from mailsuite.pop3.server import serve_user
        await serve_user(sock, handover, info, self.world)
