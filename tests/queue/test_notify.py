"""What tells qmgr of new mail: a connection that is made again, and hears whether qmgr is behind."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from mailsuite.queue import notify
from mailsuite.queue.notify import Notifier, QueueNotice
from tests.queue.support import until


class FakeQmgr:
    """Notes what it is told."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.told: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while line := await reader.readline():
            self.told.append(json.loads(line)["id"])

    def say(self, octets: bytes) -> None:
        self.writers[-1].write(octets)

    def die(self) -> None:
        self._server.close()
        for writer in self.writers:
            writer.close()
        os.unlink(self.path)


def test_what_comes_in_a_rush_goes_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "BUSY_S", 1000.0)
    flushes: list[int] = []
    flush = Notifier._flush
    monkeypatch.setattr(Notifier, "_flush", lambda self, **how: (flushes.append(1), flush(self, **how))[1])

    async def run() -> None:
        path = str(tmp_path / "qmgr")
        notifier, qmgr = Notifier(path, gathers=True), FakeQmgr(path)
        await qmgr.start()
        for word in ("first", "second", "third"):
            notifier.tell(QueueNotice("new", word))
        assert len(flushes) == 1                        # the first one waited for nobody
        await until(lambda: qmgr.told == ["first", "second", "third"])
        assert len(flushes) == 2
        notifier.tell(QueueNotice("new", "last"))
        notifier.close()                                # and the end for nothing
        await until(lambda: qmgr.told[3:] == ["last"])
        plain = Notifier(path)
        plain.tell({"id": "x"})
        plain.tell({"id": "y"})
        assert len(flushes) == 5
        plain.close()
        qmgr.die()

    asyncio.run(run())


def test_a_qmgr_that_is_behind_and_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "RETRY_S", 0.0)

    async def run() -> None:
        path = str(tmp_path / "qmgr")
        notifier, first, second = Notifier(path), FakeQmgr(path), FakeQmgr(path)
        notifier.tell(QueueNotice("new", "nobody listens"))
        await first.start()
        notifier.tell(QueueNotice("new", "one"))
        await until(lambda: first.told == ["one"] and first.writers)
        assert not notifier.behind
        first.say(b'{"behind": tr')
        first.say(b'ue}\nnonsense\n[]\n')
        await until(lambda: notifier.behind)
        first.die()
        await until(lambda: not notifier.behind)        # whoever is not there is not behind
        await second.start()
        notifier.tell(QueueNotice("new", "two"))
        await until(lambda: second.told == ["two"])
        second.say(b'{"behind": true}\n')
        await until(lambda: notifier.behind)
        second.say(b'{"behind": false}\n')
        await until(lambda: not notifier.behind)
        notifier.close()
        second.die()

    asyncio.run(run())
