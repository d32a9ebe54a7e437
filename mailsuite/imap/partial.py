"""PARTIAL: a page of many results (RFC 9394; RFC 5267 has the half that counts from the beginning).

    page = parse_partial(b"-1:-100", from_end=True)      the last hundred
    page.of(results) -> results, in their order;  page.text == b"-1:-100"

Raises: ValueError for anything else, and for a page from the end where from_end is not set.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
_RANGE = re.compile(rb"(-?)([1-9]\d{0,9}):(-?)([1-9]\d{0,9})\Z")


@dataclass(frozen=True)
class Page:
    """first and last: from 1, first the lower one; from the end where from_end. text: as it is told."""

    first: int
    last: int
    from_end: bool
    text: bytes

    def of(self, results: Sequence[T]) -> Sequence[T]:
        if not self.from_end:
            return results[self.first - 1:self.last]
        count = len(results)
        return results[max(0, count - self.last):max(0, count - self.first + 1)]


def parse_partial(text: bytes, *, from_end: bool) -> Page:
    """from_end: ranges such as -1:-100 are understood."""
    match = _RANGE.match(text)
    if match is None or match[1] != match[3] or (match[1] and not from_end):
        raise ValueError("no partial range")
    first, last = sorted((int(match[2]), int(match[4])))
    told = text if match[1] else b"%d:%d" % (first, last)
    return Page(first, last, bool(match[1]), told)
