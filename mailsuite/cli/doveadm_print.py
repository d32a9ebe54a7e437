"""doveadm's formatters: rows of titled values on standard output.

    printer = printer_for("flow", user="alice")        raises Exit for a name that is none
    printer.header(["mailbox", "messages"], hidden={"mailbox"}, streams=set())
    printer.row(["INBOX", "2"])
    printer.end()

flow       a=1 b=2, a line for each row; titles that are hidden are left out
tab        the titles and then each row, with a tab between values
pager      a: 1, a line for each value; a form feed between rows; a stream as a block below its title
table      columns as wide as the first rows need, cut to the terminal
json       one array of objects

Values are UTF-8 with surrogate escapes. What Dovecot prints for values with line ends in flow and tab is printed here
as well, so that scripts see the same.
"""

import json
import os
import sys
from collections.abc import Collection, Sequence

from mailsuite.cli.doveadm import EX_TEMPFAIL, Exit

TABLE_ROWS = 100            # rows that decide how wide a column is
COLUMNS = 80                # of a terminal that does not tell


class Printer:
    """The titles come before the first row; user: for messages."""

    def __init__(self, user: str = "") -> None:
        self.titles: list[str] = []
        self.hidden: frozenset[str] = frozenset()
        self.streams: frozenset[str] = frozenset()
        self.right: frozenset[str] = frozenset()
        self.keys: list[str] = []
        self.widest = -1
        self.user = user
        self._out = sys.stdout.buffer

    def header(self, titles: Sequence[str], *, hidden: Collection[str] = (), streams: Collection[str] = (),
               right: Collection[str] = (), keys: Sequence[str] = (), widest: str = "") -> None:
        """Once; what comes for further users is the same. keys: for json, where they are not the titles.

        widest: the column that gets a table's spare room; without it the last.
        """
        if not self.titles:
            self.titles, self.keys = list(titles), list(keys) or [title.lower() for title in titles]
            self.widest = self.titles.index(widest) if widest else -1
            self.hidden, self.streams, self.right = frozenset(hidden), frozenset(streams), frozenset(right)
            self.begin()

    def begin(self) -> None:
        """The titles are known."""

    def row(self, values: Sequence[str]) -> None:
        raise NotImplementedError

    def end(self) -> None:
        """There are no more rows."""

    def write(self, text: str) -> None:
        self._out.write(text.encode("utf-8", "surrogateescape"))


class Flow(Printer):
    def row(self, values: Sequence[str]) -> None:
        self.write(" ".join(value if title in self.hidden else f"{title}={value}"
                            for title, value in zip(self.titles, values, strict=True)) + "\n")


class Tab(Printer):
    def begin(self) -> None:
        self.write("\t".join(self.titles) + "\n")

    def row(self, values: Sequence[str]) -> None:
        self.write("\t".join(value + "\t" if title in self.streams and number else value
                             for number, (title, value) in enumerate(zip(self.titles, values, strict=True))) + "\n")


class Pager(Printer):
    _any = False

    def row(self, values: Sequence[str]) -> None:
        out = []
        for number, (title, value) in enumerate(zip(self.titles, values, strict=True)):
            if title in self.streams:
                out.append(f"{title}:\n{value}")
                continue
            if number == 0 and self._any:
                out.append("\f\n")
            out.append(f"{value}\n" if title in self.hidden else f"{title}: {value}\n")
        self._any = True
        self.write("".join(out))


class Table(Printer):
    """Keeps rows until it knows how wide the columns are."""

    def __init__(self, user: str = "") -> None:
        super().__init__(user)
        self._waiting: list[Sequence[str]] = []
        self._widths: list[int] = []

    def begin(self) -> None:
        if self.streams:
            who = f"doveadm({self.user})" if self.user else "doveadm"
            raise Exit(EX_TEMPFAIL, f"{who}: Fatal: table formatter doesn't support multi-line values")

    def row(self, values: Sequence[str]) -> None:
        if self._widths:
            self._print(values)
            return
        self._waiting.append(values)
        if len(self._waiting) >= TABLE_ROWS:
            self._begin_table()

    def end(self) -> None:
        if not self._widths and self.titles:
            self._begin_table()

    def _begin_table(self) -> None:
        self._widths = widths(self.titles, self._waiting, terminal_columns(), self.widest)
        if not self.hidden.issuperset(self.titles):
            self._print(self.titles)
        for values in self._waiting:
            self._print(values)
        self._waiting = []

    def _print(self, values: Sequence[str]) -> None:
        self.write(" ".join(value.rjust(width) if title in self.right else value.ljust(width)
                            for title, value, width in zip(self.titles, values, self._widths, strict=True)) + "\n")


def terminal_columns() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or COLUMNS
    except (OSError, ValueError):
        return COLUMNS


def widths(titles: Sequence[str], rows: Sequence[Sequence[str]], columns: int, widest: int = -1) -> list[int]:
    """As Dovecot has them.

    The last column, or `widest`, gets half of the room that is left. What is missing comes from the last that can give
    it alone, else from all, half of what each could give.
    """
    most = [max([len(title), *(len(row[at]) for row in rows)]) for at, title in enumerate(titles)]
    least = [min([len(title), *(len(row[at]) for row in rows)]) for at, title in enumerate(titles)]
    missing = sum(most) + len(titles) - 1 - columns
    giver = next((at for at in reversed(range(len(most))) if most[at] - least[at] >= missing), None)
    if missing <= 0:
        most[widest] += -missing // 2
    elif giver is not None:
        most[giver] -= missing
    else:
        most = [width - max(1, (width - small) // 2) if width > small else width
                for width, small in zip(most, least, strict=True)]
    return most


class Json(Printer):
    _rows = 0

    def row(self, values: Sequence[str]) -> None:
        fields = ",".join(f"{json.dumps(key)}:{_json_text(value)}"
                          for key, value in zip(self.keys, values, strict=True))
        self.write(("," if self._rows else "[") + "{" + fields + "}")
        self._rows += 1

    def end(self) -> None:
        self.write("]" if self._rows else "[]")


def _json_text(value: str) -> str:
    return json.dumps(value.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), ensure_ascii=False)


_FORMS: dict[str, type[Printer]] = {"flow": Flow, "tab": Tab, "pager": Pager, "table": Table, "json": Json}


def printer_for(form: str, user: str = "") -> Printer:
    """Raises Exit for an unknown formatter."""
    who = f"doveadm({user})" if user else "doveadm"
    if form == "formatted":
        raise Exit(EX_TEMPFAIL, f"{who}: Fatal: formatted formatter cannot be used without a format.")
    if form not in _FORMS:
        raise Exit(EX_TEMPFAIL, f"doveadm({own_name()}): Fatal: Unknown print formatter: {form}")
    return _FORMS[form](user)


def own_name() -> str:
    """Who runs this."""
    import pwd

    user = os.environ.get("USER")
    if user:
        return user
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
