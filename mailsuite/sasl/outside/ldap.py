"""Directories: searches with the configured identity, and binds that check a user's password.

    spec      {"urls": [...], "dn": "", "password": "", "mechanism": "", "authzid": "", "start_tls": false,
               "tls": {...}, "dereference": 0, "version": 3}
    question  {"search": {"base", "scope", "filter", "attributes"}}     answer  {"entries": [{"dn", "values": {...}}]}
    question  {"bind": {"dn", "password"}}                              answer  {"code": 0, "text": "Success"}

Names of attributes in an answer are in lower case. Binds of users have connections of their own, so that no search is
made with a user's rights.
"""

from typing import Any

from mailsuite.base.errors import TemporaryError
from mailsuite.base.secret import Secret
from mailsuite.database.errors import DatabaseError, Unavailable
from mailsuite.database.ldap import Bind, LdapConnection, LdapDriver, LdapError, LdapTls, Scope
from mailsuite.database.pool import Deadline, Pool, PoolOptions
from mailsuite.sasl.outside import Message
from mailsuite.sasl.outside.sources import Warn, reason

TIMEOUT_S = 60.0                # Dovecot's DB_LDAP_REQUEST_LOST_TIMEOUT_SECS
RETRY_S = 5.0
CONNECTIONS = 4                 # of each kind
NO_SUCH_OBJECT = 32


class LdapSource:
    """One configuration file's servers."""

    def __init__(self, spec: Message, warn: Warn) -> None:
        bind = Bind("simple", spec["dn"], Secret(_octets(spec["password"])))
        if spec["mechanism"]:
            bind = Bind("sasl", spec["dn"], bind.password, (spec["mechanism"],), spec["authzid"])
        options = PoolOptions(connections=CONNECTIONS, timeout_s=TIMEOUT_S, retry_s=RETRY_S)

        def told(text: str) -> None:
            warn(text.replace("dict_ldap_connect: ", "LDAP: ").replace("dict_ldap_lookup: ", "LDAP: "))

        def pool(bind: Bind) -> Pool[LdapConnection]:
            driver = LdapDriver(spec["urls"], bind=bind, tls=LdapTls(**spec["tls"]), start_tls=spec["start_tls"],
                                dereference=spec["dereference"], version=spec["version"])
            return Pool(driver, options, warn=told)
        self._searches, self._binds = pool(bind), pool(Bind("none"))

    async def answer(self, question: Message) -> dict[str, Any]:
        try:
            if "bind" in question:
                return await self._binds.ask(lambda connection, deadline: _bind(connection, question["bind"], deadline))
            return await self._searches.ask(
                lambda connection, deadline: _search(connection, question["search"], deadline))
        except Unavailable as error:
            raise TemporaryError("internal error", detail=f"LDAP: Can't connect to server: {reason(error)}"
                                 ) from None
        except DatabaseError as error:
            raise TemporaryError("internal error", detail=f"LDAP: {error}") from None

    def close(self) -> None:
        self._searches.close()
        self._binds.close()


def _search(connection: LdapConnection, search: Message, deadline: Deadline) -> dict[str, Any]:
    try:
        found = connection.search(_octets(search["base"]), Scope(search["scope"]), _octets(search["filter"]),
                                  search["attributes"], deadline)
    except LdapError as error:
        if error.code != NO_SUCH_OBJECT:
            raise
        found = []
    return {"entries": [{"dn": _text(entry.name), "values": {
        name.lower(): [_text(value) for value in values] for name, values in entry.attributes}} for entry in found]}


def _bind(connection: LdapConnection, bind: Message, deadline: Deadline) -> dict[str, Any]:
    try:
        connection.bind(Bind("simple", bind["dn"], Secret(_octets(bind["password"]))), deadline)
    except LdapError as error:
        return {"code": error.code, "text": str(error)}
    return {"code": 0, "text": "Success"}


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")
