"""What a FETCH asks for and how its replies are put together, worked out once: a client asks for the same items again
and again.

    request, plan = planned(arguments, asked)       arguments: all behind the message set; raises PeerError
    plan = Plan(items, read_only=True)              items: as of fetch_items.ordered

Neither a request nor a plan is changed by who gets it. Limits: MOST_KEPT of them, of KEPT_OCTETS in a command at most.
"""

from collections.abc import Sequence
from typing import NamedTuple

from mailsuite.imap.fetch_items import FetchRequest, Item, Special, ordered, parse_fetch
from mailsuite.imap.syntax import Argument
from mailsuite.message.section import Kind, Section
from mailsuite.store.api import Column

MEMORY = {Column.UID, Column.FLAGS, Column.MODSEQ}     # columns that never touch a file
MANY, SOME, FEW = 2000, 300, 20                        # messages in a block: from memory, index or header, file
PREVIEWS = (Special.PREVIEW, Special.LAZY_PREVIEW, Special.SNIPPET, Special.LAZY_SNIPPET)
MOST_KEPT, KEPT_OCTETS = 256, 1000
# Those that memory and the content of a message tell.
_TOLD = MEMORY | {Column.SIZE, Column.ENVELOPE, Column.BODY, Column.BODYSTRUCTURE}
_FORMATS = {Column.FLAGS: b"FLAGS (%b)", Column.MODSEQ: b"MODSEQ (%b)"}


class Asked(NamedTuple):
    """What else a plan depends on. uid: every reply names the UID. offered: extensions."""

    offered: frozenset[str] = frozenset()
    uid: bool = False
    uid_only: bool = False
    read_only: bool = False


class Plan:
    """columns: what is asked of the mailbox at once. in_memory: no file and no index is needed. told: memory and the
    messages' content are enough."""

    def __init__(self, items: Sequence[Item], *, read_only: bool, uid_only: bool = False) -> None:
        self.items = items
        self.in_memory = all(item.what in MEMORY for item in items)
        self.told = all(isinstance(item.what, Section) or item.what in _TOLD for item in items)
        self.mark_seen = any(item.seen for item in items) and not read_only
        self.has_flags = any(item.what is Column.FLAGS for item in items)
        self.needs_message = [item for item in items if _needs_message(item)]
        self.whole = bool(self.needs_message) and all(map(is_whole, self.needs_message))
        # All rows of a block by one operation, UIDs as the numbers that they are.
        self.plain = not self.mark_seen and (self.whole or not self.needs_message)
        self.columns = [item.what for item in items if isinstance(item.what, Column)
                        and not (self.plain and item.what is Column.UID)]
        formats = [b"UID %d" if self.plain and item.what is Column.UID else _format(item) for item in items]
        self.opening = b"* %d UIDFETCH (" if uid_only else b"* %d FETCH ("
        self.template = self.opening + b" ".join(formats) + b")\r\n"
        self.segments, self.tail = _segments(self.opening, items, formats) if self.whole and self.plain else ([], b"")
        # For rows that are put together piece by piece: what is long is not copied into a format.
        self.forms = [b" " + (each.removesuffix(b"%b").replace(b"%%", b"%") if each.endswith(b"%b") else each)
                      for each in formats]
        if self.whole:
            self.needs_message, self.size = [], SOME
        elif self.needs_message or any(item.what in PREVIEWS for item in items):
            self.size = FEW
        else:
            self.size = MANY if self.in_memory else SOME


Planned = tuple[FetchRequest, Plan]
_known: dict[object, Planned] = {}


def planned(arguments: list[Argument], asked: Asked) -> Planned:
    """Raises PeerError."""
    key = asked, _key(arguments)
    found = _known.get(key)
    if found is None:
        found = _made(arguments, asked)
        if sum(map(_octets, arguments)) <= KEPT_OCTETS:
            if len(_known) >= MOST_KEPT:
                _known.clear()
            _known[key] = found
    return found


def _made(arguments: list[Argument], asked: Asked) -> Planned:
    request = parse_fetch(arguments, asked.offered)
    if request.changed_since >= 0 and not request.has(Column.MODSEQ):
        request.items.append(Item(b"MODSEQ", Column.MODSEQ))
    if asked.uid and not asked.uid_only and not request.has(Column.UID):
        request.items.insert(0, Item(b"UID", Column.UID))
    return request, Plan(ordered(request.items), read_only=asked.read_only, uid_only=asked.uid_only)


def _key(arguments: list[Argument]) -> tuple[object, ...]:
    """An atom is not the string of the same octets."""
    return tuple([_key(each) if isinstance(each, list) else (each.__class__, each) for each in arguments])


def _octets(argument: Argument) -> int:
    return sum(map(_octets, argument)) if isinstance(argument, list) else len(argument)


def is_whole(item: Item) -> bool:
    """The whole message, and all of it."""
    return item.what == Section() and item.partial is None


def _needs_message(item: Item) -> bool:
    if isinstance(item.what, Section):
        return item.what.path != () or item.what.kind not in (Kind.FIELDS, Kind.FIELDS_NOT)
    return item.what in (Special.BINARY, Special.BINARY_SIZE)


def _segments(opening: bytes, items: Sequence[Item], formats: Sequence[bytes]) -> tuple[list[tuple[bytes, int]], bytes]:
    """The template of a row cut behind the beginning of each whole message: formats with the number of their values,
    and what follows the last."""
    segments: list[tuple[bytes, int]] = []
    text, width, blank = opening, 1, b""
    for item, form in zip(items, formats, strict=True):
        text, width, blank = text + blank + form, width + 1, b" "
        if is_whole(item):
            segments.append((text, width))
            text, width = b"", 0
    return segments, text + b")\r\n"


def _format(item: Item) -> bytes:
    if isinstance(item.what, Column) and item.what in _FORMATS:
        return _FORMATS[item.what]
    return item.label.replace(b"%", b"%%") + b" %b"
