"""Address lists as header fields and tables have them.

    parse_addresses('Bob <b@d.test>, x (y)') -> AddressParts; .addresses() -> ["b@d.test", "x"] in external form
    parts = parse_addresses(text); parts.replace(0, "c@d.test"); parts.text() -> 'Bob <c@d.test>, x (y)'

Names, comments and groups stay where they are (a comment inside an address moves behind it); missing commas are put in.
Nothing is refused. Source: RFC 5322 section 3.4, and what Postfix makes of lists that break it.
"""

from mailsuite.address import tokens as t
from mailsuite.address.tokens import Token

_ADDRESS = "address"        # a Token of this kind holds an address in external form
_GROUP = "group"            # the ":" behind a group's name
_SEPARATORS = (",", ";", _GROUP)
_WORDS = frozenset((t.ATOM, t.QUOTED, t.COMMENT, t.LITERAL, _ADDRESS))
FOLD_AT = 70


class AddressParts:
    """A parsed list. Addresses are numbered from 0."""

    def __init__(self, items: list[Token]) -> None:
        self._items = items
        self._places = [place for place, item in enumerate(items) if item.kind == _ADDRESS]

    def addresses(self) -> list[str]:
        """All addresses in external form, an empty one ("<>") left out."""
        return [self._items[place].text for place in self._places]

    def replace(self, number: int, address: str) -> None:
        """Put another address (external form) in the place of one."""
        self._items[self._places[number]] = Token(_ADDRESS, address)

    def text(self, separator: str = ", ") -> str:
        """The list in standard form; separator stands for each comma."""
        out: list[str] = []
        last = len(self._items) - 1
        for number, item in enumerate(self._items):
            if item.kind == ",":
                out.append(separator)
                continue
            out.append(item.text if item.kind == _ADDRESS else t.quote(item))
            if item.kind == _GROUP:
                if number < last and self._items[number + 1].kind != ";":
                    out.append(" ")
            elif number < last:
                following = self._items[number + 1].kind
                if following == "<" or (item.kind in _WORDS and following in _WORDS):
                    out.append(" ")
        return "".join(out)


def parse_addresses(text: str, limit: int = 10240) -> AddressParts:
    """Parse a list. limit: tokens; what follows is left out."""
    tokens = _mark_groups(t.scan(text, limit))
    items: list[Token] = []
    segment: list[Token] = []
    in_angle = False
    for token in tokens:
        kind = token.kind
        if in_angle:
            segment.append(token)
            if kind == ">":
                in_angle = False
                _close(items, segment)
                segment = []
            continue
        if kind in _SEPARATORS:
            if kind == _GROUP:
                _comma(items)
                items += segment
            else:
                _close(items, segment)
            segment = []
            items.append(token)
            continue
        if kind == "<":
            in_angle = True
        segment.append(token)
    _close(items, segment)
    return AddressParts(items)


def _mark_groups(tokens: list[Token]) -> list[Token]:
    """A ":" begins a group when a ";" ends it; others belong to an address."""
    ends, in_angle = False, False
    for place in range(len(tokens) - 1, -1, -1):
        kind = tokens[place].kind
        if kind == ">":
            in_angle = True
        elif kind == "<":
            in_angle = False
        elif in_angle:
            continue
        elif kind == ";":
            ends = True
        elif kind == ":" and ends:
            tokens[place] = Token(_GROUP, ":")
            ends = False
    return tokens


def _comma(items: list[Token]) -> None:
    """Put the comma in that should part what is there from what comes."""
    for item in reversed(items):
        if item.kind in (",", _GROUP):
            return
        if item.kind != t.COMMENT:
            items.append(Token(",", ","))
            return


def _close(items: list[Token], segment: list[Token]) -> None:
    """Add what stood between two separators."""
    if not segment:
        return
    start = next((place for place, token in enumerate(segment) if token.kind == "<"), -1)
    if start >= 0:
        _comma(items)
        items += segment[:start + 1]
        inside = [token for token in segment[start + 1:] if token.kind not in (">", t.COMMENT)]
        if inside:
            items.append(Token(_ADDRESS, t.externalize(inside, separator=",")))
        items += [token for token in segment[start + 1:] if token.kind == t.COMMENT]
        items.append(Token(">", ">"))
        return
    words: list[Token] = []
    comments: list[Token] = []
    for token in segment:
        if token.kind == t.COMMENT:
            comments.append(token)
            continue
        if words and words[-1].kind in _WORDS and token.kind in _WORDS:
            _add_plain(items, words, comments)
            words, comments = [], []
        words.append(token)
    _add_plain(items, words, comments)


def _add_plain(items: list[Token], words: list[Token], comments: list[Token]) -> None:
    if words:
        _comma(items)
        items.append(Token(_ADDRESS, t.externalize(words, separator=",")))
    items += comments


def fold_header(name: str, text: str) -> str:
    """name and text, whose lines end where commas were, joined to lines of fewer than FOLD_AT characters."""
    lines = text.split("\n")
    out: list[str] = []
    current = f"{name}: {lines[0]}"
    for line in lines[1:]:
        if len(current) + 1 + len(line) < FOLD_AT:
            current += " " + line
        else:
            out.append(current)
            current = line
    out.append(current)
    return "\n\t".join(out)
