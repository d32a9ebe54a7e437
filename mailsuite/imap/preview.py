"""PREVIEW (RFC 8970): the first words of a message, for a list of messages. The text is the one that Dovecot shows.

    preview(message) -> b"hello world again"      UTF-8, at most LENGTH characters, white space one blank each
    previews.put(uid, text); previews.get(uid)    what LAZY may tell

The part: the first that is text; of a multipart/alternative its text/plain, if it has one. Lines that begin with ">"
and what stands in <blockquote> are shown, behind a ">", only when there is nothing else. Of HTML the tags count as
blanks, comments as nothing, <script> and <style> are left out. Recorded from the real one: tests/imap/recorded.
Limits: LOOKED_AT octets of the part are read, the first READ_FIRST of them when they are enough. Cost: linear.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from html.entities import name2codepoint

from mailsuite.imap.text import decode, transfer_decoded
from mailsuite.message.message import Message
from mailsuite.message.mime import Part

LENGTH = 200
KEPT = 10_000           # previews of a mailbox that are remembered
READ_FIRST, LOOKED_AT = 16 * 1024, 1024 * 1024

_BAD_RUN = re.compile("\ufffd+")
_BLANKS = re.compile(r"[ \t\r\v\f]+")
_MARKUP = re.compile(
    r"<!--.*?(?:--\s*>|\Z)"                                                         # a comment
    r"|<!\[CDATA\[(?P<raw>.*?)(?:\]\]>|\Z)"
    r"|<(?P<hidden>script|style)(?=[\s>])[^>]*(?:>.*?(?:</(?P=hidden)>|\Z)|\Z)"
    r"|<(?P<tag>/?[^\s>\"']*)(?:[^>\"']|\"[^\"]*\"|'[^']*')*+(?:>|\Z|[\"'].*)"
    r"|&(?:(?P<entity>[^\s;]{0,9});)?", re.S | re.I)
_ENTITIES = {**name2codepoint, "apos": 0x27}        # HTML 4's, and one more


def preview(message: Message) -> bytes:
    """UTF-8; b"" when there is no text."""
    part = _text_part(message.structure)
    if part is None:
        return b""
    size = part.end - part.body_start
    words = _read(message, part, READ_FIRST)
    if size > READ_FIRST and not words.enough:
        words = _read(message, part, LOOKED_AT)
    return words.shown().encode("utf-8", "replace")


class Previews:
    """Those of a mailbox's messages, as far as somebody has asked for them; the newest KEPT."""

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}

    def get(self, uid: int) -> bytes | None:
        return self._known.get(uid)

    def put(self, uid: int, text: bytes) -> bytes:
        if len(self._known) >= KEPT:
            with suppress(KeyError, StopIteration, RuntimeError):       # another thread was quicker
                del self._known[next(iter(self._known))]
        self._known[uid] = text
        return text


def _text_part(part: Part) -> Part | None:
    """The part to show."""
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if part.is_multipart:
            plain = None
            if part.content_type is not None and part.content_type.subtype.lower() == b"alternative":
                plain = next((child for child in part.children if _subtype(child) == b"plain"), None)
            waiting += [plain] if plain is not None else reversed(part.children)
        elif _subtype(part) is not None:
            return part
    return None


def _subtype(part: Part) -> bytes | None:
    """Of text; None for anything else."""
    if part.is_multipart:
        return None
    if part.given_field(b"content-type") is None:
        return b"plain"
    kind = part.content_type
    return kind.subtype.lower() if kind is not None and kind.type.lower() == b"text" and kind.subtype else None


def _read(message: Message, part: Part, limit: int) -> "_Words":
    words = _Words()
    octets = message.octets[part.body_start:min(part.end, part.body_start + limit)].replace(b"\r\n", b"\n")
    decoded = transfer_decoded(octets, part.given_field(b"content-transfer-encoding") or b"")
    if decoded is None:
        return words
    charset = (part.content_type.param(b"charset") if part.content_type else None) or b"utf-8"
    text = decode(decoded, b"utf-8" if charset.lower() in (b"us-ascii", b"ascii") else charset)
    text = _BAD_RUN.sub("\ufffd", text.replace("\ufeff", "").replace("\0", ""))
    if _subtype(part) == b"html":
        _read_html(text, words)
    else:
        words.take(text)
    return words


class _Line:
    """Words with one blank between them, as far as they are needed."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.length, self.blank, self.most = 0, False, LENGTH

    def take(self, text: str) -> None:
        for at, word in enumerate(_BLANKS.split(text)):
            if at:
                self.blank = True
            if not word or self.length >= LENGTH:
                continue
            if self.blank and self.pieces:
                word = " " + word
            self.blank = False
            self.pieces.append(word)
            self.length += len(word)

    def shown(self) -> str:
        return "".join(self.pieces)[:self.most].rstrip(" ")


class _Words:
    """What is shown: the writer's own words, else those that are quoted. level: how deep in <blockquote>."""

    def __init__(self) -> None:
        self.own, self.quoted, self.level = _Line(), _Line(), 0
        self.quoted.most = LENGTH - 1           # and a ">"
        self._at_start, self._in_quoted_line = True, False

    @property
    def enough(self) -> bool:
        return self.own.length >= LENGTH

    def take(self, text: str) -> None:
        for at, line in enumerate(_lines(text)):
            if self.enough:
                return
            if at:
                self._at_start, self._in_quoted_line = True, False
                self.own.blank = self.quoted.blank = True
            if line:
                self._take_line(line)

    def _take_line(self, line: str) -> None:
        if self.level:
            self.quoted.take(line)
            return
        if self._at_start and line[0] == ">":
            self._in_quoted_line, line = True, line[1:]
            if not self.own.pieces:
                self.own.most = LENGTH - 1      # the real one counts the blank behind such lines
        self._at_start = False
        (self.quoted if self._in_quoted_line else self.own).take(line)

    def tag(self) -> None:
        """A blank, which does not begin a line."""
        self.own.blank = self.quoted.blank = True

    def shown(self) -> str:
        if own := self.own.shown():
            return own
        quoted = self.quoted.shown()
        return ">" + quoted if quoted else ""


def _lines(text: str) -> Iterator[str]:
    """text.split("\\n"), no further than it is read."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _read_html(text: str, words: _Words) -> None:
    at = 0
    for match in _MARKUP.finditer(text):
        if match.start() > at:
            words.take(text[at:match.start()])
        at = match.end()
        if words.enough:
            return
        if (tag := match["tag"]) is not None:
            if tag.lower() == "blockquote":
                words.level += 1
            elif tag.lower() == "/blockquote":
                words.level = max(0, words.level - 1)
            words.tag()
        elif match["hidden"] is not None:
            words.tag()
        elif match["raw"] is not None:
            words.take(match["raw"])
        elif match["entity"] is not None:
            words.take(_character(match["entity"]))
    words.take(text[at:])


def _character(entity: str) -> str:
    """What &...; stands for; nothing for an unknown one."""
    if not entity.startswith("#"):
        return chr(_ENTITIES[entity]) if entity in _ENTITIES else ""
    digits, base = (entity[2:], 16) if entity[1:2] in ("x", "X") else (entity[1:], 10)
    try:
        code = int(digits, base)
    except ValueError:
        return ""
    return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else ""
