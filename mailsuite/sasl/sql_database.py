"""A dovecot-sql.conf.ext: what passdb and userdb { driver = sql } have in common.

    database = SqlDatabase.of("/etc/dovecot/dovecot-sql.conf.ext", places)      raises ConfigError
    answer = await database.ask(database.settings["password_query"], request, limit=2)

places: who asks servers, and who asks files (outside/). Of a query's row the columns' names are the fields' names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.sasl.conf_file import read_conf_file
from mailsuite.sasl.outside import Asks
from mailsuite.sasl.passdb import Field
from mailsuite.sasl.request import AuthRequest

SETTINGS = {
    "driver": "", "connect": "", "default_pass_scheme": "MD5", "userdb_warning_disable": "no",
    "password_query": "SELECT username, domain, password FROM users WHERE username = '%n' AND domain = '%d'",
    "user_query": "SELECT home, uid, gid FROM users WHERE username = '%n' AND domain = '%d'",
    "update_query": "UPDATE users SET password = '%w' WHERE username = '%n' AND domain = '%d'",
    "iterate_query": "SELECT username, domain FROM users"}


@dataclass(frozen=True)
class Rows:
    """An answer: names of columns, and rows with a text or None for each."""

    columns: list[str]
    rows: list[list[str | None]]

    def fields(self, row: int = 0) -> tuple[Field, ...]:
        return tuple(zip(self.columns, self.rows[row], strict=True))


class SqlDatabase:
    """One configuration file."""

    def __init__(self, path: str, values: Mapping[str, str], asks: Asks) -> None:
        self.path, self.settings = path, values
        self._asks, self._spec = asks, {"driver": values["driver"], "connect": values["connect"]}

    @classmethod
    def of(cls, path: str, servers: Asks, files: Asks) -> "SqlDatabase":
        """Raises ConfigError."""
        from mailsuite.database.errors import DriverMissing
        from mailsuite.sasl.outside.sql import DRIVERS, driver_of

        if not path:
            raise ConfigError("sql: Configuration file path not given")
        values = read_conf_file(path, SETTINGS)
        if values["driver"] not in DRIVERS:
            what = f"unknown driver {values['driver']}" if values["driver"] else "driver not set"
            raise ConfigError(f"sql: {path}: {what} (there are {', '.join(DRIVERS)})")
        if not values["connect"]:
            raise ConfigError(f"sql: {path}: connect string not set")
        try:
            driver_of(values)
        except ConfigError as error:
            raise ConfigError(f"sql: {path}: {error.public}") from error
        except DriverMissing as error:
            raise ConfigError(f"sql: {path}: {error}") from error
        return cls(path, values, files if values["driver"] == "sqlite" else servers)

    async def ask(self, setting: str, request: AuthRequest | None, limit: int) -> Rows:
        """Run the query of a setting. Raises TemporaryError."""
        query = self.settings[setting]
        question = {"query": query, "values": request.variables() if request is not None else {}, "limit": limit}
        try:
            answer: dict[str, Any] = await self._asks.ask("sql", self._spec, question)
        except TemporaryError as error:
            built_in = f" (using built-in default {setting}: {query})" if query == SETTINGS[setting] else ""
            kind = {"password_query": "Password query", "user_query": "User query"}.get(setting, "Iterate query")
            raise TemporaryError("internal error", detail=f"{kind} failed: {error.detail}{built_in}") from error
        return Rows(answer["columns"], answer["rows"])
