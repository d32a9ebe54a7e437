"""PostgreSQL, by libpq (the package psycopg brings it along): its non-blocking calls with our time limits.

    PgsqlDriver(["inet:db1:5433", "unix:/run/postgresql", "postgresql://user@db/mail"], user=..., password=...,
                database="mail", encoding="UTF8")

unix: and inet: in front of a host are taken off; what begins with "/" is the folder of a Unix socket. A connection
string is used as it is, without user, password and database.
Statements go as simple queries, so several in one are run and the last one's rows count. Text is quoted by libpq, which
knows the connection's encoding and the server's string syntax.
"""

import os
import select
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mailsuite.base.secret import Secret
from mailsuite.database.errors import Broken, QueryError, Unreachable
from mailsuite.database.pool import Deadline
from mailsuite.database.sql import Rows, SqlPlace

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

# Classes of SQLSTATE that mean the server, not the statement: connection, resources, shutdown.
_SERVER = (b"08", b"53", b"57P", b"58")


def _line(message: bytes) -> str:
    return message.decode("utf-8", "replace").rstrip("\n")


def place_of(text: str) -> SqlPlace:
    """A host as the configuration names it."""
    if text.startswith(("postgresql://", "postgres://")):
        return SqlPlace(_without_password(text), uri=text)
    bare = text[5:] if text.startswith(("unix:", "inet:")) else text
    if bare.startswith("/"):
        return SqlPlace(text, path=bare)
    host, _, port = bare.partition(":") if bare.count(":") == 1 else (bare, "", "")
    return SqlPlace(text, host=host, port=port)


def _without_password(uri: str) -> str:
    head, at, tail = uri.rpartition("@")
    scheme, slashes, account = head.partition("://")
    return f"{scheme}{slashes}{account.partition(':')[0]}{at}{tail}" if at else uri


class PgsqlDriver:
    """Servers of one database. encoding: what the client's octets mean."""

    in_order = False

    def __init__(self, hosts: list[str], *, user: str = "", password: Secret | None = None, database: str = "",
                 encoding: str = "UTF8") -> None:
        self.places = [place_of(host) for host in hosts]
        self._user, self._password, self._database, self._encoding = user, password, database, encoding

    def connect(self, place: SqlPlace, deadline: Deadline) -> "PgsqlConnection":
        from psycopg import pq
        from psycopg.conninfo import make_conninfo

        try:
            if place.uri:
                info = place.uri
            else:
                info = make_conninfo(host=place.path or place.host or None, port=place.port or None,
                                     user=self._user or None, dbname=self._database or None,
                                     password=self._password.reveal().decode("utf-8", "surrogateescape")
                                     if self._password else None)
            connection = pq.PGconn.connect_start(info.encode("utf-8", "surrogateescape"))
        except Exception as error:      # psycopg's own parser refuses a malformed string
            raise self._unreachable(place, str(error).rstrip("\n")) from error
        try:
            self._shake_hands(connection, deadline)
            self._set_encoding(connection, deadline)
        except (Broken, QueryError) as error:
            connection.finish()
            raise self._unreachable(place, str(error), error.cause) from error
        return PgsqlConnection(connection, place)

    def broken(self, place: SqlPlace, error: Broken) -> str:
        return f"pgsql query failed: fatal error from host {place.name}: {error}"

    @staticmethod
    def _unreachable(place: SqlPlace, why: str, cause: str = "") -> Unreachable:
        return Unreachable(f"connect to pgsql server {place.name}: {why}", cause=cause)

    @staticmethod
    def _shake_hands(connection: "PGconn", deadline: Deadline) -> None:
        from psycopg import pq

        while True:
            if connection.status == pq.ConnStatus.BAD:
                raise Broken(_line(connection.error_message))
            step = connection.connect_poll()
            if step == pq.PollingStatus.OK:
                break
            if step == pq.PollingStatus.FAILED:
                raise Broken(_line(connection.error_message))
            _wait(connection.socket, step == pq.PollingStatus.WRITING, deadline)
        connection.nonblocking = 1

    def _set_encoding(self, connection: "PGconn", deadline: Deadline) -> None:
        made = PgsqlConnection(connection, SqlPlace(""))
        try:
            made.query(b"SET client_encoding TO '" + made.quote(self._encoding.encode()) + b"'", deadline)
        except QueryError as error:
            raise QueryError(f"cannot set the encoding to {self._encoding}, skipping") from error


def _wait(fd: int, write: bool, deadline: Deadline) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT if write else select.POLLIN)
    if not poll.poll(deadline.left() * 1000):
        raise Broken("timeout expired", timed_out=True, cause="Connection timed out")


class PgsqlConnection:
    """A SqlConnection."""

    def __init__(self, connection: "PGconn", place: SqlPlace) -> None:
        from psycopg import pq

        self._connection, self._place, self._pid = connection, place, os.getpid()
        self._escaping = pq.Escaping(connection)
        self.columns: Sequence[str] = ()

    def quote(self, octets: bytes) -> bytes:
        try:
            return bytes(self._escaping.escape_string(octets))
        except Exception as error:
            raise QueryError(f"pgsql query failed: cannot quote the key for host {self._place.name}: "
                             f"{str(error).rstrip()}") from error

    def query(self, sql: bytes, deadline: Deadline) -> Rows | None:
        from psycopg import pq

        connection = self._connection
        try:
            connection.send_query(sql)
            while connection.flush():
                _wait(connection.socket, True, deadline)
            result = last = self._result(deadline)
            while result is not None:
                if result.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH):
                    raise Broken("COPY is not a query")
                last = result
                result = self._result(deadline)
        except pq_error() as error:
            raise Broken(str(error).rstrip("\n")) from error
        return self._rows(last)

    def _result(self, deadline: Deadline) -> "PGresult | None":
        connection = self._connection
        while connection.is_busy():
            _wait(connection.socket, False, deadline)
            connection.consume_input()
        return connection.get_result()

    def _rows(self, result: "PGresult | None") -> Rows | None:
        from psycopg import pq

        if result is None:
            return None
        if result.status == pq.ExecStatus.TUPLES_OK:
            columns = range(result.nfields)
            self.columns = [(result.fname(column) or b"").decode("utf-8", "replace") for column in columns]
            return [tuple(result.get_value(row, column) for column in columns) for row in range(result.ntuples)]
        if result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY):
            return None
        why = _line(result.error_message)
        state = result.error_field(pq.DiagnosticField.SQLSTATE) or b""
        if self._connection.status == pq.ConnStatus.BAD or state.startswith(_SERVER):
            raise Broken(why)
        raise QueryError(f"pgsql query failed: fatal error from host {self._place.name}: {why}")

    def close(self) -> None:
        if self._pid == os.getpid():        # libpq says good-bye, which would end a parent's connection
            self._connection.finish()


def pq_error() -> Any:
    """The class of libpq's failures: the connection is gone."""
    import psycopg

    return psycopg.OperationalError
