"""The kinds of servers, by name."""

from collections.abc import Callable
from typing import Any

from mailsuite.database.errors import DatabaseError
from mailsuite.sasl.outside import Message

Warn = Callable[[str], None]


def reason(error: DatabaseError) -> str:
    """Why no server could be asked."""
    return "no server answers, it will be tried again soon" if error.cause == DatabaseError.cause else error.cause


def make_source(kind: str, spec: Message, warn: Warn) -> Any:
    """An object with `async answer(question) -> dict` and `close()`. warn: told of hosts that cannot be reached."""
    if kind == "sql":
        from mailsuite.sasl.outside.sql import SqlSource
        return SqlSource(spec, warn)
    if kind == "ldap":
        from mailsuite.sasl.outside.ldap import LdapSource
        return LdapSource(spec, warn)
    from mailsuite.sasl.outside.imap import ImapSource
    return ImapSource(spec, warn)
