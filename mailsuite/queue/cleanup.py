"""The function that every message passes on its way into the queue.

    cleanup = Cleanup(settings, rewriter, store, notifier)     one per process
    intake = cleanup.begin(envelope)                           at the first RCPT: the queue id is known from here
    await intake.recipient(Recipient("a@b.test"))              as often as needed; virtual aliases are expanded here
    intake.write(received_header)                              first the Received: header of whoever accepts the mail
    intake.write(octets)                                       then the message, LF line ends, blocks of any size
    accepted = await intake.commit()                           returns after file and name are on disk

Parts: cleanup_recipients.py, cleanup_header.py, cleanup_body.py, cleanup_checks.py, cleanup_inspect.py.

settings: those of the accepting service with the overrides of the cleanup service (`context.settings_of("cleanup")`).
Headers are held back until they end (HELD octets at once), then pass through `cleanup_header.py`; the body goes to the
file as it comes, unless body checks are configured (`cleanup_body.py`). What goes wrong is kept and told by commit.
Limits: message_size_limit octets of content, duplicate_filter_limit recipients remembered.
"""

import asyncio
import errno
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from mailsuite.base.errors import MailError
from mailsuite.base.log import logger
from mailsuite.message.mime_pass import MimePass, Problem
from mailsuite.queue import params
from mailsuite.queue.active import Message
from mailsuite.queue.cleanup_body import new_pass
from mailsuite.queue.cleanup_characters import Characters
from mailsuite.queue.cleanup_checks import ContentChecks
from mailsuite.queue.cleanup_header import HeaderPass, HeaderWork
from mailsuite.queue.cleanup_inspect import inspect
from mailsuite.queue.cleanup_recipients import RecipientList
from mailsuite.queue.envelope import Envelope, Handling, Recipient
from mailsuite.queue.file import RESERVE
from mailsuite.queue.headers import split_header
from mailsuite.queue.inspection import Inspector
from mailsuite.queue.journal import Place
from mailsuite.queue.notify import QueueNotice
from mailsuite.queue.refused import Refused as Refused
from mailsuite.rewrite.mapping import MESSAGE
from mailsuite.smtp.params import CLEANUP_REPLACE_STRAY_CR_LF, MESSAGE_SIZE_LIMIT

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.notify import Notifier
    from mailsuite.queue.store import QueueFile, QueueStore
    from mailsuite.rewrite.rewriter import Rewriter

HELD = 64 * 1024
log = logger("cleanup")
_RETURNED = frozenset(range(500, 600)) - {552}         # 552: not all of the message is there
# Who accepted a message -> its name in smtputf8_autodetect_classes.
_UTF8_CLASS = {"pickup": "sendmail", "smtpd": "smtpd", "local": "forward", "bounce": "bounce", "verify": "verify"}
_FROM_OUTSIDE = frozenset({"smtpd", "pickup"})


class Accepted(Struct, frozen=True):
    """The message is on disk under its name; or another server has it, and said `reply`."""

    queue_id: str
    size: int
    reply: str = ""


class Cleanup:
    """One per process. notifier None: qmgr finds the mail by its scan."""

    def __init__(self, settings: "Settings", rewriter: "Rewriter", store: "QueueStore",
                 notifier: "Notifier | None" = None) -> None:
        self.rewriter, self.store, self.notifier = rewriter, store, notifier
        self.checks = ContentChecks(settings)
        self.header_work = HeaderWork(settings, rewriter, self.checks)
        self.characters = Characters.of(settings)
        self.size_limit = settings[MESSAGE_SIZE_LIMIT]
        self.replaces_cr = settings[CLEANUP_REPLACE_STRAY_CR_LF]
        self.content_filter = settings[params.CONTENT_FILTER]
        classes = settings[params.SMTPUTF8_AUTODETECT_CLASSES] if settings.text("smtputf8_enable") != "no" else ()
        self.utf8_classes = frozenset(_UTF8_CLASS.values() if "all" in classes else classes)
        self.flow_delay_s = settings[params.IN_FLOW_DELAY]
        self.by_original = settings[params.ENABLE_ORIGINAL_RECIPIENT]
        self.duplicates = int(settings.text("duplicate_filter_limit") or 1000)
        self.first: list[Inspector] = []        # of every message: what verifies
        self.last: list[Inspector] = []         # and what signs
        # Inspectors of mail that no SMTP client brought: non_smtpd_milters.
        self.local_inspectors: Callable[[Intake], list[Inspector]] | None = None

    def begin(self, envelope: Envelope) -> "Intake":
        """Make a queue file. The envelope belongs to the intake now and may be changed (hold, filter) until commit.

        Raises Refused (452 4.3.1 Insufficient system storage, 451 4.3.0).
        """
        try:
            file = self.store.create()
        except OSError as error:
            log.warning("cannot make a queue file: %s", error)
            raise _storage(error) from error
        if not envelope.filter and (envelope.program in _FROM_OUTSIDE or Handling.FILTER in envelope.handling):
            envelope.filter = self.content_filter
        intake = Intake(self, envelope, file)
        if self.local_inspectors is not None:
            intake.inspectors = self.local_inspectors(intake)
        return intake


class Intake:
    """One message on its way in. queue_id is known from the start; size counts the content so far."""

    def __init__(self, cleanup: Cleanup, envelope: Envelope, file: "QueueFile") -> None:
        self.cleanup, self.envelope, self.queue_id = cleanup, envelope, file.queue_id
        self.size = 0
        self.list = RecipientList(cleanup.rewriter, envelope, self.queue_id, by_original=cleanup.by_original,
                                  remembered=cleanup.duplicates)
        self.recipients = self.list.all
        self.inspectors: list[Inspector] = []       # of this message, set before its first octet
        self.discarded = self.passed = False
        self.returnable = False         # local mail: what checks refuse is read to its end, to be sent back
        self.trouble: Refused | None = None
        self._file: QueueFile | None = file
        self._held: list[bytes] = []
        self._held_size = 0
        self._task: asyncio.Task[None] | None = None
        self.problems: set[Problem] = set()
        checked = Handling.FILTER in envelope.handling
        self._mime: MimePass | None = new_pass(cleanup.checks, self) if checked else None
        self._header: HeaderPass | None = HeaderPass(cleanup.header_work, self, self._mime)
        self._check_body = checked and cleanup.checks.lines_on
        self._characters = cleanup.characters if checked else None
        self._disallowed: str | None = None         # the line with a character that nothing may have
        self._rest = b""
        self._header_size = 0
        self._sender: str | None = None

    # --- recipients ---------------------------------------------------------------------------------------------

    @property
    def said_sender(self) -> str:
        return self.envelope.sender if self._sender is None else self._sender

    @property
    def said_recipient(self) -> str:
        return self.list.said

    async def recipient(self, recipient: Recipient) -> None:
        """Add a recipient; expands virtual aliases. What is wrong (451 4.6.0 Alias expansion error) is told by commit,

        as Postfix does: the reply to RCPT is the access policy's, the message as a whole is taken or not.
        """
        if self.trouble is not None:
            return                          # told already; nothing more is looked up for this message
        self.list.originals.append(recipient.address)
        try:
            await self.list.add(recipient)
        except Refused as error:
            self.trouble = self.trouble or error

    # --- content ------------------------------------------------------------------------------------------------

    def write(self, octets: bytes) -> None:
        """Content, LF line ends, blocks of any size. Never raises: what is wrong is told by commit."""
        if self._file is None or (self.trouble is not None and self.failed) or self._disallowed is not None:
            return
        if self._characters is not None:
            octets, self._disallowed = self._characters.look(octets)
        if not self.size and (self.inspectors or self.cleanup.first or self.cleanup.last):
            self._file.writer.reserve = RESERVE
        if self.cleanup.replaces_cr and b"\r" in octets:
            octets = octets.replace(b"\r", b" ")       # a server behind us might take it for a line's end
        self.size += len(octets)
        if 0 < self.cleanup.size_limit < self.size:
            log.warning("%s: queue file size limit exceeded", self.queue_id)
            self.refuse(552, "5.3.4", "Error: message file too big")
            self._held.clear()
            return
        if self._header is None and not self._held and not self._check_body:
            self._store(octets)
            return
        self._held.append(octets)
        self._held_size += len(octets)
        if self._held_size >= HELD and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._take(whole=False))

    @property
    def failed(self) -> bool:
        """Something is wrong already (too big, disk full): the rest of the content need not be given."""
        return self.trouble is not None and not (self.returnable and self.trouble.code in _RETURNED)

    @property
    def stopped(self) -> bool:
        """Nobody needs to look at the content any more."""
        return self.discarded or (self.trouble is not None and self.failed)

    def refuse(self, code: int, status: str, text: str) -> None:
        """The first reason counts."""
        if self.trouble is None:
            self.trouble = Refused(code, status, text)

    def _store(self, octets: bytes) -> None:
        if self._file is None or not octets:
            return
        try:
            self._file.writer.add(octets)
        except OSError as error:
            log.warning("%s: write queue file: %s", self.queue_id, error)
            self.trouble = self.trouble or _storage(error)

    async def _take(self, *, whole: bool) -> None:
        """Pass on what is held; whole: it is the end of the message."""
        while (self._held or whole) and (self.trouble is None or not self.failed):
            block = b"".join(self._held)
            self._held.clear()
            self._held_size = 0
            if self._header is not None:
                await self._take_header(block, whole)
            elif self._mime is not None and self._check_body:
                self._store(await self._mime.lines(block))
            else:
                self._store(block)
            if whole:
                break

    async def _take_header(self, block: bytes, whole: bool) -> None:
        header = self._header
        assert header is not None
        fields, body, self._rest = split_header(self._rest + block, whole=whole)
        limit = header.work.size_limit
        if len(self._rest) > limit:
            # Cut, but never at a line end: what follows is still the same field.
            self._rest = self._rest[:limit].rstrip(b"\n")
        sender = await self._final_sender()         # before any check, whose log lines name it
        text = await header.fields(fields)
        self._header_size += len(text)
        if body is None:
            self._store(text)
            return
        self._header = None
        missing = await header.end(sender)
        self._header_size += len(missing)
        text += missing
        if self._mime is not None and self._check_body:
            body = await self._mime.lines(body)
        self._store(text + body)

    async def _final_sender(self) -> str:
        if self._sender is None:
            self._sender = self.envelope.sender
            if self.list.maps:
                MESSAGE.set(self.queue_id)
                try:
                    self._sender = await self.cleanup.rewriter.sender(self._sender)
                except MailError as error:
                    self.refuse(451, "4.3.0", "Error: queue file write error")
                    log.warning("%s: %s", self.queue_id, error)
        return self._sender

    # --- the end ------------------------------------------------------------------------------------------------

    async def commit(self) -> Accepted:
        """Returns when file and name are on disk. Raises Refused; the intake is then gone as after abort."""
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()

        def told(result: Accepted | Refused) -> None:
            if future.done():
                return
            if isinstance(result, Accepted):
                future.set_result(result)
            else:
                future.set_exception(result)

        at_once = await self.commit_then(told)
        return at_once if at_once is not None else await future

    async def commit_then(self, told: Callable[[Accepted | Refused], None]) -> Accepted | None:
        """The same, but for the disk nobody waits here: None says that `told` will be called, once. Raises Refused."""
        try:
            if (notifier := self.cleanup.notifier) is not None and notifier.behind:
                await asyncio.sleep(self.cleanup.flow_delay_s)
            if self._task is not None:
                await self._task
            await self._take(whole=self._disallowed is None)
            if self._disallowed is not None:
                self.cleanup.checks.disallowed(self, self._disallowed)
            if self._mime is not None and self._check_body:
                self._store(await self._mime.end())
            if self.problems:
                first = next(problem for problem in Problem if problem in self.problems)
                self.refuse(550, "5.6.0", first.value)
            sender = self._sender if self._sender is not None else await self._final_sender()
            if self.trouble is None and not self.discarded:
                sender = await self._complete(sender)
            if self.trouble is not None:
                if self.returnable and not self.failed:
                    self.trouble.returned = self._as_message(sender)
                raise self.trouble
            return self._keep(sender, told)
        finally:
            self.abort()

    async def _complete(self, sender: str) -> str:
        """Copies; the inspectors' decisions and edits; REDIRECT. Returns the sender as it is now."""
        try:
            await self.list.copies(sender)
            if inspectors := [*self.cleanup.first, *self.inspectors, *self.cleanup.last]:
                assert self._file is not None
                await inspect(self, inspectors, self._file.writer, self._header_size, self.cleanup.store.pool)
            if self.envelope.redirect:
                await self.list.redirect(self.envelope.redirect)
                self.envelope.filter = ""       # REDIRECT overrides FILTER and content_filter: header_checks(5)
        except Refused as error:
            self.trouble = self.trouble or error
        except OSError as error:
            log.warning("%s: write queue file: %s", self.queue_id, error)
            self.trouble = self.trouble or _storage(error)
        return self._sender if self._sender is not None else await self._final_sender()

    async def change_sender(self, address: str) -> None:
        """An inspector's wish. Raises Refused."""
        self.envelope.sender, self._sender = address, None
        await self._final_sender()

    def _as_message(self, sender: str) -> Message | None:
        """The refused message for a notice; its descriptor is the caller's to close."""
        file, self.envelope.sender = self._file, sender
        assert file is not None
        try:
            recipients = file.finish(self.envelope.facts(), self.recipients)
            file.writer.complete()
            return Message(self.queue_id, self.envelope, file.writer.start, file.writer.size, recipients, time.time(),
                           "", fd=os.dup(file.fd))
        except OSError as error:
            log.warning("%s: write queue file: %s", self.queue_id, error)
            return None

    def _keep(self, sender: str, told: Callable[[Accepted | Refused], None]) -> Accepted | None:
        """As commit_then."""
        file = self._file
        assert file is not None
        if self.discarded:
            return Accepted(self.queue_id, self.size)
        if not self.recipients:
            raise Refused(554, "5.5.1", "Error: no valid recipients")
        envelope, store = self.envelope, self.cleanup.store
        envelope.sender = sender
        if not envelope.smtputf8 and _UTF8_CLASS.get(envelope.program, "") in self.cleanup.utf8_classes:
            envelope.smtputf8 = envelope.utf8_header or not sender.isascii() or not all(
                recipient.address.isascii() for recipient in self.recipients)
        envelope.lines = file.writer.lines
        kept = envelope.kept()
        queue = "hold" if envelope.hold else "incoming"
        try:
            recipients = file.finish(kept.facts(), self.recipients)
            size = file.writer.size
            # The limit is meant for the message with its envelope, as in Postfix.
            if 0 < self.cleanup.size_limit < file.writer.whole:
                log.warning("%s: queue file size limit exceeded", self.queue_id)
                raise Refused(552, "5.3.4", "Error: message file too big")
            # The file is the store's now: whoever waits for us may be cancelled, the commit goes on.
            self._file = None
            notice: QueueNotice | None = None
            if (notifier := self.cleanup.notifier) is not None and queue == "incoming":
                notice = QueueNotice("new", self.queue_id, file.writer.start, size, kept, recipients)

            def done(error: OSError | None) -> None:
                if error is None:
                    self._tell(notice, file.place)
                    told(Accepted(self.queue_id, size))
                else:
                    told(self._not_written(error))

            store.commit_then(
                file, queue, done, to_journal=store.journal is not None and notice is not None
                and notifier is not None and notifier.journal and not notifier.behind)
        except OSError as error:
            raise self._not_written(error) from error
        return None

    def _not_written(self, error: OSError) -> Refused:
        log.warning("%s: write queue file: %s", self.queue_id, error)
        return _storage(error)

    def _tell(self, notice: QueueNotice | None, place: Place | None) -> None:
        """qmgr hears of what is on disk, also when nobody waits for the answer any more."""
        if self.cleanup.notifier is not None and notice is not None:
            notice.at = place
            self.cleanup.notifier.tell(notice)

    def abort(self) -> None:
        """Forget the message; may be called at any time, also twice, also after commit (then it does nothing)."""
        if self._task is not None:
            self._task.cancel()
        if self._file is not None:
            self._file.close()
            self._file = None
        self._held.clear()


def _storage(error: OSError) -> Refused:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refused(452, "4.3.1", "Insufficient system storage", detail=str(error))
    return Refused(451, "4.3.0", "Error: queue file write error", detail=str(error))
