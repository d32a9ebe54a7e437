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
_WORDS = frozenset((t.ATOM, t.QUOTED, t.COMMENT, t.LITERAL, _ADDRESS))
FOLD_AT = 70


class AddressParts:
    """A parsed list. Addresses are numbered from 0."""

    def __init__(self, items: list[Token]) -> None:
        self._items = items
        self._places = [place for place, item in enumerate(items) if item.kind == _ADDRESS]

    def addresses(self) -> list[str]:
        """All addresses in external form; "" for "<>"."""
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
                out.append(" ")
            elif number < last:
                following = self._items[number + 1].kind
                if following == "<" or (item.kind in _WORDS and following in _WORDS):
                    out.append(" ")
        return "".join(out)


def parse_addresses(text: str, limit: int = 10240) -> AddressParts:
    """Parse a list. limit: tokens; what follows is left out."""
    return AddressParts(_Parser().parse(t.scan(text, limit)))


class _Parser:
    """Reads a list from its end, so that a ">" or ";" tells what stands before it.

    Outside of brackets a run of tokens is an address, until another word follows a word: there a comma was forgotten.
    Before a "<...>" and before the ":" of a group stands a name, which is left as it is.
    """

    def __init__(self) -> None:
        self._items: list[Token] = []       # from the end to the start, as all lists here
        self._address: list[Token] = []
        self._comments: list[Token] = []    # of the address at hand; they will follow it
        self._in_angle = self._in_name = self._in_group_name = self._in_group = False

    def parse(self, tokens: list[Token]) -> list[Token]:
        for token in reversed(tokens):
            if self._in_angle:
                self._inside_angle(token)
            elif token.kind in (",", ";"):
                self._separator(token)
            elif token.kind == ":" and self._in_group and not self._in_group_name:
                self._close(comma=False)
                self._items.append(Token(_GROUP, ":"))
                self._in_name = self._in_group_name = True
            elif token.kind == ">" and not self._in_group_name:
                self._close(comma=True)
                self._items.append(token)
                self._in_angle, self._in_name = True, False
            elif self._in_name:
                self._items.append(token)
                if token.kind == ":" and not self._in_group_name:
                    self._in_name = False
            else:
                self._plain(token)
        self._close(comma=False)
        self._items.reverse()
        return self._items

    def _inside_angle(self, token: Token) -> None:
        if token.kind == "<":
            self._close(comma=False)
            self._items.append(token)
            self._in_angle, self._in_name = False, True
        elif token.kind == t.COMMENT:
            self._comments.append(token)
        elif token.kind == t.ATOM and self._address and self._address[-1].kind == t.ATOM:
            self._address[-1] = Token(t.ATOM, token.text + self._address[-1].text)      # blanks inside mean nothing
        else:
            self._address.append(token)

    def _separator(self, token: Token) -> None:
        self._close(comma=token.kind == ";")
        self._items.append(token)
        if token.kind == "," or not self._in_group_name:
            self._in_name = self._in_group_name = False
        self._in_group = self._in_group or token.kind == ";"

    def _plain(self, token: Token) -> None:
        if token.kind == t.COMMENT:
            (self._comments if self._address else self._items).append(token)
            return
        if self._address and token.kind in _WORDS and self._address[-1].kind in _WORDS:
            self._close(comma=True)
        self._address.append(token)

    def _close(self, *, comma: bool) -> None:
        """The address at hand is whole. comma: what stands before it must be parted from it."""
        self._items += self._comments
        if self._address or self._in_angle:
            self._items.append(Token(_ADDRESS, t.externalize(self._address[::-1])))
            if comma:
                self._items.append(Token(",", ","))
        self._address, self._comments = [], []


def fold_header(name: str, text: str) -> str:
    """name and text, whose lines end where commas were, joined to lines of fewer than FOLD_AT octets."""
    lines = text.split("\n")
    out = [f"{name}: {lines[0]}"]
    used = _octets(out[0])
    for line in lines[1:]:
        size = _octets(line)
        if used + 1 + size < FOLD_AT:
            out.append(" " + line)
            used += 1 + size
        else:                   # a line that was inside a comment has its own blank
            out.append("\n" + line if line[:1] in (" ", "\t") else "\n\t" + line)
            used = size
    return "".join(out)


def _octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))
