"""GENURLAUTH, URLFETCH, RESETKEY (RFC 4467) and what URLFETCH can be asked for besides (RFC 5524).

    GENURLAUTH "imap://anna@mx.test/INBOX/;uid=20;urlauth=user+bob" INTERNAL
    URLFETCH ("imap://anna@mx.test/INBOX/;uid=20;urlauth=user+bob:internal:0191..." BINARY BODYPARTSTRUCTURE)

Keys and content: url_content.py; of another user's mail that user's worker is asked (Mail.fetch_url). RESETKEY takes
the key away, and with it all URLs of the mailbox. What cannot be fetched is NIL, and an untagged NO says why.
Limits: MAX_URLS in a command.
"""

import time
from collections.abc import Sequence

from mailsuite.base.errors import PeerError
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.commands.url_content import (
    Asker,
    UrlRefused,
    check_server,
    entries_of,
    fetched,
    is_own,
    key_of,
    message_of,
    parsed,
    token_of,
)
from mailsuite.imap.commands.urls import BadUrl, parse_url, told_url
from mailsuite.imap.reply import NO, OK, Reply, astring, literal
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Argument, Atom
from mailsuite.store.attributes import URLAUTH

MAX_URLS = 100
_WANTED = ("BODY", "BINARY", "BODYPARTSTRUCTURE")


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
        check_server(context, url)
    except BadUrl as error:
        raise PeerError(f"Invalid URL: {error.public}") from error
    if not is_own(context, url):
        raise PeerError(f"Not permitted to generate URLAUTH for user {url.user}")
    if mechanism.upper() != "INTERNAL":
        raise PeerError(f"Unsupported URLAUTH mechanism: {mechanism}")
    if url.expires_s is not None and url.expires_s < time.time():
        raise PeerError("URLAUTH has already expired")
    try:
        message_of(context, url)
    except UrlRefused as error:
        raise PeerError(f"Invalid URL: {error}") from error
    return b"%b:internal:%b" % (rump, token_of(key_of(context, url.mailbox, make=True), rump).hex().encode())


# --- URLFETCH -------------------------------------------------------------------------------------------------------

def do_urlfetch(context: Context, command: Command) -> Run:
    """RFC 4467 section 7, RFC 5524 section 3."""
    _must_be_offered(context)
    if not command.arguments or len(command.arguments) > MAX_URLS:
        raise PeerError("Invalid arguments")
    asked = [_asked(each) for each in command.arguments]
    for octets, wanted in asked:
        try:
            found = fetch(context, octets, wanted)
            found = literal(found) if wanted is None else found
        except UrlRefused as error:
            yield b"* URLFETCH %b NIL\r\n" % astring(octets)
            yield f'* NO Failed to fetch URLAUTH "{told_url(octets)}": {error}.\r\n'.encode("utf-8", "replace")
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


def fetch(context: Context, octets: bytes, wanted: Sequence[str] | None) -> bytes:
    """As url_content.fetched, of anybody's mail. Raises UrlRefused."""
    url = parsed(context, octets)
    asker = Asker(context.store.user, anonymous=context.anonymous)
    if is_own(context, url):
        return fetched(context, octets, wanted, asker)
    return context.mail.fetch_url([url.user, f"{url.user}@{url.host}"], octets, wanted, asker,
                                  context.params.urlauth_max_size)


def catenated(context: Context, octets: bytes) -> bytes:
    """What CATENATE takes of an absolute URL (RFC 4469 section 3). Raises PeerError."""
    if not context.offers("URLAUTH"):
        raise PeerError("Relative URL required")
    try:
        return fetch(context, octets, None)
    except UrlRefused as error:
        raise PeerError(str(error)) from error


# --- RESETKEY -------------------------------------------------------------------------------------------------------

def do_resetkey(context: Context, command: Command) -> Run:
    """RFC 4467 section 7: no URL of the mailbox is good any more, or of any mailbox."""
    _must_be_offered(context)
    yield from ()
    attributes = context.store.attributes
    assert attributes is not None
    if not command.arguments:
        for guid, found in attributes.everything().items():
            if guid and URLAUTH in found:
                attributes.change(guid, {URLAUTH: None})
        return Reply(OK, "All keys removed")
    name = context.mailbox(command.arguments[0])
    entries = entries_of(context, name)
    for mechanism in command.arguments[1:]:
        if not isinstance(mechanism, bytes) or mechanism.upper() != b"INTERNAL":
            return Reply(NO, "Unsupported URLAUTH mechanism")
    entries.change({URLAUTH: None})
    return Reply(OK, "Key removed", "URLMECH INTERNAL")
