"""SEARCH's arguments: octets to a tree of keys.

    parse_keys([Atom(b"OR"), Atom(b"SEEN"), Atom(b"FLAGGED")], "utf-8") -> And([Or(HasFlag("\\\\Seen"), ...)])

A tree is of frozen dataclasses; imap/search.py evaluates it. Sequence sets stay as ranges.
Raises: PeerError in Dovecot's words. Limits: MAX_KEYS, MAX_DEPTH.
Source: RFC 3501 section 6.4.4, RFC 5032 (WITHIN), RFC 5182 ($), RFC 7162 (MODSEQ), RFC 8514 (SAVEDATE).
"""

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass

from mailsuite.base.errors import PeerError
from mailsuite.imap import numbers
from mailsuite.imap.dates import parse_date
from mailsuite.imap.mime_keys import Test, parse_mime
from mailsuite.imap.syntax import Argument, Atom, String, number

MAX_KEYS = 5000
MAX_DEPTH = 100         # NOT NOT NOT...
MAX_WILDCARDS = 8       # parts of an X-MAILBOX pattern


@dataclass(frozen=True, slots=True)
class All:
    pass


@dataclass(frozen=True, slots=True)
class And:
    keys: tuple["Key", ...]


@dataclass(frozen=True, slots=True)
class Or:
    one: "Key"
    other: "Key"


@dataclass(frozen=True, slots=True)
class Not:
    key: "Key"


@dataclass(frozen=True, slots=True)
class HasFlag:
    """flag: "\\\\Seen", "\\\\Recent" or a keyword."""

    flag: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """A message set; uid: of UIDs. ranges None: "$", what was saved."""

    ranges: numbers.Ranges | None
    uid: bool = False


@dataclass(frozen=True, slots=True)
class Day:
    """how: "BEFORE", "ON", "SINCE". sent: by the Date field; saved: by when it came into the mailbox (RFC 8514); else
    INTERNALDATE. day: days since the epoch."""

    how: str
    day: int
    sent: bool = False
    saved: bool = False


@dataclass(frozen=True, slots=True)
class Age:
    """Within that many seconds (younger) or not."""

    seconds: int
    younger: bool


@dataclass(frozen=True, slots=True)
class Size:
    """larger or smaller than that many octets."""

    octets: int
    larger: bool


@dataclass(frozen=True, slots=True)
class Header:
    """A field holds the text; "" for: there is such a field."""

    name: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """The body, and with headers the header, holds the text."""

    text: str
    headers: bool


@dataclass(frozen=True, slots=True)
class ModSeq:
    """MODSEQ of at least that."""

    least: int


@dataclass(frozen=True, slots=True)
class ObjectId:
    """name: "EMAILID" or "THREADID" (RFC 8474)."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class MimePart:
    """A part of the message matches (mime_keys.py)."""

    test: Test


# Keys that only doveadm's queries have (access/doveadm_query.py).


@dataclass(frozen=True, slots=True)
class Moment:
    """how: "BEFORE", "ON" (within a day from it) or "SINCE". which date: "" for received, "SENT", "SAVED"."""

    how: str
    which: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Guid:
    """The message's own identifier, which copies share."""

    text: str


@dataclass(frozen=True, slots=True)
class InThread:
    """In one thread with a message that matches."""

    key: "Key"


@dataclass(frozen=True, slots=True)
class InMailbox:
    """fits: of a mailbox's name (as stored) and GUID."""

    fits: Callable[[str, str], bool]


Key = (All | And | Or | Not | HasFlag | Numbers | Day | Age | Size | Header | Text | ModSeq | ObjectId | Moment | Guid
       | InThread | InMailbox | MimePart)

_FLAGS = {name.upper(): "\\" + name for name in ("Answered", "Deleted", "Draft", "Flagged", "Seen", "Recent")}
_FIELDS = ("BCC", "CC", "FROM", "TO", "SUBJECT")


def parse_keys(arguments: list[Argument], charset: str, offered: Container[str] = ()) -> Key:
    """All keys of a SEARCH. charset: a codec of the texts. offered: extensions beyond Dovecot 2.3's. Raises PeerError.
    """
    if not arguments:
        raise PeerError("Missing search parameters")
    parser = _Parser(charset, offered)
    return parser.keys(list(arguments))


def uses_modseq(key: Key) -> bool:
    match key:
        case ModSeq():
            return True
        case And(keys):
            return any(map(uses_modseq, keys))
        case Or(one, other):
            return uses_modseq(one) or uses_modseq(other)
        case Not(inner):
            return uses_modseq(inner)
    return False


def uses_numbers(key: Key) -> bool:
    """Whether a set of message numbers is among the keys."""
    match key:
        case Numbers(ranges, uid):
            return ranges is not None and not uid
        case And(keys):
            return any(map(uses_numbers, keys))
        case Or(one, other):
            return uses_numbers(one) or uses_numbers(other)
        case Not(inner) | InThread(inner):
            return uses_numbers(inner)
    return False


class _Parser:
    def __init__(self, charset: str, offered: Container[str]) -> None:
        self.charset, self.offered, self.count, self.depth = charset, offered, 0, 0
        self.words: list[Argument] = []

    def keys(self, words: list[Argument]) -> Key:
        outer, self.words = self.words, words
        words.reverse()         # taken from the end
        found = []
        while self.words:
            found.append(self.key())
        self.words = outer
        return found[0] if len(found) == 1 else And(tuple(found))

    def key(self) -> Key:
        self.count += 1
        self.depth += 1
        if self.count > MAX_KEYS or self.depth > MAX_DEPTH:
            raise PeerError("Too many search keys")
        key = self._key()
        self.depth -= 1
        return key

    def _key(self) -> Key:
        if not self.words:
            raise PeerError("Missing argument")
        word = self.words.pop()
        if isinstance(word, list):
            if not word:
                raise PeerError("No search parameters inside list")
            return self.keys(list(word))
        if not isinstance(word, Atom):
            raise PeerError(f"Unexpected string as search key: {word.decode('utf-8', 'surrogateescape')}")
        name = word.decode("ascii").upper()
        if name in _OFFERED_WITH and _OFFERED_WITH[name] not in self.offered:
            raise PeerError(f"Unknown argument {name}")
        if name in _FLAGS:
            return HasFlag(_FLAGS[name])
        if name.startswith("UN") and name[2:] in _FLAGS and name != "UNRECENT":
            return Not(HasFlag(_FLAGS[name[2:]]))
        if name in _FIELDS:
            return Header(name.encode(), self.text(name))
        if name in _KEYS:
            return _KEYS[name](self, name)
        if name == "$":
            return Numbers(None)
        if name[0].isdigit() or name[0] == "*":
            return Numbers(_set(word, "Invalid messageset"))
        raise PeerError(f"Unknown argument {name}")

    def argument(self, name: str) -> Argument:
        if not self.words:
            raise PeerError(f"Missing parameter for search key (for search key: {name})")
        word = self.words.pop()
        if isinstance(word, list):
            raise PeerError(f"Unexpected ( (for search key: {name})")
        return word

    def text(self, name: str) -> str:
        argument = self.argument(name)
        assert isinstance(argument, bytes)
        try:
            return argument.decode(self.charset)
        except UnicodeDecodeError:
            return argument.decode("utf-8", "surrogateescape")


def _set(word: Argument, problem: str) -> numbers.Ranges:
    try:
        return numbers.parse_set(bytes(word)) if isinstance(word, Atom) else numbers.parse_set(b"")
    except ValueError:
        raise PeerError(problem) from None


def _uid(parser: _Parser, name: str) -> Key:
    word = parser.argument(name)
    return Numbers(None, uid=True) if word == b"$" else Numbers(_set(word, "Invalid UID messageset"), uid=True)


def _or(parser: _Parser, name: str) -> Key:
    one = parser.key()
    return Or(one, parser.key())


def _day(parser: _Parser, name: str) -> Key:
    word = parser.argument(name)
    assert isinstance(word, bytes)
    try:
        day = parse_date(word)
    except ValueError:
        raise PeerError("Invalid search date parameter") from None
    sent = name.startswith("SENT")
    saved = name.startswith("SAVED")
    return Day(name.removeprefix("SENT").removeprefix("SAVED"), day, sent, saved)


def _size(parser: _Parser, name: str) -> Key:
    octets = number(parser.argument(name), 2**63 - 1)
    if octets is None:
        raise PeerError("Invalid search size parameter")
    return Size(octets, name == "LARGER")


def _age(parser: _Parser, name: str) -> Key:
    seconds = number(parser.argument(name))
    if not seconds:
        raise PeerError("Invalid search interval parameter")
    return Age(seconds, name == "YOUNGER")


def _keyword(parser: _Parser, name: str) -> Key:
    keyword = parser.text(name)
    key: Key = Not(All()) if keyword.startswith("\\") else HasFlag(keyword)      # no keyword begins so
    return Not(key) if name == "UNKEYWORD" else key


def _modseq(parser: _Parser, name: str) -> Key:
    """MODSEQ [entry-name entry-type] modseq."""
    word = parser.argument(name)
    if isinstance(word, String):
        parser.argument(name)
        word = parser.argument(name)
    least = number(word, 2**63 - 1)
    if least is None:
        raise PeerError("Invalid MODSEQ value")
    return ModSeq(least)


def in_thread(algorithm: str, key: Callable[[], Key]) -> InThread:
    """INTHREAD algorithm key: a draft that Dovecot has. key: reads the key. Raises PeerError."""
    match algorithm.upper():
        case "REFS" | "REFERENCES":
            return InThread(key())
        case "ORDEREDSUBJECT":
            raise PeerError("ORDEREDSUBJECT isn't supported")
    raise PeerError("Invalid thread algorithm parameter")


def _mime_part(parser: _Parser, name: str) -> Key:
    test, rest = parse_mime(parser.words[::-1])
    parser.words[:] = rest[::-1]
    return MimePart(test)


def _object_id(parser: _Parser, name: str) -> Key:
    return ObjectId(name, parser.text(name))


def _uid_range(parser: _Parser, name: str) -> Key:
    """RFC 9738 section 3.4."""
    uid = number(parser.argument(name))
    if not uid:
        raise PeerError("Invalid UID parameter")
    if name == "UIDBEFORE":
        return Numbers([(1, uid - 1)], uid=True) if uid > 1 else Not(All())
    return Numbers([(uid + 1, 0xFFFF_FFFF)], uid=True) if uid < 0xFFFF_FFFF else Not(All())


def _name_pattern(pattern: str) -> Callable[[str, str], bool]:
    """X-MAILBOX of Dovecot: a pattern as of LIST. Runs of wildcards count once, so that a match is quick."""
    parts = re.findall(r"[*%]+|[^*%]+", pattern)[:MAX_WILDCARDS]
    compiled = re.compile("".join((".*" if "*" in part else "[^./]*") if part[0] in "*%" else re.escape(part)
                                  for part in parts), re.S)
    return lambda name, guid: compiled.fullmatch(name) is not None


# Keys that Dovecot 2.3 does not have, and the extension of each.
_OFFERED_WITH = {"EMAILID": "OBJECTID", "THREADID": "OBJECTID", "UIDAFTER": "MESSAGELIMIT", "UIDBEFORE": "MESSAGELIMIT"}
_DAYS = [prefix + how for prefix in ("", "SENT", "SAVED") for how in ("BEFORE", "ON", "SINCE")]
_KEYS: Mapping[str, Callable[[_Parser, str], Key]] = {
    "ALL": lambda parser, name: All(),
    "NEW": lambda parser, name: And((HasFlag("\\Recent"), Not(HasFlag("\\Seen")))),
    "OLD": lambda parser, name: Not(HasFlag("\\Recent")),
    "NOT": lambda parser, name: Not(parser.key()),
    "OR": _or,
    "FUZZY": lambda parser, name: parser.key(),
    "UID": _uid,
    "KEYWORD": _keyword,
    "UNKEYWORD": _keyword,
    "LARGER": _size,
    "SMALLER": _size,
    "OLDER": _age,
    "YOUNGER": _age,
    "BODY": lambda parser, name: Text(parser.text(name), headers=False),
    "TEXT": lambda parser, name: Text(parser.text(name), headers=True),
    "HEADER": lambda parser, name: Header(parser.text(name).encode("utf-8", "surrogateescape").upper(),
                                          parser.text(name)),
    "SAVEDATESUPPORTED": lambda parser, name: All(),        # RFC 8514 section 4.3
    "MODSEQ": _modseq,
    "INTHREAD": lambda parser, name: in_thread(parser.text(name), parser.key),
    "MIMEPART": _mime_part,
    "X-GUID": lambda parser, name: Guid(parser.text(name)),
    "X-REAL-UID": _uid,
    "X-MAILBOX": lambda parser, name: InMailbox(_name_pattern(parser.text(name))),
    "EMAILID": _object_id,
    "THREADID": _object_id,
    "UIDAFTER": _uid_range,
    "UIDBEFORE": _uid_range,
    **dict.fromkeys(_DAYS, _day),
    **{f"X-{name}": lambda parser, name: _day(parser, name.removeprefix("X-"))
       for name in _DAYS if name.startswith("SAVED")},
}
