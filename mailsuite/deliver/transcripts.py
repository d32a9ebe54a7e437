"""Mail to the postmaster of our dialogues with servers that break the protocol (notify_classes = protocol).

    watch = transcripts(settings, "smtp")       None: nobody wants to hear; watch(endpoint) -> Transcript

The notice goes through cleanup into the queue, in the background: nobody's mail waits for it.
Limits: PENDING notices under way, what comes beyond is dropped; `Transcript` limits the lines.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailsuite.queue.cleanup import Cleanup
from mailsuite.queue.notify import Notifier
from mailsuite.queue.params import NOTIFY_CLASSES
from mailsuite.queue.store import open_store
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.smtp.client import Endpoint
from mailsuite.smtp.client_transcript import Transcript
from mailsuite.smtp.server_notice import client_transcript, send_notice

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

PENDING = 20


def transcripts(settings: "Settings", prefix: str) -> Callable[[Endpoint], Transcript] | None:
    """prefix: "smtp" or "lmtp"."""
    classes = settings[NOTIFY_CLASSES]
    return _Transcripts(settings, prefix).watch if "protocol" in classes else None


class _Transcripts:
    """Of one configuration."""

    def __init__(self, settings: "Settings", prefix: str) -> None:
        self._settings, self._prefix = settings, prefix
        self._cleanup: Cleanup | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, endpoint: Endpoint) -> Transcript:
        """For a session with this server."""
        return Transcript(lambda lines: self._send(endpoint.name_port, lines))

    def _send(self, host: str, lines: list[str]) -> None:
        if len(self._tasks) >= PENDING:
            return
        notice = client_transcript(self._settings, self._prefix.upper(), host, lines)
        task = asyncio.get_running_loop().create_task(send_notice(self._settings, self._own_cleanup(), notice))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _own_cleanup(self) -> Cleanup:
        if self._cleanup is None:
            store = open_store(self._settings)
            self._cleanup = Cleanup(self._settings, Rewriter(self._settings), store,
                                    Notifier(f"{store.directory}/public/qmgr"))
        return self._cleanup
