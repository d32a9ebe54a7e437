"""How old queued mail is, domain by domain: the table of qshape(1).

    shape = Shape(Ages(count=10, minutes=5, linear=False), parents=0)
    shape.add(sender_or_recipient_domains, age_s)
    for line in shape.lines(width=80, most=0): ...

Buckets are half-open: [0, 5) minutes, [5, 10), [10, 20), ... each twice as long as all before it, or all alike
(linear); the last has no end. A row of a parent domain (".example.org") stands for its subdomains, where it has at
least `parents` of them next below it and is no top-level domain. Memory: one row of numbers per domain.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

NAME_LEAST = 18             # columns of the name, however narrow the terminal
WIDTH_LEAST = 80
NULL_SENDER = "MAILER-DAEMON"


@dataclass(frozen=True)
class Ages:
    """count: buckets, the endless one included. minutes: length of the first."""

    count: int = 10
    minutes: int = 5
    linear: bool = False

    @property
    def limits(self) -> list[int]:
        """Upper ends in minutes, of all but the last bucket."""
        steps = range(self.count - 1)
        return [self.minutes * (step + 1 if self.linear else 1 << step) for step in steps]

    @property
    def labels(self) -> list[str]:
        limits = [str(limit) for limit in self.limits]
        return [*limits, f"{limits[-1] if limits else 0}+"]


def domain_of(address: str) -> str:
    """The name of an address's row: its domain, in lower case; an address without one as it is."""
    if not address:
        return NULL_SENDER
    return address.rpartition("@")[2].lower().removesuffix(".")


class Shape:
    """Counts. parents: how many subdomains make a row of a parent domain; 0: there are no such rows."""

    def __init__(self, ages: Ages, *, parents: int = 0) -> None:
        self._limits_s = [limit * 60 for limit in ages.limits]
        self._labels = ages.labels
        self._parents = parents
        self._total = [0] * (ages.count + 1)
        self._rows: dict[str, list[int]] = {}
        self.messages = 0

    def add(self, domains: Iterable[str], age_s: float) -> None:
        """One message; a domain counts as often as it is named."""
        self.messages += 1
        bucket = next((number for number, limit in enumerate(self._limits_s) if age_s < limit), len(self._limits_s)) + 1
        for domain in domains:
            row = self._rows.get(domain)
            if row is None:
                row = self._rows[domain] = [0] * len(self._total)
            for counts in (row, self._total):
                counts[0] += 1
                counts[bucket] += 1

    def _with_parents(self) -> dict[str, list[int]]:
        rows = dict(self._rows)
        if not self._parents:
            return rows
        below: dict[str, set[str]] = {}
        sums: dict[str, list[int]] = {}
        for domain, counts in self._rows.items():
            child = domain
            while (parent := child.partition(".")[2]) and "." in parent:
                below.setdefault(parent, set()).add(child)
                sums[parent] = [a + b for a, b in zip(sums.get(parent, [0] * len(counts)), counts, strict=True)]
                child = parent
        rows.update((f".{parent}", sums[parent]) for parent, names in below.items() if len(names) >= self._parents)
        return rows

    def lines(self, *, width: int = WIDTH_LEAST, most: int = 0) -> Iterator[str]:
        """The table. width: columns of the terminal. most: rows, that of the totals included; 0: all."""
        heads = ["T", *self._labels]
        columns = [max(2, len(head), len(str(count))) for head, count in zip(heads, self._total, strict=True)]
        name_width = max(NAME_LEAST, max(WIDTH_LEAST, width) - sum(columns) - len(columns))
        yield _line("", heads, columns, name_width)
        yield _line("TOTAL", self._total, columns, name_width)
        rows = sorted(self._with_parents().items(), key=lambda row: (-row[1][0], len(row[0]), row[0]))
        for name, counts in rows[:most - 1] if most else rows:
            yield _line(name, counts, columns, name_width)


def _line(name: str, cells: Iterable[object], columns: list[int], name_width: int) -> str:
    if len(name) > name_width:
        mark = ".+" if name.startswith(".") else "+"
        name = mark + name[len(mark) - name_width:]
    return name.rjust(name_width) + "".join(f" {cell:>{column}}" for cell, column in zip(cells, columns, strict=True))
