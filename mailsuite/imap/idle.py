"""What a connection says without being asked: the notices of one IDLE (RFC 2177), the progress of a command."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailsuite.imap.reply import string
from mailsuite.imap.teller import Teller

if TYPE_CHECKING:
    from mailsuite.imap.server_connection import Handler


class Progress:
    """INPROGRESS (RFC 9585): a command that takes long says every progress_s that it is under way."""

    def __init__(self, handler: "Handler", tag: bytes) -> None:
        self._handler, self._tag = handler, tag
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(handler.params.progress_s, self._tell)

    def _tell(self) -> None:
        selected = self._handler.context.selected
        done, goal = selected.progress if selected is not None and selected.progress is not None else (b"NIL", b"NIL")
        line = b"* OK [INPROGRESS (%b %b %b)] Still working.\r\n" % (string(self._tag), done, goal)
        self._handler.octets_out += len(line)
        self._handler.channel.send(line)
        self._timer = self._loop.call_later(self._handler.params.progress_s, self._tell)

    def stop(self) -> None:
        self._timer.cancel()


class Idle:
    """The notices of one IDLE."""

    def __init__(self, handler: "Handler") -> None:
        self.handler, self._loop = handler, asyncio.get_running_loop()
        self._teller = Teller("IDLE", handler.tell_news, handler.extra)
        selected = handler.context.selected
        self._unwatch: Callable[[], None] = lambda: None
        if selected is not None:
            self._unwatch = handler.mail.watch(selected.mailbox, self._teller.wake)
        self._interval_s = handler.params.idle_notify_s
        self._timer = self._loop.call_later(self._interval_s, self._still_here) if self._interval_s else None
        self._teller.wake()

    def _still_here(self) -> None:
        self.handler.channel.send(b"* OK Still here\r\n")
        self._timer = self._loop.call_later(self._interval_s, self._still_here)

    def stop(self) -> None:
        self._teller.stop()
        self._unwatch()
        if self._timer is not None:
            self._timer.cancel()
