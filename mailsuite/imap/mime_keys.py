"""SEARCH MIMEPART: messages of which a MIME part matches, as Dovecot 2.3 has it (a draft that was never finished).

    key, rest = parse_mime(words)               words: all behind MIMEPART; what is left of them. Raises PeerError
    matches(key, message) -> bool

    MIMEPART (TYPE application FILENAME ENDS pdf)          all keys hold for one part
    MIMEPART (CHILD (TYPE text INDEX 1)), (PARENT EXISTS), DEPTH MIN 2, SIZE LARGER 1000, SUBJECT x of messages inside

Recorded from the real one: which keys compare the whole value and which a part of it. HEADER, BODY and TEXT never match
there; here they look at the part. Limits: MAX_DEPTH lists and operators, MAX_WORDS in a list, and those of SEARCH.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mailsuite.base.errors import PeerError
from mailsuite.imap.dates import parse_date
from mailsuite.imap.sent_date import sent_date
from mailsuite.imap.syntax import Argument, Atom, number
from mailsuite.imap.text import decode, decode_header, fold, transfer_decoded
from mailsuite.message.address import parse_addresses
from mailsuite.message.header import split_fields, unfold
from mailsuite.message.message import Message
from mailsuite.message.mime import Part
from mailsuite.message.params import Params, join_continuations, parse_disposition, parse_languages

MAX_DEPTH = 50
MAX_WORDS = 5000        # of one list
_MATCHES = ("IS", "CONTAINS", "BEGINS", "ENDS")


class Place(NamedTuple):
    """A part where it stands. number: 1 for the first of its parent."""

    octets: bytes
    part: Part
    depth: int = 0
    number: int = 1
    parent: "Place | None" = None

    def children(self) -> "list[Place]":
        return [Place(self.octets, child, self.depth + 1, number, self)
                for number, child in enumerate(self.part.children, 1)]

    def field(self, name: bytes) -> bytes:
        return self.part.given_field(name) or b""


Test = Callable[[Place], bool]


def matches(test: Test, message: Message) -> bool:
    """Does one of the parts match?"""
    waiting = [Place(message.crlf, message.structure)]
    while waiting:
        place = waiting.pop()
        if test(place):
            return True
        waiting += place.children()
    return False


def parse_mime(words: Sequence[Argument]) -> tuple[Test, list[Argument]]:
    """Raises PeerError."""
    parser = _Parser(list(words))
    return parser.key(), parser.words


class _Parser:
    def __init__(self, words: list[Argument], depth: int = 0) -> None:
        self.words, self._depth = words, depth
        if depth > MAX_DEPTH:
            raise PeerError("Too many search keys")

    def key(self) -> Test:
        """One key, or a list of them."""
        if not self.words:
            raise PeerError("Missing MIMEPART key")
        word = self.words.pop(0)
        if isinstance(word, list):
            return self._all(word)
        name = word.decode("utf-8", "replace").upper()
        if name in ("NOT", "OR"):
            inner = _Parser(self.words, self._depth + 1)
            one = inner.key()
            if name == "NOT":
                return lambda place: not one(place)
            other = inner.key()
            return lambda place: one(place) or other(place)
        if name in ("CHILD", "PARENT"):
            return self._relative(name)
        if name == "EXISTS":
            raise PeerError("EXISTS key can only be used with PARENT or CHILD")
        if name not in _KEYS:
            raise PeerError(f"Unknown MIMEPART key {name}")
        return _KEYS[name](self, name)

    def _all(self, words: Sequence[Argument]) -> Test:
        if not words:
            raise PeerError("No MIMEPART keys inside list")
        if len(words) > MAX_WORDS:
            raise PeerError("Too many search keys")
        parser, tests = _Parser(list(words), self._depth + 1), list[Test]()
        while parser.words:
            tests.append(parser.key())
        return lambda place: all(test(place) for test in tests)

    def _relative(self, name: str) -> Test:
        """CHILD and PARENT: EXISTS, or keys for one of them."""
        if self.words and isinstance(self.words[0], Atom) and self.words[0].upper() == b"EXISTS":
            del self.words[0]
            test: Test = lambda place: True         # noqa: E731
        else:
            test = _Parser(self.words, self._depth + 1).key()
        if name == "CHILD":
            return lambda place: any(map(test, place.children()))
        return lambda place: place.parent is not None and test(place.parent)

    def text(self, name: str) -> str:
        if not self.words or isinstance(self.words[0], list):
            raise PeerError(f"Invalid MIMEPART {name} value")
        word = self.words.pop(0)
        assert isinstance(word, bytes)
        return word.decode("utf-8", "surrogateescape")

    def number(self, problem: str) -> int:
        found = number(self.words.pop(0), 2**63 - 1) if self.words and not isinstance(self.words[0], list) else None
        if found is None:
            raise PeerError(problem)
        return found

    def option(self, *names: str) -> str:
        """One of these words, taken away; "": another stands there."""
        if self.words and isinstance(self.words[0], Atom) and self.words[0].upper().decode() in names:
            word = self.words.pop(0)
            assert isinstance(word, Atom)
            return word.upper().decode()
        return ""


# --- what a part says -----------------------------------------------------------------------------------------------

def _type(part: Part) -> tuple[bytes, bytes]:
    if part.is_message:
        return b"message", b"rfc822"
    kind = part.content_type
    return (kind.type, kind.subtype) if kind is not None else (b"text", b"plain")


def _params(part: Part) -> Params:
    kind = part.content_type
    found = join_continuations(kind.params) if kind is not None else []
    if _type(part)[0].lower() == b"text" and all(name.lower() != b"charset" for name, _ in found):
        return [*found, (b"charset", b"us-ascii")]
    return found


def _disposition(place: Place) -> tuple[bytes | None, Params]:
    name, params = parse_disposition(place.field(b"content-disposition"))
    return name, join_continuations(params)


def _file_name(place: Place) -> str | None:
    for params, wanted in ((_disposition(place)[1], b"filename"), (_params(place.part), b"name")):
        for name, value in params:
            if name.lower().rstrip(b"*") == wanted:
                return fold(decode_header(value))
    return None


def _size(place: Place) -> int:
    return 0 if place.part.is_multipart else place.part.end - place.part.body_start


def _inner_field(place: Place, name: bytes) -> list[bytes]:
    """Fields of the message inside a message/rfc822 part."""
    if not place.part.is_message:
        return []
    inner = place.part.children[0]
    fields = split_fields(place.octets[inner.header_start:inner.body_start])
    return [unfold(value) for field, value, _ in fields if field == name]


def _text_of(place: Place) -> str:
    part = place.part
    octets = place.octets[part.body_start:part.end]
    if part.is_multipart or part.is_message or _type(part)[0].lower() != b"text":
        return ""
    decoded = transfer_decoded(octets, place.field(b"content-transfer-encoding").strip().lower())
    charset = part.content_type.param(b"charset") if part.content_type is not None else None
    return fold(decode(octets if decoded is None else decoded, charset or b"utf-8"))


def _header_of(place: Place) -> str:
    return fold(decode_header(place.octets[place.part.header_start:place.part.header_end]))


# --- keys -----------------------------------------------------------------------------------------------------------

def _whole(read: Callable[[Place], bytes]) -> Callable[[_Parser, str], Test]:
    """The whole value, in any case."""
    def parse(parser: _Parser, name: str) -> Test:
        wanted = parser.text(name).encode("utf-8", "surrogateescape").lower()
        return lambda place: read(place).lower() == wanted

    return parse


def _described(parser: _Parser, name: str) -> Test:
    wanted = fold(parser.text(name))
    return lambda place: wanted in fold(decode_header(place.field(b"content-description"))) if \
        place.field(b"content-description") else False


def _language(parser: _Parser, name: str) -> Test:
    wanted = parser.text(name).encode("utf-8", "surrogateescape").lower()
    return lambda place: wanted in [tag.lower() for tag in parse_languages(place.field(b"content-language"))]


def _encoding(place: Place) -> bytes:
    return b"" if place.part.is_multipart else place.field(b"content-transfer-encoding").strip() or b"7bit"


def _has_param(params: Params, name: bytes, wanted: str) -> bool:
    return any(each.lower().rstrip(b"*") == name and wanted in fold(decode_header(value)) for each, value in params)


def _param(parser: _Parser, name: str) -> Test:
    param, wanted = parser.text(name).encode("utf-8", "surrogateescape").lower(), fold(parser.text(name))
    return lambda place: _has_param(_params(place.part), param, wanted)


def _by_disposition(parser: _Parser, name: str) -> Test:
    match parser.option("TYPE", "PARAM"):
        case "TYPE":
            wanted = parser.text(name).encode("utf-8", "surrogateescape").lower()
            return lambda place: (_disposition(place)[0] or b"").lower() == wanted
        case "PARAM":
            param, text = parser.text(name).encode("utf-8", "surrogateescape").lower(), fold(parser.text(name))
            return lambda place: _has_param(_disposition(place)[1], param, text)
    raise PeerError("Invalid MIMEPART DISPOSITION key type")


def _by_size(parser: _Parser, name: str) -> Test:
    if not parser.words:
        raise PeerError("Invalid MIMEPART SIZE key type")
    how = parser.option("LARGER", "SMALLER")
    octets = parser.number("Invalid MIMEPART SIZE value")
    return _compared(_size, {"LARGER": "MORE", "SMALLER": "LESS", "": ""}[how], octets)


def _by_depth(parser: _Parser, name: str) -> Test:
    how = parser.option("MIN", "MAX")
    level = parser.number("Invalid MIMEPART DEPTH level")
    return _compared(lambda place: place.depth, {"MIN": "LEAST", "MAX": "MOST", "": ""}[how], level)


def _compared(read: Callable[[Place], int], how: str, value: int) -> Test:
    match how:
        case "MORE":
            return lambda place: read(place) > value
        case "LESS":
            return lambda place: read(place) < value
        case "LEAST":
            return lambda place: read(place) >= value
        case "MOST":
            return lambda place: read(place) <= value
    return lambda place: read(place) == value


def _by_index(parser: _Parser, name: str) -> Test:
    wanted = parser.number("Invalid MIMEPART INDEX number")
    return lambda place: place.number == wanted


def _by_file_name(parser: _Parser, name: str) -> Test:
    how = parser.option(*_MATCHES)
    if not how:
        raise PeerError("Invalid MIMEPART FILENAME match type")
    text = re.escape(fold(parser.text(name)))
    form = {"IS": rf"{text}\Z", "CONTAINS": rf".*{text}", "BEGINS": text, "ENDS": rf".*{text}\Z"}[how]
    pattern = re.compile(form, re.S)
    return lambda place: (found := _file_name(place)) is not None and pattern.match(found) is not None


def _by_field(parser: _Parser, name: str) -> Test:
    """Of the message inside; without Reply-To and Sender its From counts as these."""
    wanted, field = fold(parser.text(name)), name.lower().encode()

    def test(place: Place) -> bool:
        values = _inner_field(place, field)
        if not values and field in (b"reply-to", b"sender"):
            values = _inner_field(place, b"from")
        return any(wanted in fold(decode_header(value)) or any(
            wanted in fold(b"@".join(filter(None, (each.mailbox, each.domain))).decode("utf-8", "replace"))
            for each in parse_addresses(value)) for value in values[:1])

    return test


def _by_date(parser: _Parser, name: str) -> Test:
    try:
        day = parse_date(parser.text(name).encode())
    except ValueError:
        raise PeerError("Invalid search date parameter") from None

    def test(place: Place) -> bool:
        values = _inner_field(place, b"date")
        parsed = sent_date(values[0]) if values else None
        if parsed is None:
            return False
        sent = int(parsed[0] + parsed[1]) // 86400
        return sent < day if name == "SENTBEFORE" else sent == day if name == "SENTON" else sent >= day

    return test


def _by_header(parser: _Parser, name: str) -> Test:
    field, wanted = parser.text(name).encode("utf-8", "surrogateescape").lower(), fold(parser.text(name))
    return lambda place: any(
        each == field and wanted in fold(decode_header(unfold(value)))
        for each, value, _ in split_fields(place.octets[place.part.header_start:place.part.header_end]))


def _by_text(parser: _Parser, name: str) -> Test:
    wanted = fold(parser.text(name))
    return lambda place: wanted in _text_of(place) or name == "TEXT" and wanted in _header_of(place)


_KEYS: Mapping[str, Callable[[_Parser, str], Test]] = {
    "TYPE": _whole(lambda place: _type(place.part)[0]), "SUBTYPE": _whole(lambda place: _type(place.part)[1]),
    "PARAM": _param, "DISPOSITION": _by_disposition, "ENCODING": _whole(_encoding), "LANGUAGE": _language,
    "ID": _whole(lambda place: place.field(b"content-id")), "MD5": _whole(lambda place: place.field(b"content-md5")),
    "LOCATION": _whole(lambda place: place.field(b"content-location")), "DESCRIPTION": _described,
    "SIZE": _by_size, "DEPTH": _by_depth, "INDEX": _by_index, "FILENAME": _by_file_name,
    **dict.fromkeys(("SUBJECT", "FROM", "TO", "CC", "BCC", "SENDER", "REPLY-TO"), _by_field),
    **dict.fromkeys(("MESSAGE-ID", "IN-REPLY-TO"), _by_field),
    **dict.fromkeys(("SENTBEFORE", "SENTON", "SENTSINCE"), _by_date),
    "HEADER": _by_header, "BODY": _by_text, "TEXT": _by_text}
