"""passdb { driver = sql }: args = PATH of a dovecot-sql.conf.ext; its password_query gives a user's fields."""

from mailsuite.base.errors import TemporaryError
from mailsuite.sasl.passdb import Found, LookupOnly
from mailsuite.sasl.request import AuthRequest
from mailsuite.sasl.sql_database import SqlDatabase

_PASSWORDS = ("password", "password_noscheme")


class SqlPassdb(LookupOnly):
    """Stored passwords of a database; the query may check them itself (%w) and answer nopassword."""

    driver = "sql"

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self._scheme = database.settings["default_pass_scheme"]
        self.cache_key = database.settings["password_query"]

    async def find(self, request: AuthRequest) -> Found | None:
        answer = await self._database.ask("password_query", request, 2)
        if not answer.rows:
            return None
        if not any(name in answer.columns for name in _PASSWORDS):
            raise TemporaryError("internal error", detail="Password query must return a field named 'password'")
        if len(answer.rows) > 1:
            raise TemporaryError("internal error", detail="Password query returned multiple matches")
        return Found(answer.fields(), self._scheme)
