"""Who asks databases for an agent that is root: workers with mail_owner's rights.

    tables = TableWorkers(settings)         in the agent's process, before it opens tables
    tables.renew(settings)                  for new settings, likewise
    await tables.close()

local and virtual look up aliases, mailboxes and uids themselves, as root; what a database server sends is parsed in a
worker (net/workers.py), which opens the table itself. Up to table_connection_limit workers answer at the same time.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

from mailsuite.config.settings import Settings
from mailsuite.deliver.params import DELIVERY_WORKER_IDLE
from mailsuite.deliver.passwd import Accounts
from mailsuite.maps import MapSource, elsewhere
from mailsuite.maps.opening import open_table
from mailsuite.maps.params import TABLE_CONNECTION_LIMIT
from mailsuite.maps.table import Table
from mailsuite.net.privileges import Identity
from mailsuite.net.workers import WorkerPool, serve_requests


class TableWorkers:
    """The workers for one configuration, and those of an earlier one that are about to end."""

    def __init__(self, settings: Settings) -> None:
        self._ending: list[asyncio.Task[None]] = []
        self._begin(settings)

    def _begin(self, settings: Settings) -> None:
        owner = Accounts().named(settings.text("mail_owner"))
        self._identity = owner.identity if owner else Identity(os.geteuid(), os.getegid())
        most = settings[TABLE_CONNECTION_LIMIT]
        self._pool = WorkerPool(serve_requests(answering(settings)), name="table worker", most=most, most_each=most,
                                depth=1, idle_s=settings[DELIVERY_WORKER_IDLE])
        elsewhere.ask_through(self.ask)

    def renew(self, settings: Settings) -> None:
        """Ask with other settings from now on."""
        self._ending.append(asyncio.get_running_loop().create_task(self._pool.close()))
        self._begin(settings)

    async def ask(self, program: str, spec: str, folds: bool, key: str) -> str | None:
        """Raises TemporaryError."""
        answer = await self._pool.ask(self._identity, {"program": program, "spec": spec, "folds": folds,
                                                       "key": key.encode("utf-8", "surrogateescape").hex()})
        value = answer["value"]
        return None if value is None else bytes.fromhex(value).decode("utf-8", "surrogateescape")

    async def close(self) -> None:
        elsewhere.ask_through(None)
        await asyncio.gather(*self._ending, self._pool.close())


def answering(settings: Settings) -> Callable[[dict[str, Any], list[int]], Mapping[str, Any]]:
    """What a worker does with a question."""
    tables: dict[tuple[str, str, bool], Table] = {}

    def answer(message: dict[str, Any], fds: list[int]) -> Mapping[str, Any]:
        elsewhere.ask_through(None)
        program, spec, folds = message["program"], message["spec"], message["folds"]
        source = MapSource(settings, program)
        table = tables.get((program, spec, folds))
        if table is None or table.outdated(source):
            table = tables[program, spec, folds] = open_table(spec, source, folds=folds)
        value = table.ask_now(bytes.fromhex(message["key"]).decode("utf-8", "surrogateescape"))
        return {"value": None if value is None else value.encode("utf-8", "surrogateescape").hex()}
    return answer
