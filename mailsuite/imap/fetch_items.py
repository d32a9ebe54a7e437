"""What FETCH asks for: arguments to a list of items.

    request = parse_fetch(arguments)        arguments: all behind the message set
    request.items -> [Item(b"UID", Column.UID), Item(b"BODY[TEXT]<0>", section, partial=(0, 20)), ...]

Items are in Dovecot's order: what the index knows first, then what is made from the message, each as asked.
Raises: PeerError in Dovecot's words.
Source: RFC 3501 section 6.4.5, RFC 3516 (BINARY), RFC 7162 (CHANGEDSINCE), RFC 8970 (PREVIEW).
"""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from mailsuite.base.errors import PeerError
from mailsuite.imap.partial import Page, parse_partial
from mailsuite.imap.reply import string
from mailsuite.imap.syntax import Argument, Atom, String, number
from mailsuite.message.section import Kind, Section, parse_section
from mailsuite.store.api import Column


class Special(Enum):
    """Items that are neither a column nor a section."""

    BINARY = auto()
    BINARY_SIZE = auto()
    PREVIEW = auto()
    SNIPPET = auto()
    LAZY_PREVIEW = auto()
    LAZY_SNIPPET = auto()
    SAVEDATE = auto()
    GUID = auto()
    MAILBOX = auto()
    REAL_UID = auto()
    EMAILID = auto()
    THREADID = auto()


@dataclass(frozen=True)
class Item:
    """label: as it stands in the reply. what: where it comes from. partial: first octet and how many (None: all)."""

    label: bytes
    what: Column | Section | Special
    section: Section | None = None
    partial: tuple[int, int | None] | None = None
    seen: bool = False          # fetching it sets \Seen


@dataclass
class FetchRequest:
    """changed_since: -1 for all. partial: only these of the messages (RFC 9394)."""

    items: list[Item] = field(default_factory=list)
    changed_since: int = -1
    vanished: bool = False
    partial: Page | None = None

    def has(self, column: Column) -> bool:
        return any(item.what is column for item in self.items)


_COLUMNS = {
    "UID": Column.UID, "FLAGS": Column.FLAGS, "INTERNALDATE": Column.INTERNALDATE, "RFC822.SIZE": Column.SIZE,
    "ENVELOPE": Column.ENVELOPE, "BODY": Column.BODY, "BODYSTRUCTURE": Column.BODYSTRUCTURE, "MODSEQ": Column.MODSEQ}
_SPECIAL = {
    "SNIPPET": Special.SNIPPET, "SAVEDATE": Special.SAVEDATE, "X-SAVEDATE": Special.SAVEDATE, "X-GUID": Special.GUID,
    "X-MAILBOX": Special.MAILBOX, "X-REAL-UID": Special.REAL_UID,
    "EMAILID": Special.EMAILID, "THREADID": Special.THREADID}
_OFFERED_WITH = {"EMAILID": "OBJECTID", "THREADID": "OBJECTID"}     # items that Dovecot 2.3 does not have
_WHOLE = {
    "RFC822": Item(b"RFC822", Section(), seen=True),
    "RFC822.HEADER": Item(b"RFC822.HEADER", Section(kind=Kind.HEADER)),
    "RFC822.TEXT": Item(b"RFC822.TEXT", Section(kind=Kind.TEXT), seen=True)}
_MACROS = {
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY")}
_PREVIEWS = {
    (False, False): Special.PREVIEW, (True, False): Special.SNIPPET,        # fuzzy, lazy
    (False, True): Special.LAZY_PREVIEW, (True, True): Special.LAZY_SNIPPET}
_BUFFERED = {Column.UID, Column.FLAGS, Column.INTERNALDATE, Column.SIZE, Column.MODSEQ,
             Special.SAVEDATE, Special.GUID, Special.MAILBOX, Special.REAL_UID,
             Special.EMAILID, Special.THREADID, *_PREVIEWS.values()}
_SECTION = re.compile(rb"(BODY|BODY\.PEEK|BINARY|BINARY\.PEEK|BINARY\.SIZE)\[(.*)\Z", re.S | re.I)


def parse_fetch(arguments: list[Argument], offered: Container[str] = ()) -> FetchRequest:
    """Items and modifiers of FETCH. offered: extensions beyond those of Dovecot 2.3. Raises PeerError."""
    request = FetchRequest()
    rest = list(arguments)
    if not rest:
        raise PeerError("Invalid arguments")
    first = rest[0]
    if isinstance(first, list):
        if not first:
            raise PeerError("FETCH list is empty")
        words = list(first)
        del rest[0]
        while words:
            request.items.append(_item(words, offered))
    elif isinstance(first, Atom):
        macro = _MACROS.get(first.decode("ascii").upper())
        if macro is not None:
            rest.pop(0)
            request.items = [Item(name.encode(), _COLUMNS[name]) for name in macro]
        else:
            request.items = [_item(rest, offered)]
    else:
        raise PeerError("Invalid arguments")
    if rest:
        if not isinstance(rest[0], list):
            raise PeerError("Invalid arguments")
        _modifiers(request, rest[0], offered)
    return request


def ordered(items: list[Item]) -> list[Item]:
    """What needs no message first, each item once; sections are told as often as they are asked for."""
    told: dict[tuple[Item, int], Item] = {}
    for place, item in enumerate(items):
        told.setdefault((item, place if item.section is not None else -1), item)
    return sorted(told.values(), key=lambda item: item.what not in _BUFFERED)


def count_first(items: Sequence[Item]) -> int:
    """How many of ordered items need no message: what has changed is told behind them."""
    return sum(item.what in _BUFFERED for item in items)


def _item(words: list[Argument], offered: Container[str]) -> Item:
    """Take one item from the front."""
    word = words.pop(0)
    if not isinstance(word, Atom):
        raise PeerError("FETCH list contains non-atoms")
    name = word.decode("ascii").upper()
    if name in _COLUMNS:
        return Item(name.encode(), _COLUMNS[name])
    if name in _WHOLE:
        return _WHOLE[name]
    if name == "PREVIEW" or name == "SNIPPET":
        return _preview(name, words)
    if name in _SPECIAL and (name not in _OFFERED_WITH or _OFFERED_WITH[name] in offered):
        return Item(name.encode(), _SPECIAL[name])
    match = _SECTION.match(word)
    if match is not None:
        return _section_item(match[1].decode("ascii").upper(), match[2], words)
    if name in ("BODY.PEEK", "BINARY", "BINARY.PEEK", "BINARY.SIZE"):
        raise PeerError(f"Invalid {name.partition('.')[0]}[..] parameter: Missing '['")
    raise PeerError(f"Unknown parameter{'' if name.startswith('RFC822.') else ':'} {name}")


def _preview(name: str, words: list[Argument]) -> Item:
    """PREVIEW [(LAZY)]; with the algorithm named as in the draft that some clients know, FUZZY stands in the reply."""
    fuzzy, lazy = name == "SNIPPET", False
    if words and isinstance(options := words[0], list):
        del words[0]
        for option in options:
            text = option.decode("ascii").upper() if isinstance(option, Atom) else ""
            if text not in ("LAZY", "FUZZY", "LAZY=FUZZY"):
                raise PeerError(f"'{text}' is not a supported {name} modifier")
            fuzzy, lazy = fuzzy or "FUZZY" in text, lazy or "LAZY" in text
    return Item(name.encode(), _PREVIEWS[fuzzy, lazy])


def _section_item(name: str, text: bytes, words: list[Argument]) -> Item:
    base = name.partition(".")[0]
    section_text, names, end = _section_text(base, text, words)
    try:
        section = parse_section(section_text)
    except PeerError:
        raise PeerError(f"Invalid {base}[..] section") from None
    if section.kind in (Kind.FIELDS, Kind.FIELDS_NOT):
        section = replace(section, names=names)
    partial = _partial(base, end)
    label = section_text
    tail = b"<%d>" % partial[0] if partial else b""
    if name == "BINARY.SIZE":
        return Item(b"BINARY.SIZE[%b]" % label, Special.BINARY_SIZE, section)
    if base == "BINARY":
        return Item(b"BINARY[%b]%b" % (label, tail), Special.BINARY, section, partial, seen=name == "BINARY")
    return Item(b"BODY[%b]%b" % (label, tail), section, section, partial, seen=name == "BODY")


def _section_text(base: str, text: bytes, words: list[Argument]) -> tuple[bytes, tuple[bytes, ...], bytes]:
    """The text between the brackets as it is repeated in the reply, the header names, and what follows the bracket."""
    inside, bracket, end = text.partition(b"]")
    if bracket:
        return inside.upper(), (), end
    if not words or not isinstance(words[0], list):
        raise PeerError(f"Invalid {base}[..] parameter: Missing ']'")
    listed = words.pop(0)
    assert isinstance(listed, list)
    shown: list[bytes] = []
    names: list[bytes] = []
    for each in listed:
        if isinstance(each, list):
            raise PeerError(f"Invalid {base}[..] parameter: Header list contains non-strings")
        names.append(each.lower())
        shown.append(each.upper() if isinstance(each, Atom) else string(each.upper()))
    closing = words.pop(0) if words else None
    if not isinstance(closing, Atom) or not closing.startswith(b"]"):
        raise PeerError(f"Invalid {base}[..] parameter: Missing ']'")
    return b"%b (%b)" % (inside.upper(), b" ".join(shown)), tuple(names), closing[1:]


_PARTIAL = re.compile(rb"<(\d*)(?:\.(\d*))?(>?)(.*)\Z", re.S)


def _partial(base: str, text: bytes) -> tuple[int, int | None] | None:
    problem = f"Invalid {base}[..] parameter: "
    if not text:
        return None
    match = _PARTIAL.match(text)
    if match is None:
        raise PeerError(problem + "Unexpected data after ']'")
    start = number(Atom(match[1]), 2**63 - 1)
    if start is None:
        raise PeerError(problem + "Too big partial start")
    length = None
    if match[2] is not None:
        length = number(Atom(match[2]), 2**63 - 1)
        if length is None:
            raise PeerError(problem + "Too big partial end")
    if not match[3]:
        raise PeerError(problem + "Missing '>' in partial")
    if match[4]:
        raise PeerError(problem + "Unexpected data after '>'")
    return start, length


def _modifiers(request: FetchRequest, arguments: list[Argument], offered: Container[str]) -> None:
    words = iter(arguments)
    for each in words:
        name = each.decode("ascii").upper() if isinstance(each, Atom) else ""
        if name == "CHANGEDSINCE":
            value = next(words, None)
            modseq = number(value, 2**63 - 1) if isinstance(value, String | Atom) else None
            if modseq is None:
                raise PeerError("Invalid CHANGEDSINCE modseq")
            request.changed_since = modseq
        elif name == "PARTIAL" and "PARTIAL" in offered and request.partial is None:
            value = next(words, None)
            try:
                request.partial = parse_partial(value if isinstance(value, Atom) else b"", from_end=True)
            except ValueError:
                raise PeerError("Invalid PARTIAL range") from None
        elif name == "VANISHED":
            request.vanished = True
        else:
            raise PeerError("Unknown FETCH modifier")
