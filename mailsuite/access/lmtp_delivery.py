"""What becomes of a message that came by LMTP, in its recipient's worker.

    answer = await serve(mail, job, fd, settings)      {"delivered": [code, status, text]} or {"failed": why}
    outcome = deliver(store, job, fd, settings)        Delivered, durable when its code is 250; blocks
    answer = check(store, octets)                      whether it could be delivered, as far as quotas go

job is what the LMTP server sent: {"sender", "header", "detail", "address", "session"}, or dovecot-lda: then with
"program": "lda", and the detail is the mailbox of its -m. The descriptor holds the content with LF line ends. The
message goes to INBOX, or to the mailbox that the address' detail names, if that exists (or lda_mailbox_autocreate makes
it) and lmtp_save_to_detail_mailbox is on. The same store serves the user's IMAP sessions, so they hear of it at once.
"""

import logging
import os
import re
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from mailsuite.access.last_login import noting
from mailsuite.access.mail_log import logging_to, mail_log
from mailsuite.access.user_mail import UserMail
from mailsuite.base.log import access_logger
from mailsuite.smtp.lmtp_questions import TEMPORARY, Delivered
from mailsuite.store.api import (
    Append,
    Mailbox,
    MailError,
    MailStore,
    NoPermission,
    NoSuchMailbox,
    OverQuota,
    StoreError,
    TooLarge,
)
from mailsuite.store.events import telling
from mailsuite.store.names import to_mutf7

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

BLOCK = 256 * 1024
HEADER_LIMIT = 64 * 1024            # where the Message-ID is looked for
_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE | re.MULTILINE)

log = access_logger("lmtp")


def deliver(store: MailStore, job: Mapping[str, Any], fd: int, settings: "DovecotSettings") -> Delivered:
    """Store one message. Never raises what concerns this message only."""
    program = str(job.get("program", "lmtp"))
    note = _Note(store.user, str(job["session"]), _message_id(fd), program)
    try:
        wanted = str(job["detail"]) if program == "lda" or settings.flag("lmtp_save_to_detail_mailbox") else ""
        mailbox, shown = _mailbox(store, wanted, settings, note)
        with telling(mail_log(settings, logging_to(log, note.extra))):
            _save(mailbox, job, fd)
    except (OverQuota, TooLarge) as error:
        note.say("save failed to INBOX: %s", error.public)
        return Delivered(452, "4.2.2", error.public) if settings.flag("quota_full_tempfail") else \
            Delivered(552, "5.2.2", error.public)
    except MailError as error:
        note.say("save failed to INBOX: %s", error.detail or error.public, level=logging.ERROR)
        return Delivered(451, "4.2.0", _told(error))
    except Exception:
        log.exception("unforeseen in a delivery", extra=note.extra)
        return TEMPORARY
    note.say("saved mail to %s", shown)
    return Delivered()


async def serve(mail: UserMail, job: Mapping[str, Any], fd: int, settings: "DovecotSettings") -> dict[str, Any]:
    """Open the user's store if need be, and deliver in a thread; what the LMTP server shall hear."""
    try:
        store = await mail.opened()
    except MailError as error:
        return {"failed": error.detail or error.public}
    if "check" in job:
        return await mail.run(lambda: check(store, int(job["check"])))
    program = str(job.get("program", "lmtp"))
    extra = {"prefix": f"{program}({mail.user.user})<{os.getpid()}><{job['session']}>"}
    note = noting(mail.user, settings, partial(log.error, "%s", extra=extra), service=program)
    if note is not None:
        await mail.run(note)
    outcome = await mail.run(lambda: deliver(store, job, fd, settings))
    return {"delivered": [outcome.code, outcome.status, outcome.text]}


def check(store: MailStore, size: int) -> dict[str, Any]:
    """For quota-status: could a message of this size come to INBOX? {"quota": "free", "full" or "never"; "text"}."""
    if store.quota is None:
        return {"quota": "free"}
    try:
        store.quota.make_room("INBOX", [size], delivery=True)
        store.quota.admit("INBOX", [size], delivery=True)
    except TooLarge as error:
        return {"quota": "never", "text": error.public}
    except OverQuota as error:
        limits = [resource.limit for root in store.quota.state("INBOX") for resource in root.resources
                  if resource.name == "STORAGE" and resource.limit is not None]
        return {"quota": "never" if limits and size > min(limits) * 1024 else "full", "text": error.public}
    except MailError as error:
        return {"failed": error.detail or error.public}
    return {"quota": "free"}


class _Note:
    """Dovecot's line for a delivery: lmtp(user)<pid><session>: Info: msgid=<..>: text."""

    def __init__(self, user: str, session: str, message_id: str, program: str) -> None:
        self._message_id = message_id or "unspecified"
        self.extra = {"prefix": f"{program}({user})<{os.getpid()}><{session}>"}

    def say(self, text: str, *values: object, level: int = logging.INFO) -> None:
        log.log(level, "msgid=%s: " + text, self._message_id, *values, extra=self.extra)


def _message_id(fd: int) -> str:
    header = os.pread(fd, HEADER_LIMIT, 0).partition(b"\n\n")[0]
    found = _MESSAGE_ID.search(header)
    return b" ".join(found[1].split()).decode("utf-8", "replace") if found is not None else ""


def _told(error: MailError) -> str:
    """What a peer may hear: paths and rights are the administrator's business; the time finds them in the log."""
    if isinstance(error, NoPermission | StoreError):
        return f"{StoreError('').public} {time.strftime('[%Y-%m-%d %H:%M:%S]')}"
    return error.public


def _mailbox(store: MailStore, detail: str, settings: "DovecotSettings", note: _Note) -> tuple[Mailbox, str]:
    """The mailbox named by the detail, or INBOX, and its name for the log: a name that cannot be used loses no mail."""
    if detail:
        name = store.prefix + to_mutf7(detail)
        try:
            return _named(store, name, settings), detail
        except MailError as error:
            note.say("save failed to open mailbox %s: %s", detail, error.public)
    return store.open("INBOX", right=""), "INBOX"      # mail comes, whatever the owner's ACL says


def _named(store: MailStore, name: str, settings: "DovecotSettings") -> Mailbox:
    try:
        return store.open(name, right="p")
    except NoSuchMailbox:
        if not settings.flag("lda_mailbox_autocreate"):
            raise
    store.create(name)
    if settings.flag("lda_mailbox_autosubscribe"):
        store.subscribe(name, True)
    return store.open(name, right="p")


def _save(mailbox: Mailbox, job: Mapping[str, Any], fd: int) -> None:
    append: Append = mailbox.begin_append(sender=str(job["sender"]) or "MAILER-DAEMON",
                                            delivery=True)
    try:
        append.write(str(job["header"]).encode("utf-8", "surrogateescape"))
        at = 0
        while block := os.pread(fd, BLOCK, at):         # the descriptor's position belongs to all recipients
            append.write(block)
            at += len(block)
        append.finish([], None)
        append.commit()
        mailbox.arrived(0)
    except BaseException:
        append.abort()
        raise
