"""A delivery agent in this process, and a test in the place of qmgr."""

import asyncio
import os
import pwd
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from mailsuite.config.settings import Settings
from mailsuite.net.ipc import Link, connect
from mailsuite.net.service import Listener, ServiceContext, new_event_loop
from mailsuite.queue.agent import DeliveryRequest, RecipientReport
from mailsuite.queue.envelope import Notify, Recipient

ROOT = os.geteuid() == 0
MESSAGE = b"Subject: x\nMessage-Id: <1@c.test>\n\nbody\n"
# Somebody else than root to deliver as; without root, ourselves.
SOMEBODY = pwd.getpwnam("nobody") if ROOT else pwd.getpwuid(os.geteuid())


class Qmgr:
    """Sends requests, gives back the reports of each."""

    def __init__(self, link: Link, folder: Path, transport: str) -> None:
        self._link, self._folder, self._transport, self._seq = link, folder, transport, 0

    def message(self, content: bytes = MESSAGE) -> str:
        path = self._folder / "queued"
        path.write_bytes(b"envelope" + content)
        return str(path)

    async def ask(self, *addresses: str, content: bytes = MESSAGE, sender: str = "a@b.test", nexthop: str = "",
                  **more: Any) -> dict[str, RecipientReport]:
        path = self.message(content)
        seqs = self.send(addresses, path, len(content), sender, nexthop, **more)
        return await self.reports(seqs, addresses)

    async def deliver(self, more: dict[str, Any], content: bytes, sender: str, nexthop: str) -> None:
        """Ask with all that a request may have (recipients among them), wait for the end."""
        self._seq += 1
        now = time.time()
        self._link.send(DeliveryRequest(
            self._seq, "4F7E5D", self.message(content), 8, len(content), sender, self._transport, nexthop,
            **{"arrival_time": now, "active_time": now, **more}).to_json())
        while (message := await self._link.receive()) is not None:
            if message.get("done"):
                return
        raise AssertionError("the agent went away")

    def send(self, addresses: tuple[str, ...], path: str, size: int, sender: str = "a@b.test", nexthop: str = "",
             notify: Notify = Notify.NONE, **more: Any) -> int:
        self._seq += 1
        self._link.send(DeliveryRequest(
            self._seq, "4FTEST", path, 8, size, sender, self._transport, nexthop,
            [Recipient(address, notify=notify, number=number) for number, address in enumerate(addresses)],
            **more).to_json())
        return self._seq

    async def reports(self, seq: int, addresses: tuple[str, ...]) -> dict[str, RecipientReport]:
        found: dict[str, RecipientReport] = {}
        while (message := await self._link.receive()) is not None:
            assert message["seq"] == seq
            if "number" in message:
                report = RecipientReport.from_json(message)
                found[addresses[report.number]] = report
            if message.get("done"):
                return found
        raise AssertionError("the agent went away")


def with_agent(serve: Callable[[ServiceContext], Awaitable[None]], name: str, settings: dict[str, str],
               test: Callable[[Qmgr], Awaitable[Any]], *, arguments: list[str] | None = None, command: str = "") -> Any:
    """Run the agent, run the test against it, stop the agent."""

    async def run(folder: Path) -> Any:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(folder / "socket"))
        sock.listen()
        context = ServiceContext(name, command or name, Settings.of({"queue_directory": str(folder)} | settings),
                                 listeners=[Listener(name, sock, kind="unix")], arguments=arguments or [])
        started = asyncio.Event()
        context.ready = started.set
        service = asyncio.ensure_future(serve(context))
        await asyncio.wait({service, asyncio.ensure_future(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
        link = await connect(str(folder / "socket"))
        try:
            return await test(Qmgr(link, folder, name))
        finally:
            link.close()
            context.stopping.set()
            await service

    with tempfile.TemporaryDirectory() as name_of_folder:
        os.chmod(name_of_folder, 0o755)
        loop = new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            return loop.run_until_complete(asyncio.wait_for(run(Path(name_of_folder)), 90))
        finally:
            asyncio.set_event_loop(None)
            loop.close()
