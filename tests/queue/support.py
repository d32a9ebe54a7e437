"""A queue in a temporary folder, and doubles of what stands around it."""

import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mailsuite.base import wire
from mailsuite.config.settings import Settings
from mailsuite.net.service import Listener, ServiceContext
from mailsuite.queue.cleanup import Accepted, Cleanup
from mailsuite.queue.envelope import Envelope, Handling, Origin, Recipient
from mailsuite.queue.folders import make_folders
from mailsuite.queue.notify import QueueNotice
from mailsuite.queue.store import QueueStore, open_store
from mailsuite.rewrite.rewriter import Rewriter

MASTER_CF = "".join(f"{name} unix - - n - - {name}\n" for name in ("smtp", "local", "virtual", "error", "retry"))


def settings_for(top: Path, **values: str) -> Settings:
    """A configuration whose queue lies in top/spool."""
    spool, etc = top / "spool", top / "etc"
    etc.mkdir(exist_ok=True)
    (etc / "master.cf").write_text(MASTER_CF)
    if not spool.exists():
        spool.mkdir()
        make_folders(str(spool))
    return Settings.of({"queue_directory": str(spool), "myhostname": "mx.test", "mydomain": "test",
                        "myorigin": "mx.test", "mydestination": "mx.test", "mail_name": "Postfix", "alias_maps": "",
                        "local_recipient_maps": "", "enable_long_queue_ids": "no", **values}, str(etc))


class World:
    """Store, rewriter and cleanup of one configuration."""

    def __init__(self, top: Path, **values: str) -> None:
        self.settings = settings_for(top, **values)
        self.store: QueueStore = open_store(self.settings)
        self.told: list[dict[str, Any]] = []
        self.behind = False
        self.cleanup = Cleanup(self.settings, Rewriter(self.settings), self.store, self)  # type: ignore[arg-type]

    def tell(self, notice: QueueNotice) -> None:
        self.told.append(json.loads(wire.encode(notice)))

    async def put(self, content: bytes, *, sender: str = "a@far.test", to: Sequence[str | Recipient] = ("b@mx.test",),
                  blocks: int = 1 << 20, **envelope: Any) -> Accepted:
        """Bring a message into the queue."""
        said = Envelope(sender=sender, origin=Origin("c.test", "192.0.2.1", message_origin="c.test[192.0.2.1]",
                                                     protocol_name="ESMTP", helo_name="c.test"), **envelope)
        intake = self.cleanup.begin(said)
        for one in to:
            await intake.recipient(one if isinstance(one, Recipient) else Recipient(one))
        for at in range(0, len(content), blocks):
            intake.write(content[at:at + blocks])
        return await intake.commit()

    def content(self, queue: str, queue_id: str) -> bytes:
        stored = self.store.read(queue, queue_id)
        with open(self.store.path(queue, queue_id), "rb") as file:
            file.seek(stored.offset)
            return file.read(stored.size)


Answer = Callable[[dict[str, Any]], list[dict[str, Any]]]


class FakeAgent:
    """A delivery agent: `answer` makes the reports of a request (without seq and number: one for each recipient)."""

    def __init__(self, path: str, answer: Callable[[str], dict[str, Any]]) -> None:
        self.path, self._answer = path, answer
        self.requests: list[dict[str, Any]] = []
        self.hold: asyncio.Event | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = json.loads(line)
            self.requests.append(request)
            if self.hold is not None:
                await self.hold.wait()
            for address, _, _, _, number in request["recipients"]:
                report = {"status": "sent", "dsn": "2.0.0", "reason": "ok", **self._answer(address)}
                if report["status"] == "die":
                    writer.close()
                    return
                writer.write(json.dumps({"seq": request["seq"], "number": number, **report}).encode() + b"\n")
            writer.write(json.dumps({"seq": request["seq"], "done": True}).encode() + b"\n")

    def stop(self) -> None:
        self._server.close()


def context_for(settings: Settings, name: str) -> ServiceContext:
    """A service's context with its socket public/NAME bound."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f"{settings.text('queue_directory')}/public/{name}")
    sock.listen(10)
    sock.setblocking(False)
    return ServiceContext(name, name, settings, listeners=[Listener(name, sock, "unix")])


async def until(condition: Callable[[], object], wait_s: float = 60.0) -> None:
    """Wait until something is so."""
    loop = asyncio.get_running_loop()
    end = loop.time() + wait_s
    while not condition():
        assert loop.time() < end, "it never came"
        await asyncio.sleep(0.005)


NO_CHECKS = Handling.INTERNAL
