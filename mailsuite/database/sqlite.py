"""SQLite files, opened for reading only, by Python's own module.

    SqliteDriver("/var/lib/mail/users.db")

Of several statements the first is run; of its columns all are given. A file that was replaced is opened again. A query
may take until its deadline, also while a writer holds the file.
"""

import os
import sqlite3
import time
from collections.abc import Sequence
from urllib.parse import quote as url_quote

from mailsuite.database.errors import Broken, QueryError, Unreachable
from mailsuite.database.pool import Deadline
from mailsuite.database.sql import Rows, SqlPlace

_STEPS = 10000          # of SQLite's machine between two looks at the clock


class SqliteDriver:
    """One file."""

    in_order = True

    def __init__(self, path: str) -> None:
        self.places = [SqlPlace(path, path=path)]

    def connect(self, place: SqlPlace, deadline: Deadline) -> "SqliteConnection":
        try:
            status = os.stat(place.path)
            # An empty path or :memory: is no file for us; a missing one is not made.
            connection = sqlite3.connect(f"file:{url_quote(os.path.abspath(place.path))}?mode=ro", uri=True,
                                         timeout=deadline.left(), isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise Unreachable(f"Can't open database: {error}") from error
        except OSError as error:
            raise Unreachable(f"Can't open database: {place.path}: {error.strerror}",
                              cause=error.strerror or "") from error
        connection.text_factory = bytes
        return SqliteConnection(connection, place.path, (status.st_dev, status.st_ino))

    def broken(self, place: SqlPlace, error: Broken) -> str:
        return str(error)


class SqliteConnection:
    """A SqlConnection."""

    def __init__(self, connection: sqlite3.Connection, path: str, identity: tuple[int, int]) -> None:
        self._connection, self._path, self._identity = connection, path, identity
        self.columns: Sequence[str] = ()

    def quote(self, octets: bytes) -> bytes:
        return octets.replace(b"'", b"''")

    def query(self, sql: bytes, deadline: Deadline) -> Rows | None:
        try:
            status = os.stat(self._path)
        except OSError as error:
            raise Broken(f"{self._path}: {error.strerror}") from error
        if (status.st_dev, status.st_ino) != self._identity:
            raise Broken("the file was replaced")
        try:
            statement = first_statement(sql.decode())
        except UnicodeDecodeError as error:
            raise QueryError("SQL prepare failed: not valid UTF-8") from error
        left = deadline.left()
        self._connection.execute(f"PRAGMA busy_timeout = {max(1, int(left * 1000))}")
        self._connection.set_progress_handler(lambda: time.monotonic() > deadline.at, _STEPS)
        try:
            cursor = self._connection.execute(statement)
            if cursor.description is None:
                return None
            self.columns = [column[0] for column in cursor.description]
            return [tuple(_octets(value) for value in row) for row in cursor.fetchall()]
        except sqlite3.OperationalError as error:
            if time.monotonic() > deadline.at:
                raise Broken(f"SQL step failed: {error}", timed_out=True, cause="Connection timed out") from error
            raise QueryError(f"SQL prepare failed: {error}") from error
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            raise QueryError(f"SQL prepare failed: {error}") from error

    def close(self) -> None:
        try:
            self._connection.close()
        except sqlite3.Error:
            pass


def first_statement(sql: str) -> str:
    """The text up to the end of the first statement."""
    end = sql.find(";")
    while end >= 0 and not sqlite3.complete_statement(sql[:end + 1]):
        end = sql.find(";", end + 1)
    return sql if end < 0 else sql[:end + 1]


def _octets(value: object) -> bytes | None:
    """As sqlite3_column_text gives it."""
    if value is None or isinstance(value, bytes):
        return None if value is None else value.split(b"\0", 1)[0]
    if isinstance(value, float):
        text = f"{value:.15g}"
        return (text if any(char in text for char in ".einf") else text + ".0").encode()
    return str(value).encode()
