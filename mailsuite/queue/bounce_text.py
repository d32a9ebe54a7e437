"""The octets of delivery status notifications: multipart/report as RFC 3464 and RFC 6522 ask, worded as Postfix's.

    text = report(FAILURE, subject_of, facts...)            see `compose`
    wrap("long text", 79, 4)                                continuation lines are indented

Pure functions; bounce.py decides who gets what and sends it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mailsuite.address.syntax import quote_local
from mailsuite.queue.active import Ended
from mailsuite.smtp.received import header_date

WIDTH, INDENT = 79, 4


BUILT_IN_SENDER = "Mail Delivery System <MAILER-DAEMON>"
OBSOLETE_SENDER = "MAILER-DAEMON (Mail Delivery System)"        # header_from_format = obsolete


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of notice: how it is headed, what the attached original is called, its text (with $name in it).

    postmaster_subject: of copies to the postmaster; "" where there are none. origin: the file that it comes from.
    """

    name: str
    subject: str
    postmaster_subject: str
    attached: str
    text: str
    charset: str = "us-ascii"
    sender: str = BUILT_IN_SENDER
    origin: str = "[built-in]"


_HELP = """For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system
"""

FAILURE = Template(
    "failure", "Undelivered Mail Returned to Sender", "Postmaster Copy: Undelivered Mail", "Undelivered Message",
    f"""This is the mail system at host $myhostname.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

{_HELP}""")

DELAY = Template(
    "delay", "Delayed Mail (still being retried)", "Postmaster Warning: Delayed Mail", "Undelivered Message",
    f"""This is the mail system at host $myhostname.

####################################################################
# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #
####################################################################

Your message could not be delivered for more than $delay_warning_time_hours hour(s).
It will be retried until it is $maximal_queue_lifetime_days day(s) old.

{_HELP}""")

SUCCESS = Template("success", "Successful Mail Delivery Report", "", "Message",
    """This is the mail system at host $myhostname.

Your message was successfully delivered to the destination(s)
listed below. If the message was delivered to mailbox you will
receive no further notifications. Otherwise you may still receive
notifications of mail delivery errors from other systems.

                   The mail system
""")

VERIFY = Template("verify", "Mail Delivery Status Report", "", "Message",
    """This is the mail system at host $myhostname.

Enclosed is the mail delivery report that you requested.

                   The mail system
""")


BUILT_IN = {template.name: template for template in (FAILURE, DELAY, SUCCESS, VERIFY)}


@dataclass(frozen=True, slots=True)
class About:
    """The message that is reported on, and who reports.

    encoding: of the notice, as its Content-Transfer-Encoding says it: "8bit", "7bit", "" (not known).
    thread: the Message-ID that the notice shall be an answer to, "" for none (enable_threaded_bounces).
    """

    queue_id: str
    sender: str                # as shown: MAILER-DAEMON@host for the null sender
    arrival_time: float
    envid: str
    smtputf8: bool
    hostname: str
    mail_name: str
    now: float
    encoding: str = "8bit"
    thread: str = ""


def _octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


def wrap(text: str, width: int = WIDTH, indent: int = INDENT) -> str:
    """Break at blanks so that no line has more than width octets where that can be; later lines are indented."""
    lines: list[str] = []
    line, room = "", width
    for word in text.split(" "):
        if line and _octets(line) + 1 + _octets(word) > room:
            lines.append(line.rstrip())
            line, room = "", width - indent
            if not word:
                continue
        line = f"{line} {word}" if line else word
    lines.append(line)
    return ("\n" + " " * indent).join(lines)


def compose(about: About, template: Template, ended: Sequence[Ended], action: Callable[[Ended], str],
            recipient: str, original: bytes, *, headers_only: bool, postmaster: bool, retry_until: str = "",
            shown_reason: Callable[[Ended], str] = lambda ended: ended.report.reason) -> bytes:
    """The whole message but its Received: header; LF line ends. original: the returned part, as stored."""
    boundary = f"{about.queue_id}.{int(about.now)}/{about.hostname}"
    part_encoding = ["Content-Transfer-Encoding: 8bit"] if about.encoding == "8bit" else []
    kind = "global-" if about.smtputf8 else ""
    notice = [f"--{boundary}", "Content-Description: Notification",
              f"Content-Type: text/plain; charset={_charset(template, about.encoding)}", *part_encoding, "",
              "" if postmaster else template.text]
    for one in ended:
        notice += [wrap(f"{_named(one)}: {shown_reason(one)}"), ""]
    status = [f"--{boundary}", "Content-Description: Delivery report", f"Content-Type: message/{kind}delivery-status",
              *(part_encoding if kind else []), "", *_message_fields(about)]
    for one in ended:
        status += _recipient_fields(one, about, action(one), shown_reason(one), retry_until)
    name = template.attached + (" Headers" if headers_only else "")
    attached_type = (f"message/{kind}headers" if kind else "text/rfc822-headers") if headers_only else (
        "message/global" if kind else "message/rfc822")
    attached = ["", f"--{boundary}", f"Content-Description: {name}", f"Content-Type: {attached_type}",
                *part_encoding, "", f"Return-Path: <{quote_local(about.sender)}>", ""]
    head = _head(about, template, recipient, boundary, postmaster=postmaster)
    before = "\n".join(head + notice + status + attached).encode("utf-8", "surrogateescape")
    end = b"" if original.endswith(b"\n") or not original else b"\n"
    return before + original + end + f"\n--{boundary}--\n".encode()


def _head(about: About, template: Template, recipient: str, boundary: str, *, postmaster: bool) -> list[str]:
    """The header, and the line that programs without MIME show first."""
    thread = [f"References: {about.thread}", f"In-Reply-To: {about.thread}"] if about.thread else []
    encoding = [f"Content-Transfer-Encoding: {about.encoding}"] if about.encoding else []
    return [f"Date: {header_date(about.now)}", f"From: {template.sender}",
            f"Subject: {template.postmaster_subject if postmaster else template.subject}",
            f"To: {quote_local(recipient)}", *thread,
            f"Auto-Submitted: {'auto-generated' if postmaster else 'auto-replied'}", "MIME-Version: 1.0",
            "Content-Type: multipart/report; report-type=delivery-status;", f'\tboundary="{boundary}"',
            *encoding, "", "This is a MIME-encapsulated message.", ""]


def _charset(template: Template, encoding: str) -> str:
    """Addresses and replies in an 8-bit notice may be more than US-ASCII, whatever its template is written in."""
    return "utf-8" if encoding == "8bit" and template.charset.lower() == "us-ascii" else template.charset


def _final(one: Ended) -> str:
    """The address whose delivery ended: the recipient's, or what an alias had made of it."""
    return one.report.address or one.recipient.address


def _named(one: Ended) -> str:
    """"<address>", and what the sender had written where that is another."""
    address, original = _final(one), one.recipient.original or one.recipient.address
    shown = f"<{quote_local(address)}>"
    return shown if address.lower() == original.lower() else f"{shown} (expanded from <{quote_local(original)}>)"


def _message_fields(about: About) -> list[str]:
    """RFC 3464 section 2.2."""
    fields = [f"Reporting-MTA: dns; {about.hostname}"]
    if about.envid:
        fields.append(f"Original-Envelope-Id: {about.envid}")
    kind = "utf-8" if about.smtputf8 and not about.sender.isascii() else "rfc822"
    return [*fields, f"X-{about.mail_name}-Queue-ID: {about.queue_id}",
            f"X-{about.mail_name}-Sender: {kind}; {quote_local(about.sender)}",
            f"Arrival-Date: {header_date(about.arrival_time)}"]


def _recipient_fields(one: Ended, about: About, action: str, reason: str, retry_until: str) -> list[str]:
    """RFC 3464 section 2.3."""
    report, recipient = one.report, one.recipient
    kind = "utf-8" if about.smtputf8 and not _final(one).isascii() else "rfc822"
    fields = ["", f"Final-Recipient: {kind}; {quote_local(_final(one))}"]
    if recipient.orcpt:
        fields.append(f"Original-Recipient: {recipient.orcpt}")
    elif recipient.original:
        fields.append(f"Original-Recipient: rfc822; {quote_local(recipient.original)}")
    fields += [f"Action: {action}", f"Status: {report.dsn}"]
    if report.remote_mta:
        fields.append(f"Remote-MTA: {report.remote_mta}")
    fields.append(wrap(f"Diagnostic-Code: {report.diagnostic or f'X-{about.mail_name}; {reason}'}"))
    if retry_until:
        fields.append(f"Will-Retry-Until: {retry_until}")
    return fields
