"""Text as people read it, for SEARCH and SORT: decoded, and folded so that case does not matter.

    fold("Ärger") == fold("ärger")                        i;unicode-casemap (RFC 5051), near enough
    decode_header(b"=?utf-8?Q?J=C3=BCrgen?=") -> "Jürgen"
    texts_of(message, headers=True) -> folded texts       of all parts that hold text

Never raises for content: what can't be decoded stays as it is, or as U+FFFD.
"""

import base64
import binascii
import codecs
import quopri
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from mailsuite.message.header import split_fields, unfold
from mailsuite.message.message import Message
from mailsuite.message.mime import Part

ENCODED_WORD = re.compile(
    rb"=\?([^?*\s]+)(?:\*[^?\s]*)?\?([QqBb])\?([^?]*)\?=(?:[ \t\r\n]+(?==\?[^?\s]+\?[QqBb]\?[^?]*\?=))?")
_WHITE = re.compile(rb"[ \t]*\r?\n[ \t]+|[ \t]+")
_FOLD = re.compile(rb"\r\n[ \t]+")
_TABLE = bytes.maketrans(b"_", b" ")


def fold(text: str) -> str:
    """Equal for texts that differ in case only; in upper case, so "_" sorts behind the letters."""
    if text.isascii():
        return text.upper()
    upper = text.upper()
    if len(upper) != len(text):         # a letter for a letter: "ß" stays
        upper = "".join(each if len(each.upper()) > 1 else each.upper() for each in text)
    return unicodedata.normalize("NFKD", upper)


@lru_cache(maxsize=256)
def codec(charset: bytes) -> str | None:
    """Python's name of a charset; None for an unknown one and for what is no charset."""
    try:
        info = codecs.lookup(charset.decode("ascii"))
    except (LookupError, UnicodeDecodeError, ValueError):
        return None
    return info.name if info._is_text_encoding else None


def decode(octets: bytes, charset: bytes) -> str:
    """Text of octets. Octets without a known charset are taken as UTF-8, and so is what calls itself US-ASCII: where it
    has other octets it is not, and Dovecot finds them so."""
    name = codec(charset) or "utf-8"
    try:
        return octets.decode("utf-8" if name == "ascii" else name, "replace")
    except (UnicodeError, ValueError):
        return octets.decode("utf-8", "replace")


def decode_header(value: bytes, *, even: bool = True) -> str:
    """A field's value, RFC 2047 words decoded, white space and folds one blank each.

    Not even: the white space of an unfolded value as it stands, but a tab is a blank; so Dovecot searches.
    """
    value = _WHITE.sub(b" ", value) if even else value.replace(b"\t", b" ")
    if b"=?" not in value:
        return value.decode("utf-8", "replace")
    out, at = [], 0
    for match in ENCODED_WORD.finditer(value):
        out.append(value[at:match.start()].decode("utf-8", "replace"))
        out.append(encoded_word(match))
        at = match.end()
    out.append(value[at:].decode("utf-8", "replace"))
    return "".join(out)


def encoded_word(match: re.Match[bytes]) -> str:
    """What a match of ENCODED_WORD stands for."""
    if match[2] in b"Qq":
        octets = quopri.decodestring(match[3].translate(_TABLE))
    else:
        octets = from_base64(match[3])
    return decode(octets, match[1])


def from_base64(octets: bytes) -> bytes:
    """As much as can be decoded; white space and foreign octets are passed over."""
    try:
        return base64.b64decode(octets + b"=" * (-len(octets) % 4))
    except binascii.Error:
        clean = re.sub(rb"[^A-Za-z0-9+/]", b"", octets.partition(b"=")[0])
        clean = clean[:len(clean) - (len(clean) % 4 == 1)]
        return base64.b64decode(clean + b"=" * (-len(clean) % 4))


def transfer_decoded(octets: bytes, encoding: bytes) -> bytes | None:
    """Content without its Content-Transfer-Encoding; None for an unknown one."""
    match encoding.strip().lower():
        case b"base64":
            return from_base64(octets.replace(b"\r\n", b""))
        case b"quoted-printable":
            return quopri.decodestring(octets)
        case b"" | b"7bit" | b"8bit" | b"binary":
            return octets
        case b"x-uuencode" | b"uuencode" | b"x-uue":
            return None
    return None


def parts(part: Part) -> Iterator[Part]:
    """A part and all inside it, in order."""
    waiting = [part]
    while waiting:
        part = waiting.pop()
        yield part
        waiting.extend(reversed(part.children))


def texts_of(message: Message, *, headers: bool) -> Iterator[str]:
    """Folded texts of a message: of each part its header (when asked for), and its content if it is text."""
    return (text for _, text in marked_texts(message, headers=headers))


def marked_texts(message: Message, *, headers: bool = True) -> Iterator[tuple[bool, str]]:
    """texts_of, each with whether it is a header."""
    for part in parts(message.structure):
        if headers:
            yield True, fold(_header_text(message.octets[part.header_start:part.body_start]))
        if has_text(part):
            octets = message.octets[part.body_start:part.end]
            decoded = transfer_decoded(octets, part.field(b"content-transfer-encoding") or b"")
            charset = part.content_type.param(b"charset") if part.content_type else None
            yield False, fold(decode(octets if decoded is None else decoded, charset or b"utf-8"))


def has_text(part: Part) -> bool:
    """Does a search look into its content?"""
    return not part.is_multipart and not part.is_message and is_text(part)


def _header_text(header: bytes) -> str:
    """All fields as people read them, one a line."""
    if b"=?" not in header and header.isascii():
        return _FOLD.sub(b" ", header).decode("ascii")
    return "".join(_shown(whole) for _, _, whole in split_fields(header))


def _shown(whole: bytes) -> str:
    name, colon, value = whole.partition(b":")
    return f"{name.decode('utf-8', 'replace')}{colon.decode()} {decode_header(unfold(value))}\r\n"


def is_text(part: Part) -> bool:
    """text/*, message/*, or no type at all."""
    return part.content_type is None or part.content_type.type.lower() in (b"text", b"message", b"")
