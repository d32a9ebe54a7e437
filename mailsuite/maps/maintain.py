"""What postmap and postalias ask of tables: one key, many keys, all entries.

    tool = Tool("postmap", source, Options(...))
    tool.query(["hash:/etc/access"], "key") -> "value" | None
    for octets in tool.query_many(["hash:/etc/access"], blocks): ...    "key TAB value" lines
    tool.listing("hash:/etc/access") -> (key, value) ...

Complaints are logged through source ("postmap: warning: ..."); what ends the command is a BadTable or TableError, whose
text follows "postmap: fatal: ". Building is in building.py.
"""

from collections.abc import Iterable, Iterator

from mailsuite.base.errors import TemporaryError
from mailsuite.maps import sources
from mailsuite.maps.maps import MapSource
from mailsuite.maps.opening import WRITABLE, open_table
from mailsuite.maps.table import BadTable, Table, TableError
from mailsuite.maps.tool_options import Options, split_spec


class Tool:
    """One run of a command. program: "postmap" or "postalias"."""

    def __init__(self, program: str, source: MapSource, options: Options) -> None:
        self.program, self.source, self.options, self.log = program, source, options, source.log

    def open(self, spec: str) -> Table:
        """Raises BadTable, TableError."""
        table = open_table(":".join(split_spec(spec)), self.source, folds=self.options.fold)
        if table.type in WRITABLE and hasattr(table, "nul"):
            table.nul = self.options.nul
        return table

    def query(self, specs: list[str], key: str) -> str | None:
        """The first table's value. Raises BadTable, TableError."""
        for spec in specs:
            value = self.ask(self.open(spec), key)
            if value is not None:
                return value
        return None

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
            cause = f": {error.cause}" if isinstance(error, TableError) else ": Application error"
            if isinstance(error, TableError) and error.config:
                cause = ""
            raise BadTable(f"table {table.spec}: query error{cause}") from error
        if value is not None and self.options.from_files and table.type in WRITABLE:
            value = self._decoded(table, key, value)
            if value is None:
                raise BadTable(f"table {table.spec}: query error: Application error")
        return self._not_empty(table, key, value)

    def _not_empty(self, table: Table, key: str, value: str | None) -> str | None:
        if value == "":
            self.log.warning("table %s: key %s: empty string result is not allowed", table.spec, key)
            self.log.warning("table %s should return NO RESULT in case of NOT FOUND", table.spec)
        return value

    def _decoded(self, table: Table, key: str, value: str) -> str | None:
        """What the file had that an indexed table took in as base64; None when it is something else."""
        import base64
        import binascii

        try:
            return base64.b64decode(value, validate=True).partition(b"\0")[0].decode("utf-8", "surrogateescape")
        except binascii.Error:
            self.log.warning("table %s: key %s: malformed BASE64 value: %s", table.spec, key, value)
            return None

    # -- many keys -------------------------------------------------------------------------------------------------

    def query_many(self, specs: list[str], blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Keys that are found, with their values, as lines for the output. blocks: keys, one a line, some at a time.

        A block of plain keys is asked of an indexed table at once; that is what makes `postmap -q -` fast.
        Raises BadTable, TableError.
        """
        tables = [self.open(spec) for spec in specs]
        for block in blocks:
            at_once = self._at_once(tables, block)
            if at_once is None:
                yield from self._one_by_one(tables, block.split(b"\n"))
            else:
                yield at_once

    def query_each(self, specs: list[str], keys: Iterable[bytes]) -> Iterator[bytes]:
        """The same for keys that may have newlines. Raises BadTable, TableError."""
        return self._one_by_one([self.open(spec) for spec in specs], keys)

    def _at_once(self, tables: list[Table], block: bytes) -> bytes | None:
        """The lines for a block; None when it has to be asked one by one."""
        from mailsuite.maps.indexed import IndexedTable

        if len(tables) != 1 or not isinstance(tables[0], IndexedTable) or self.options.from_files or not (
                block.isascii()) or b"\0" in block:
            return None
        table = tables[0]
        try:
            values = table.lookup_many(block.lower() if self.options.fold else block)
        except TemporaryError as error:
            raise BadTable(f"table {table.spec}: query error: {error.detail or error}") from error
        if b"" in values or b"\0" in values:
            return None         # an empty value is told of, with its key
        lines = [key + b"\t" + value for key, value in zip(block.split(b"\n"), values, strict=True)
                 if value is not None]
        # What is stored may end in NULs; nothing else has one.
        return b"\n".join([*lines, b""]).replace(b"\0", b"")

    def _one_by_one(self, tables: list[Table], keys: Iterable[bytes]) -> Iterator[bytes]:
        for octets in keys:
            key = octets.partition(b"\0")[0].decode("utf-8", "surrogateescape")
            for table in tables:
                value = self.ask(table, key)
                if value is not None:
                    yield f"{key}\t{value}\n".encode("utf-8", "surrogateescape")
                    break

    # -- all entries -----------------------------------------------------------------------------------------------

    def listing(self, spec: str) -> Iterator[tuple[str, str]]:
        """All keys and values. Raises BadTable, TableError."""
        table = self.open(spec)
        for key, value in table.items():
            if self.options.from_files and table.type in WRITABLE:
                decoded = self._decoded(table, key, value)
                if decoded is None:
                    return
                value = decoded
            self._not_empty(table, key, value)
            yield key, value
