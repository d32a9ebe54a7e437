"""Sets of message numbers and UIDs as ranges; never expanded beyond the messages that exist.

    parse_set(b"2:4,7,9:*") -> [(2, 4), (7, 7), (9, STAR)]        both ends included, ascending, disjoint
    positions_of_numbers(ranges, count) -> [range(1, 4), ...]     half-open ranges of positions, from 0
    positions_of_uids(ranges, uids) -> [range(...), ...]          by bisection
    format_set([1, 2, 3, 7]) -> b"1:3,7"
    format_list([1, 2, 7]) -> b" 1 2 7"

Cost: O(n log n) in commas, whatever the numbers; "1:4294967295" is one range.
Raises: ValueError for an empty item, zero, a number over 2**32-1, or any other octet.
Source: RFC 3501 section 9, sequence-set.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

STAR = 0x1_0000_0000           # above every number: "*" until the mailbox is known
Ranges = list[tuple[int, int]]
_ENDS = [b"%03d" % end for end in range(1000)]
_ITEM = re.compile(rb"(?:([1-9][0-9]{0,9})|\*)(?::(?:([1-9][0-9]{0,9})|(\*)))?\Z")


def parse_set(text: bytes) -> Ranges:
    """Ranges of a sequence-set; "*" is STAR. Raises ValueError."""
    ranges: Ranges = []
    for item in text.removesuffix(b",").split(b","):        # one comma at the end is let pass, as Dovecot does
        match = _ITEM.match(item)
        if match is None:
            raise ValueError("not a sequence set")
        low = int(match[1]) if match[1] else STAR
        high = int(match[2]) if match[2] else STAR if match[3] else low
        if (low >= STAR and match[1]) or (high >= STAR and match[2]):
            raise ValueError("number too large")
        ranges.append((low, high) if low <= high else (high, low))
    return merge(ranges)


def merge(ranges: Ranges) -> Ranges:
    """Ascending and disjoint; neighbours joined, but a "*" stays apart until it is known."""
    if len(ranges) == 1:
        return ranges
    ranges.sort()
    merged = [ranges[0]]
    for low, high in ranges[1:]:
        last_low, last_high = merged[-1]
        if low <= last_high + 1 and (low != STAR or last_high == STAR):
            merged[-1] = (last_low, max(high, last_high))
        else:
            merged.append((low, high))
    return merged


def positions_of_numbers(ranges: Ranges, count: int) -> list[range]:
    """Positions from 0 of the message numbers. Raises ValueError when one is larger than count, as Dovecot refuses."""
    found: Ranges = []
    for low, high in ranges:
        bottom, top = (count if low == STAR else low), (count if high == STAR else high)
        if bottom > top:
            bottom, top = top, bottom
        if top > count or bottom < 1:
            raise ValueError("no such message")
        found.append((bottom, top))
    return [range(low - 1, high) for low, high in merge(found)]


def positions_of_uids(ranges: Ranges, uids: Sequence[int]) -> list[range]:
    """Positions from 0 of those UIDs that exist. uids: ascending."""
    if not uids:
        return []
    largest = uids[-1]
    found: Ranges = []
    for low, high in ranges:
        bottom, top = (largest if low == STAR else low), (largest if high == STAR else high)
        if bottom > top:                    # "999:*" always includes the last message
            bottom, top = top, bottom
        start, stop = bisect_left(uids, bottom), bisect_right(uids, top)
        if start < stop:
            found.append((start, stop - 1))
    return [range(low, high + 1) for low, high in merge(found)] if found else []


def format_list(numbers: Sequence[int], *, ascending: bool) -> bytes:
    """Each behind a space. ascending: so they are, and different; then a stretch of many is quick."""
    first, last = (numbers[0], numbers[-1]) if numbers else (0, 0)
    if not ascending or last - first + 1 != len(numbers) or len(numbers) < 100:
        return b" %d" * len(numbers) % tuple(numbers)
    out = [b" %d" * (min(1000, last + 1) - first) % tuple(range(first, min(1000, last + 1)))] if first < 1000 else []
    for thousand in range(max(first // 1000, 1), last // 1000 + 1):
        front = b" %d" % thousand
        out.append(front + front.join(_ENDS[max(first - thousand * 1000, 0):last + 1 - thousand * 1000]))
    return b"".join(out)


def format_set(numbers: Iterable[int]) -> bytes:
    """Ascending numbers as a set: runs become ranges. Order is kept as given otherwise."""
    if isinstance(numbers, list) and numbers and numbers[-1] - numbers[0] == len(numbers) - 1 > 0 \
            and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return b"%d:%d" % (numbers[0], numbers[-1])
    parts: list[str] = []
    start = last = 0
    for each in numbers:
        if start and each == last + 1:
            last = each
            continue
        if start:
            parts.append(f"{start}:{last}" if last > start else str(start))
        start = last = each
    if start:
        parts.append(f"{start}:{last}" if last > start else str(start))
    return ",".join(parts).encode()
