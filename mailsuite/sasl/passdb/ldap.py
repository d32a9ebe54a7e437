"""passdb { driver = ldap }: args = PATH of a dovecot-ldap.conf.ext.

auth_bind = no: the password is among pass_attrs, and is compared here. auth_bind = yes: the server compares it, for the
entry that pass_filter finds, or at once for the name that auth_bind_userdn makes of the user's. Lookups without a
password always search.
"""

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.base.secret import Secret
from mailsuite.sasl.ldap_database import Entry, LdapDatabase
from mailsuite.sasl.passdb import Found, LookupOnly, WrongPassword
from mailsuite.sasl.request import AuthRequest

_SUCCESS, _NO_SUCH_OBJECT, _INVALID_CREDENTIALS = 0, 32, 49

log = access_logger("auth")


class LdapPassdb(LookupOnly):
    """Passwords of a directory."""

    driver = "ldap"

    def __init__(self, database: LdapDatabase) -> None:
        self._database, values = database, database.settings
        self.checks = database.auth_bind
        self._by_name = self.checks and bool(values["auth_bind_userdn"])
        self._attributes = database.attributes("pass_attrs", skip="password" if self.checks else "")
        self._scheme = values["default_pass_scheme"]
        self.cache_key = values["auth_bind_userdn"] if self._by_name else (
            values["base"] + values["pass_attrs"] + values["pass_filter"])

    async def find(self, request: AuthRequest) -> Found | None:
        entry = await self._entry(request)
        return None if entry is None else self._found(entry, request)

    async def _entry(self, request: AuthRequest) -> Entry | None:
        entries = await self._database.search("pass_filter", request, self._attributes)
        if len(entries) > 1:
            raise TemporaryError("internal error", detail="pass_filter matched multiple objects, aborting")
        return entries[0] if entries else None

    def _found(self, entry: Entry, request: AuthRequest) -> Found:
        fields = self._attributes.fields(
            entry.values, request, warn=lambda text: log.warning("ldap(%s): %s", request.who, text))
        return Found(fields, self._scheme)

    async def check(self, request: AuthRequest, password: Secret) -> Found | None:
        if not password.reveal():
            # A server may take a bind without a password for an anonymous one, and say yes (RFC 4513 section 5.1.2).
            raise WrongPassword("Login attempt with empty password")
        found: Found | None = Found((), self._scheme)
        if self._by_name:
            dn = self._database.name("auth_bind_userdn", request)
        else:
            entry = await self._entry(request)
            if entry is None:
                return None
            dn, found = entry.dn, self._found(entry, request)
        code, text = await self._database.bind(dn, password)
        if code == _INVALID_CREDENTIALS:
            raise WrongPassword("Password mismatch (for LDAP bind)")
        if code == _NO_SUCH_OBJECT:
            return None
        if code != _SUCCESS:
            raise TemporaryError("internal error", detail=f"ldap_bind() failed: {text}")
        return found
