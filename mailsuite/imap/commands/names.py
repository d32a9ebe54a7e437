"""Names of mailboxes on the wire: modified UTF-7, or UTF-8 once the client enabled IMAP4rev2 or UTF8=ACCEPT.

    stored_name(text, new=False, exists=store.exists) -> "Entw&APw-rfe"      what the store calls it
    shown_name("Entw&APw-rfe") -> b'"Entw\\xc3\\xbcrfe"'
    pattern_of(text)                                      LIST's patterns are matched against readable names

A new name is made in Normalization Form C; one that exists is found as it is spelled, else in that form.
Source: RFC 9051 sections 5.1 and 6.3.4, RFC 6855 section 3. Raises InvalidName.
"""

import re
import unicodedata
from collections.abc import Callable

from mailsuite.imap.reply import astring, literal
from mailsuite.store.api import InvalidName
from mailsuite.store.names import from_mutf7, to_mutf7

_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")      # RFC 5198 section 2, RFC 9051 section 5.1


def stored_name(text: str, *, new: bool, exists: Callable[[str], bool]) -> str:
    """The store's name of what a client wrote in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidName("Mailbox name is not valid UTF-8") from None
    if new and _UNFIT.search(text):
        raise InvalidName("Mailbox name has control characters")
    name = to_mutf7(text)
    if text.isascii():
        return name
    normal = unicodedata.normalize("NFC", text)
    if normal == text or (not new and exists(name)):
        return name
    return to_mutf7(normal)


def readable(name: str) -> str:
    """A stored name as people read it; one that is no valid modified UTF-7 as it is."""
    return name if "&" not in name else from_mutf7(name) or name


def shown_name(name: str) -> bytes:
    """For the wire, in UTF-8."""
    return utf8_astring(readable(name))


def utf8_astring(text: str) -> bytes:
    if text.isascii():
        return astring(text.encode())
    octets = text.encode("utf-8", "surrogateescape")
    if any(octet in octets for octet in b"\0\r\n"):
        return literal(octets)
    return b'"%b"' % octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
