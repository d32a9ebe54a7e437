"""Times and sizes as doveadm takes them.

    parse_time("2024-05-01"), parse_time("1-May-2024"), parse_time("2 weeks"), parse_time("1700000000") -> seconds
    parse_size("10M") -> octets

A time span is that long ago. Raises: ValueError.
"""

import calendar
import re
import time

_SPAN = re.compile(r"(\d+)\s*(s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?|w|weeks?)", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE = re.compile(r"(\d+)\s*(?:([kmgt])i?b?|b)?", re.IGNORECASE)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def parse_time(text: str) -> float:
    """Seconds since the epoch; a date is its beginning in local time."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    if match := re.fullmatch(r"(\d{4})-(\d\d?)-(\d\d?)", text):
        return _midnight(int(match[1]), int(match[2]), int(match[3]))
    if match := re.fullmatch(r"(\d\d?)-([A-Za-z]{3})-(\d{4})", text):
        return _midnight(int(match[3]), _MONTHS.index(match[2].lower()) + 1, int(match[1]))
    if match := _SPAN.fullmatch(text):
        return time.time() - int(match[1]) * _SECONDS[match[2][0].lower()]
    raise ValueError(text)


def _midnight(year: int, month: int, day: int) -> float:
    if not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        raise ValueError("no such day")
    return time.mktime((year, month, day, 0, 0, 0, 0, 0, -1))


def parse_size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[(match[2] or "").lower()]
