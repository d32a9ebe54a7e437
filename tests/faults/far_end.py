"""A remote host that fails by plan: 4xx, 5xx, cuts in mid-DATA and after the dot, stalls.

    with FarEnd(port, Plan(temporary=0.2, permanent=0.05, cut=0.02, ...), seed=1) as far: ...
    far.taken      Arrivals: what it said 250 to, and the octets of that answer were sent;   far.idents

Who is refused for good is decided by the address, everything else by chance. What was cut after the dot does not count
as taken: the client has to send it again.
"""

import asyncio
import random
import threading
import time
import zlib
from dataclasses import dataclass

from tests.faults.load import Arrival, ident_of, is_whole


@dataclass(frozen=True)
class Plan:
    """Shares of 1. permanent: of addresses; the others of commands and messages. stall_s: how long a stall is."""

    temporary: float = 0.0
    permanent: float = 0.0
    cut: float = 0.0
    cut_after_dot: float = 0.0
    stall: float = 0.0
    stall_s: float = 2.0


class FarEnd:
    """Runs in a thread of its own. plan may be replaced at any time."""

    def __init__(self, port: int, plan: Plan, seed: int = 1) -> None:
        self.port, self.plan = port, plan
        self.taken: list[Arrival] = []
        self.failures = {"temporary": 0, "permanent": 0, "cut": 0, "cut_after_dot": 0, "stall": 0}
        self._chance = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "FarEnd":
        self._thread.start()
        if not self._up.wait(10):
            raise RuntimeError("the far end did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 24))
        self._up.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))

    @property
    def idents(self) -> list[str]:
        return [one.ident for one in self.taken]

    def happens(self, what: str) -> bool:
        if self._chance.random() >= getattr(self.plan, what):
            return False
        self.failures[what] += 1
        return True

    def refuses(self, address: str) -> bool:
        """Always the same answer for an address."""
        return zlib.crc32(address.encode()) % 1000 < self.plan.permanent * 1000

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 far.test ESMTP\r\n")
            await self._dialogue(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _dialogue(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipients: list[str] = []
        while line := await reader.readline():
            verb = line[:4].upper().strip()
            if verb == b"EHLO":
                writer.write(b"250-far.test\r\n250-PIPELINING\r\n250-SIZE 0\r\n250 8BITMIME\r\n")
            elif verb in (b"MAIL", b"RSET"):
                recipients = []
                writer.write(b"250 2.0.0 ok\r\n")
            elif verb == b"RCPT":
                address = line.partition(b"<")[2].partition(b">")[0].decode()
                writer.write(self._recipient(address, recipients))
            elif verb == b"DATA":
                if not await self._data(reader, writer, recipients):
                    return
                recipients = []
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 bye\r\n")
                await writer.drain()
                return
            else:
                writer.write(b"502 5.5.1 no such command\r\n")
            await writer.drain()

    def _recipient(self, address: str, recipients: list[str]) -> bytes:
        if self.refuses(address):
            self.failures["permanent"] += 1
            return b"550 5.1.1 no such user here\r\n"
        if self.happens("temporary"):
            return b"450 4.2.0 come back later\r\n"
        recipients.append(address)
        return b"250 2.1.5 ok\r\n"

    async def _data(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, recipients: list[str]) -> bool:
        """False: the connection is over."""
        if not recipients:
            writer.write(b"554 5.5.1 no valid recipients\r\n")
            return True
        writer.write(b"354 go on\r\n")
        await writer.drain()
        if self.happens("cut"):
            await reader.read(self._chance.randrange(1, 3000))
            writer.transport.abort()
            return False
        content = await reader.readuntil(b"\r\n.\r\n")
        if self.happens("stall"):
            await asyncio.sleep(self.plan.stall_s)
        if self.happens("cut_after_dot"):
            writer.transport.abort()
            return False
        if self.happens("temporary"):
            writer.write(b"451 4.3.0 no room\r\n")
            return True
        writer.write(b"250 2.0.0 taken\r\n")
        await writer.drain()
        content = content[:-3].replace(b"\r\n..", b"\r\n.")
        self.taken += [Arrival(ident_of(content), address, time.time(), is_whole(content)) for address in recipients]
        return True
