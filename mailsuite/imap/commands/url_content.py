"""What a URL of RFC 4467 gives, in the process that has its owner's mail: the key, the token, who may fetch.

    token = token_of(key_of(context, "INBOX", make=True), rump)
    octets = fetched(context, url, None, Asker("bob"))              the message or part
    octets = fetched(context, url, ["BINARY"], Asker("bob"))        as it stands behind the URL in URLFETCH (RFC 5524)

context is the owner's; the asker may be somebody else (access/url_service.py).
A mailbox's key is 64 random octets in the owner's dictionary (store/attributes.py); the token is 0x01 and the HMAC-SHA1
of the URL up to the access. Both as Dovecot has them, so that a URL outlives a change of the server.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from mailsuite.base.errors import MailError, PeerError
from mailsuite.imap.binary import BrokenEncoding, Content, UnknownEncoding, binary_content
from mailsuite.imap.commands.context import Context
from mailsuite.imap.commands.urls import BadUrl, ImapUrl, parse_url
from mailsuite.imap.reply import literal
from mailsuite.message.message import Message
from mailsuite.message.mime import part_at
from mailsuite.message.render import render_body
from mailsuite.message.section import Section, parse_section
from mailsuite.store.attributes import URLAUTH, MailboxEntries

KEY_OCTETS = 64
_VERSION = b"\x01"


class UrlRefused(Exception):
    """This URL gives nothing; the text is for the client."""


class Asker(NamedTuple):
    """Who fetches. submits: by BURL, to send it."""

    user: str
    anonymous: bool = False
    submits: bool = False


def check_server(context: Context, url: ImapUrl) -> None:
    """Raises BadUrl."""
    if not url.user:
        raise BadUrl("Missing user name")
    params = context.params
    domain = context.store.user.partition("@")[2]
    if params.urlauth_host not in ("*", url.host) and not (params.urlauth_any_domain and domain == url.host):
        raise BadUrl("Inappropriate host name")
    if url.port not in (None, params.urlauth_port):
        raise BadUrl("Inappropriate server port")


def parsed(context: Context, octets: bytes) -> ImapUrl:
    """A URL that this server made, or may have. Raises UrlRefused."""
    try:
        url = parse_url(octets)
        if not url.access or not url.mechanism:
            raise BadUrl("Invalid URL: Must be a full URLAUTH URL")
        check_server(context, url)
    except BadUrl as error:
        raise UrlRefused(error.public) from error
    return url


def _may(url: ImapUrl, asker: Asker, *, owner: str) -> bool:
    """RFC 4467 section 2.4.2: who is meant by the access."""
    named = url.access_user is not None and asker.user in (url.access_user, f"{url.access_user}@{url.host}")
    match url.access:
        case "anonymous":
            return True
        case "authuser":
            return not asker.anonymous
        case "user":
            return not asker.anonymous and (named or asker.user == owner)
        case "submit":
            return asker.submits and named
    return False


def is_own(context: Context, url: ImapUrl) -> bool:
    return context.store.user in (url.user, f"{url.user}@{url.host}")


def entries_of(context: Context, mailbox: str) -> MailboxEntries:
    entries = context.store.attributes_of(mailbox)
    if entries is None:
        raise PeerError("URLAUTH disabled")
    return entries


def key_of(context: Context, mailbox: str, *, make: bool = False) -> bytes:
    """b"" when the mailbox has none. Raises MailError."""
    entries = entries_of(context, mailbox)
    for _ in range(2):
        found = entries.read().get(URLAUTH, b"")
        if found or not make:
            return bytes.fromhex(found.decode("ascii", "replace")) if _is_hex(found) else b""
        entries.add(URLAUTH, secrets.token_bytes(KEY_OCTETS).hex().encode())
    return b""


def _is_hex(text: bytes) -> bool:
    return len(text) == 2 * KEY_OCTETS and all(octet in b"0123456789abcdef" for octet in text.lower())


def token_of(key: bytes, rump: bytes) -> bytes:
    return _VERSION + hmac.digest(key, rump, hashlib.sha1)


def fetched(context: Context, octets: bytes, wanted: Sequence[str] | None, asker: Asker) -> bytes:
    """What stands behind the URL in the reply; wanted None: the octets, bare. Raises UrlRefused."""
    url = _verified(context, octets, asker)
    message, section = message_of(context, url)
    if wanted is None:
        return _part(message.section(section), url)
    found = []
    content = None
    with suppress(UnknownEncoding, BrokenEncoding):
        content = binary_content(message, section) if "BINARY" in wanted else None
    if "BODYPARTSTRUCTURE" in wanted:
        found.append(b"(BODYPARTSTRUCTURE %b)" % _structure(message, section, content))
    if "BODY" in wanted:
        found.append(b"(BODY %b)" % literal(_part(message.section(section), url)))
    if "BINARY" in wanted:
        found.append(b"(BINARY NIL)" if content is None else b"(BINARY ~%b)" % literal(_part(content.octets, url)))
    return b" ".join(found)


def _structure(message: Message, section: Section, content: Content | None) -> bytes:
    """BODYSTRUCTURE of a part; with decoded content its encoding and size are those of that, and its lines, which
    nobody has counted, are 0 (as imaptest wants it)."""
    part = part_at(message.structure, section.path) if section.path else message.structure
    if part is None:
        return b"NIL"
    rendered = render_body(part, message.octets, extended=True)
    if content is None or not content.decoded or part.is_multipart or part.is_message:
        return rendered
    size = part.end - part.body_start
    encoding = b"binary" if b"\0" in content.octets else b"7bit" if content.octets.isascii() else b"8bit"
    text = part.content_type is None or part.content_type.type.lower() == b"text"
    return re.sub(rb'"[^"]*" %d%b' % (size, rb" \d+" if text else b""),
                  b'"%b" %d%b' % (encoding, len(content.octets), b" 0" if text else b""), rendered, count=1)


def _verified(context: Context, octets: bytes, asker: Asker) -> ImapUrl:
    """A URL of this user's mail that the asker may fetch. Raises UrlRefused."""
    url = parsed(context, octets)
    if not is_own(context, url):
        raise UrlRefused("URLAUTH verification failed")
    if not _may(url, asker, owner=context.store.user):
        access = url.access if url.access_user is None else f"{url.access}+{url.access_user}"
        raise UrlRefused(f"No '{access}' access allowed for user {asker.user}")
    if url.expires_s is not None and url.expires_s < time.time():
        raise UrlRefused("URLAUTH has expired")
    if url.mechanism != "internal":
        raise UrlRefused("Unsupported URLAUTH mechanism")
    try:
        key = key_of(context, url.mailbox)
    except MailError as error:
        raise UrlRefused("URLAUTH verification failed") from error     # whether it exists is nobody's business
    if not key or not hmac.compare_digest(token_of(key, url.rump), url.token):
        raise UrlRefused("URLAUTH verification failed")
    return url


def message_of(context: Context, url: ImapUrl) -> tuple[Message, Section]:
    """Raises UrlRefused."""
    try:
        section = parse_section(url.section) if url.section else Section()
        mailbox = context.open(url.mailbox)
        if url.uid_validity is not None and url.uid_validity != mailbox.uid_validity:
            raise UrlRefused("Invalid UIDVALIDITY")
        mailbox.refresh()
        return mailbox.message(url.uid), section
    except PeerError as error:
        raise UrlRefused("Invalid section") from error
    except MailError as error:
        raise UrlRefused(error.public.removesuffix(".") if mailbox_missing(error) else "Message not found") from error


def mailbox_missing(error: MailError) -> bool:
    return error.public.startswith("Mailbox")


def _part(octets: bytes, url: ImapUrl) -> bytes:
    if url.partial is None:
        return octets
    start, length = url.partial
    return octets[start:] if length is None else octets[start:start + length]
