"""Tells quickly that a message cannot hold a text, so that it need not be taken apart.

    sieve = Sieve(folded text);  sieve.passes(octets) -> False: texts_of would not find the text

It never says False of a message that holds the text: where it is not sure (odd charsets, base64 in nested parts) it
says True.
octets: the message as stored or with CRLF. What it looks for is the text's longest stretch of printable ASCII; that
stands in the octets, or in what an encoding of them becomes.
"""

import binascii
import re

from mailsuite.imap.text import ENCODED_WORD, encoded_word, fold, from_base64

_STRETCH = re.compile(r"[!-~]+")
_UTF8 = rb"UTF-8|US-ASCII"
_ASCII_BELOW = _UTF8 + (rb"|ISO-8859-(?:1[0-6]?|[2-9])|WINDOWS-125[0-8]|KOI8-[RU]|GB2312|GBK|BIG5|EUC-KR|EUC-JP")


def _label_but(charsets: bytes) -> re.Pattern[bytes]:
    """Finds what may be the label of a charset, unless it is plainly that of one of these."""
    return re.compile(rb'CHARSET(?!="(?:%b)"|=(?:%b)(?:[\s;]|\Z))' % (charsets, charsets))


_ODD = _label_but(_ASCII_BELOW)         # octets below 128 may be something else
_NOT_UTF8 = _label_but(_UTF8)
_BASE64_FIELD = re.compile(rb"\nCONTENT-TRANSFER-ENCODING: ?BASE64[ \t]*\r?\n")
_HEADER_END = re.compile(rb"\n\r?\n")
_BASE64_OCTETS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/\r\n"
_BOUNDARY = re.compile(rb'\nCONTENT-TYPE:[ \t]*MULTIPART/[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*?;\s*BOUNDARY="?([^"\s;]+)')


class Sieve:
    """text: folded."""

    def __init__(self, text: str) -> None:
        stretches = _STRETCH.findall(text)
        self._word = max(stretches, key=len).encode() if stretches else b""
        self._text = self._word.decode()

    def passes(self, octets: bytes) -> bool:
        word, upper = self._word, octets.upper()
        if word in upper or _ODD.search(upper):
            return True
        if not octets.isascii() and self._in_text(octets, upper):
            return True
        if b"=?" in octets and self._text in _with_words(octets):
            return True
        if b"QUOTED-PRINTABLE" in upper and self._in_decoded(binascii.a2b_qp(octets), upper):
            return True
        return b"BASE64" in upper and self._in_base64(octets, upper)

    def _in_decoded(self, octets: bytes, upper: bytes) -> bool:
        return self._word in octets.upper() or not octets.isascii() and self._in_text(octets, upper)

    def _in_text(self, octets: bytes, upper: bytes) -> bool:
        """Letters beyond ASCII may become ASCII when they are folded: full width, signs, the letter below an accent."""
        return _NOT_UTF8.search(upper) is not None or self._text in fold(octets.decode("utf-8", "replace"))

    def _in_base64(self, octets: bytes, upper: bytes) -> bool:
        """Only plain messages with at most one multipart are decoded here; of all others, True."""
        boundary = b""
        if (multiparts := upper.count(b"MULTIPART/")):
            top = _HEADER_END.search(upper)
            declared = _BOUNDARY.search(b"\n" + upper[:top.end()]) if top is not None else None
            if declared is None or multiparts > 1 or upper.count(b"BOUNDARY") > 1:
                return True
            boundary = declared[1]
        if upper.startswith(b"CONTENT-TRANSFER"):
            octets, upper = b"\n" + octets, b"\n" + upper
        fields = list(_BASE64_FIELD.finditer(upper))
        if len(fields) != upper.count(b"BASE64"):
            return True
        for field in fields:
            body = _HEADER_END.search(upper, field.end() - 2)
            if body is None:
                return True
            start = body.end()
            end = upper.find(b"\n--", start - 1) + 1 or len(upper)
            content = octets[start:end].rstrip(b"\r\n").rstrip(b"=")
            if content.translate(None, _BASE64_OCTETS) or end < len(upper) and not (
                    boundary and upper.startswith(b"--" + boundary, end)):
                return True
            if self._in_decoded(from_base64(content), upper):
                return True
        return False


def _with_words(octets: bytes) -> str:
    """Folded, with what encoded words stand for."""
    out, at = list[str](), 0
    for match in ENCODED_WORD.finditer(octets):
        out += fold(octets[at:match.start()].decode("utf-8", "replace")), fold(encoded_word(match))
        at = match.end()
    out.append(fold(octets[at:].decode("utf-8", "replace")))
    return "".join(out)
