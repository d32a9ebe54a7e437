"""The process that asks servers for the auth service. It is started as root, imports what it may need, and becomes a
user without rights before it reads a word from anybody but its parent. It ends with its input."""

import asyncio
import importlib
import os
import pwd
import signal
import sys
from typing import Any

from mailsuite.base.errors import TemporaryError
from mailsuite.sasl.outside.process import packed, unpacked
from mailsuite.sasl.outside.sources import make_source

# Where the interpreter's folder is closed to others, nothing can be imported later.
_LIBRARIES = ("psycopg.pq", "psycopg.conninfo", "pymysql.connections", "pymysql.cursors", "ssl", "encodings.idna",
              "mailsuite.database.pgsql", "mailsuite.database.mysql", "mailsuite.database.sqlite",
              "mailsuite.sasl.outside.sql", "mailsuite.sasl.outside.ldap", "mailsuite.sasl.outside.imap")


def _prepare(account: str) -> None:
    for name in _LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError:
            continue                    # said when a database needs it
    if os.geteuid() != 0:
        return
    entry = pwd.getpwnam(account)
    if entry.pw_uid == 0:
        return                          # the administrator's wish: default_internal_user = root
    os.initgroups(account, entry.pw_gid)
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)


class Process:
    """All databases, and the questions under way."""

    def __init__(self, writer: asyncio.WriteTransport) -> None:
        self._writer = writer
        self._sources: dict[int, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, reader: asyncio.StreamReader) -> None:
        while (message := await unpacked(reader)) is not None:
            if "account" in message:
                _prepare(message["account"])
            elif "open" in message:
                self._open(message)
            else:
                task = asyncio.create_task(self._answer(message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        if self._tasks:
            await asyncio.wait(self._tasks)
        for source in self._sources.values():
            source.close()

    def _open(self, message: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()

        def warn(text: str) -> None:            # called from threads as well
            loop.call_soon_threadsafe(self._say, {"log": text})

        self._sources[message["open"]] = make_source(message["kind"], message["spec"], warn)

    async def _answer(self, message: dict[str, Any]) -> None:
        try:
            answer: dict[str, Any] = {"answer": await self._sources[message["to"]].answer(message["question"])}
        except TemporaryError as error:
            answer = {"failed": error.detail or error.public}
        except Exception as error:
            # What failed is no secret, but its text may quote what was asked.
            answer = {"failed": f"unforeseen: {type(error).__name__}"}
        self._say({"id": message["id"], **answer})

    def _say(self, message: dict[str, Any]) -> None:
        if not self._writer.is_closing():
            self._writer.write(packed(message))


async def _main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    writer, _ = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout.buffer)
    await Process(writer).run(reader)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # a Ctrl-C goes to the group; our input ends in order
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    asyncio.run(_main())
