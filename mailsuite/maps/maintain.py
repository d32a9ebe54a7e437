"""What postmap and postalias do with tables: build, query, list, delete.

    tool = Tool("postmap", source, Options(...))
    tool.build("hash:/etc/access") ...

Complaints are logged through source ("postmap: warning: ..."); what ends the command is a BadTable or TableError, whose
text follows "postmap: fatal: ".
"""

import base64
import binascii
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mailsuite.base.errors import TemporaryError
from mailsuite.maps import sources
from mailsuite.maps.maps import MapSource
from mailsuite.maps.opening import WRITABLE, check_type, open_table
from mailsuite.maps.table import BadTable, Table, TableError, fold


@dataclass
class Options:
    """The letters of the command line."""

    fold: bool = True               # not -f
    warn_duplicates: bool = True    # not -w
    replace: bool = False           # -r
    incremental: bool = False       # -i
    inherit_mode: bool = True       # not -p
    keep_root: bool = False         # -o
    utf8: bool = True               # not -u
    from_files: bool = False        # -F: values are names of files


Reader = Callable[[str, str], Iterator[tuple[str, str]]]


class Tool:
    """One run of a command. program: "postmap" or "postalias"."""

    def __init__(self, program: str, source: MapSource, options: Options) -> None:
        self.program, self.source, self.options, self.log = program, source, options, source.log

    # -- building --------------------------------------------------------------------------------------------------

    def build(self, spec: str) -> None:
        """Make or (incremental) add to an indexed file. Raises BadTable, TableError."""
        type, name = split_spec(spec)
        if type not in WRITABLE:
            check_type(type)
            raise BadTable(f"unsupported dictionary type: {type} does not support bulk-mode creation.")
        from mailsuite.maps import cdb
        from mailsuite.maps.indexed import SUFFIX, open_index
        from mailsuite.maps.indexed import text as as_text

        path = name + SUFFIX[type]
        if type == "cdb" and self.options.incremental:
            raise BadTable(cdb.READ_ONLY)
        if self.options.incremental:
            text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
            mode, owner = 0o644, None
        else:
            text, mode, owner = self._read(name)
        with _acting_as(owner if not self.options.keep_root else None):
            entries: dict[str, str] = {}
            if self.options.incremental and os.path.exists(path):
                entries = {as_text(key): as_text(value)
                           for key, value in open_index(path, f"{self.program} {spec}").items()}
            self._add(entries, self._entries(text, "stdin" if self.options.incremental else name), path)
            self._write(path, entries, mode if self.options.inherit_mode else 0o644)

    def _read(self, name: str) -> tuple[str, int, tuple[int, int] | None]:
        try:
            with open(name, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                status = os.fstat(file.fileno())
                return file.read(), status.st_mode & 0o666, (status.st_uid, status.st_gid)
        except OSError as error:
            raise TableError(f"open {name}: {error.strerror}") from error

    def _write(self, path: str, entries: dict[str, str], mode: int) -> None:
        from mailsuite.maps import cdb
        from mailsuite.maps.indexed import octets as as_octets
        from mailsuite.maps.indexed import write_index

        try:
            if os.path.exists(path):
                if not os.access(path, os.W_OK, effective_ids=True):
                    raise TableError(f"open {path}: Permission denied")
                mode = os.stat(path).st_mode & 0o777
            if path.endswith(cdb.SUFFIX):
                cdb.write_cdb(path, {as_octets(key): as_octets(value) for key, value in entries.items()}, mode=mode)
            else:
                write_index(path, entries.items(), mode=mode)
        except OSError as error:
            raise TableError(f"open database {path}: {error.strerror}") from error

    def _add(self, entries: dict[str, str], new: Iterable[tuple[str, str]], path: str) -> None:
        for key, value in new:
            stored = fold(key) if self.options.fold else key
            if stored in entries and not self.options.replace:
                if self.options.warn_duplicates:
                    self.log.warning("%s: duplicate entry: \"%s\"", path, stored)
                continue
            entries[stored] = value

    def _entries(self, text: str, name: str) -> Iterator[tuple[str, str]]:
        read = self._alias if self.program == "postalias" else self._pair
        for line in sources.logical_lines(text):
            if self.options.utf8 and not sources.is_utf8(line.text):
                self.log.warning("%s, line %d: non-UTF-8 input \"%s\" -- ignoring this line", name, line.number,
                                 line.text.encode("utf-8", "replace").decode())
                continue
            entry = read(line, name)
            if entry is not None:
                yield entry

    def _pair(self, line: sources.Line, name: str) -> tuple[str, str] | None:
        key, value = sources.key_and_value(line.text)
        if not key or not value:
            self.log.warning("%s, line %d: expected format: key whitespace value", name, line.number)
            return None
        if key.endswith(":"):
            self.log.warning("%s, line %d: record is in \"key: value\" format; is this an alias file?",
                             name, line.number)
        if self.options.from_files:
            try:
                value = base64.b64encode(sources.read_values(value).encode("utf-8", "surrogateescape")).decode()
            except OSError as error:
                self.log.warning("%s, line %d: open %s: %s: skipping this entry", name, line.number, error.filename,
                                 error.strerror)
                return None
        return key, value

    def _alias(self, line: sources.Line, name: str) -> tuple[str, str] | None:
        try:
            return sources.alias_and_value(line.text)
        except sources.AliasError as error:
            self.log.warning("%s, line %d: %s", name, line.number, error)
            return None

    # -- asking ----------------------------------------------------------------------------------------------------

    def open(self, spec: str) -> Table:
        return open_table(":".join(split_spec(spec)), self.source, folds=self.options.fold)

    def ask(self, table: Table, key: str) -> str | None:
        """One look-up. Raises BadTable with the words of a command that gives up."""
        if self.options.utf8 and not sources.is_utf8(key):
            self.log.warning("%s: non-UTF-8 key \"%s\": malformed UTF-8 or invalid codepoint", table.spec,
                             key.encode("utf-8", "replace").decode())
            return None
        try:
            value = table.ask_now(key)
        except TemporaryError as error:
            if error.detail:
                self.log.warning("%s", error.detail)
            cause = error.cause if isinstance(error, TableError) else "Application error"
            raise BadTable(f"table {table.spec}: query error: {cause}") from error
        if value == "":
            self.log.warning("table %s: key %s: empty string result is not allowed", table.spec, key)
            self.log.warning("table %s should return NO RESULT in case of NOT FOUND", table.spec)
        return self._value(table, key, value)

    def _value(self, table: Table, key: str, value: str | None) -> str | None:
        if not value or not self.options.from_files:
            return value
        if table.type in WRITABLE:      # they took the content in when they were built, as base64
            try:
                return base64.b64decode(value, validate=True).decode("utf-8", "surrogateescape")
            except binascii.Error:
                self.log.warning("table %s: key %s: malformed BASE64 value: %s", table.spec, key, value)
                raise BadTable(f"table {table.spec}: query error: Application error") from None
        try:
            return sources.read_values(value)
        except OSError as error:
            self.log.warning("table %s: key %s: open %s: %s", table.spec, key, error.filename, error.strerror)
            raise BadTable(f"table {table.spec}: query error: Application error") from error

    def query(self, specs: list[str], key: str) -> str | None:
        """The first table's value. Raises BadTable, TableError."""
        for spec in specs:
            value = self.ask(self.open(spec), key)
            if value is not None:
                return value
        return None

    def query_each(self, specs: list[str], keys: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Keys that are found, with their values."""
        tables = [self.open(spec) for spec in specs]
        for key in keys:
            for table in tables:
                value = self.ask(table, key)
                if value is not None:
                    yield key, value
                    break

    def listing(self, spec: str) -> Iterator[tuple[str, str]]:
        """All keys and values. Raises BadTable, TableError."""
        yield from self.open(spec).items()

    def delete(self, specs: list[str], keys: Iterable[str]) -> bool:
        """Remove keys from every table; whether one was there."""
        found = False
        wanted = [fold(key) if self.options.fold else key for key in keys]
        for spec in specs:
            found |= self._delete(spec, wanted)
        return found

    def _delete(self, spec: str, keys: list[str]) -> bool:
        type, name = split_spec(spec)
        if type not in WRITABLE:
            check_type(type)
            if type == "memcache":
                table = self.open(spec)
                return sum(table.remove(key) for key in keys) > 0
            raise BadTable(f"{type}:{name} map requires O_RDONLY access mode")
        from mailsuite.maps import cdb
        from mailsuite.maps.indexed import SUFFIX, updating

        if type == "cdb":
            raise BadTable(cdb.READ_ONLY)
        path = name + SUFFIX[type]
        try:
            owner = os.stat(path)
            with _acting_as(None if self.options.keep_root else (owner.st_uid, owner.st_gid)), \
                    updating(path, f"{self.program} {spec}") as entries:
                return sum(entries.pop(key, None) is not None for key in keys) > 0
        except OSError as error:
            raise TableError(f"open database {path}: {error.strerror}") from error


def split_spec(spec: str) -> tuple[str, str]:
    """Type and name. Raises BadTable for an empty type."""
    type, colon, name = spec.partition(":")
    return (type, name) if colon else ("hash", spec)


@contextmanager
def _acting_as(owner: tuple[int, int] | None) -> Iterator[None]:
    """As root, do what follows with the rights of a file's owner: the folder may be the owner's, links and all."""
    if owner is None or os.geteuid() != 0 or owner[0] == 0:
        yield
        return
    groups = os.getgroups()
    gid = os.getegid()
    os.setgroups([])
    os.setegid(owner[1])
    os.seteuid(owner[0])
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)
