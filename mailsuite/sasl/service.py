"""The auth service without its sockets: names, mechanisms and databases come together.

    service = AuthService(settings)                     raises ConfigErrors
    attempt = service.attempt(mech, service="smtp", facts={...})        goes on as in attempt.py
    user, fields = await service.userdb("alice", "lmtp", {})

One AuthService stands for one state of the configuration; a reload makes a new one, attempts under way finish in the
old.
"""

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError, ConfigErrors, TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.sasl.attempt import Attempt
from mailsuite.sasl.cache import AuthCache, CacheRules
from mailsuite.sasl.chain import PassdbChain, Verdict
from mailsuite.sasl.entries import Databases
from mailsuite.sasl.mech import Mech
from mailsuite.sasl.mechanisms import chosen
from mailsuite.sasl.names import BadName, NameRules
from mailsuite.sasl.penalty import Penalties, PenaltyRules
from mailsuite.sasl.policy_server import PolicyServer
from mailsuite.sasl.pool import HashPool
from mailsuite.sasl.request import AuthRequest
from mailsuite.sasl.shown import shown_password
from mailsuite.sasl.userdb_chain import UserdbChain

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

log = access_logger("auth")


# Services for which a `protocol NAME { }` may set rules for user names.
SERVICES = ("imap", "pop3", "lmtp", "lda", "smtp", "submission", "sieve", "doveadm")


class AuthService:
    """All that a configuration says of authentication."""

    def __init__(self, settings: "DovecotSettings", pool: HashPool | None = None,
                 penalties: Penalties | None = None) -> None:
        """penalties: outlives the service, as a reload must not forgive; it follows these settings from now on."""
        errors: list[ConfigError] = []
        self.pool = pool or HashPool()
        verbose = settings.flag("auth_verbose") or settings.flag("auth_debug") or (
            settings.text("auth_verbose_passwords") != "no")
        try:
            self.mechanisms = chosen(settings.words("auth_mechanisms"))
        except ConfigError as error:
            errors.append(error)
        try:
            self.databases = Databases.of(settings, self.pool, lambda request: self.passdbs.exists(request))
        except ConfigErrors as several:
            errors += several.errors
        try:
            self.policy = PolicyServer.of(settings)
            shown = shown_password(settings.text("auth_verbose_passwords"))
        except ConfigError as error:
            errors.append(error)
        if errors:
            raise ConfigErrors(errors)
        self.cache = AuthCache(CacheRules.of(settings))
        self.passdbs = PassdbChain(self.databases.passdbs, self.pool, verbose=verbose, cache=self.cache, shown=shown)
        self.userdbs = UserdbChain(self.databases.userdbs, self.pool, verbose=verbose, cache=self.cache)
        self.names = NameRules.of(settings)
        self._names_of = {name: NameRules.of(settings.for_protocol(name)) for name in SERVICES}
        self.penalties = penalties or Penalties(PenaltyRules.of(settings))
        self.penalties.rules = PenaltyRules.of(settings)
        self.failure_delay_s = settings.time_s("auth_failure_delay")
        self.host_name = socket.gethostname()
        self.anonymous_user = settings.text("auth_anonymous_username")
        self.certificate_names = settings.flag("auth_ssl_username_from_cert")
        self.certificate_required = settings.flag("auth_ssl_require_client_cert")
        self.realm = (settings.text("auth_realms").split() or [self.names.default_realm])[0]
        self.verbose = verbose

    def names_for(self, service: str) -> NameRules:
        """`protocol lmtp { auth_username_format = ... }` and the like hold for what that service asks."""
        return self._names_of.get(service, self.names)

    def attempt(self, mech: Mech, service: str, facts: Mapping[str, str], *,
                bindings: Mapping[str, bytes] | None = None, apop_prefix: bytes = b"") -> Attempt:
        """An authentication about to begin. bindings: the connection's channel bindings; see Facts for both."""
        return Attempt(self, mech, AuthRequest(service, facts, mechanism=mech.name), bindings or {}, apop_prefix)

    async def userdb(self, name: str, service: str, facts: Mapping[str, str]) -> tuple[str, dict[str, str]] | None:
        """(user, fields) of a user asked for by name; None: no such user. Raises TemporaryError."""
        request = AuthRequest(service, facts)
        try:
            self.names_for(service).apply(request, name)
        except BadName as error:
            log.info("userdb(%s): %s", name, error.detail)
            return None
        fields = await self.userdbs.run(request)
        return None if fields is None else (request.user, fields)

    async def userdb_after_login(self, request: AuthRequest) -> tuple[str, dict[str, str]] | None:
        """(user, fields) of who has just logged in."""
        request.passdb_success = True
        fields = await self.userdbs.run(request)
        if fields is None:
            return None
        if request.master_user:
            fields.setdefault("master_user", request.master_user)
        return request.user, fields

    async def passdb(self, name: str, service: str, facts: Mapping[str, str]) -> AuthRequest | None:
        """What the password databases say of a user, without the password. Raises TemporaryError."""
        request = AuthRequest(service, facts)
        if all(not entry.db.looks_up for entry in self.databases.passdbs if not entry.master and not entry.deny):
            raise TemporaryError("Configured passdbs don't support credentials lookups")
        try:
            self.names_for(service).apply(request, name)
        except BadName:
            return None
        verdict, _ = await self.passdbs.fetch(request, "")
        if verdict in (Verdict.INTERNAL, Verdict.MISMATCH, Verdict.SCHEME):
            raise TemporaryError("internal error", detail="passdb lookup failed")
        return request if verdict is Verdict.OK else None

    def close(self) -> None:
        self.databases.close()
