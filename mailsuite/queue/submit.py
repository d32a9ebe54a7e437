"""Local submission from a command: into maildrop/, or over public/pickup for whoever may not write there. Blocking.

    draft = Draft(settings); draft.write(octets)...; draft.send(envelope, recipients) -> its id in the queue

Where maildrop/ can be written (root, the suite's own user, set-gid programs), the message becomes a file there, durable
before send returns, and pickup is told; that works while the suite is down. Else it is written to a sealed memory file
and handed to pickup, which answers when the message is durable. Raises SubmitError with one clear sentence.
"""

import contextlib
import fcntl
import json
import os
import socket
import time
from typing import TYPE_CHECKING

from mailsuite.base.errors import TemporaryError
from mailsuite.queue.envelope import Envelope, Recipient
from mailsuite.queue.file import Writer
from mailsuite.queue.folders import make_folders
from mailsuite.queue.ids import new_id
from mailsuite.queue.store import QueueFile, open_store

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

ANSWER_S = 300.0
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class SubmitError(TemporaryError):
    """The message is not in the queue; public says why."""


class TooBig(SubmitError):
    """Over message_size_limit."""


class Draft:
    """One message being submitted. warning: what send wants a human to know ("" : nothing). queue_id: for a Received
    header of whoever writes the draft; pickup gives the message another."""

    def __init__(self, settings: "Settings") -> None:
        self._store = open_store(settings)
        self._limit = int(settings.text("message_size_limit"))
        self._file: QueueFile | None = None
        self._memory = -1
        self.warning = ""
        self.queue_id = ""
        writer = self._into_maildrop() or self._into_memory()
        self._writer: Writer = writer

    @property
    def is_file(self) -> bool:
        """It becomes a file of maildrop/; else pickup judges who brings it."""
        return self._file is not None

    def _into_maildrop(self) -> Writer | None:
        folder = f"{self._store.directory}/maildrop"
        try:
            if os.geteuid() == 0 and os.path.isdir(self._store.directory) and not os.path.isdir(folder):
                make_folders(self._store.directory)         # before the first start: pickup finds it afterwards
            if not os.access(folder, os.W_OK | os.X_OK):
                return None
            self._file = self._store.create("maildrop")
        except OSError as error:
            raise SubmitError(f"cannot write to {folder}: {error.strerror}") from error
        self.queue_id = self._file.queue_id
        return self._file.writer

    def _into_memory(self) -> Writer:
        path = f"{self._store.directory}/public/pickup"
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            peer.connect(path)
        except OSError as error:
            raise SubmitError(f"mail system is down, and {self._store.directory}/maildrop may not be written by "
                              f"this user (connect to {path}: {error.strerror})") from error
        finally:
            peer.close()
        self._memory = os.memfd_create("mail", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.queue_id = new_id(time.time(), os.fstat(self._memory).st_ino)
        return Writer(self._memory)

    def write(self, octets: bytes) -> None:
        """Content, LF line ends. Raises SubmitError, TooBig."""
        if 0 < self._limit < self._writer.size + len(octets):      # below 0: none, as for Postfix's sendmail
            raise TooBig("message file too big")
        try:
            self._writer.add(octets)
        except OSError as error:
            raise SubmitError(f"error writing queue file: {error.strerror}") from error

    def send(self, envelope: Envelope, recipients: list[Recipient]) -> str:
        """Returns when the message is durable. Raises SubmitError."""
        envelope.program = "sendmail"
        try:
            self._writer.finish(envelope.facts(), recipients)
            if self._file is not None:
                self._store.commit_now(self._file, "maildrop")
                self._wake()
                return self.queue_id
            self._writer.complete()
            return self._hand_over()
        except OSError as error:
            raise SubmitError(f"error writing queue file: {error.strerror}") from error

    def _wake(self) -> None:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with peer:
                peer.settimeout(5.0)
                peer.connect(f"{self._store.directory}/public/pickup")
                peer.sendall(b'{"op":"wake"}\n')
        except OSError as error:
            self.warning = f"unable to look up public/pickup: {error.strerror}"

    def _hand_over(self) -> str:
        fcntl.fcntl(self._memory, fcntl.F_ADD_SEALS, _SEALS)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(ANSWER_S)
            peer.connect(f"{self._store.directory}/public/pickup")
            socket.send_fds(peer, [b'{"op":"submit"}'], [self._memory])
            with peer.makefile("rb") as lines:
                answer = json.loads(lines.readline() or b'{"error": "the mail system did not answer"}')
        if "error" in answer:
            raise (TooBig if answer.get("code") == 552 else SubmitError)(str(answer["error"]))
        return str(answer["ok"])

    def abort(self) -> None:
        """Forget the message; also after send."""
        if self._file is not None:
            self._file.close()
        if self._memory >= 0:
            with contextlib.suppress(OSError):
                os.close(self._memory)
            self._memory = -1
