"""What a doveadm command on mail is given, and how it answers: rows, errors, a status.

Exit statuses are doveadm's: 64 a wrong argument, 65 exists or not allowed, 68 not found, 75 anything else.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from mailsuite.sasl.user import UserInfo
from mailsuite.store.api import (
    BadEncoding,
    InvalidName,
    MailboxExists,
    MailError,
    MailStore,
    NoPermission,
    NoSuchMailbox,
    NotPossible,
    NotSelectable,
    OverQuota,
    Refused,
)

EX_USAGE, EX_DATAERR, EX_NOTFOUND, EX_CANTCREAT, EX_TEMPFAIL, EX_NOPERM = 64, 65, 68, 73, 75, 77
ROWS_OCTETS = 64 * 1024         # rows are sent together up to about this size
ROWS_COUNT = 200

_STATUS: Mapping[type[MailError], int] = {
    NoSuchMailbox: EX_NOTFOUND, MailboxExists: EX_DATAERR, InvalidName: EX_USAGE, NotPossible: EX_DATAERR,
    Refused: EX_DATAERR, BadEncoding: EX_DATAERR, NotSelectable: EX_DATAERR, NoPermission: EX_NOPERM,
    OverQuota: EX_CANTCREAT}


class Failed(Exception):
    """The whole command ends: "Fatal: text" and a status. before: lines that stand before it."""

    def __init__(self, text: str, status: int = EX_TEMPFAIL, *, before: str = "") -> None:
        super().__init__(text)
        self.text, self.status, self.before = text, status, before


def status_of(error: MailError) -> int:
    """doveadm's exit status for an error of the store."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), EX_TEMPFAIL)


def reason(error: MailError) -> str:
    """An error as doveadm words it."""
    text = error.public
    return f"Internal error: {error.detail}" if text.startswith("Internal error occurred") and error.detail else text


@dataclass
class Run:
    """One command for one user. options: letters to values as getopt found them. status: the worst so far.

    content: what `save` reads, in blocks. user: whose mail it is. source: the mail of `user NAME` in copy and move.
    open_location: the mail at another location, with this user's rights.
    """

    store: MailStore
    arguments: list[str]
    options: dict[str, list[str]]
    say: Callable[[dict[str, Any]], None]
    content: BinaryIO | None = None
    user: UserInfo = field(default_factory=lambda: UserInfo(""))
    source: MailStore | None = None
    open_location: Callable[[str, str], MailStore] | None = None
    status: int = 0
    _rows: list[list[str]] = field(default_factory=list)
    _octets: int = 0

    def header(self, *titles: str, hidden: Iterable[str] = (), streams: Iterable[str] = (), right: Iterable[str] = (),
               keys: Iterable[str] = ()) -> None:
        """hidden: titles that are shown in tables only. streams: values that may be long and have lines.

        right: numbers, which tables put at the right of their columns. keys: for json, where they are not the titles.
        """
        self.say({"header": list(titles), "hidden": list(hidden), "streams": list(streams), "right": list(right),
                  "keys": list(keys)})

    def row(self, values: Iterable[str]) -> None:
        row = list(values)
        self._rows.append(row)
        self._octets += sum(map(len, row))
        if self._octets > ROWS_OCTETS or len(self._rows) >= ROWS_COUNT:
            self.flush()

    def flush(self) -> None:
        """Send the rows that wait."""
        if self._rows:
            rows, self._rows, self._octets = self._rows, [], 0
            self.say({"rows": rows})

    def error(self, text: str, error: MailError, *, end: str = "") -> None:
        """A part of the command failed; the rest goes on."""
        self.complain(f"{text}: {reason(error)}{end}", status_of(error))

    def inform(self, text: str) -> None:
        """A line that is no row of the result."""
        self.flush()
        self.say({"info": text})

    def complain(self, text: str, status: int) -> None:
        """As error(), with a status of one's own."""
        self.flush()
        self.say({"error": text})
        self.status = status
