"""Tells senders what became of their mail, and the postmaster where configuration says so.

    bouncer = Bouncer(settings, cleanup)
    await bouncer.failure(message, ended)        non-delivery
    await bouncer.delay(message, ended)          still being tried
    await bouncer.success(message, ended)        NOTIFY=SUCCESS, `sendmail -bv`, or the end of a delay that was told of

Each returns after the notice is durable in the queue. Raises MailError when it could not be kept: the caller keeps the
original then. There is never a notice about a notice: mail from the null sender goes to the postmaster as a double
bounce (class 2bounce) or nowhere, mail from double-bounce@ nowhere.
Recipients with NOTIFY=NEVER, or without the matching word, are left out (RFC 3461 section 4.1). Mail with VERP gets a
notice for each recipient that failed, to the sender address that names it (disable_verp_bounces: one for all).
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mailsuite.address.syntax import split_domain
from mailsuite.base.errors import MailError, TemporaryError
from mailsuite.base.log import logger
from mailsuite.queue import params
from mailsuite.queue.active import Ended, Message
from mailsuite.queue.bounce_template import TemplateBook
from mailsuite.queue.bounce_text import About, Template, compose
from mailsuite.queue.envelope import Envelope, Handling, Notify, Origin, Recipient, Ret
from mailsuite.queue.headers import name_of, split_header
from mailsuite.queue.verp import verp_sender
from mailsuite.smtp.params import SMTPUTF8_ENABLE
from mailsuite.smtp.received import header_date

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.cleanup import Cleanup

HEADER_LIMIT = 1024 * 1024          # octets of a header that is sent back
_MESSAGE_ID = re.compile(rb":[ \t]*(<[^\n]{1,2000}>[ \t]*)")
log = logger("bounce")


def wants(ended: Ended, word: Notify) -> bool:
    """Whether the sender asked for (or did not decline) this kind of notice."""
    notify = ended.recipient.notify
    if word is Notify.SUCCESS:
        return bool(notify & Notify.SUCCESS)
    return not notify or bool(notify & word)


class Owed(TemporaryError):
    """Some failures could not be told of. owed: which."""

    def __init__(self, public: str, *, status: str, detail: str, owed: list[Ended]) -> None:
        super().__init__(public, status=status, detail=detail)
        self.owed = owed


class Bouncer:
    """One per qmgr and configuration."""

    def __init__(self, settings: "Settings", cleanup: "Cleanup") -> None:
        self._cleanup = cleanup
        self._hostname, self._mail_name = settings.text("myhostname"), settings.text("mail_name")
        self._size_limit = settings[params.BOUNCE_SIZE_LIMIT]
        classes = settings[params.NOTIFY_CLASSES]
        self._classes = frozenset(classes)
        self._double_bounce = f"{settings[params.DOUBLE_BOUNCE_SENDER]}@{self._hostname}"
        self._recipients = {"bounce": settings[params.BOUNCE_NOTICE_RECIPIENT],
                            "2bounce": settings[params.DOUBLE_BOUNCE_NOTICE_RECIPIENT],
                            "delay": settings[params.DELAY_NOTICE_RECIPIENT]}
        filtered = "bounce" in settings[params.INTERNAL_MAIL_FILTER_CLASSES]
        self._handling = Handling.INTERNAL | (Handling.FILTER | Handling.MILTER if filtered else Handling.NONE)
        self._utf8, self._threaded = settings[SMTPUTF8_ENABLE], settings[params.ENABLE_THREADED_BOUNCES]
        self._redact = settings.text("requiretls_redact_dsn") != "no"
        self._one_for_all = settings[params.DISABLE_VERP_BOUNCES]
        self._book = TemplateBook(settings)

    def is_double_bounce(self, sender: str) -> bool:
        local, domain = split_domain(sender)
        return f"{local}@{domain or self._hostname}".lower() == self._double_bounce.lower()

    # --- kinds --------------------------------------------------------------------------------------------------

    async def failure(self, message: Message, ended: list[Ended], *, headers_only: bool = False) -> None:
        """Non-delivery, to the sender or the owner of a list, and perhaps to the postmaster. Raises Owed."""
        owed: list[Ended] = []
        why: MailError | None = None
        for recipient, some, by_owner in self._groups(message, ended):
            try:
                await self._failure(message, some, recipient, by_owner=by_owner, headers_only=headers_only)
            except MailError as error:
                owed += some
                why = error
        if why is not None:
            raise Owed(why.public, status=why.status, detail=why.detail, owed=owed) from why

    def _groups(self, message: Message, ended: list[Ended]) -> Iterator[tuple[str, list[Ended], bool]]:
        """(who is told, of which failures, whether he is a list's owner)."""
        for owner in sorted({one.report.owner for one in ended} - {""}):
            yield owner, [one for one in ended if one.report.owner == owner], True
        rest = [one for one in ended if not one.report.owner]
        sender, verp = message.envelope.sender, message.envelope.verp
        if verp and sender and not self._one_for_all:
            for one in rest:
                yield verp_sender(verp, sender, one.recipient), [one], False
        elif rest:
            yield sender, rest, False

    async def _failure(self, message: Message, ended: list[Ended], recipient: str, *, by_owner: bool,
                       headers_only: bool) -> None:
        template, sender = self._book.filled("failure"), message.envelope.sender
        if by_owner:
            await self._send(message, template, ended, "failed", recipient, headers_only=headers_only,
                             what="sender non-delivery notification")
            return
        if self.is_double_bounce(sender):
            log.warning("%s: undeliverable postmaster notification discarded", message.queue_id)
            return
        if not sender:
            if self._classes & {"bounce", "2bounce"}:
                await self._send(message, template, ended, "failed", self._recipients["2bounce"],
                                 postmaster=True, what="postmaster non-delivery notification")
            return
        told = [one for one in ended if wants(one, Notify.FAILURE)]
        if told:
            await self._send(message, template, told, "failed", recipient, headers_only=headers_only,
                             what="sender non-delivery notification")
        if "bounce" in self._classes:
            await self._send(message, template, ended, "failed", self._recipients["bounce"], postmaster=True,
                             headers_only=True, what="postmaster non-delivery notification")

    async def delay(self, message: Message, ended: list[Ended], lifetime_s: int) -> None:
        """A warning: nothing is lost yet."""
        sender = message.envelope.sender
        if not sender or self.is_double_bounce(sender):
            return
        template = self._book.filled("delay")
        until = header_date(message.envelope.arrival_time + lifetime_s)
        told = [one for one in ended if wants(one, Notify.DELAY)]
        if told:
            await self._send(message, template, told, "delayed", sender, headers_only=True,
                             retry_until=until, what="sender delay notification")
        if "delay" in self._classes:
            await self._send(message, template, ended, "delayed", self._recipients["delay"], postmaster=True,
                             headers_only=True, retry_until=until, what="postmaster delay notification")

    async def success(self, message: Message, ended: list[Ended]) -> None:
        """Delivery, where it was asked for."""
        verify = message.envelope.verify
        told = [one for one in ended if verify or self._is_owed(message, one)]
        if not told:
            return
        sender = message.envelope.sender
        if self.is_double_bounce(sender) or (not sender and "2bounce" not in self._classes):
            log.info("%s: not sending trace/success notification for %s-bounce message", message.queue_id,
                     "double" if sender else "single")
            return
        await self._send(message, self._book.filled("verify" if verify else "success"), told, "",
                         sender or self._recipients["2bounce"], headers_only=True, returned=bool(sender),
                         what="sender delivery status notification")

    def _is_owed(self, message: Message, ended: Ended) -> bool:
        """The next host takes over what NOTIFY=SUCCESS asks for, but it knows nothing of our warning."""
        return wants(ended, Notify.SUCCESS) and not ended.report.dsn_done or (
            message.clears_delay and wants(ended, Notify.DELAY) and ended.report.action != "expanded")

    # --- sending ------------------------------------------------------------------------------------------------

    async def _send(self, message: Message, template: Template, ended: list[Ended], action: str, recipient: str, *,
                    what: str, headers_only: bool = False, postmaster: bool = False, retry_until: str = "",
                    returned: bool = True) -> None:
        """Make one notice and put it into the queue. postmaster: it is a copy for him, without the text.
        returned: its own failure would be a double bounce; else it would be thrown away."""
        envelope = message.envelope
        about = self._about(message)
        secret = envelope.require_tls == "yes"          # RFC 8689 section 5: as if RET=HDRS had been said
        if secret or (envelope.ret is Ret.HDRS and not postmaster) or message.size + envelope.lines > self._size_limit:
            headers_only = True
        original = read_original(message, headers_only=headers_only)
        if self._threaded:
            about = replace(about, thread=message_id(original))
        content = compose(about, template, ended, _action(action, envelope.verify == "verify"), recipient, original,
                          headers_only=headers_only, postmaster=postmaster, retry_until=retry_until,
                          shown_reason=_reason(action, traced=bool(envelope.verify)))
        sender = self._double_bounce if postmaster or not returned else ""
        notice = Envelope(sender=sender, origin=Origin(), handling=self._handling, encoding=about.encoding,
                          smtputf8=envelope.smtputf8,
                          utf8_header=envelope.utf8_header, program="bounce", is_bounce=True,
                          require_tls="" if secret and self._redact else envelope.require_tls)
        intake = self._cleanup.begin(notice)
        try:
            await intake.recipient(Recipient(recipient))
            intake.write(f"Received: by {self._hostname} ({self._mail_name})\n\tid {intake.queue_id}; "
                         f"{header_date(about.now)}\n".encode())
            intake.write(content)
            accepted = await intake.commit()
        finally:
            intake.abort()
        log.info("%s: %s: %s", message.queue_id, what, accepted.queue_id)

    def _about(self, message: Message) -> About:
        envelope = message.envelope
        return About(message.queue_id, envelope.sender or f"MAILER-DAEMON@{self._hostname}", envelope.arrival_time,
                     envelope.envid, envelope.smtputf8, self._hostname, self._mail_name, time.time(),
                     "8bit" if self._utf8 else envelope.encoding)


_WORDS = {"sent": "delivered", "bounced": "failed"}
_PROBE_WORDS = {"sent": "deliverable", "bounced": "undeliverable"}


def _action(fixed: str, probe: bool) -> Callable[[Ended], str]:
    """RFC 3464 section 2.3.3's word; probe: nothing was delivered (sendmail -bv)."""
    words = _PROBE_WORDS if probe else _WORDS

    def action(ended: Ended) -> str:
        if fixed:
            return fixed
        return ("" if probe else ended.report.action) or words.get(ended.report.status,
                                                                   "undeliverable" if probe else "delayed")
    return action


def _reason(fixed: str, *, traced: bool) -> Callable[[Ended], str]:
    """traced: of sendmail -bv and -v, which tell of failures as of deliveries."""
    def reason(ended: Ended) -> str:
        report = ended.report
        if fixed or report.action == "expanded" or (report.status != "sent" and not traced) or report.relay == "none":
            return report.reason
        return f"delivery via {report.relay}: {report.reason}"
    return reason


def read_original(message: Message, *, headers_only: bool) -> bytes:
    """The stored content, or its header. Raises OSError."""
    fd = os.dup(message.fd) if message.fd >= 0 else os.open(message.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not headers_only:
            return os.pread(fd, message.size, message.offset)
        head = os.pread(fd, min(message.size, HEADER_LIMIT), message.offset)
    finally:
        os.close(fd)
    if head.startswith(b"\n"):
        return b""
    end = head.find(b"\n\n")
    return head if end < 0 else head[: end + 1]


def message_id(header: bytes) -> str:
    """The Message-ID that a notice can answer to; "" when there is none of the usual form."""
    for field in split_header(header, whole=True)[0]:
        if name_of(field) == b"message-id":
            match = _MESSAGE_ID.fullmatch(field, field.index(b":"))
            return match[1].decode("utf-8", "surrogateescape") if match else ""
    return ""
