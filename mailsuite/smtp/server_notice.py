"""A transcript of a session with trouble, by mail to the postmaster (notify_classes policy, protocol, software...)."""

import re
import time
from typing import TYPE_CHECKING

from mailsuite.base.errors import MailError
from mailsuite.base.log import logger
from mailsuite.queue.envelope import Envelope, Handling, Notify, Recipient
from mailsuite.smtp.received import header_date

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.cleanup import Cleanup

log = logger("smtpd")
CLASSES = frozenset({"policy", "protocol", "resource", "software", "data"})
_SECRET = re.compile(r"( In:  AUTH\s+\S+)\s.*", re.IGNORECASE)


def watched_classes(settings: "Settings") -> frozenset[str]:
    """Which kinds of trouble the postmaster wants to hear of from here."""
    return CLASSES & set(settings.text("notify_classes").lower().replace(",", " ").split())


async def send_transcript(settings: "Settings", cleanup: "Cleanup", client: str, lines: list[str]) -> None:
    """Queue the notice. Never raises: what goes wrong is logged."""
    hostname, mail_name = settings.text("myhostname"), settings.text("mail_name")
    postmaster = settings.text("error_notice_recipient")
    sender = f"{settings.text('double_bounce_sender')}@{hostname}"
    shown = postmaster if "@" in postmaster else f"{postmaster}@{settings.text('myorigin')}"
    date = header_date(time.time())
    try:
        intake = cleanup.begin(Envelope(sender=sender, handling=Handling.INTERNAL, program="bounce", is_bounce=True))
        try:
            await intake.recipient(Recipient(postmaster, notify=Notify.NEVER))
            header = [f"Received: by {hostname} ({mail_name})", f"\tid {intake.queue_id}; {date}", f"Date: {date}",
                      f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>", f"To: Postmaster <{shown}>",
                      f"Subject: {mail_name} SMTP server: errors from {client}",
                      f"Message-Id: <{time.strftime('%Y%m%d%H%M%S')}.{intake.queue_id}@{hostname}>"]
            body = ["Transcript of session follows.", "", *(_SECRET.sub(r"\1 ...", line) for line in lines), "", "",
                    "For other details, see the local mail logfile"]
            intake.write("\n".join([*header, "", *body, ""]).encode("utf-8", "surrogateescape"))
            await intake.commit()
        finally:
            intake.abort()
    except MailError as error:
        log.warning("cannot queue a notice for %s: %s", postmaster, error.detail or error.public)
