"""Several databases in order: who is asked, what an answer means for the next, what is the end of it.

    verdict = await PassdbChain(...).run(request, password)      a Claim: the password is checked
    verdict, secret = await chain.fetch(request, "CRAM-MD5")     for mechanisms that check themselves
    fields = await UserdbChain(...).run(request)                 None: no such user

An unknown user costs the time of one hash as the database's users have it, so that the clock does not tell who exists.
Raises: TemporaryError when a database that mattered could not be asked.
"""

import asyncio
from collections.abc import Sequence
from enum import Enum

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.base.secret import Secret
from mailsuite.sasl import schemes, system
from mailsuite.sasl.entries import PassdbEntry, Rule, UserdbEntry
from mailsuite.sasl.passdb import Found, PasswordExpired, UserDisabled, WrongPassword
from mailsuite.sasl.pool import HashPool
from mailsuite.sasl.request import AuthRequest, in_networks

log = access_logger("auth")


class Verdict(Enum):
    """How the password databases ended."""

    OK = "ok"
    MISMATCH = "mismatch"
    UNKNOWN = "unknown"
    DISABLED = "user_disabled"
    EXPIRED = "pass_expired"
    INTERNAL = "temp_fail"


_STOPPING = (Verdict.DISABLED, Verdict.EXPIRED)


class PassdbChain:
    """The passdb sections. verbose: failed logins are logged with their reason (auth_verbose)."""

    def __init__(self, entries: Sequence[PassdbEntry], pool: HashPool, *, verbose: bool = False) -> None:
        self._masters = [entry for entry in entries if entry.master]
        self._entries = [entry for entry in entries if not entry.master]
        self._pool, self._verbose = pool, verbose
        self.has_masters = bool(self._masters)

    async def run(self, request: AuthRequest, password: Secret) -> Verdict:
        """Check a password. The request's user, fields and userdb_fields change as the databases say."""
        return (await self._run(request, password, ""))[0]

    async def fetch(self, request: AuthRequest, scheme: str) -> tuple[Verdict, bytes | None]:
        """The stored secret in a mechanism's scheme; OK without one where no password is needed to know the user."""
        return await self._run(request, None, scheme)

    async def exists(self, request: AuthRequest) -> bool:
        """Whether a password database knows the user."""
        other = AuthRequest(request.service, request.facts, user=request.user, original_user=request.original_user)
        verdict, _ = await self.fetch(other, "")
        if verdict is Verdict.INTERNAL:
            raise TemporaryError("internal error", detail="passdb lookup failed")
        return verdict is Verdict.OK

    async def _run(self, request: AuthRequest, password: Secret | None, scheme: str) -> tuple[Verdict, bytes | None]:
        if request.wanted_user:
            verdict, goes_on = await self._as_master(request, password)
            if not goes_on:
                return verdict, None
            request.no_password = True
        success, secret, last, internal = request.passdb_success, None, Verdict.UNKNOWN, False
        tried = False
        for entry in self._entries:
            if not entry.wants(request) or (entry.skip == "authenticated" and success) or (
                    entry.skip == "unauthenticated" and not success):
                continue
            verdict, found = await self._ask(entry, request, password, scheme)
            tried = True
            if entry.deny:
                if verdict is not Verdict.UNKNOWN:
                    return (Verdict.INTERNAL if verdict is Verdict.INTERNAL else Verdict.DISABLED), None
                continue
            secret, last, internal = found or secret, verdict, internal or verdict is Verdict.INTERNAL
            if verdict in _STOPPING:
                return verdict, None
            rule = (entry.on_success if verdict is Verdict.OK else
                    entry.on_internal_failure if verdict is Verdict.INTERNAL else entry.on_failure)
            if rule in (Rule.RETURN_OK, Rule.CONTINUE_OK):
                success = True
            elif rule in (Rule.RETURN_FAIL, Rule.CONTINUE_FAIL):
                success = False
            if verdict is Verdict.OK or rule is Rule.CONTINUE_OK:
                request.no_password = True
            if rule in (Rule.RETURN, Rule.RETURN_OK, Rule.RETURN_FAIL):
                internal = internal and rule is not Rule.RETURN_FAIL
                break
        if success:
            return Verdict.OK, secret
        if internal:
            return Verdict.INTERNAL, None
        if last is Verdict.OK or not tried:
            return (Verdict.MISMATCH if tried else Verdict.UNKNOWN), None
        return last, None

    async def _as_master(self, request: AuthRequest, password: Secret | None) -> tuple[Verdict, bool]:
        """Check who wants to act as another; afterwards the request is about that other."""
        last = Verdict.UNKNOWN
        for entry in self._masters:
            if not entry.wants(request):
                continue
            last, _ = await self._ask(entry, request, password, "")
            rule = entry.on_success if last is Verdict.OK else entry.on_failure
            if last is Verdict.OK:
                log.info("Master user logging in as %s", request.wanted_user)
                request.master_user, request.user, request.wanted_user = request.user, request.wanted_user, ""
                return Verdict.OK, rule not in (Rule.RETURN_OK, Rule.RETURN)
            if last in _STOPPING or rule is Rule.RETURN_FAIL:
                break
        return last, False

    # --- one database -----------------------------------------------------------------------------------------------

    async def _ask(self, entry: PassdbEntry, request: AuthRequest, password: Secret | None,
                   scheme: str) -> tuple[Verdict, bytes | None]:
        before = dict(request.fields), dict(request.userdb_fields), request.user
        try:
            verdict, secret = await self._lookup(entry, request, password, scheme)
        except UserDisabled as error:
            verdict, secret = Verdict.DISABLED, None
            self._say(entry, request, error.detail or error.public)
        except PasswordExpired as error:
            verdict, secret = Verdict.EXPIRED, None
            self._say(entry, request, error.detail or error.public)
        except TemporaryError as error:
            log.error("%s(%s): %s", entry.db.driver, request.who, error.detail or error.public)
            verdict, secret = Verdict.INTERNAL, None
        if verdict is not Verdict.OK:
            reason = request.fields.get("reason") if verdict is Verdict.MISMATCH and entry.db.checks else None
            request.fields, request.userdb_fields, request.user = before
            if reason:
                request.fields["reason"] = reason
        return verdict, secret

    async def _lookup(self, entry: PassdbEntry, request: AuthRequest, password: Secret | None,
                      scheme: str) -> tuple[Verdict, bytes | None]:
        verify = password is not None and not request.no_password
        if entry.db.checks:
            return await self._let_check(entry, request, password if verify else None), None
        found = await entry.db.find(request)
        if found is None:
            if verify and password is not None:
                await self._waste_time(entry, request, password)
            self._say(entry, request, "unknown user")
            return Verdict.UNKNOWN, None
        name, stored, default_scheme = request.user, found.password, found.scheme
        stored, stored_scheme = self._apply_fields(entry, request, found, stored, default_scheme)
        if not self._network_allowed(entry, request):
            return Verdict.MISMATCH, None
        if "fail" in request.fields:
            request.fields.pop("fail")
            return Verdict.MISMATCH, None
        if password is None:
            return await self._secret(entry, request, scheme, stored_scheme, stored)
        if request.no_password or "nopassword" in request.fields:
            return Verdict.OK, None
        if stored is None:
            log.error("%s(%s): No password returned (and no nopassword)", entry.db.driver, request.who)
            return Verdict.MISMATCH, None
        return await self._verify(entry, request, stored_scheme, stored, password, name), None

    async def _let_check(self, entry: PassdbEntry, request: AuthRequest, password: Secret | None) -> Verdict:
        """PAM."""
        self._apply(request, entry.default_fields)
        if password is None:
            raise TemporaryError("internal error", detail=f"passdb {entry.db.driver} cannot look up users")
        try:
            fields = await entry.db.check(request, password)
        except WrongPassword as error:
            self._say(entry, request, error.detail)
            if error.reason:
                request.fields["reason"] = error.reason
            return Verdict.MISMATCH
        if fields is None:
            self._say(entry, request, "unknown user")
            return Verdict.UNKNOWN
        self._apply(request, [*fields.items()])
        self._apply(request, entry.override_fields)
        return Verdict.OK if self._network_allowed(entry, request) else Verdict.MISMATCH

    async def _waste_time(self, entry: PassdbEntry, request: AuthRequest, password: Secret) -> None:
        decoy = await entry.db.decoy(request)
        if decoy is not None:
            scheme, stored = schemes.split_scheme(decoy[1], decoy[0])
            if schemes.is_slow(scheme):
                try:
                    await self._pool.run(schemes.verify, scheme, stored, password.reveal(), request.user)
                except schemes.SchemeError:
                    pass

    async def _verify(self, entry: PassdbEntry, request: AuthRequest, scheme: str, stored: str, password: Secret,
                      name: str) -> Verdict:
        user = request.original_user or name
        try:
            if schemes.is_slow(scheme):
                good = await self._pool.run(schemes.verify, scheme, stored, password.reveal(), user)
            else:
                good = schemes.verify(scheme, stored, password.reveal(), user)
        except schemes.SchemeError as error:
            broken = "" if error.public == "unknown scheme" else f"Password data is not valid for scheme {scheme}: "
            if "crypt() failed" in error.detail:
                self._say(entry, request, "Password mismatch")
            else:
                log.error("%s(%s): %s%s", entry.db.driver, request.who, broken, error.detail)
            return Verdict.MISMATCH
        if not good:
            self._say(entry, request, "Password mismatch")
        return Verdict.OK if good else Verdict.MISMATCH

    async def _secret(self, entry: PassdbEntry, request: AuthRequest, scheme: str, stored_scheme: str,
                      stored: str | None) -> tuple[Verdict, bytes | None]:
        if not scheme or request.no_password:
            return Verdict.OK, None
        if stored is None:
            return Verdict.MISMATCH, None
        try:
            secret = await self._pool.run(schemes.secret_for, scheme, stored_scheme, stored, request.user)
        except schemes.SchemeError as error:
            log.error("%s(%s): %s", entry.db.driver, request.who, error.detail)
            return Verdict.MISMATCH, None
        if secret is None:
            self._say(entry, request, f"Requested {scheme} scheme, but we have only {stored_scheme}")
            return Verdict.MISMATCH, None
        return Verdict.OK, secret

    # --- fields -----------------------------------------------------------------------------------------------------

    def _apply_fields(self, entry: PassdbEntry, request: AuthRequest, found: Found, stored: str | None,
                      scheme: str) -> tuple[str | None, str]:
        """Take over all fields; returns the password (a field may bring one) and its scheme."""
        passwords: dict[str, str] = {}
        self._apply(request, entry.default_fields, passwords)
        if stored is not None:
            passwords = {"password": stored}
        self._apply(request, list(found.fields.items()), passwords, expanded=True)
        self._apply(request, entry.override_fields, passwords)
        if "password_noscheme" in passwords:
            return passwords["password_noscheme"], scheme
        if "password" not in passwords:
            return None, scheme
        name, rest = schemes.split_scheme(passwords["password"], scheme)
        return rest, name

    def _apply(self, request: AuthRequest, fields: Sequence[tuple[str, str]],
               passwords: dict[str, str] | None = None, *, expanded: bool = False) -> None:
        for name, raw in fields:
            value = raw if expanded else request.expand(raw)
            if name.endswith(":protected"):
                name = name.removesuffix(":protected")
                if name in request.fields or (passwords is not None and name in passwords):
                    continue
            if name.endswith(":remove"):
                request.fields.pop(name.removesuffix(":remove"), None)
            elif name in ("password", "password_noscheme"):
                if passwords is not None:
                    passwords[name] = value
            elif name == "user":
                request.user = value or request.user
            elif name == "username":
                request.user = value + request.user[len(request.user.partition("@")[0]):] if value else request.user
            elif name == "domain":
                request.user = request.user.partition("@")[0] + "@" + value
            elif name == "login_user":
                request.wanted_user = value
            elif name.startswith("userdb_"):
                request.userdb_fields[name.removeprefix("userdb_")] = value
            else:
                request.fields[name] = value

    def _network_allowed(self, entry: PassdbEntry, request: AuthRequest) -> bool:
        networks = request.fields.get("allow_nets", "")
        if not networks or in_networks(request.remote, networks):
            return True
        where = "Remote IP not known and 'local' missing" if request.remote is None else (
            f"IP {request.remote} not in allowed networks")
        self._say(entry, request, f"allow_nets check failed: {where}")
        return False

    def _say(self, entry: PassdbEntry, request: AuthRequest, text: str) -> None:
        if self._verbose:
            log.info("%s(%s): %s", entry.db.driver, request.who, text)


class UserdbChain:
    """The userdb sections."""

    def __init__(self, entries: Sequence[UserdbEntry], pool: HashPool, *, verbose: bool = False) -> None:
        self._entries, self._pool, self._verbose = entries, pool, verbose

    async def run(self, request: AuthRequest) -> dict[str, str] | None:
        """All fields of a user; None when there is none of that name. Raises TemporaryError."""
        found, internal = False, False
        fields = dict(request.userdb_fields)
        for entry in self._entries:
            if (entry.skip == "found" and found) or (entry.skip == "notfound" and not found):
                continue
            try:
                here = await entry.db.find(request)
            except TemporaryError as error:
                log.error("%s(%s): %s", entry.db.driver, request.who, error.detail or error.public)
                internal, rule = True, entry.on_internal_failure
            else:
                rule = entry.on_failure if here is None else entry.on_success
                if here is None:
                    if self._verbose and entry.db.driver != "prefetch":
                        log.info("%s(%s): unknown user", entry.db.driver, request.who)
                else:
                    fields = self._merge(entry, request, fields, here)
            if rule in (Rule.RETURN_OK, Rule.CONTINUE_OK):
                found = True
            elif rule in (Rule.RETURN_FAIL, Rule.CONTINUE_FAIL):
                found = False
            if rule in (Rule.RETURN, Rule.RETURN_OK, Rule.RETURN_FAIL):
                break
        if internal and not found:
            raise TemporaryError("internal error", detail="userdb lookup failed")
        return await self._numbers(request, fields) if found else None

    def _merge(self, entry: UserdbEntry, request: AuthRequest, fields: dict[str, str],
               here: dict[str, str]) -> dict[str, str]:
        for name, value in entry.default_fields:
            fields.setdefault(name, request.expand(value))
        fields |= here
        for name, value in entry.override_fields:
            fields[name] = request.expand(value)
        return fields

    async def _numbers(self, request: AuthRequest, fields: dict[str, str]) -> dict[str, str]:
        """Names in uid and gid become numbers."""
        for name, numbers in (("uid", system.uid_of), ("gid", system.gid_of)):
            value = fields.get(name, "")
            if value and not value.isdecimal():
                try:
                    fields[name] = str(await self._pool.run(numbers, value))
                except KeyError:
                    raise TemporaryError("internal error",
                                         detail=f"userdb: user {request.user}: unknown {name} {value}") from None
        if "user" in fields:
            request.user = fields.pop("user") or request.user
        return fields

    async def names(self) -> list[str]:
        """All users of all databases, in their order; who is in two comes twice."""
        lists = await asyncio.gather(*(entry.db.names() for entry in self._entries))
        return [name for names in lists for name in names]
