"""Dates in commands.

    parse_date_time(b"17-Jul-2019 02:44:25 -0700") -> seconds since the epoch      APPEND
    parse_date(b"1-Feb-1994") -> days since the epoch                              SEARCH

Raises: ValueError for what is not of that form. A date that no calendar has (32-Jan) is "now", as with Dovecot.
Source: RFC 3501 section 9, date-time and date.
"""

import calendar
import re

_MONTHS = {name: number for number, name in enumerate(
    (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1)}
_DATE_TIME = re.compile(rb"( \d|\d\d?)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) (?:([+-])(\d\d)(\d\d))?")
_DATE = re.compile(rb"(\d{1,2})-([A-Za-z]{3})-(\d{4})\Z")


def _month(name: bytes) -> int:
    try:
        return _MONTHS[name.lower()]
    except KeyError:
        raise ValueError("no such month") from None


def parse_date_time(text: bytes) -> float | None:
    """Seconds since the epoch; None for a day or time that does not exist. Raises ValueError."""
    match = _DATE_TIME.match(text)
    if match is None:
        raise ValueError("not a date-time")
    day, hour, minute, second = int(match[1]), int(match[4]), int(match[5]), int(match[6])
    year, month = int(match[3]), _month(match[2])
    if not year >= 1 or not 1 <= day <= calendar.monthrange(year, month)[1] or hour > 23 or minute > 59 or second > 60:
        return None
    second = min(second, 59)            # a leap second
    if match[7] is None:                # what is no time zone counts as UTC, as with Dovecot
        return float(calendar.timegm((year, month, day, hour, minute, second)))
    offset = (int(match[8]) * 60 + int(match[9])) * 60
    return float(calendar.timegm((year, month, day, hour, minute, second)) + (offset if match[7] == b"-" else -offset))


def parse_date(text: bytes) -> int:
    """Days since the epoch. Raises ValueError."""
    match = _DATE.match(text)
    if match is None:
        raise ValueError("not a date")
    return calendar.timegm((int(match[3]), _month(match[2]), 1, 0, 0, 0)) // 86400 + int(match[1]) - 1
