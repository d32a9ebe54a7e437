"""userdb { driver = ldap }: args = PATH of a dovecot-ldap.conf.ext; its user_filter, user_attrs, iterate_*."""

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.sasl.ldap_database import LdapDatabase
from mailsuite.sasl.passdb import Field
from mailsuite.sasl.request import AuthRequest

log = access_logger("auth")


class LdapUserdb:
    """Users of a directory."""

    driver = "ldap"

    def __init__(self, database: LdapDatabase) -> None:
        self._database, values = database, database.settings
        self._attributes, self._listing = database.attributes("user_attrs"), database.attributes("iterate_attrs")
        self.cache_key = values["base"] + values["user_attrs"] + values["user_filter"]

    async def find(self, request: AuthRequest) -> tuple[Field, ...] | None:
        entries = await self._database.search("user_filter", request, self._attributes)
        if not entries:
            return None
        if len(entries) > 1:
            raise TemporaryError("internal error", detail="user_filter matched multiple objects, aborting")
        return self._attributes.fields(entries[0].values, request, multiple=True,
                                       warn=lambda text: log.warning("ldap(%s): %s", request.who, text))

    async def names(self) -> list[str]:
        """The field user of every entry that iterate_filter finds. Raises TemporaryError."""
        request = AuthRequest("doveadm")
        entries = await self._database.search("iterate_filter", request, self._listing)
        found = []
        for entry in entries:
            for name, value in self._listing.fields(entry.values, request):
                if name == "user" and value:
                    found.append(value)
                elif name != "user":
                    log.warning("ldap: iterate: field '%s' not recognized (only 'user')", name)
        return found
