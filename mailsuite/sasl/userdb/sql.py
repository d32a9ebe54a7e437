"""userdb { driver = sql }: args = PATH of a dovecot-sql.conf.ext; its user_query and iterate_query."""

from mailsuite.base.errors import TemporaryError
from mailsuite.sasl.passdb import Field
from mailsuite.sasl.request import AuthRequest
from mailsuite.sasl.sql_database import SqlDatabase


class SqlUserdb:
    """The first row's columns are the fields; NULLs are left out."""

    driver = "sql"

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self.cache_key = database.settings["user_query"]

    async def find(self, request: AuthRequest) -> tuple[Field, ...] | None:
        answer = await self._database.ask("user_query", request, 1)
        return answer.fields() if answer.rows else None

    async def names(self) -> list[str]:
        """iterate_query gives "user", or "username" and perhaps "domain". Raises TemporaryError."""
        answer = await self._database.ask("iterate_query", None, 0)
        columns = answer.columns
        name = next((columns.index(column) for column in ("user", "username") if column in columns), None)
        if name is None:
            raise TemporaryError("internal error", detail="Iterate query didn't return 'user' field")
        domain = columns.index("domain") if "domain" in columns else None
        found = []
        for row in answer.rows:
            user = row[name]
            if user is None:
                continue
            here = row[domain] if domain is not None else None
            found.append(f"{user}@{here}" if here and "@" not in user else user)
        return found
