"""What postmap and postalias write: indexed files from their sources, entries added (-i) and deleted (-d).

    builder = Builder("postmap", source, options)
    builder.build("hash:/etc/access")                   raises BadTable, TableError: the text behind "postmap: fatal: "
    builder.delete(["hash:/etc/access"], ["key"])       whether one was there

A file is made whole and renamed, as the source's owner when root calls. Complaints about lines are logged through
source.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mailsuite.maps import cdb, sources
from mailsuite.maps.indexed import LONG, SUFFIX, octets, text
from mailsuite.maps.maps import MapSource
from mailsuite.maps.opening import WRITABLE, check_type, open_table
from mailsuite.maps.table import BadTable, TableError, fold
from mailsuite.maps.tool_options import Options, split_spec

DEFAULT_MODE = 0o644
# Types that know keys to delete, or have words of their own for the refusal.
_DELETES_ITSELF = ("memcache", "internal", "static", "environ", "fail")
_CREATES_NOTHING = "unsupported dictionary type: {} does not support bulk-mode creation."
Owner = tuple[int, int]
Pair = tuple[bytes, bytes]


class Builder:
    """One run of a command. program: "postmap" or "postalias"."""

    def __init__(self, program: str, source: MapSource, options: Options) -> None:
        self.program, self.source, self.options, self.log = program, source, options, source.log

    def build(self, spec: str) -> None:
        """Make or (incremental) add to an indexed file. Raises BadTable, TableError."""
        type, name = split_spec(spec)
        content, mode, owner = self._standard_input() if self.options.incremental else self._read(name)
        if type not in WRITABLE:
            check_type(type)
            raise BadTable(_CREATES_NOTHING.format(type))
        if type == "cdb" and self.options.incremental:
            raise BadTable(cdb.READ_ONLY)
        path = name + SUFFIX[type]
        shown = {"lmdb": spec, "cdb": name}.get(type, path)         # how a duplicate's warning names the table
        with _acting_as(owner if not self.options.keep_root else None):
            mode = self._check_writable(path, mode if self.options.inherit_mode else DEFAULT_MODE)
            if not (self.options.incremental and os.path.exists(path)):
                entries = self._fill({}, content, name, shown, cdb_file=type == "cdb")
                self._check_keys(type, entries)
                self._write(path, entries, mode)
                return
            from mailsuite.maps.index_file import updating

            with updating(path, f"{self.program} {spec}") as entries:
                self._fill(entries, content, name, shown)
                self._check_keys(type, entries)

    def _standard_input(self) -> tuple[bytes, int, Owner | None]:
        return sys.stdin.buffer.read(), DEFAULT_MODE, None

    def _read(self, name: str) -> tuple[bytes, int, Owner | None]:
        """Content, mode for the index, owner."""
        try:
            with open(name, "rb") as file:
                status = os.fstat(file.fileno())
                return file.read(), status.st_mode & 0o666, (status.st_uid, status.st_gid)
        except OSError as error:
            raise TableError(f"open {name}: {error.strerror}") from error

    def _check_writable(self, path: str, mode: int) -> int:
        """The mode of the file that will be there: an old one keeps its own. Raises TableError."""
        try:
            status = os.stat(path)
        except OSError:
            return mode
        if os.path.isdir(path):
            raise TableError(f"open {path}: Is a directory")
        if not os.access(path, os.W_OK, effective_ids=True):
            raise TableError(f"open {path}: Permission denied")
        if status.st_size == 0 and not self.options.incremental:
            self.log.warning("removing zero-length database file: %s", path)
        return status.st_mode & 0o777

    def _check_keys(self, type: str, entries: dict[bytes, bytes]) -> None:
        if type == "lmdb" and max(map(len, entries), default=0) > LONG:     # Postfix could not read them
            raise TableError("error updating lmdb table: MDB_BAD_VALSIZE: Unsupported size of key/DB name/data, or "
                             "wrong DUPFIXED size")

    def _write(self, path: str, entries: dict[bytes, bytes], mode: int) -> None:
        from mailsuite.maps.index_file import write_octets

        write = cdb.write_cdb if path.endswith(cdb.SUFFIX) else write_octets
        try:
            write(path, entries, mode=mode)
        except OSError as error:
            raise TableError(f"open database {path}: {error.strerror}") from error

    # -- from lines to entries -------------------------------------------------------------------------------------

    def _fill(self, entries: dict[bytes, bytes], content: bytes, name: str, shown: str, *,
              cdb_file: bool = False) -> dict[bytes, bytes]:
        """Add the source's entries, as they are stored. Returns entries."""
        if self.options.incremental:
            name = "stdin"
        nul = b"\0" if self.options.nul or (self.options.nul is None and not cdb_file) else b""
        folds, replace = self.options.fold, self.options.duplicates == "replace"
        if not entries and self.program == "postmap" and not self.options.from_files:
            plain = _plain_entries(content, folds=folds, nul=nul)
            if plain is not None:
                return plain
        for key, value in self._pairs(content, name):
            if folds:
                key = key.lower() if key.isascii() else octets(fold(text(key)))
            stored = key + nul
            if stored in entries and not replace:
                if self.options.duplicates == "warn":
                    self.log.warning("%s: duplicate entry: \"%s\"", shown, key.decode("utf-8", "replace"))
                continue
            entries[stored] = value + nul
        if self.program == "postalias" and not self.options.incremental:
            self._sign(entries, nul)
        return entries

    def _sign(self, entries: dict[bytes, bytes], nul: bytes) -> None:
        """The entries by which sendmail and NIS know a complete alias database; Postfix writes them too."""
        host = self.source.settings.text("myhostname")
        for key, value in (("@", "@"), ("YP_MASTER_NAME", host), ("YP_LAST_MODIFIED", f"{int(time.time()):010d}")):
            entries.setdefault(octets(key) + nul, octets(value) + nul)

    def _pairs(self, content: bytes, name: str) -> Iterator[Pair]:
        """Keys and values of a source, neither empty; what is wrong with other lines is logged."""
        def complain(why: str) -> None:
            self.log.warning("%s: %s", name, why)

        for line in sources.logical_lines(text(content), complain):
            try:
                yield self._pair(line, name)
            except sources.BadLine as error:
                self.log.warning("%s, line %d: %s", name, line.number, error)

    def _pair(self, line: sources.Line, name: str) -> Pair:
        """Raises BadLine."""
        if self.options.utf8 and not sources.is_utf8(line.text):
            raise sources.not_utf8(line)
        if self.program == "postalias":
            key, value = sources.alias_and_value(line.text)
            return octets(key), octets(value)
        key, value = sources.key_and_value(line.text)
        if key.endswith(":"):
            self.log.warning("%s, line %d: record is in \"key: value\" format; is this an alias file?", name,
                             line.number)
        if not self.options.from_files:
            return octets(key), octets(value)
        import base64

        try:
            return octets(key), base64.b64encode(sources.read_values(value))
        except ValueError as error:
            raise sources.BadLine(f"{error}: skipping this entry") from None

    # -- deleting --------------------------------------------------------------------------------------------------

    def delete(self, specs: list[str], keys: Iterable[str]) -> bool:
        """Remove keys from every table; whether one was there. Raises BadTable, TableError."""
        found = False
        wanted = [octets(fold(key) if self.options.fold else key) for key in keys]
        for spec in specs:
            found |= self._delete(spec, wanted)
        return found

    def _delete(self, spec: str, keys: list[bytes]) -> bool:
        type, name = split_spec(spec)
        if type not in WRITABLE:
            check_type(type)
            if type not in _DELETES_ITSELF:     # not opened: a file that is missing would not matter
                raise BadTable(f"{spec} map requires O_RDONLY access mode")
            table = open_table(spec, self.source, folds=self.options.fold)
            return sum(table.remove(text(key)) for key in keys) > 0
        if type == "cdb":
            raise BadTable(cdb.READ_ONLY)
        from mailsuite.maps.index_file import updating

        path = name + SUFFIX[type]
        try:
            owner = os.stat(path)
            with _acting_as(None if self.options.keep_root else (owner.st_uid, owner.st_gid)), \
                    updating(path, f"{self.program} {spec}") as entries:
                return sum(self._remove(entries, key) for key in keys) > 0
        except OSError as error:
            raise TableError(f"open database {path}: {error.strerror}") from error

    def _remove(self, entries: dict[bytes, bytes], key: bytes) -> bool:
        if self.options.nul is not False and entries.pop(key + b"\0", None) is not None:
            return True
        return self.options.nul is not True and entries.pop(key, None) is not None


def _plain_entries(content: bytes, *, folds: bool, nul: bytes) -> dict[bytes, bytes] | None:
    """All entries at once, where each line has an ASCII key of its own and a value, and nothing is to be said of any.

    None: lines have to be looked at one by one. This makes postmap fast for tables of many thousand lines.
    """
    lines = sources.plain_pairs(content)
    if lines is None or b": " in content or b":\t" in content or not content.isascii():
        return None
    pairs = [words for words in lines if words and words[0][0] != 35]       # "#"
    if min(map(len, pairs), default=2) < 2:
        return None
    keys = b"\n".join([words[0] + nul for words in pairs])
    values = [words[1].rstrip() + nul for words in pairs]
    if not values:
        return {}
    entries = dict(zip((keys.lower() if folds else keys).split(b"\n"), values, strict=True))
    return entries if len(entries) == len(values) else None


@contextmanager
def _acting_as(owner: Owner | None) -> Iterator[None]:
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
