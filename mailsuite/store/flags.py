"""Flags of messages as one integer each: bits 0 to 4 are the system flags, higher bits a mailbox's keywords.

    table = FlagTable(["$Key"])             the keywords of one mailbox, in the order of their bits
    bits = table.bits(["\\\\Seen", "work"])  names in any case; unknown ones are left out
    table.render(bits) -> b"\\\\Seen work"     kept, so that a million messages cost a look-up each
    table.names(bits) -> ["\\\\Seen", "work"]
"""

import re
from collections.abc import Iterable

ANSWERED, FLAGGED, DELETED, SEEN, DRAFT = 1, 2, 4, 8, 16
SYSTEM = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
SYSTEM_MASK = 31
KEYWORD_SHIFT = 5
MAX_KEYWORDS = 1000         # in one mailbox; mail can bring some along
MAX_RENDERED = 100_000      # combinations of flags that are kept as text

_ATOM = re.compile(r"[^\x00-\x20\x7f(){%*\"\\\]]+")            # RFC 3501 section 9; 8-bit as Dovecot takes it
_SYSTEM_BITS = {name.lower(): 1 << bit for bit, name in enumerate(SYSTEM)}


def is_keyword(name: str) -> bool:
    """Can IMAP say it? What files of other programs, or mail itself, bring along need not be."""
    return _ATOM.fullmatch(name) is not None


class FlagTable:
    """The keywords of a mailbox. They are only added, so a bit keeps its meaning."""

    def __init__(self, keywords: Iterable[str] = ()) -> None:
        self.keywords: list[str] = []
        self._bits: dict[str, int] = {}
        self._rendered: dict[int, bytes] = {0: b""}
        for keyword in keywords:
            self.add(keyword)

    def add(self, keyword: str) -> int:
        """The bit of a keyword, new or known."""
        bit = self._bits.get(keyword.lower())
        if bit is None:
            bit = 1 << (KEYWORD_SHIFT + len(self.keywords))
            self.keywords.append(keyword)
            self._bits[keyword.lower()] = bit
        return bit

    def rename(self, number: int, keyword: str) -> None:
        """A placeholder turns out to have a name."""
        self._bits.pop(self.keywords[number].lower(), None)
        self.keywords[number] = keyword
        self._bits.setdefault(keyword.lower(), 1 << (KEYWORD_SHIFT + number))
        self._rendered = {0: b""}

    @property
    def full(self) -> bool:
        return len(self.keywords) >= MAX_KEYWORDS

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Keywords among names that have no bit yet."""
        return [name for name in dict.fromkeys(names) if not name.startswith("\\") and not self.bit(name)]

    def bit(self, name: str) -> int:
        """The bit of a flag or keyword; 0 for an unknown one."""
        return _SYSTEM_BITS.get(name.lower()) or self._bits.get(name.lower(), 0)

    def bits(self, names: Iterable[str]) -> int:
        bits = 0
        for name in names:
            bits |= self.bit(name)
        return bits

    def names(self, bits: int) -> list[str]:
        found = [name for bit, name in enumerate(SYSTEM) if bits >> bit & 1]
        bits >>= KEYWORD_SHIFT
        if bits:
            found += [name for bit, name in enumerate(self.keywords) if bits >> bit & 1]
        return found

    def render(self, bits: int) -> bytes:
        text = self._rendered.get(bits)
        if text is None:
            if len(self._rendered) >= MAX_RENDERED:
                self._rendered = {0: b""}
            text = self._rendered[bits] = " ".join(self.names(bits)).encode("utf-8", "surrogateescape")
        return text

    def render_all(self, all_bits: Iterable[int]) -> list[bytes]:
        """render() of many: most mailboxes know a handful of combinations."""
        bits = list(all_bits)
        combinations = set(bits)
        if len(combinations) > MAX_RENDERED // 2:
            return [self.render(one) for one in bits]
        texts = {one: self.render(one) for one in combinations}
        return list(map(texts.__getitem__, bits))
