"""What the SQL drivers have in common.

    driver = sql_driver("pgsql", hosts=[...], user=..., password=..., database=..., charset="UTF8")
    rows = connection.query(b"SELECT v FROM t WHERE k = '" + connection.quote(key) + b"'", deadline)

rows: one tuple per row with the columns' text, None for NULL. Everything is octets in the connection's character set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mailsuite.database.pool import Deadline

Rows = Sequence[tuple[bytes | None, ...]]


class SqlConnection(Protocol):
    """An open connection, used by one thread at a time. columns: the names of the last result's columns."""

    columns: Sequence[str]

    def query(self, sql: bytes, deadline: Deadline) -> Rows | None:
        """Run a statement: its rows, None when it has no result set. Raises QueryError, Broken."""

    def quote(self, octets: bytes) -> bytes:
        """octets as they may stand inside quotes of a statement. Raises QueryError: not in the character set."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class SqlPlace:
    """name: as written. path: of a Unix socket or a file; "" for TCP. uri: a whole connection string."""

    name: str
    host: str = ""
    port: int | str = 0
    path: str = ""
    uri: str = ""

    @property
    def local(self) -> bool:
        return bool(self.path)
