"""Tables in SQL databases: pgsql:, mysql:, sqlite:. Source: pgsql_table(5), mysql_table(5), sqlite_table(5).

    pgsql:/etc/postfix/users.cf       hosts, user, password, dbname, query, ...; all in docs/tables.md

All rows' columns (of SQLite the first column, as Postfix has it) are values. A statement that the server refuses makes
the look-up fail but does not shut the server out: a key that a stranger chose must not be able to do that.
"""

from functools import partial
from typing import TYPE_CHECKING

from mailsuite.database.errors import QueryError
from mailsuite.database.pool import Deadline, Pool
from mailsuite.database.sql import Rows, SqlConnection
from mailsuite.maps.database import DatabaseTable
from mailsuite.maps.parameters import TableParameters
from mailsuite.maps.table import BadTable

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource

TIMEOUT_S = 10


def legacy_query(parameters: TableParameters) -> str:
    """The statement made of select_field, table, where_field and additional_conditions. Raises BadTable."""
    table = parameters.text("table", least=1)
    field = parameters.text("select_field", least=1)
    where = parameters.text("where_field", least=1)
    more = parameters.text("additional_conditions")
    return f"SELECT {field} FROM {table} WHERE {where} = '%s' {more}"


class SqlTable(DatabaseTable):
    """Base of the three."""

    def read(self, source: "MapSource", query: str) -> None:
        self.read_common(source, [query or legacy_query(self.parameters)])

    def look_up(self, connection: SqlConnection, key: bytes, deadline: Deadline) -> bytes | None:
        try:
            rows = connection.query(self.templates.query(key, connection.quote), deadline)
        except QueryError as error:
            raise QueryError(self.refused(str(error)), cause=error.cause) from error
        if rows is None:
            self.no_result_set()
            return None
        found: list[bytes] = []
        self.add(found, self.values(rows), key)
        return b",".join(found) if found else None

    def refused(self, text: str) -> str:
        """The log line for what the server said."""
        return text

    def no_result_set(self) -> None:
        """What to do with a statement without rows: by default nothing is found. Raises QueryError."""

    def values(self, rows: Rows) -> list[bytes]:
        """All columns of all rows that are not NULL."""
        return [column for row in rows for column in row if column is not None]


class PgsqlTable(SqlTable):
    """pgsql: ."""

    function = "dict_pgsql_lookup"

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name, source, folds=folds)
        from mailsuite.database.pgsql import PgsqlDriver

        parameters = self.parameters
        database = parameters.text("dbname", least=1)
        query = parameters.text("query")
        if not query and parameters.text("select_function"):
            query = f"SELECT {parameters.text('select_function')}('%s')"
        self.read(source, query)
        encoding = parameters.text("encoding") or "UTF8"
        self.utf8 = encoding.upper() in ("UTF8", "UTF-8", "UNICODE")
        driver = PgsqlDriver(parameters.words("hosts") or ["localhost"], user=parameters.text("user"),
                             password=parameters.secret("password"), database=database,
                             encoding=encoding)
        options = self.pool_options(parameters.seconds("timeout", TIMEOUT_S))
        self.need("psycopg")
        self.pool = Pool(driver, options, warn=self.warn)

    def values(self, rows: Rows) -> list[bytes]:
        """libpq shows NULL as an empty value, which is warned of."""
        return [column or b"" for row in rows for column in row]


class MysqlTable(SqlTable):
    """mysql: ."""

    function = "dict_mysql_lookup"

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name, source, folds=folds)
        from mailsuite.database.mysql import MysqlDriver, MysqlTls
        from mailsuite.database.mysql_options import read_options

        parameters = self.parameters
        database = parameters.text("dbname", least=1)
        self.read(source, parameters.text("query"))
        self._need_rows = parameters.flag("require_result_set", True)
        tls = MysqlTls(parameters.text("tls_CAfile"), parameters.text("tls_CApath"), parameters.text("tls_cert_file"),
                       parameters.text("tls_key_file"), parameters.text("tls_ciphers"),
                       parameters.flag("tls_verify_cert", False))
        file, group = parameters.text("option_file"), parameters.text("option_group", "client")
        groups = list(dict.fromkeys(["client", group])) if group else ["client"] if file else []
        options = read_options(file, groups) if groups else {}
        charset = options.get("default-character-set") or parameters.text("charset") or "utf8mb4"
        self.utf8 = charset.lower().startswith("utf8")
        try:
            driver = MysqlDriver(parameters.words("hosts"), user=parameters.text("user"),
                                 password=parameters.secret("password") if parameters.has("password") else None,
                                 database=database, charset=charset, tls=tls or None, options=options)
        except ValueError as error:
            raise BadTable(str(error)) from error
        pool_options = self.pool_options(parameters.seconds("timeout", TIMEOUT_S))
        self.need("pymysql")
        self.pool = Pool(driver, pool_options, warn=self.warn)

    def refused(self, text: str) -> str:
        return f"{self.spec}: {text}"

    def no_result_set(self) -> None:
        if self._need_rows:
            raise QueryError(self.refused("query failed: query returned no result set(require_result_set = yes)"),
                             cause="Resource temporarily unavailable")


class SqliteTable(SqlTable):
    """sqlite: ."""

    function = "dict_sqlite_lookup"
    retry_s = 1         # a file that is being made: there soon

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name, source, folds=folds)
        from mailsuite.database.sqlite import SqliteDriver

        path = self.parameters.text("dbpath", least=1)
        self.read(source, self.parameters.text("query"))
        self.pool = Pool(SqliteDriver(path), self.pool_options(self.parameters.seconds("timeout", TIMEOUT_S)),
                         warn=partial(self._log.warning, "%s: %s", self.spec))

    def refused(self, text: str) -> str:
        return f"{self.function}: {self.name}: {text}"

    def values(self, rows: Rows) -> list[bytes]:
        return [row[0] for row in rows if row and row[0] is not None]
