"""Tells a client news, one telling at a time: for IDLE and NOTIFY.

    teller = Teller("IDLE", tell, extra);  teller.wake();  teller.stop()

tell() looks and writes. A wake while it runs makes one more telling, however many there are. What goes wrong is logged
(extra: of the log lines) and ends neither the session nor later tellings.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

from mailsuite.base.errors import MailError
from mailsuite.base.log import access_logger

log = access_logger("imap")


class Teller:
    """name: of the command, for the log."""

    def __init__(self, name: str, tell: Callable[[], Awaitable[None]], extra: Mapping[str, object]) -> None:
        self._name, self._tell, self._extra = name, tell, extra
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self.stopped = False

    def wake(self) -> None:
        """Something may have happened."""
        if self._task is not None:
            self._again = True
        elif not self.stopped:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """No more tellings; one that runs goes on to its end."""
        self.stopped = True

    async def _run(self) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                await self._tell()
        except MailError as error:
            log.error("%s: %s", self._name, error.detail or error.public, extra=self._extra)
        except Exception:
            log.exception("unforeseen in %s", self._name, extra=self._extra)
        self._task = None
        if self._again:
            self._again = False
            self.wake()
