"""texthash: a "key value" file read into memory; read again when it changes.

    table = TextTable("texthash", "/etc/postfix/access", source)         raises TableError
"""

import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailsuite.maps.sources import BadLine, Line, is_utf8, key_and_value, logical_lines, not_utf8, read_text
from mailsuite.maps.table import Freshness, Table, TableError, fold

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource

Stamp = tuple[int, int, int, int]
LARGE_OCTETS = 256 * 1024


def stamp_of(path: str) -> Stamp | None:
    """What changes when a file is written or replaced; None when it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


class FileTable(Table):
    """A table read from a text file; `load` makes it anew, here or in a subclass.

    A changed file is read at the next look-up; a large one by a thread, and the old content answers until it is ready:
    nobody's dialogue waits for it.
    """

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name)
        self._source, self._fresh, self._stamp = source, Freshness(), stamp_of(name)
        self._reading: threading.Thread | None = None
        self._folds = folds
        self.load()

    def load(self) -> None:
        """Read the file. Raises TableError, and leaves the table as it was."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Read the file again when it changed. Raises TableError while it cannot be read."""
        if not self._fresh.due():
            return
        stamp = stamp_of(self.name)
        if stamp == self._stamp and stamp is not None:
            return
        if stamp is not None and stamp[3] > LARGE_OCTETS:
            self._read_aside(stamp)
            return
        self._stamp = None          # after a failure the next look-up tries again
        try:
            self.load()
        except TableError as error:
            self._fresh = Freshness()
            raise TableError(f"{self.spec} is unavailable. {error}", config=True) from error
        self._stamp = stamp


    def _read_aside(self, stamp: Stamp) -> None:
        """Have a thread read a large file; take over what it made when it is done."""
        if self._reading is None:
            self._made: FileTable | None = None
            self._reading = threading.Thread(target=self._make, daemon=True)
            self._reading.start()
        elif not self._reading.is_alive():
            self._reading = None
            if self._made is not None:
                self.__dict__.update(self._made.__dict__)       # its stamp too: changed since then means once more

    def _make(self) -> None:
        try:
            self._made = type(self)(self.type, self.name, self._source, folds=self._folds)
        except TableError as error:
            self._source.log.warning("%s", error)


class TextTable(FileTable):
    """texthash: keys fold to lower case, unless folds is False."""

    def load(self) -> None:
        entries: dict[str, str] = {}
        try:
            text = read_text(self.name)
        except TableError as error:
            raise TableError(f"open database {self.name}: {str(error).rpartition(': ')[2]}", config=True) from None
        warn = self._source.log.warning
        utf8 = self._source.settings.text("smtputf8_enable") != "no"
        for line in logical_lines(text, lambda why: warn("%s: %s", self.name, why)):
            try:
                key, value = self._entry(line, utf8)
            except BadLine as error:
                said = str(error)
                if not said.endswith(("this line", "this entry")):
                    said += " -- ignoring this line"
                warn("%s, line %d: %s", self.name, line.number, said)
                continue
            stored = fold(key) if self._folds else key
            if stored in entries:
                warn("%s, line %d: duplicate entry: \"%s\"", self.name, line.number, key)
                continue
            entries[stored] = value
        self._entries = entries

    def _entry(self, line: Line, utf8: bool) -> tuple[str, str]:
        """Raises BadLine."""
        if utf8 and not is_utf8(line.text):
            raise not_utf8(line)
        key, value = key_and_value(line.text)
        if key.endswith(":"):
            self._source.log.warning("%s, line %d: record is in \"key: value\" format; is this an alias file?",
                                     self.name, line.number)
        try:
            return key, self._source.value(value)
        except ValueError as error:
            raise BadLine(f"{error}: skipping this entry") from None

    def lookup(self, key: str) -> str | None:
        self.refresh()
        return self._entries.get(fold(key) if self._folds else key)

    def items(self) -> Iterator[tuple[str, str]]:
        yield from self._entries.items()
