"""Servers that the auth service asks: SQL, LDAP, IMAP. A process of its own talks to them, without root's rights.

    outside = Outside(account="dovecot")                        starts nothing yet
    answer = await outside.ask("ldap", spec, {"filter": ...})   spec: what is configured; raises TemporaryError
    outside.close()                                             what is under way ends first

process.py   this end: starts the process, keeps count of questions      __main__.py   the process
sql.py, ldap.py, imap.py    one kind of server each: `Source(spec, warn)` with `async answer(question) -> dict`

The auth service is root, and what a server sends is parsed by nobody who is (docs/decisions.md). The files with
passwords are read by the auth service, which passes them on. SQLite files are no servers: they are asked in a thread of
the auth service (`Inside`), which may read them when only root may.
"""

from collections.abc import Mapping
from typing import Any, Protocol

Message = Mapping[str, Any]             # JSON; texts may hold octets that are no UTF-8 (surrogateescape)


class Asks(Protocol):
    """Where a database's questions go."""

    async def ask(self, kind: str, spec: Message, question: Message) -> dict[str, Any]:
        """Raises TemporaryError: detail is the log line."""
        ...

    def close(self) -> None: ...
