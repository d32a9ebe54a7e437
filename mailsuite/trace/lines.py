"""One line of a mail log.

    found = parse(b"Nov 21 04:00:05 mx postfix/submission/smtpd[123]: 4A2F1C83D: client=c.test[192.0.2.1]")
    found.queue_id, found.program, found.text         "4A2F1C83D", "smtpd", "client=c.test[192.0.2.1]"
    queue_id_of(line) -> b"4A2F1C83D"                 quick, for lines that nobody may want

Time stamps are syslog's traditional ones, without a year, or those of RFC 3339. `Clock` gives the former their year: it
counts the turns of the year it has seen, and the file's last change tells which year came last.
"""

import re
import time
from dataclasses import dataclass
from datetime import datetime

_LINE = re.compile(rb"(?:<\d+>)?(?:(?P<old>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)|(?P<new>\d{4}-\d\d-\d\d[T ]\S+)) "
                   rb"(?:\S+ )?(?P<tag>[^\s\[\]:]+)(?:\[\d+\])?: (?P<text>.*)", re.DOTALL)
# Short ids are hexadecimal, long ones have no vowels: "warning" is neither.
_ID = re.compile(rb"(?:warning: )?([0-9A-F]{6,20}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{12,20}|NOQUEUE): ")
_MONTHS = {name: number for number, name in enumerate(
    (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1)}
NO_QUEUE = "NOQUEUE"
HALF_A_YEAR = 183           # days


@dataclass(slots=True)
class LogLine:
    """stamp: (turns of the year so far, month, day, hour, minute, second), or epoch seconds. queue_id: "" for none."""

    stamp: "tuple[int, int, int, int, int, int] | float"
    program: str
    queue_id: str
    text: str


def queue_id_of(line: bytes) -> bytes | None:
    """The id that begins a line's text; None: there is none."""
    start = line.find(b"]: ")
    match = _ID.match(line, start + 3) if start > 0 else None
    return match[1] if match else None


class Clock:
    """The times of one file's lines; feed it all lines whose time matters, in order."""

    def __init__(self) -> None:
        self._turns, self._before = 0, (0, 0)

    def parse(self, line: bytes) -> LogLine | None:
        """None: no line of a mail log."""
        match = _LINE.match(line)
        if match is None:
            return None
        stamp: tuple[int, int, int, int, int, int] | float
        if match["new"]:
            try:
                stamp = datetime.fromisoformat(match["new"].decode("ascii", "replace")).timestamp()
            except ValueError:
                return None
        else:
            old = match["old"]
            month, day = _MONTHS.get(old[:3], 0), int(old[4:6])
            if not month:
                return None
            self._turns += _turns(self._before, (month, day))
            self._before = month, day
            stamp = (self._turns, month, day, int(old[7:9]), int(old[10:12]), int(old[13:15]))
        text = match["text"]
        found = _ID.match(text)
        queue_id = found[1].decode() if found else ""
        if found:
            text = text[:found.start(1)] + text[found.end():]
        return LogLine(stamp, match["tag"].rpartition(b"/")[2].decode("utf-8", "replace"), queue_id,
                       text.decode("utf-8", "replace"))

    def see(self, line: bytes) -> None:
        """Notice a line's date without reading more of it: the turn of the year may be among lines nobody wants."""
        month = _MONTHS.get(line[:3])
        if month is not None and month != self._before[0] and line[4:6].strip().isdigit():
            now = month, int(line[4:6])
            self._turns += _turns(self._before, now)
            self._before = now

    def epoch(self, stamp: "tuple[int, int, int, int, int, int] | float", last_change: float) -> float:
        """Epoch seconds. last_change: of the file, whose last line was written then. Call it after the last line."""
        if isinstance(stamp, float):
            return stamp
        turns, month, day, hour, minute, second = stamp
        changed = time.localtime(last_change)
        year = changed.tm_year - (self._turns - turns)
        # A copied file may be younger than its lines; it is never a day older.
        if self._before > (changed.tm_mon, changed.tm_mday + 1):
            year -= 1
        return time.mktime((year, month, day, hour, minute, second, 0, 0, -1))


def _turns(before: tuple[int, int], now: tuple[int, int]) -> int:
    """1 when the year turned between two dates; a step back of a few days is a clock that was set."""
    if not before[0] or now >= before:
        return 0
    days = (before[0] - now[0]) * 30 + before[1] - now[1]
    return int(days > HALF_A_YEAR)
