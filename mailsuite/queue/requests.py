"""Connections to public/qmgr: who says what, and who may.

One JSON object a line:

    {"op": "new", "id": ..., "offset": ..., "size": ..., "facts": {...}, "to": [...]}     a message in incoming/
    {"op": "flush"} {"op": "flush_one", "id": ...} {"op": "flush", "site": ...}      try deferred mail now
    {"op": "scan"}                                                         look into incoming/
    {"op": "new", ..., "at": [segment, block, generation, size]}           a message in the journal
    {"op": "journal"}             may mail go to the journal? The answer is {"journal": true} or false, also later
    {"op": "files"}               all that is in the journal shall become files: somebody is about to look at them

Who says "answer": true gets {"ok": true} or {"error": "..."}. "new", "scan", "journal" and "files" are
taken from mail_owner and root only
(SO_PEERCRED: an envelope from anybody else could make us read files for him), flushes from authorized_flush_users.

Or single characters, as postkick(1) sends them to Postfix's qmgr(8), from mail_owner and root only, not answered;
others are passed over:

    D  look through deferred/     I  look through incoming/     F  forget which destinations are out of reach
    A  the next look through deferred/ takes what is not yet due as well

Who tells us of new mail is told {"behind": true} when there is no room for more in the active queue, and
{"behind": false} when there is again: he waits a little with each message then (in_flow_delay).
"""

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any, cast

from mailsuite.base import wire
from mailsuite.base.log import lines_together, logger
from mailsuite.queue.notify import QueueNotice
from mailsuite.queue.peer import peer_uid

if TYPE_CHECKING:
    from mailsuite.queue.server import QueueManager

NOTICE_LIMIT = 64 * 1024 * 1024     # octets of one line from a trusted peer
REQUEST_LIMIT = 4096                # from anybody else
_read = wire.Reader(QueueNotice)
log = logger("qmgr")


class Requests(asyncio.Protocol):
    """One connection to public/qmgr."""

    def __init__(self, queue_manager: "QueueManager") -> None:
        self._queue_manager = queue_manager
        self._rest = b""
        self._uid = -1
        self._limit = REQUEST_LIMIT
        self._transport: asyncio.Transport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._uid = peer_uid(transport.get_extra_info("socket"))
        if self._uid in (0, os.geteuid()):
            self._limit = NOTICE_LIMIT
            if self._queue_manager.behind:
                self.tell_behind(True)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._queue_manager.notifiers:
            self._queue_manager.notifier_lost(self)

    def tell_journal(self, takes: bool) -> None:
        """We take mail from the journal, or do not any more."""
        self._answer({"journal": takes})

    def tell_behind(self, behind: bool) -> None:
        """Mail comes faster than it can be taken into the active queue, or does not any more."""
        self._answer({"behind": behind})

    def data_received(self, octets: bytes) -> None:
        if octets[0] != ord("{") and not self._rest:
            self._triggers(octets)
            return
        lines = (self._rest + octets).split(b"\n") if self._rest else octets.split(b"\n")
        self._rest = lines.pop()
        assert self._transport is not None
        with lines_together():
            for line in lines:
                self._line(line)
        if len(self._rest) > self._limit:
            self._transport.abort()

    def _triggers(self, octets: bytes) -> None:
        assert self._transport is not None
        if self._limit == NOTICE_LIMIT:
            self._queue_manager.triggered(octets)
        self._transport.close()

    def _line(self, line: bytes) -> None:
        try:
            notice = _read(line)
            if notice.op in ("new", "journal") and self._limit == NOTICE_LIMIT:
                self._queue_manager.notifiers.add(self)
                if notice.op == "journal":
                    self.tell_journal(self._queue_manager.takes_journal)
            if notice.op in ("flush", "flush_one", "files"):
                task = asyncio.get_running_loop().create_task(self._flush(notice))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif (answer := self._queue_manager.told(notice, self._uid)) is not None and notice.answer:
                self._answer(answer)
        except (ValueError, OSError) as error:
            log.warning("a request on public/qmgr makes no sense: %s", error)
            self._answer({"error": "bad request"})

    async def _flush(self, notice: QueueNotice) -> None:
        try:
            if notice.op == "files":
                answer = await self._queue_manager.to_files(self._uid)
            else:
                answer = await self._queue_manager.flush(notice, self._uid)
        except ValueError as error:
            answer = {"error": f"bad request: {error}"}
        if notice.answer:
            self._answer(answer)

    def _answer(self, answer: dict[str, Any]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(json.dumps(answer).encode() + b"\n")
