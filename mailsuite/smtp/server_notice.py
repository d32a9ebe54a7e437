"""Mail to the postmaster: transcripts of sessions with trouble (notify_classes), accounts that send too much."""

import re
import time
from typing import TYPE_CHECKING, NamedTuple

from mailsuite.base.errors import MailError
from mailsuite.base.log import logger
from mailsuite.queue.bounce_text import BUILT_IN_SENDER, OBSOLETE_SENDER, wrap
from mailsuite.queue.envelope import Envelope, Handling, Notify, Recipient
from mailsuite.queue.params import (
    BOUNCE_NOTICE_RECIPIENT,
    ERROR_NOTICE_RECIPIENT,
    HEADER_FROM_FORMAT,
    INTERNAL_MAIL_FILTER_CLASSES,
)
from mailsuite.smtp.received import header_date

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.cleanup import Cleanup
    from mailsuite.smtp.facts import Facts
    from mailsuite.smtp.policy.sending import Verdict

log = logger("smtpd")
CLASSES = frozenset({"bounce", "policy", "protocol", "resource", "software", "data"})
WIDTH, INDENT = 78, 4
_MORE = "For other details, see the local mail logfile"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SECRET = re.compile(r"( In:  AUTH\s+\S+)\s.*", re.IGNORECASE)


def watched_classes(settings: "Settings") -> frozenset[str]:
    """Which kinds of trouble the postmaster wants to hear of from here."""
    return CLASSES & set(settings.text("notify_classes").lower().replace(",", " ").split())


class Notice(NamedTuple):
    """A message to a role of this site. lines: its text."""

    recipient: str
    subject: str
    lines: list[str]


def transcript(settings: "Settings", client: str, lines: list[str], trouble: frozenset[str] | set[str],
               reason: str = "") -> Notice:
    """A session that had trouble. trouble: classes of notify_classes. reason: why it ended early."""
    role = BOUNCE_NOTICE_RECIPIENT if "bounce" in trouble else ERROR_NOTICE_RECIPIENT
    end = ["", f"Session aborted, reason: {reason}", ""] if reason else ["", ""]
    return Notice(settings[role], f"{settings.text('mail_name')} SMTP server: errors from {client}",
                  ["Transcript of session follows.", "", *_shown(lines), *end, _MORE])


def client_transcript(settings: "Settings", protocol: str, host: str, lines: list[str]) -> Notice:
    """A session of ours with another server. protocol: SMTP or LMTP. host: "host[address]:port"."""
    return Notice(settings[ERROR_NOTICE_RECIPIENT],
                  f"{settings.text('mail_name')} {protocol} client: errors from {host}",
                  [f"Unexpected response from {host}.", "", "Transcript of session follows.", "", *_shown(lines), "",
                   _MORE])


def _shown(lines: list[str]) -> list[str]:
    """The lines of a dialogue as mail has them."""
    return [" " + wrap(line.lstrip(" "), WIDTH - 1, INDENT).replace("\n", "\n ")
            for line in (_CONTROL.sub("?", _SECRET.sub(r"\1 ...", line)) for line in lines)]


def account_notice(facts: "Facts", verdict: "Verdict", unit_s: int) -> Notice:
    """An account that sends more than it may."""
    account = facts.sasl_username
    return Notice("postmaster", f"Account {account} sends more than it may: its mail is on hold", [
        f"The account {account} has sent to {verdict.sent} recipients within {unit_s} seconds;",
        f"smtpd_sasl_recipient_rate_limit allows {verdict.limit}. What it sends beyond is kept on hold.",
        "", f"Now it sends from {facts.client.host}, as <{facts.sender or ''}>.", "",
        "If its owner did not send this, change the password, and delete the mail:",
        "    postqueue -p", "    postsuper -d QUEUE_ID hold", "",
        "If he did, release it, and give the account a higher limit (smtpd_sasl_recipient_rate_limit_maps):",
        "    postsuper -H QUEUE_ID"])


async def send_notice(settings: "Settings", cleanup: "Cleanup", notice: Notice) -> None:
    """Queue it. Never raises: what goes wrong is logged."""
    hostname, mail_name = settings.text("myhostname"), settings.text("mail_name")
    recipient = notice.recipient
    sender = f"{settings.text('double_bounce_sender')}@{hostname}"
    postmaster = settings[ERROR_NOTICE_RECIPIENT]           # in the header also of what bounce_notice_recipient gets
    shown = postmaster if "@" in postmaster else f"{postmaster}@{settings.text('myorigin')}"
    obsolete = settings[HEADER_FROM_FORMAT].lower() == "obsolete"
    named = OBSOLETE_SENDER if obsolete else BUILT_IN_SENDER
    date = header_date(time.time())
    try:
        filtered = "notify" in settings[INTERNAL_MAIL_FILTER_CLASSES]
        handling = Handling.INTERNAL | (Handling.FILTER | Handling.MILTER if filtered else Handling.NONE)
        intake = cleanup.begin(Envelope(sender=sender, handling=handling, program="bounce", is_bounce=True))
        try:
            await intake.recipient(Recipient(recipient, notify=Notify.NEVER))
            header = [f"Received: by {hostname} ({mail_name})", f"\tid {intake.queue_id}; {date}", f"Date: {date}",
                      f"From: {named.replace('MAILER-DAEMON', f'MAILER-DAEMON@{hostname}')}",
                      f"To: {shown} (Postmaster)" if obsolete else f"To: Postmaster <{shown}>",
                      f"Subject: {notice.subject}",
                      f"Message-Id: <{time.strftime('%Y%m%d%H%M%S')}.{intake.queue_id}@{hostname}>"]
            intake.write("\n".join([*header, "", *notice.lines, ""]).encode("utf-8", "surrogateescape"))
            await intake.commit()
        finally:
            intake.abort()
    except MailError as error:
        log.warning("cannot queue a notice for %s: %s", recipient, error.detail or error.public)
