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
_BASE64_LINES = re.compile(rb"(?:[A-Za-z0-9+/]+={0,2}\r?\n)*(?:[A-Za-z0-9+/]+={0,2}\Z)?")
_BLANK = re.compile(rb"(?:\r?\n)*")
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
        top = _HEADER_END.search(upper)
        boundary = b""
        if b"MULTIPART/" in upper:
            declared = _BOUNDARY.search(b"\n" + upper)
            if declared is None or upper.count(b"MULTIPART/") > 1 or upper.count(b"BOUNDARY") > 1 or (
                    top is None or declared.end() > top.end()):
                return True
            boundary = declared[1]
        fields = list(_BASE64_FIELD.finditer(b"\n" + upper))
        if len(fields) != upper.count(b"BASE64"):
            return True
        for field in fields:
            body = _HEADER_END.search(upper, field.end() - 3)
            if body is None:
                return True
            run = _BASE64_LINES.match(octets, body.end())
            assert run is not None
            blank = _BLANK.match(octets, run.end())
            assert blank is not None
            rest = upper[blank.end(): blank.end() + len(boundary) + 4].split(b"\n")[0].rstrip(b"\r")
            if rest and not (boundary and rest.startswith(b"--" + boundary)):
                return True
            if self._in_decoded(from_base64(run[0]), upper):
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
