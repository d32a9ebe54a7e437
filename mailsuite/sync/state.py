"""What was so at the end of the last run: the argument of -s, and what a run with -s prints.

    state = State.decode(text);  text = state.encode()          base64 of compressed JSON; "" is an empty state

For each folder both sides' marks, the pairs of UIDs and the flags that they had. Pairs that follow each other are one
run, so a folder that was copied in order takes some octets however large it is.
Limits: MAX_OCTETS of JSON. Raises: PermanentError for what is no state.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from mailsuite.base.errors import PermanentError
from mailsuite.sync.model import Flags, Mark, Parts

MAX_OCTETS = 256 << 20
VERSION = 1


@dataclass
class FolderState:
    """pairs: UIDs (left, right), ascending by left; flags: of each pair, by position."""

    left: Mark
    right: Mark
    pairs: list[tuple[int, int]] = field(default_factory=list)
    flags: list[Flags] = field(default_factory=list)


@dataclass
class State:
    folders: dict[Parts, FolderState] = field(default_factory=dict)

    def encode(self) -> str:
        content = {"v": VERSION, "folders": [[list(key), *_folder_out(one)] for key, one in self.folders.items()]}
        octets = json.dumps(content, separators=(",", ":")).encode("utf-8", "surrogateescape")
        return base64.b64encode(zlib.compress(octets, 6)).decode()

    @classmethod
    def decode(cls, text: str) -> "State":
        if not text.strip():
            return cls()
        try:
            inflate = zlib.decompressobj()
            octets = inflate.decompress(base64.b64decode(text.strip(), validate=True), MAX_OCTETS)
            if inflate.unconsumed_tail or not inflate.eof:
                raise ValueError("too long, or cut off")
            content = json.loads(octets.decode("utf-8", "surrogateescape"))
            if content["v"] != VERSION:
                raise ValueError("of another version")
            return cls({tuple(map(str, one[0])): _folder_in(*one[1:]) for one in content["folders"]})
        except (binascii.Error, zlib.error, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            raise PermanentError(f"Invalid sync state: {error}") from error


def _folder_out(folder: FolderState) -> list[Any]:
    sets: dict[Flags, int] = {}
    numbers = [sets.setdefault(flags, len(sets)) for flags in folder.flags]
    return [list(folder.left), list(folder.right), list(_runs(folder.pairs)), [sorted(flags) for flags in sets],
            list(_repeats(numbers))]


def _runs(pairs: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """[left, right, count]."""
    if not pairs:
        return
    first, count = pairs[0], 1
    for one, other in pairwise(pairs):
        if (other[0] - one[0], other[1] - one[1]) == (1, 1):
            count += 1
        else:
            yield [*first, count]
            first, count = other, 1
    yield [*first, count]


def _repeats(numbers: Sequence[int]) -> Iterator[list[int]]:
    """[number, count]."""
    at = 0
    while at < len(numbers):
        end = at
        while end < len(numbers) and numbers[end] == numbers[at]:
            end += 1
        yield [numbers[at], end - at]
        at = end


def _folder_in(left: list[int], right: list[int], runs: list[list[int]], sets: list[list[str]],
               repeats: list[list[int]]) -> FolderState:
    total = sum(count for _, _, count in runs)
    if not 0 <= total <= MAX_OCTETS // 16 or total != sum(count for _, count in repeats):
        raise ValueError("pairs and flags do not fit")
    pairs = [(one + at, other + at) for one, other, count in runs for at in range(count)]
    known = [frozenset(map(str, names)) for names in sets]
    flags = [known[number] for number, count in repeats for _ in range(count)]
    return FolderState(Mark(*map(int, left)), Mark(*map(int, right)), pairs, flags)
