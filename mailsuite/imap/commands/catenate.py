"""CATENATE (RFC 4469): what a URL in APPEND and REPLACE stands for.

    fetch_url(context, b"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME") -> octets

The command itself is APPEND's (append.py): its parts come in any order, and texts are literals. URLs of other servers'
and users' messages are those of URLAUTH (urls.py), where more than Dovecot 2.3 has is offered.
"""

import re

from mailsuite.base.errors import MailError, PeerError
from mailsuite.imap.commands.context import Context
from mailsuite.imap.commands.urlauth import catenated
from mailsuite.imap.commands.urls import told_url
from mailsuite.imap.reply import Refusal
from mailsuite.message.section import Section, parse_section
from mailsuite.store.api import MessageGone

_URL = re.compile(rb"/?(?:([^;]*?)(?:;UIDVALIDITY=(\d+))?/)?;UID=(\d+)(?:/;SECTION=([^;]*))?"
                  rb"(?:/;PARTIAL=(\d+)(?:\.(\d+))?)?\Z", re.I)
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:")


def fetch_url(context: Context, url: bytes) -> bytes:
    """Octets of an IMAP URL without a server (RFC 5092 section 7). Raises Refusal [BADURL]."""
    if _SCHEME.match(url) and context.offers("LIST-METADATA"):
        try:
            return catenated(context, url)
        except PeerError as error:
            raise bad_url(url, f"Invalid IMAP URL: {error.public}") from error
    if _SCHEME.match(url):
        why = "Relative URL required" if url.lower().startswith(b"imap://") else "Not an IMAP URL"
        raise bad_url(url, f"Invalid IMAP URL: {why}")
    match = _URL.match(url)
    if match is None:
        raise bad_url(url, f"Invalid IMAP URL: {told_url(url)}")
    try:
        section = parse_section(match[4] or b"") if match[4] else Section()
        if match[1]:
            mailbox = context.open(match[1].decode("utf-8", "surrogateescape"))
        elif context.selected is not None and not url.startswith(b"/"):
            mailbox = context.selected.mailbox
        else:
            raise PeerError("Mailbox-relative IMAP URL, but no mailbox selected")
        if match[2] and int(match[2]) != mailbox.uid_validity:
            raise PeerError("Invalid UIDVALIDITY")
        octets = mailbox.message(int(match[3])).section(section)
    except MessageGone as error:
        raise bad_url(url, "Message not found") from error
    except MailError as error:
        raise bad_url(url, error.public.rstrip(".")) from error
    if match[5]:
        start = int(match[5])
        octets = octets[start:start + int(match[6])] if match[6] else octets[start:]
    return octets


def bad_url(url: bytes, why: str) -> Refusal:
    """NO [BADURL ...]."""
    return Refusal(why, f"BADURL {told_url(url)}")
