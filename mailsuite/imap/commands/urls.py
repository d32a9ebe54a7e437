"""IMAP URLs that name a message or a part of one, with or without who may fetch it.

    url = parse_url(b"imap://anna@mx.test/INBOX/;uid=20/;section=1.2;urlauth=user+bob:internal:91354a...")
    url.user, url.host, url.mailbox, url.uid, url.section, url.partial, url.access, url.mechanism, url.token, url.rump

rump is what a token seals: all up to the access. Mailbox names are UTF-8 in percent-encoding, and the store's here.
Raises: BadUrl, whose text is Dovecot's. Source: RFC 5092 sections 2 to 6, RFC 4467 section 2, RFC 5593.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_to_bytes

from mailsuite.base.errors import PeerError
from mailsuite.store.names import to_mutf7

MAX_URL = 8192
_ABSOLUTE = re.compile(rb"(?i)imap://(?:([^/@]*)@)?([^/@:]*|\[[^\]]*\])(?::(\d{0,5}))?/(.*)\Z", re.S)
_TOKEN = re.compile(rb"(?i)(;URLAUTH=[^:]*):([a-z0-9.-]+):([0-9a-f]{32,})\Z")
_ACCESS = re.compile(rb"(?i);URLAUTH=([a-z0-9]+)(?:(\+)([^;:/]*))?\Z")
_EXPIRE = re.compile(rb"(?i);EXPIRE=([^;]*)\Z")
_PART = re.compile(rb"(?i)(.*?)/?;UID=([1-9]\d{0,9})(?:/;SECTION=([^;]*?))?"
                   rb"(?:/;PARTIAL=(\d{1,18})(?:\.(\d{1,18}))?)?\Z", re.S)
_VALIDITY = re.compile(rb"(?i)(.*);UIDVALIDITY=([1-9]\d{0,9})\Z", re.S)
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)\Z", re.I)


class BadUrl(PeerError):
    """It is no URL, or not one of the kind that is wanted."""


@dataclass(frozen=True)
class ImapUrl:
    """access: in lower case, "" for none; access_user: of user+NAME, submit+NAME. expires_s: since the epoch."""

    user: str
    host: str
    port: int | None
    mailbox: str
    uid: int
    uid_validity: int | None = None
    section: bytes = b""
    partial: tuple[int, int | None] | None = None
    expires_s: float | None = None
    access: str = ""
    access_user: str | None = None
    rump: bytes = b""
    mechanism: str = ""
    token: bytes = b""


def told_url(octets: bytes) -> str:
    """A URL for a reply's text or code: a literal may hold line ends, and "]" would end a code."""
    return re.sub(r"[^ -\\^-~]", "?", octets.decode("ascii", "replace"))


def parse_url(octets: bytes) -> ImapUrl:
    """An absolute URL of a message. Raises BadUrl."""
    if len(octets) > MAX_URL:
        raise BadUrl("URL is too long")
    if not octets.lower().startswith(b"imap://"):
        absolute = re.match(rb"[A-Za-z][A-Za-z0-9+.-]*:", octets)
        raise BadUrl("Not an IMAP URL" if absolute else "Relative URL not allowed")
    match = _ABSOLUTE.match(octets)
    if match is None:
        raise BadUrl("Invalid host or user name")
    user = _user(match[1])
    port = int(match[3]) if match[3] else None
    rest, mechanism, token = octets, "", b""
    if sealed := _TOKEN.search(octets):
        rest, mechanism = octets[:sealed.end(1)], sealed[2].decode().lower()
        token = bytes.fromhex(sealed[3].decode()) if len(sealed[3]) % 2 == 0 else b""
    path = rest[match.start(4):]
    access, access_user, path, sealable = _access(path)
    expires = None
    if expire := _EXPIRE.search(path):
        expires, path = _date(expire[1]), path[:expire.start()]
    mailbox, validity, uid, section, partial = _message(path)
    return ImapUrl(user, _text(match[2]), port, mailbox, uid, validity, section, partial, expires, access, access_user,
                   rest if sealable else b"", mechanism, token)


def _user(octets: bytes | None) -> str:
    """Without AUTH=, which says how to log in elsewhere."""
    if octets is None:
        return ""
    name = octets.partition(b";")[0]
    if b":" in name:
        raise BadUrl(f"Stray ':' in userinfo `{_text(octets)}'")
    return _text(name)


def _text(octets: bytes) -> str:
    return unquote_to_bytes(octets).decode("utf-8", "surrogateescape")


def _access(path: bytes) -> tuple[str, str | None, bytes, bool]:
    match = _ACCESS.search(path)
    if match is None:
        return "", None, path, False
    application = match[1].decode().lower()
    if match[2] and not match[3]:
        raise BadUrl(f"Empty URLAUTH access user for `{application}' application")
    if application in ("user", "submit") and not match[2]:
        raise BadUrl(f"Missing URLAUTH access user for `{application}' application")
    return application, _text(match[3]) if match[2] else None, path[:match.start()], True


def _date(octets: bytes) -> float:
    text = octets.decode("ascii", "replace").upper()
    try:
        if not _DATE.match(text):
            raise ValueError
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise BadUrl("invalid date-time for `;EXPIRE='") from None


def _message(path: bytes) -> tuple[str, int | None, int, bytes, tuple[int, int | None] | None]:
    match = _PART.match(path)
    if match is None:
        if b";" in path:
            raise BadUrl("Encountered stray ';' in mailbox reference")
        raise BadUrl("No message")
    mailbox, validity = match[1], None
    if valid := _VALIDITY.match(mailbox):
        mailbox, validity = valid[1], int(valid[2])
    if b";" in mailbox or b"?" in mailbox or not mailbox:
        raise BadUrl("Encountered stray ';' in mailbox reference" if b";" in mailbox else "No mailbox")
    name = unquote_to_bytes(mailbox)
    try:
        text = to_mutf7(name.decode())
    except UnicodeDecodeError:
        raise BadUrl("Mailbox name is not valid UTF-8") from None
    partial = (int(match[4]), int(match[5]) if match[5] else None) if match[4] else None
    return text, validity, int(match[2]), unquote_to_bytes(match[3] or b""), partial
