"""The Date field: seconds since the epoch and the sender's offset.

    sent_date(b"Tue, 14 Nov 2023 10:00:00 +0100") -> (1699952400, 3600)       None for what is no date

RFC 5322 section 3.3 with the obsolete forms: two-digit years, zone names, comments, no seconds.
"""

import calendar
import re
from functools import lru_cache

_MONTHS = {name: number for number, name in enumerate(
    (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1)}
_ZONES = {b"EST": -5, b"EDT": -4, b"CST": -6, b"CDT": -5, b"MST": -7, b"MDT": -6, b"PST": -8, b"PDT": -7}
_DATE = re.compile(rb"\s*(?:[A-Za-z]{3}\s*,?\s*)?(\d{1,2})\s+([A-Za-z]{3})[a-z]*\s+(\d{2,4})\s+"
                   rb"(\d{1,2})\s*:\s*(\d{1,2})(?:\s*:\s*(\d{1,2}))?\s*(?:([+-])(\d{2}):?(\d{2})|([A-Za-z]{1,5}))?")
_COMMENT = re.compile(rb"\([^()]*\)")


def sent_date(value: bytes) -> tuple[int, int] | None:
    """(seconds since the epoch, offset in seconds), or None."""
    match = _DATE.match(value)
    if match is None:
        if b"(" not in value:
            return None
        match = _DATE.match(_COMMENT.sub(b" ", value))
        if match is None:
            return None
    month = _MONTHS.get(match[2].lower())
    day, year, hour, minute, second = int(match[1]), int(match[3]), int(match[4]), int(match[5]), int(match[6] or 0)
    if month is None or not 1 <= day <= 31 or hour > 23 or minute > 59 or second > 60:
        return None
    if len(match[3]) < 4:
        year += 2000 if year < 50 and len(match[3]) == 2 else 1900
    if match[7]:
        offset = (int(match[8]) * 60 + int(match[9])) * (60 if match[7] == b"+" else -60)
    else:
        offset = _ZONES.get((match[10] or b"").upper(), 0) * 3600
    return _month(year, month) + (day - 1) * 86400 + hour * 3600 + minute * 60 + second - offset, offset


@lru_cache(maxsize=1024)
def _month(year: int, month: int) -> int:
    """When it began."""
    return calendar.timegm((year, month, 1, 0, 0, 0))
