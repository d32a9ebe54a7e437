"""Messages in an mbox file: where each begins and ends, and its state headers.

    for message in scan(data, start): message.start, message.header, message.body, message.end, message.next
    state = read_state(b"\n" + header)      X-UID, Status, X-Status, X-Keywords, X-IMAPbase
    parse_from_line(b"From a@b.test  Tue Nov 14 22:13:20 2023") -> (b"a@b.test", seconds) | None

A message begins at a line "From SENDER DATE" with a date that can be read: at the file's start, or after a line end;
a plausible Content-Length takes precedence, so a body may hold such a line. The empty line before the next "From " is
no part of the message. Lines may end in CRLF. data: bytes or a window over the file; time is linear.
"""

import re
import time
from collections.abc import Iterator
from typing import NamedTuple

from mailsuite.store.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from mailsuite.store.mbox.window import FileData

MAX_UID = 0xFFFFFFFF
HIGHEST_LAST = 0xFFF00000       # X-IMAPbase that leaves fewer UIDs than this tells nothing that can be used
Data = bytes | FileData

_MONTHS = {month: number for number, month in enumerate(
    (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1)}
# As strict and as lenient as Dovecot: who reads a file in turn with it has to see the same messages.
_FROM = re.compile(
    rb"From ((?:\"[^\"\n]*\"|[^ \n])*+) ++[A-Za-z]{3}"
    rb"(?: ([A-Za-z]{3}) +(\d{1,2})|,? (\d{1,2}) ([A-Za-z]{3}) (\d{4})) "
    rb"(\d\d):(\d\d)(?::(\d\d))?(?: +(?:[A-Za-z]+|[+-]\d{4}))?(?: +(\d{4}))?")
# It begins with a literal line end, which the engine searches fast: header blocks come with the one before them.
_STATE = re.compile(rb"\n(?i:(X-UID|Status|X-Status|X-Keywords|X-IMAPbase|X-IMAP|Content-Length)[ \t]*:)"
                    rb"([^\n]*(?=\n)(?:\n[ \t][^\n]*)*)")
_BASE = re.compile(rb"[ \t]*(\d{1,10})[ \t]+(\d{1,10})(.*)", re.S)

STATUS_BITS = {ord("R"): SEEN}
X_STATUS_BITS = {ord("A"): ANSWERED, ord("F"): FLAGGED, ord("T"): DRAFT, ord("D"): DELETED}


class Span(NamedTuple):
    """Offsets: start of the From line, of the header, of the body, the content's end, the next From line."""

    start: int
    header: int
    body: int
    end: int
    next: int


class State(NamedTuple):
    """base: (uid_validity, last_uid, keywords) of X-IMAPbase. old: Status has O. pseudo: X-IMAP, a pseudo message."""

    uid: int | None = None
    bits: int = 0
    old: bool = False
    keywords: tuple[bytes, ...] = ()
    base: tuple[int, int, tuple[bytes, ...]] | None = None
    pseudo: bool = False
    length: int | None = None


def parse_from_line(line: bytes) -> tuple[bytes, int] | None:
    """Sender and time of a From line; None when it is no such line. Without a zone the time is the machine's."""
    match = _FROM.match(line)
    if match is None:
        return None
    month = _MONTHS.get((match[2] or match[5]).lower())
    year = match[6] or match[10]
    if month is None or year is None:
        return None
    day, hour, minute, second = int(match[3] or match[4]), int(match[7]), int(match[8]), int(match[9] or 0)
    try:
        return match[1], int(time.mktime((int(year), month, day, hour, minute, second, 0, 0, -1)))
    except (OverflowError, ValueError):
        return match[1], 0


def _next_from(data: Data, at: int, size: int) -> int:
    """Where the next From line begins, at or behind `at`, which follows a line end; size when there is none."""
    at -= 1
    while True:
        at = data.find(b"\nFrom ", at, size)
        if at < 0:
            return size
        end = data.find(b"\n", at + 1, size)
        if parse_from_line(data[at + 1: size if end < 0 else end]) is not None:
            return at + 1
        at += 1


def scan(data: Data, start: int = 0) -> Iterator[tuple[Span, State]]:
    """All messages from start on, where a From line has to be. Raises ValueError when there is none."""
    size = len(data)
    while start < size:
        line_end = data.find(b"\n", start)
        if line_end < 0 or parse_from_line(data[start:line_end]) is None:
            raise ValueError(f"no From line at {start}")
        header = line_end + 1
        body, next_at = _header_end(data, header, size)
        state = read_state(data[header - 1: body])
        after = next_at if next_at is not None else _body_end(data, body, size, state.length)
        end = after
        end -= _separator(data, body, end)
        yield Span(start, header, body, end, after), state
        start = after


def _separator(data: Data, body: int, end: int) -> int:
    """Octets of the empty line that separates a message from the next."""
    last = data[max(body, end - 3): end]
    for line in (b"\n", b"\r\n"):
        if last == line or last.endswith(b"\n" + line):
            return len(line)
    return 0


def _header_end(data: Data, header: int, size: int) -> tuple[int, int | None]:
    """The body's start; the next message's where one begins within the header."""
    for line in (b"\n", b"\r\n"):
        if data[header: header + len(line)] == line:
            return header + len(line), None
    # The likely form first: the other is then sought up to there only, not through the whole file.
    likely, other = (b"\n\r\n", b"\n\n") if data[header - 2: header - 1] == b"\r" else (b"\n\n", b"\n\r\n")
    end, empty = data.find(likely, header, size), likely
    first = data.find(other, header, size if end < 0 else end)
    if first >= 0:
        end, empty = first, other
    early = data.find(b"\nFrom ", header - 1, size if end < 0 else end + 1)
    if early >= 0:
        early = _next_from(data, header, size if end < 0 else end + 1)
        if early < (size if end < 0 else end + 1):
            return early, early
    return (size, size) if end < 0 else (end + len(empty), None)


def _body_end(data: Data, body: int, size: int, length: int | None) -> int:
    if length is not None and body + length <= size:
        at = body + length
        for blank in (b"\n", b""):
            after = at + len(blank)
            if data[at:after] == blank and (after == size or data[after: after + 5] == b"From "):
                line_end = data.find(b"\n", after)
                if after == size or parse_from_line(data[after: size if line_end < 0 else line_end]) is not None:
                    return after
    return _next_from(data, body, size)


def read_state(header: bytes) -> State:
    """The state headers of a header block with the line end before it; the first of each kind counts."""
    found: dict[bytes, bytes] = {}
    for match in _STATE.finditer(header):
        found.setdefault(match[1].lower(), match[2])
    if not found:
        return _NOTHING
    status, x_status = found.get(b"status", b""), found.get(b"x-status", b"")
    bits = 0
    for letter in status:
        bits |= STATUS_BITS.get(letter, 0)
    for letter in x_status:
        bits |= X_STATUS_BITS.get(letter, 0)
    uid = found.get(b"x-uid", b"").strip()
    length = found.get(b"content-length", b"").strip()
    base = _BASE.match(found.get(b"x-imapbase") or found.get(b"x-imap") or b"")
    return State(
        int(uid) if uid.isdigit() and len(uid) < 11 and 0 < int(uid) < MAX_UID else None, bits, b"O" in status,
        tuple(found.get(b"x-keywords", b"").split()),
        _base(base) if base else None,
        b"x-imap" in found, int(length) if length.isdigit() and len(length) < 16 else None)


def _base(match: "re.Match[bytes]") -> tuple[int, int, tuple[bytes, ...]] | None:
    validity, last = int(match[1]), int(match[2])
    return (validity, last, tuple(match[3].split())) if 0 < validity <= MAX_UID and last <= HIGHEST_LAST else None


_NOTHING = State()
