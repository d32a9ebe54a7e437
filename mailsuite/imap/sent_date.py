"""The Date field: seconds since the epoch and the sender's offset.

    sent_date(b"Tue, 14 Nov 2023 10:00:00 +0100") -> (1699952400, 3600)       None for what is no date

RFC 5322 section 3.3 with the obsolete forms: two-digit years, zone names, comments, no seconds. What is a date and what
is not is as Dovecot has it, so that both sort a mailbox alike: a weekday has three letters and a comma, minutes and
seconds two digits, the day must be one of its month; a zone that means nothing is UTC.
"""

import calendar
import re
from functools import lru_cache

_MONTHS = {name: number for number, name in enumerate(
    (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1)}
_ZONES = {b"EST": -5, b"EDT": -4, b"CST": -6, b"CDT": -5, b"MST": -7, b"MDT": -6, b"PST": -8, b"PDT": -7}
_ZONES |= {bytes([letter]): number for number, letter in enumerate(b"ABCDEFGHIKLM", 1)}
_ZONES |= {bytes([letter]): -number for number, letter in enumerate(b"NOPQRSTUVWXY", 1)}
_ATOM = rb"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\x80-\xff]"
_DATE = re.compile(rb"\s*(?:" + _ATOM + rb"{3}\s*,\s*)?(\d{1,2})\s+([A-Za-z]{3})" + _ATOM + rb"*\s+(\d{4}|\d{2})\s+"
                   rb"(\d{1,2})\s*[:.]\s*(\d\d)(?:\s*[:.]\s*(\d\d))?(?!" + _ATOM + rb"|\s*[:.])\s*"
                   rb"(?:([+-])(\d\d)(\d\d)(?!" + _ATOM + rb")|(" + _ATOM + rb"+)|[(]|\Z)")
_COMMENT = re.compile(rb"\([^()]*\)")


def sent_date(value: bytes) -> tuple[int, int] | None:
    """(seconds since the epoch, offset in seconds), or None."""
    match = _DATE.match(value)
    if match is None or match[7] is None and match[10] is None:     # a comment may stand before the zone
        if b"(" in value:
            match = _DATE.match(_COMMENT.sub(b" ", value))
        if match is None:
            return None
    month = _MONTHS.get(match[2].lower())
    day, year, hour, minute, second = int(match[1]), int(match[3]), int(match[4]), int(match[5]), int(match[6] or 0)
    if len(match[3]) == 2:
        year += 2000 if year < 70 else 1900
    if month is None or year < 1900 or hour > 23 or minute > 59 or second > 60:
        return None
    begin, days = _month(year, month)
    if not 1 <= day <= days:
        return None
    if match[7]:
        offset = (int(match[8]) * 60 + int(match[9])) * (60 if match[7] == b"+" else -60)
    else:
        offset = _ZONES.get(match[10] or b"", 0) * 3600
    return begin + (day - 1) * 86400 + hour * 3600 + minute * 60 + min(second, 59) - offset, offset


@lru_cache(maxsize=1024)
def _month(year: int, month: int) -> tuple[int, int]:
    """When it began, and how many days it has."""
    return calendar.timegm((year, month, 1, 0, 0, 0)), calendar.monthrange(year, month)[1]
