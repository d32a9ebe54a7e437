"""The parameters of one database table: a file of its own, or main.cf.

    parameters = TableParameters("pgsql", "/etc/postfix/users.cf", source)      a path: the file has "hosts = ..."
    parameters = TableParameters("pgsql", "users", source)                      a name: main.cf has "users_hosts = ..."
    parameters.text("dbname", least=1), .integer("expansion_limit", 0), .flag("bind", True), .seconds("timeout", 10)

A file's values are taken as they stand (a "$" is a "$": queries are full of them); those of main.cf are expanded. Names
that the type does not know are warned of, with the nearest that it knows; the value is not shown, it may be a password.
Raises BadTable in Postfix's words.
"""

import contextlib
import difflib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError
from mailsuite.base.secret import Secret
from mailsuite.config.maincf import MainCf, parse_main_cf, read_text
from mailsuite.config.registry import INT_MAX, boolean, seconds
from mailsuite.config.table_params import SUFFIXES, table_files
from mailsuite.maps.table import BadTable

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource


# Files that only root may read, read while we were root: a service opens its tables after its rights are dropped.
_REMEMBERED: dict[str, str] = {}


def read_ahead(values: Iterable[str]) -> None:
    """Before rights are dropped: keep in mind the files of tables that these parameters name, where others may not
    read them. What cannot be read is told when the table is opened."""
    for value in values:
        for _, path in table_files(value):
            with contextlib.suppress(OSError, ConfigError):
                if not os.stat(path).st_mode & 0o004:
                    _REMEMBERED[path] = read_text(path)


def _text_of(path: str) -> str:
    """A file's text. Raises ConfigError."""
    try:
        text = read_text(path)
    except ConfigError:
        if path in _REMEMBERED and os.path.exists(path):
            return _REMEMBERED[path]
        raise
    if path in _REMEMBERED or not os.stat(path).st_mode & 0o004:
        _REMEMBERED[path] = text            # for the workers that a parent forks
    return text


class TableParameters:
    """What is set, by name. path: of the file; "" when main.cf has them."""

    def __init__(self, type: str, name: str, source: "MapSource") -> None:
        self.type, self.name = type, name
        self.path = name if name[:1] in "/." else ""
        self._source = source
        self._values: dict[str, str] = {}
        self.stamp = self._stamp()
        if self.path:
            main_cf = self._read()
            self._values = {entry.name: entry.value for entry in main_cf.entries}
            for line in (*main_cf.overridden(), *unknown_lines(type, main_cf)):
                source.log.warning("%s", line)
        else:
            settings = source.settings
            self._values = {suffix: settings.text(f"{name}_{suffix}") for suffix in SUFFIXES[type]
                            if settings.is_set(f"{name}_{suffix}")}

    def _read(self) -> MainCf:
        try:
            main_cf = parse_main_cf(_text_of(self.path), self.path)
        except ConfigError as error:
            raise BadTable(error.public) from error
        if main_cf.errors:
            raise BadTable(main_cf.errors[0].public)
        return main_cf

    def _stamp(self) -> tuple[int, ...]:
        if not self.path:
            return ()
        try:
            status = os.stat(self.path)
        except OSError:
            return (0,)
        return status.st_ino, status.st_mtime_ns, status.st_size

    def same_as(self, source: "MapSource") -> bool:
        """Whether reading again would give the same."""
        if self.path:
            return self.stamp == self._stamp()
        return self._values == {suffix: source.settings.text(f"{self.name}_{suffix}") for suffix in SUFFIXES[self.type]
                                if source.settings.is_set(f"{self.name}_{suffix}")}

    # -- reading ---------------------------------------------------------------------------------------------------

    def _called(self, name: str) -> str:
        """How messages name a parameter: Postfix puts the file in front of everything."""
        return name if self.path else f"{self.name}_{name}"

    def _bad(self, text: str) -> BadTable:
        return BadTable(f"{self.path}: {text}" if self.path else text)

    def has(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "", *, least: int = 0) -> str:
        value = self._values.get(name, default)
        if len(value) < least:
            raise self._bad(f"bad string length {len(value)} < {least}: {self._called(name)} = {value}")
        return value

    def secret(self, name: str) -> Secret:
        return Secret(self._values.get(name, "").encode("utf-8", "surrogateescape"))

    def integer(self, name: str, default: int, *, least: int = -INT_MAX - 1) -> int:
        text = self._values.get(name)
        if text is None:
            return default
        try:
            value = int(text) if text.strip().lstrip("+-").isdecimal() else None
        except ValueError:
            value = None
        if value is None or abs(value) > INT_MAX:
            raise self._bad(f"bad numerical configuration: {self._called(name)} = {text}")
        if value < least:
            raise self._bad(f"invalid {self._called(name)} parameter value {value} < {least}")
        return value

    def seconds(self, name: str, default: int, *, least: int = 1) -> int:
        """A time with its unit."""
        text = self._values.get(name)
        if text is None:
            return default
        try:
            value = seconds()(text)
        except ConfigError:
            raise self._bad(f"bad time value or unit: {self._called(name)} = {text}") from None
        if value < least:
            raise self._bad(f"invalid {self._called(name)} parameter value {value} < {least}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        text = self._values.get(name)
        if text is None:
            return default
        try:
            return boolean()(text)
        except ConfigError:
            raise self._bad(f"bad boolean configuration: {self._called(name)} = {text}") from None

    def words(self, name: str, default: str = "") -> list[str]:
        return self._values.get(name, default).replace(",", " ").split()


def unknown_lines(type: str, main_cf: MainCf) -> list[str]:
    """A warning for each name that this type does not know; one that another name refers to with $ has no use here."""
    known = SUFFIXES[type]
    lines = []
    for entry in main_cf.entries:
        if entry.name in known:
            continue
        near = difflib.get_close_matches(entry.name, known, 1)
        hint = f" (did you mean \"{near[0]}\"?)" if near else ""
        lines.append(f"{main_cf.path}, line {entry.first_line}: unused parameter: {entry.name}{hint}")
    return lines
