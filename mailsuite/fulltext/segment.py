"""The words of some messages and where they stand, as octets that are searched as they lie.

    octets = build([{"HELLO", "WORLD"}, {"HELLO"}])         a set of words for each message, numbered from 0
    Section(octets).find(b"ELL") -> {0, 1}                  messages with a word that holds the text
    Section(octets).words() -> [{"HELLO", "WORLD"}, {"HELLO"}]      as they were given

Words of one message alone (identifiers, signatures: most of all words) stand in a text for each message; all others
once, with the messages that have them: two octets for each, or a bit where they are many. UTF-8.
Cost: a search looks through the words with bytes.find, some 350 octets a message; building takes some 40 us a message.
Raises: ValueError for octets that are no section. Limits: MAX_MESSAGES.
"""

import struct
from array import array
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import accumulate, repeat

MAX_MESSAGES = 0x10000
_HEAD = struct.Struct("<5I")        # messages, common words, octets of: single words, common words, postings
_WIDTH = 4                          # octets of an item of array("I")


def encoded(text: str) -> bytes:
    """A word or a needle as it is looked for."""
    return text.encode("utf-8", "surrogatepass")


def no_pause() -> None:
    """For who is in a hurry."""


def build(messages: Sequence[Collection[str]], pause: Callable[[], None] = no_pause) -> bytes:
    """A section. messages: at most MAX_MESSAGES, each the distinct words of one; a word holds no white space.

    pause: called between messages, so that long work can rest.
    """
    counts = Counter[str]()
    for words in messages:
        counts.update(words)
        pause()
    found: dict[str, list[int]] = {word: [] for word, count in counts.items() if count > 1}
    common = found.keys()
    singles: list[bytes] = []
    for number, words in enumerate(messages):
        many = common & words
        deque(map(list.append, map(found.__getitem__, many), repeat(number)), maxlen=0)
        singles.append(encoded("\n".join(set(words) - many)) + b"\n")
        pause()
    bits = -(-len(messages) // 8)
    postings = [_posting(numbers, bits) for numbers in found.values()]
    texts = [encoded(word) + b"\n" for word in found]
    single_text, common_text, posting_octets = b"".join(singles), b"".join(texts), b"".join(postings)
    return b"".join((
        _HEAD.pack(len(messages), len(found), len(single_text), len(common_text), len(posting_octets)),
        _starts(singles), _starts(texts), _starts(postings), single_text, common_text, posting_octets))


def _starts(pieces: Sequence[bytes]) -> bytes:
    return array("I", accumulate(map(len, pieces), initial=0)).tobytes()


def _posting(numbers: Sequence[int], bits: int) -> bytes:
    if 2 * len(numbers) < bits:
        return array("H", numbers).tobytes()
    mask = bytearray(bits)
    for number in numbers:
        mask[number >> 3] |= 1 << (number & 7)
    return bytes(mask)


class Section:
    """What build() made."""

    def __init__(self, octets: bytes) -> None:
        try:
            self.count, common, single_size, common_size, posting_size = _HEAD.unpack_from(octets)
        except struct.error as error:
            raise ValueError("a section's head is cut off") from error
        at = _HEAD.size
        self._single_starts = self._array(octets, at, self.count + 1)
        at += _WIDTH * (self.count + 1)
        self._common_starts = self._array(octets, at, common + 1)
        at += _WIDTH * (common + 1)
        self._posting_starts = self._array(octets, at, common + 1)
        self._single_at = at + _WIDTH * (common + 1)
        self._common_at = self._single_at + single_size
        self._postings_at = self._common_at + common_size
        if len(octets) != self._postings_at + posting_size or (
                self._single_starts[-1], self._common_starts[-1], self._posting_starts[-1]) != (
                single_size, common_size, posting_size):
            raise ValueError("a section's parts do not fit")
        self._octets, self._bits = octets, -(-self.count // 8)

    @staticmethod
    def _array(octets: bytes, at: int, items: int) -> "array[int]":
        found = array("I")
        found.frombytes(octets[at: at + _WIDTH * items])        # ValueError when it is cut within an item
        if len(found) != items:
            raise ValueError("a section is cut off")
        return found

    def find(self, needle: bytes) -> set[int]:
        """Numbers of the messages with a word that holds the needle: octets of encoded(), without white space."""
        return self._in_common(needle) | self._in_singles(needle)

    def _in_common(self, needle: bytes) -> set[int]:
        octets, starts, base, end = self._octets, self._common_starts, self._common_at, self._postings_at
        mask, found = 0, set[int]()
        at = octets.find(needle, base, end)
        while at >= 0:
            word = bisect_right(starts, at - base) - 1
            posting = self._posting(word)
            if len(posting) == self._bits:
                mask |= int.from_bytes(posting, "little")
            else:
                found.update(array("H", posting))
            at = octets.find(needle, base + starts[word + 1], end)
        if mask:
            found.update(_numbers(mask))
        return found

    def _in_singles(self, needle: bytes) -> set[int]:
        octets, starts, base, end = self._octets, self._single_starts, self._single_at, self._common_at
        found = set[int]()
        at = octets.find(needle, base, end)
        while at >= 0:
            number = bisect_right(starts, at - base) - 1
            found.add(number)
            at = octets.find(needle, base + starts[number + 1], end)
        return found

    def _posting(self, word: int) -> bytes:
        base, starts = self._postings_at, self._posting_starts
        return self._octets[base + starts[word]: base + starts[word + 1]]

    def words(self) -> list[set[str]]:
        """The words of each message."""
        octets, base, starts = self._octets, self._single_at, self._single_starts
        found = [set(_lines(octets[base + starts[number]: base + starts[number + 1]])) for number in range(self.count)]
        for word, text in enumerate(_lines(octets[self._common_at: self._postings_at])):
            posting = self._posting(word)
            mask = int.from_bytes(posting, "little") if len(posting) == self._bits else 0
            for number in _numbers(mask) if mask else array("H", posting):
                found[number].add(text)
        return found


def _lines(octets: bytes) -> list[str]:
    """Lines of UTF-8; nothing but LF ends a line here."""
    return octets.decode("utf-8", "surrogatepass").split("\n")[:-1] if len(octets) > 1 else []


def _numbers(mask: int) -> Iterator[int]:
    """The bits that are set, from the lowest on."""
    text = bin(mask)[:1:-1]
    at = text.find("1")
    while at >= 0:
        yield at
        at = text.find("1", at + 1)
