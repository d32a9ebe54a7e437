"""MySQL and MariaDB, by PyMySQL, which blocks: the pool's threads wait for it.

    MysqlDriver(["inet:db1:3307", "unix:/run/mysqld/mysqld.sock"], user=, password=, database=, charset="utf8mb4",
                tls=MysqlTls(ca_file=..., ...), options=read_options(None, ["client"]))

The host "localhost" means the Unix socket, as MySQL has it; 127.0.0.1 means TCP.
Text is quoted by us: in a character set of several octets a quote sign must be looked for in characters, never in
octets (0xBF 0x27 of GBK is half a character and a quote sign). Values come as octets, without conversion.
"""

import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailsuite.base.secret import Secret
from mailsuite.database.errors import Broken, QueryError, Unreachable
from mailsuite.database.pool import Deadline
from mailsuite.database.sql import Rows, SqlPlace

DEFAULT_SOCKETS = ("/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/tmp/mysql.sock")
# Answers that mean the server or the connection, not the statement: too many connections, shutdown, killed, lost.
_SERVER = frozenset({1040, 1042, 1043, 1053, 1077, 1079, 1152, 1154, 1155, 1156, 1158, 1159, 1160, 1161, 1203, 1226,
                     1927, 2006, 2013, 2055, 4031})
# Python's names of character sets whose characters have several octets.
_WIDE = frozenset({"utf8", "gbk", "gb2312", "gb18030", "big5", "sjis", "cp932", "ujis", "euckr", "eucjp", "euc_kr",
                   "euc_jp", "eucjpms", "utf16", "utf16le", "utf32", "utf_8", "utf-8"})
_SPECIAL = {0: "\\0", 10: "\\n", 13: "\\r", 26: "\\Z", 34: '\\"', 39: "\\'", 92: "\\\\"}


@dataclass(frozen=True)
class MysqlTls:
    """What the tls_ parameters say; none of them set: no TLS."""

    ca_file: str = ""
    ca_path: str = ""
    cert_file: str = ""
    key_file: str = ""
    ciphers: str = ""
    verify: bool = False

    def __bool__(self) -> bool:
        return bool(self.ca_file or self.ca_path or self.cert_file or self.key_file or self.ciphers or self.verify)

    def context(self) -> ssl.SSLContext:
        """Raises OSError (ssl.SSLError too), ValueError."""
        context = ssl.create_default_context()
        context.check_hostname = False
        if self.ca_file or self.ca_path:
            context.load_verify_locations(self.ca_file or None, self.ca_path or None)
        if not self.verify:
            context.verify_mode = ssl.CERT_NONE
        context.check_hostname = self.verify
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file or None)
        if self.ciphers:
            context.set_ciphers(self.ciphers)
        return context


def place_of(text: str) -> SqlPlace:
    """A host as the configuration names it. Raises ValueError: its text says why, as Postfix does."""
    if text.startswith("unix:"):
        return SqlPlace(text, path=text[5:])
    host, _, port = text.removeprefix("inet:").rpartition(":")
    if not host:
        host, port = port, ""
    if host.lower() == "localhost":
        found = next((path for path in DEFAULT_SOCKETS if os.path.exists(path)), DEFAULT_SOCKETS[0])
        return SqlPlace(text, path=found)
    return SqlPlace(text, host=host, port=_port(port) if port else 3306)


def _port(text: str) -> int:
    if text.isdigit():
        return int(text)
    try:
        return socket.getservbyname(text, "tcp")
    except OSError:
        raise ValueError(f"unknown service: {text}/tcp") from None


class MysqlDriver:
    """Servers of one database. options: what an option file says, for what is not given here."""

    in_order = False

    def __init__(self, hosts: list[str], *, user: str = "", password: Secret | None = None, database: str = "",
                 charset: str = "utf8mb4", tls: MysqlTls | None = None,
                 options: Mapping[str, str] | None = None) -> None:
        options = options or {}
        if not hosts or hosts == ["localhost"]:
            where = options.get("socket") and f"unix:{options['socket']}" or options.get("host") or "localhost"
            if options.get("port") and not where.startswith("unix:"):
                where += f":{options['port']}"
            hosts = [where]
        self.places = [place_of(host) for host in hosts]
        self._user = user or options.get("user", "")
        self._password = password or Secret(options.get("password", "").encode())
        self._database, self._charset = database, charset
        self._tls = tls or MysqlTls(options.get("ssl-ca", ""), options.get("ssl-capath", ""),
                                    options.get("ssl-cert", ""), options.get("ssl-key", ""),
                                    options.get("ssl-cipher", ""),
                                    "ssl-verify-server-cert" in options)

    def connect(self, place: SqlPlace, deadline: Deadline) -> "MysqlConnection":
        import pymysql
        import pymysql.connections

        try:
            connection: Any = pymysql.connections.Connection(
                host=place.host or "localhost", port=int(place.port or 0), unix_socket=place.path or None,
                user=self._user, password=self._password.reveal(), database=self._database or None,
                charset=self._charset, use_unicode=False, conv={}, autocommit=True, connect_timeout=deadline.left(),
                read_timeout=deadline.left(), write_timeout=deadline.left(),
                ssl=self._tls.context() if self._tls else None, defer_connect=False)
            if self._tls and not getattr(connection, "_secure", False):
                connection.close()
                raise self._unreachable(place, "TLS/SSL error: SSL is required, but the server does not support it")
        except (pymysql.Error, OSError, ValueError, AttributeError, Broken) as error:
            raise self._unreachable(place, *_why_not(place, error)) from error
        return MysqlConnection(connection, self._charset)

    def broken(self, place: SqlPlace, error: Broken) -> str:
        return f"mysql query failed: {place.name}: {error}"

    @staticmethod
    def _unreachable(place: SqlPlace, why: str, cause: str = "") -> Unreachable:
        return Unreachable(f"connect to mysql server {place.name}: {why}", cause=cause)


def _why_not(place: SqlPlace, error: Exception) -> tuple[str, str]:
    """The server's or the client library's words, and two words for postmap."""
    original = getattr(error, "original_exception", None) or (error if isinstance(error, OSError) else None)
    if isinstance(original, socket.gaierror):
        return f"Unknown server host '{place.host}' ({original.errno})", ""
    if isinstance(original, TimeoutError):
        return f"Can't connect to server on '{place.host or place.path}' (110)", "Connection timed out"
    if isinstance(original, OSError) and original.errno and not isinstance(original, ssl.SSLError):
        what = f"local server through socket '{place.path}'" if place.path else f"server on '{place.host}'"
        return f"Can't connect to {what} ({original.errno})", os.strerror(original.errno)
    if isinstance(error, AttributeError):
        return "unknown charset", ""        # PyMySQL looks it up so
    words: tuple[object, ...] = getattr(error, "args", ())
    return (str(words[1]) if len(words) > 1 else str(error)), ""


class MysqlConnection:
    """A SqlConnection."""

    def __init__(self, connection: Any, charset: str) -> None:
        self._connection = connection
        self.columns: Sequence[str] = ()
        # The server's character set of several octets: text has to be looked at in characters.
        codec = str(connection.encoding)
        self._codec = codec if codec in _WIDE else "latin-1"

    def quote(self, octets: bytes) -> bytes:
        try:
            text = octets.decode(self._codec)
        except UnicodeDecodeError as error:
            raise QueryError(f"mysql query failed: the key is not valid {self._codec}") from error
        plain = self._connection.server_status & 0x200          # NO_BACKSLASH_ESCAPES
        return (text.replace("'", "''") if plain else text.translate(_SPECIAL)).encode(self._codec)

    def query(self, sql: bytes, deadline: Deadline) -> Rows | None:
        import pymysql

        connection = self._connection
        connection._read_timeout = connection._write_timeout = deadline.left()
        rows: Rows | None = None
        sets = 0
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                while True:
                    if cursor.description is not None:
                        sets += 1
                        rows = cursor.fetchall()
                        self.columns = [str(column[0]) for column in cursor.description]
                    if not cursor.nextset():
                        break
        except pymysql.Error as error:
            raise self._failure(error) from error
        except (OSError, EOFError, ValueError) as error:
            raise Broken(str(error), timed_out=isinstance(error, TimeoutError)) from error
        if sets > 1:
            raise QueryError("query failed: query returned multiple result sets")
        return rows

    @staticmethod
    def _failure(error: Any) -> Broken | QueryError:
        import pymysql

        code = error.args[0] if error.args else 0
        text = str(error.args[1]) if len(error.args) > 1 else str(error)
        if isinstance(error, pymysql.InterfaceError) or code in _SERVER:
            return Broken(text or "Lost connection to server", timed_out="timed out" in text,
                          cause="Connection timed out" if "timed out" in text else "")
        return QueryError(f"query failed: {text}", cause="Resource temporarily unavailable")

    def close(self) -> None:
        # Without a good-bye: it could block, and a child of fork must not end its parent's connection.
        self._connection._force_close()
