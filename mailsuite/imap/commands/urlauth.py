"""GENURLAUTH, URLFETCH, RESETKEY (RFC 4467) and what URLFETCH can be asked for besides (RFC 5524).

    GENURLAUTH "imap://anna@mx.test/INBOX/;uid=20;urlauth=user+bob" INTERNAL
    URLFETCH ("imap://anna@mx.test/INBOX/;uid=20;urlauth=user+bob:internal:0191..." BINARY BODYPARTSTRUCTURE)

A mailbox's key is 64 random octets in the owner's dictionary (store/attributes.py); the token is 0x01 and the HMAC-SHA1
of the URL up to the access. Both as Dovecot has them, so that a URL outlives a change of the server. RESETKEY takes the
key away, and with it all URLs of the mailbox. What cannot be fetched is NIL, and an untagged NO says why.
Limits: MAX_URLS in a command.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable

from mailsuite.base.errors import MailError, PeerError
from mailsuite.imap.binary import Content, binary_content
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.commands.urls import BadUrl, ImapUrl, parse_url
from mailsuite.imap.reply import NO, OK, Reply, astring, literal
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Argument, Atom
from mailsuite.message.message import Message
from mailsuite.message.mime import part_at
from mailsuite.message.render import render_body
from mailsuite.message.section import Section, parse_section
from mailsuite.store.attributes import URLAUTH, MailboxEntries

MAX_URLS = 100
KEY_OCTETS = 64
_VERSION = b"\x01"
_WANTED = ("BODY", "BINARY", "BODYPARTSTRUCTURE")


class _Refused(Exception):
    """This URL gives nothing; the text is for the client."""


def _must_be_offered(context: Context) -> None:
    if not context.offers("URLAUTH") or context.store.attributes is None:
        raise PeerError("URLAUTH disabled")


# --- GENURLAUTH -----------------------------------------------------------------------------------------------------

def do_genurlauth(context: Context, command: Command) -> Run:
    """RFC 4467 section 7."""
    _must_be_offered(context)
    arguments = command.arguments
    if len(arguments) % 2 or len(arguments) > 2 * MAX_URLS or not all(isinstance(each, bytes) for each in arguments):
        raise PeerError("Invalid arguments")
    made = []
    for rump, mechanism in zip(arguments[::2], arguments[1::2], strict=True):
        assert isinstance(rump, bytes) and isinstance(mechanism, bytes)
        made.append(_sealed(context, bytes(rump), mechanism.decode("ascii", "replace")))
    yield b" ".join([b"* GENURLAUTH", *map(astring, made)]) + b"\r\n"
    return Reply(OK, "GENURLAUTH completed")


def _sealed(context: Context, rump: bytes, mechanism: str) -> bytes:
    """Raises PeerError."""
    try:
        url = parse_url(rump)
        if not url.access or url.mechanism or url.rump != rump:
            raise BadUrl("Must be an URLAUTH rump URL")
        _check_server(context, url)
    except BadUrl as error:
        raise PeerError(f"Invalid URL: {error.public}") from error
    if not _is_own(context, url):
        raise PeerError(f"Not permitted to generate URLAUTH for user {url.user}")
    if mechanism.upper() != "INTERNAL":
        raise PeerError(f"Unsupported URLAUTH mechanism: {mechanism}")
    if url.expires_s is not None and url.expires_s < time.time():
        raise PeerError("URLAUTH has already expired")
    try:
        _message_of(context, url)
    except _Refused as error:
        raise PeerError(f"Invalid URL: {error}") from error
    return b"%b:internal:%b" % (rump, _token(_key(context, url.mailbox, make=True), rump).hex().encode())


def _check_server(context: Context, url: ImapUrl) -> None:
    """Raises BadUrl."""
    if not url.user:
        raise BadUrl("Missing user name")
    params = context.params
    domain = context.store.user.partition("@")[2]
    if params.urlauth_host not in ("*", url.host) and not (params.urlauth_any_domain and domain == url.host):
        raise BadUrl("Inappropriate host name")
    if url.port not in (None, params.urlauth_port):
        raise BadUrl("Inappropriate server port")


def _is_own(context: Context, url: ImapUrl) -> bool:
    return context.store.user in (url.user, f"{url.user}@{url.host}")


def _entries(context: Context, mailbox: str) -> MailboxEntries:
    entries = context.store.attributes_of(mailbox)
    if entries is None:
        raise PeerError("URLAUTH disabled")
    return entries


def _key(context: Context, mailbox: str, *, make: bool = False) -> bytes:
    """b"" when the mailbox has none. Raises MailError."""
    entries = _entries(context, mailbox)
    for _ in range(2):
        found = entries.read().get(URLAUTH, b"")
        if found or not make:
            return bytes.fromhex(found.decode("ascii", "replace")) if _is_hex(found) else b""
        entries.add(URLAUTH, secrets.token_bytes(KEY_OCTETS).hex().encode())
    return b""


def _is_hex(text: bytes) -> bool:
    return len(text) == 2 * KEY_OCTETS and all(octet in b"0123456789abcdef" for octet in text.lower())


def _token(key: bytes, rump: bytes) -> bytes:
    return _VERSION + hmac.digest(key, rump, hashlib.sha1)


# --- URLFETCH -------------------------------------------------------------------------------------------------------

def do_urlfetch(context: Context, command: Command) -> Run:
    """RFC 4467 section 7, RFC 5524 section 3."""
    _must_be_offered(context)
    if not command.arguments or len(command.arguments) > MAX_URLS:
        raise PeerError("Invalid arguments")
    asked = [_asked(each) for each in command.arguments]
    for octets, wanted in asked:
        try:
            found = _fetched(context, octets, wanted)
        except _Refused as error:
            yield b"* URLFETCH %b NIL\r\n" % astring(octets)
            shown = octets.decode("utf-8", "surrogateescape")
            yield f'* NO Failed to fetch URLAUTH "{shown}": {error}.\r\n'.encode("utf-8", "surrogateescape")
        else:
            yield b"* URLFETCH %b %b\r\n" % (astring(octets), found)
    return Reply(OK, "URLFETCH completed")


def _asked(argument: Argument) -> tuple[bytes, list[str] | None]:
    """A URL, and what of it: None for the octets without a name. Raises PeerError."""
    if not isinstance(argument, list):
        return bytes(argument), None
    if not argument or not isinstance(argument[0], bytes):
        raise PeerError("Invalid arguments")
    wanted = []
    for each in argument[1:]:
        name = each.decode("ascii").upper() if isinstance(each, Atom) else ""
        if name not in _WANTED:
            raise PeerError(f"Unknown URL fetch parameter: {name}")
        wanted.append(name)
    if {"BODY", "BINARY"} <= set(wanted):
        raise PeerError("URL cannot have both BODY and BINARY fetch parameters")
    return bytes(argument[0]), wanted or None


def _fetched(context: Context, octets: bytes, wanted: Iterable[str] | None) -> bytes:
    """What stands behind the URL in the reply. Raises _Refused."""
    url = verified(context, octets)
    message, section = _message_of(context, url)
    if wanted is None:
        return literal(_part(message.section(section), url))
    found = []
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


def verified(context: Context, octets: bytes) -> ImapUrl:
    """A URL that this user may fetch. Raises _Refused."""
    try:
        url = parse_url(octets)
        if not url.access or not url.mechanism:
            raise BadUrl("Invalid URL: Must be a full URLAUTH URL")
        _check_server(context, url)
    except BadUrl as error:
        raise _Refused(error.public) from error
    if not _is_own(context, url):
        raise _Refused("Mail of other users can't be fetched from this session")
    if url.access not in ("user", "authuser", "anonymous"):
        access = url.access if url.access_user is None else f"{url.access}+{url.access_user}"
        raise _Refused(f"No '{access}' access allowed for user {context.store.user}")
    if url.expires_s is not None and url.expires_s < time.time():
        raise _Refused("URLAUTH has expired")
    if url.mechanism != "internal":
        raise _Refused("Unsupported URLAUTH mechanism")
    try:
        key = _key(context, url.mailbox)
    except MailError as error:
        raise _Refused("URLAUTH verification failed") from error     # whether it exists is nobody's business
    if not key or not hmac.compare_digest(_token(key, url.rump), url.token):
        raise _Refused("URLAUTH verification failed")
    return url


def _message_of(context: Context, url: ImapUrl) -> tuple[Message, Section]:
    """Raises _Refused."""
    try:
        section = parse_section(url.section) if url.section else Section()
        mailbox = context.open(url.mailbox)
        if url.uid_validity is not None and url.uid_validity != mailbox.uid_validity:
            raise _Refused("Invalid UIDVALIDITY")
        mailbox.refresh()
        return mailbox.message(url.uid), section
    except PeerError as error:
        raise _Refused("Invalid section") from error
    except MailError as error:
        raise _Refused(error.public.removesuffix(".") if mailbox_missing(error) else "Message not found") from error


def mailbox_missing(error: MailError) -> bool:
    return error.public.startswith("Mailbox")


def _part(octets: bytes, url: ImapUrl) -> bytes:
    if url.partial is None:
        return octets
    start, length = url.partial
    return octets[start:] if length is None else octets[start:start + length]


def catenated(context: Context, octets: bytes) -> bytes:
    """What CATENATE takes of an absolute URL (RFC 4469 section 3). Raises PeerError."""
    if not context.offers("URLAUTH"):
        raise PeerError("Relative URL required")
    try:
        url = verified(context, octets)
        message, section = _message_of(context, url)
    except _Refused as error:
        raise PeerError(str(error)) from error
    return _part(message.section(section), url)


# --- RESETKEY -------------------------------------------------------------------------------------------------------

def do_resetkey(context: Context, command: Command) -> Run:
    """RFC 4467 section 7: no URL of the mailbox is good any more, or of any mailbox."""
    _must_be_offered(context)
    yield from ()
    attributes = context.store.attributes
    assert attributes is not None
    if not command.arguments:
        for guid, entries in attributes.everything().items():
            if guid and URLAUTH in entries:
                attributes.change(guid, {URLAUTH: None})
        return Reply(OK, "All keys removed")
    name = context.mailbox(command.arguments[0])
    entries_of = _entries(context, name)
    for mechanism in command.arguments[1:]:
        if not isinstance(mechanism, bytes) or mechanism.upper() != b"INTERNAL":
            return Reply(NO, "Unsupported URLAUTH mechanism")
    entries_of.change({URLAUTH: None})
    return Reply(OK, "Key removed", "URLMECH INTERNAL")
