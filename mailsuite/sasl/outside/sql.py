"""SQL: a query with %-variables, each quoted as the connection wants it.

    spec      {"driver": "pgsql", "connect": "host=db1 host=db2 dbname=mail user=u password=p"}
    question  {"query": "SELECT ... '%u'", "values": {"user": ...}, "limit": 2}        limit: rows wanted, 0 for all
    answer    {"columns": ["password", ...], "rows": [["x", null], ...]}

connect is Dovecot's: for pgsql libpq's words (several host= are several servers), for mysql host, port, user, password,
dbname, ssl_ca, ssl_ca_path, ssl_cert, ssl_key, ssl_cipher, ssl_verify_server_cert, option_file, option_group,
connect_timeout, for sqlite the file.
"""

import shlex
from typing import Any

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.secret import Secret
from mailsuite.config.variables import expand_variables
from mailsuite.database.errors import DatabaseError, QueryError, Unavailable, require_driver
from mailsuite.database.pool import Deadline, Pool, PoolOptions
from mailsuite.database.sql import SqlConnection, SqlPlace
from mailsuite.sasl.outside import Message
from mailsuite.sasl.outside.sources import Warn, reason
from mailsuite.sasl.quoting import Quoted

TIMEOUT_S = 30.0                # for one host, to connect and to answer
RETRY_S = 10.0                  # how long a host that failed is left alone
CONNECTIONS = 5                 # Dovecot's limit for one configuration file, unless maxconns= says otherwise
DRIVERS = ("mysql", "pgsql", "sqlite")


def words_of(connect: str) -> list[tuple[str, str]]:
    """name=value words; a value may be in single quotes (libpq's way). Raises ConfigError."""
    lexer = shlex.shlex(connect, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.quotes, lexer.escape = True, "", "'", "\\"
    lexer.escapedquotes = "'"
    try:
        found = list(lexer)
    except ValueError as error:
        raise ConfigError(f"connect: {error}") from None
    pairs = []
    for word in found:
        name, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"connect: Missing value in connect string: {word}")
        pairs.append((name, value))
    return pairs


def driver_of(spec: Message) -> tuple[Any, int]:
    """A driver for the pool, and how many connections it may have. Raises ConfigError, DriverMissing."""
    kind, connect = spec["driver"], spec["connect"]
    if kind == "sqlite":
        from mailsuite.database.sqlite import SqliteDriver
        path = connect.split()[0] if connect.split() else ""
        if not path:
            raise ConfigError("connect: no file")
        return SqliteDriver(path), CONNECTIONS
    if kind not in DRIVERS:
        raise ConfigError(f"driver = {kind}: there are {', '.join(DRIVERS)}")
    pairs = words_of(connect)
    most = next((int(value) for name, value in pairs if name == "maxconns" and value.isdecimal()), CONNECTIONS)
    require_driver({"pgsql": "psycopg", "mysql": "pymysql"}[kind])
    return (_pgsql if kind == "pgsql" else _mysql)(pairs), max(1, most)


def _pgsql(pairs: list[tuple[str, str]]) -> Any:
    from psycopg.conninfo import make_conninfo

    from mailsuite.database.pgsql import PgsqlDriver

    common = {name: value for name, value in pairs if name not in ("host", "maxconns")}
    hosts = [value for name, value in pairs if name == "host"] or [""]
    driver = PgsqlDriver([])
    for host in hosts:
        try:
            info = make_conninfo(**({"host": host} if host else {}), **common)
        except Exception as error:          # psycopg's own class; its text may hold the password
            raise ConfigError("connect: not understood by libpq") from error
        driver.places.append(SqlPlace(host or "localhost", path=host if host.startswith("/") else "", uri=info))
    return driver


_MYSQL = frozenset({"host", "hostaddr", "port", "user", "password", "dbname", "db", "ssl_ca", "ssl_ca_path", "ssl_cert",
                    "ssl_key", "ssl_cipher", "ssl_verify_server_cert", "option_file", "option_group", "maxconns",
                    "client_flags", "connect_timeout", "read_timeout", "write_timeout"})


def _mysql(pairs: list[tuple[str, str]]) -> Any:
    from mailsuite.database.mysql import MysqlDriver, MysqlTls
    from mailsuite.database.mysql_options import read_options

    unknown = [name for name, _ in pairs if name not in _MYSQL]
    if unknown:
        raise ConfigError(f"connect: mysql: Unknown connect string: {unknown[0]}")
    words = dict(pairs)
    port = words.get("port", "")
    hosts = []
    for name, value in pairs:
        if name in ("host", "hostaddr"):
            hosts.append(f"unix:{value}" if value.startswith("/") else f"{value}:{port}" if port else value)
    tls = MysqlTls(words.get("ssl_ca", ""), words.get("ssl_ca_path", ""), words.get("ssl_cert", ""),
                   words.get("ssl_key", ""), words.get("ssl_cipher", ""),
                   words.get("ssl_verify_server_cert", "no") in ("yes", "1"))
    groups = ["client", *([words["option_group"]] if "option_group" in words else [])]
    options = read_options(words["option_file"], groups) if "option_file" in words else {}
    return MysqlDriver(hosts or (["localhost"] if not port else [f"localhost:{port}"]), user=words.get("user", ""),
                       password=Secret(words["password"].encode()) if "password" in words else None,
                       database=words.get("dbname") or words.get("db", ""), tls=tls or None, options=options)


class SqlSource:
    """One database, with its servers."""

    def __init__(self, spec: Message, warn: Warn) -> None:
        self._kind = spec["driver"]
        self._pool: Pool[SqlConnection] | None = None
        self._why = ""
        try:
            driver, most = driver_of(spec)
            self._pool = Pool(driver, PoolOptions(connections=most, timeout_s=TIMEOUT_S, retry_s=RETRY_S), warn=warn)
        except (ConfigError, DatabaseError) as error:
            self._why = str(error)

    async def answer(self, question: Message) -> dict[str, Any]:
        query, values, limit = question["query"], question["values"], question["limit"]

        def work(connection: SqlConnection, deadline: Deadline) -> dict[str, Any]:
            statement = expand_variables(query, Quoted(values, connection.quote))
            rows = connection.query(statement.encode("utf-8", "surrogateescape"), deadline)
            if rows is None:
                raise QueryError("the query has no rows as its answer")
            wanted = rows[:limit] if limit else rows
            return {"columns": list(connection.columns), "rows": [[_text(value) for value in row] for row in wanted]}

        if self._pool is None:
            raise TemporaryError("internal error", detail=self._why)
        try:
            return await self._pool.ask(work)
        except Unavailable as error:
            raise TemporaryError("internal error", detail=f"Not connected to database: {reason(error)}"
                                 ) from error
        except (DatabaseError, ConfigError) as error:
            raise TemporaryError("internal error", detail=_without(values.get("password", ""), str(error))) from None

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()


def _without(password: str, text: str) -> str:
    """A server's complaint, which may quote the statement, on one line and without the user's password (%w)."""
    line = " ".join(text.split())
    return line.replace(password, "<hidden>") if password else line


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")
