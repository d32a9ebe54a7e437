"""What is known of addresses: the rules by which verify(8) believes, doubts and forgets.

    book = Book(rules, entries)                  entries: a Cache, or Memory for none on disk
    known = book.look("a@b.test", now)           Known(status, text, probe_due)
    book.probed("a@b.test", now);  book.learn("a@b.test", Status.OK, "250 2.1.5 Ok", now);  book.keeps(value, now)

Entries are "status:probed:updated:text" as in Postfix's verify_cache: times in seconds since 1970, probed 0 when no
probe is under way, status 0 good, 1 to be tried again, 2 bad, 3 not known yet.
A failed probe does not shake an address that is known to be good until that knowledge expires.
Source: verify(8).
"""

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, Protocol

PROBE_S = 1000                  # a probe that is not answered for so long is given up
IN_PROGRESS = "Address verification in progress"
TEXT_LIMIT = 1000               # octets of a reason that are kept


class Status(Enum):
    OK = 0
    DEFER = 1
    BOUNCE = 2
    TODO = 3


class Answer(NamedTuple):
    """What who asks is told."""

    status: Status
    text: str


class Known(NamedTuple):
    status: Status
    text: str
    probe_due: bool


class Rules(NamedTuple):
    """Times in seconds (address_verify_positive_expire_time and so on)."""

    positive_expire: int
    positive_refresh: int
    negative_cache: bool
    negative_expire: int
    negative_refresh: int


class Entries(Protocol):
    """Where entries are; a Cache is one."""

    def get(self, key: str) -> str | None: ...
    def put(self, key: str, value: str) -> None: ...
    def delete(self, key: str) -> None: ...


class Memory:
    """Entries that end with the process; of more than limit, the oldest go."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, str] = OrderedDict()

    def get(self, key: str) -> str | None:
        return self._entries.get(key)

    def put(self, key: str, value: str) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def delete(self, key: str) -> None:
        self._entries.pop(key, None)

    def sweep(self, keep: Callable[[str, str], bool]) -> tuple[int, int]:
        gone = [key for key, value in self._entries.items() if not keep(key, value)]
        for key in gone:
            del self._entries[key]
        return len(self._entries), len(gone)


class _Entry(NamedTuple):
    status: Status
    probed: int
    updated: int
    text: str

    def __str__(self) -> str:
        return f"{self.status.value}:{self.probed}:{self.updated}:{self.text}"


_UNKNOWN = _Entry(Status.TODO, 0, 0, IN_PROGRESS)


def _entry(value: str | None) -> _Entry | None:
    """None: there is none, or it makes no sense."""
    try:
        status, probed, updated, text = (value or "").split(":", 3)
        return _Entry(Status(int(status)), int(probed), int(updated), text)
    except ValueError:
        return None


class Book:
    """One per service."""

    def __init__(self, rules: Rules, entries: Entries) -> None:
        self.rules, self.entries = rules, entries

    def look(self, address: str, now: float) -> Known:
        """What is known. probe_due: it has to be found out (again), and nobody does so now."""
        entry = _entry(self.entries.get(address))
        if entry is None or self._expired(entry, now):
            entry = _UNKNOWN
        refresh = self.rules.positive_refresh if entry.status is Status.OK else self.rules.negative_refresh
        old = entry.status is Status.TODO or entry.updated + refresh < now
        return Known(entry.status, entry.text, old and entry.probed + PROBE_S < now)

    def probed(self, address: str, now: float) -> None:
        """A probe is on its way."""
        entry = _entry(self.entries.get(address))
        if entry is None or self._expired(entry, now):
            entry = _UNKNOWN
        self.entries.put(address, str(entry._replace(probed=int(now))))

    def learn(self, address: str, status: Status, text: str, now: float) -> None:
        """The outcome of a probe."""
        entry = _entry(self.entries.get(address))
        if status is not Status.OK:
            if entry is not None and entry.status is Status.OK and not self._expired(entry, now):
                return              # it is probed again when the next one asks
            if not self.rules.negative_cache:
                self.entries.delete(address)
                return
        self.entries.put(address, str(_Entry(status, 0, int(now), text.replace("\n", " ")[:TEXT_LIMIT])))

    def keeps(self, value: str, now: float) -> bool:
        """Whether an entry is still worth its place."""
        entry = _entry(value)
        return entry is not None and not self._expired(entry, now)

    def _expired(self, entry: _Entry, now: float) -> bool:
        if entry.status is Status.OK:
            return entry.updated + self.rules.positive_expire < now
        if entry.status is Status.TODO:
            return entry.probed + PROBE_S < now
        return not self.rules.negative_cache or entry.updated + self.rules.negative_expire < now
