"""Several password databases in order: who is asked, what an answer means for the next, what is the end of it.

    verdict = await PassdbChain(...).run(request, password)      a Claim: the password is checked
    verdict, secret = await chain.fetch(request, "CRAM-MD5")     for mechanisms that check themselves

The request's user, fields and userdb_fields change as the databases say; what a database that failed has set is taken
back, but for the user's name (as in Dovecot). An unknown user costs the time of one hash as the database's users have
it, so that the clock does not tell who exists.
Raises: TemporaryError when the pool of threads is full. A database that cannot be asked is Verdict.INTERNAL.
"""

import asyncio
import time
from collections.abc import Sequence
from enum import Enum

from msgspec import Struct

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.base.secret import Secret
from mailsuite.sasl import schemes
from mailsuite.sasl.cache import AuthCache, CacheRules, Key
from mailsuite.sasl.entries import PassdbEntry, Rule
from mailsuite.sasl.fields import PassdbFields
from mailsuite.sasl.passdb import Found, NoLookup, PasswordExpired, UserDisabled, WrongPassword
from mailsuite.sasl.pool import HashPool
from mailsuite.sasl.request import AuthRequest
from mailsuite.sasl.shown import NOTHING_SHOWN, Shown

log = access_logger("auth")


class Verdict(Enum):
    """How the password databases ended."""

    OK = "ok"
    MISMATCH = "mismatch"
    UNKNOWN = "unknown"
    SCHEME = "scheme"              # the password is stored in a form of no use here
    NEXT = "next"                  # noauthenticate: this database only had something to say
    DISABLED = "user_disabled"
    EXPIRED = "pass_expired"
    INTERNAL = "temp_fail"


_STOPPING = (Verdict.DISABLED, Verdict.EXPIRED)
_KEPT = (Verdict.OK, Verdict.NEXT)
_OF_ONE_LOOKUP = ("nopassword", "noauthenticate")      # these fields mean nothing to the next database
RESTARTS_LIMIT = 10              # how often a login_user field may send a login back to the first database
# They have a meaning in the protocols between our own processes.
_ILLEGAL = frozenset(b"\x01\t\r\n")


class _Outdated(Exception):
    """The cache knew an entry that has changed since; the next look finds the new one."""


class _Run(Struct):
    """One pass through the databases."""

    password: Secret | None
    scheme: str
    success: bool
    internal: bool = False
    secret: bytes | None = None
    restarts: int = 0


class PassdbChain:
    """The passdb sections. verbose: failed logins are logged with their reason (auth_verbose)."""

    def __init__(self, entries: Sequence[PassdbEntry], pool: HashPool, *, verbose: bool = False,
                 cache: AuthCache | None = None, shown: Shown = NOTHING_SHOWN) -> None:
        """shown: what the log says of a wrong password."""
        self._shown = shown
        self._cache = AuthCache(CacheRules()) if cache is None else cache
        self._numbers = {id(entry): number for number, entry in enumerate(entries)}
        self._masters = [entry for entry in entries if entry.master]
        self._entries = [entry for entry in entries if not entry.master]
        self._pool, self._verbose = pool, verbose
        self._samples: dict[int, tuple[str, str]] = {}       # by entry: scheme and password of a slow kind seen there
        self.has_masters = bool(self._masters)

    async def run(self, request: AuthRequest, password: Secret) -> Verdict:
        """Check a password."""
        request.password = password
        try:
            return await self._all(request, _Run(password, "", request.passdb_success))
        finally:
            request.password = None

    async def fetch(self, request: AuthRequest, scheme: str) -> tuple[Verdict, bytes | None]:
        """The stored secret in a mechanism's scheme; OK without one where no password is needed to know the user."""
        request.wanted_scheme = scheme
        run = _Run(None, scheme, request.passdb_success)
        verdict = await self._all(request, run)
        return verdict, run.secret if verdict is Verdict.OK else None

    async def exists(self, request: AuthRequest) -> bool:
        """Whether a password database knows the user. Raises TemporaryError."""
        other = AuthRequest(request.service, request.facts, user=request.user, original_user=request.original_user)
        verdict, _ = await self.fetch(other, "")
        if verdict in (Verdict.INTERNAL, Verdict.SCHEME, Verdict.MISMATCH):
            raise TemporaryError("internal error", detail="passdb doesn't support lookups, can't verify user's "
                                 "existence" if verdict is Verdict.SCHEME else "passdb lookup failed")
        return verdict is Verdict.OK

    # --- the order --------------------------------------------------------------------------------------------------

    async def _all(self, request: AuthRequest, run: _Run) -> Verdict:
        if request.wanted_user and not self._masters:
            log.info("auth(%s): Attempted master login with no master passdbs (trying to log in as user: %s)",
                     request.who, request.wanted_user)
            return Verdict.UNKNOWN
        if run.password is not None and not _ILLEGAL.isdisjoint(run.password.reveal()):
            log.info("auth(%s): Attempted login with password having illegal chars", request.who)
            return Verdict.UNKNOWN
        verdict = await self._through(run, request)
        if verdict is not Verdict.OK:
            return verdict
        if not run.success:             # a password was right, and result_success does not let it count
            return Verdict.MISMATCH
        if request.delay_until and (wait_s := request.delay_until - time.time()) > 0:
            await asyncio.sleep(wait_s)
        return Verdict.OK

    async def _through(self, run: _Run, request: AuthRequest) -> Verdict:
        entries = self._masters if request.wanted_user else self._entries
        at = self._next(entries, 0, request)
        if at is None:
            log.error("auth(%s): All password databases were skipped", request.who)
            return Verdict.INTERNAL
        while True:
            entry = entries[at]
            verdict = await self._one(entry, run, request)
            if entry.deny and verdict is not Verdict.UNKNOWN:
                return Verdict.INTERNAL if verdict is Verdict.INTERNAL else Verdict.DISABLED
            if verdict in _STOPPING:
                return verdict
            goes_on = self._apply_rule(entry, verdict, run, request)
            if request.wanted_user and verdict is Verdict.OK:
                log.info("auth(%s): Master user logging in as %s", request.who, request.wanted_user)
                request.master_user, request.user, request.wanted_user = request.user, request.wanted_user, ""
                entries, next_at = self._entries, self._next(self._entries, 0, request)
                run.restarts += 1
                if run.restarts > RESTARTS_LIMIT:
                    log.error("auth(%s): login_user changes over and over", request.who)
                    return Verdict.INTERNAL
            else:
                next_at = self._next(entries, at + 1, request) if goes_on else None
            if not goes_on or next_at is None:
                return verdict if verdict is Verdict.OK and run.success else self._last(verdict, run, request)
            run.internal = run.internal or verdict is Verdict.INTERNAL
            at = next_at

    @staticmethod
    def _next(entries: Sequence[PassdbEntry], start: int, request: AuthRequest) -> int | None:
        for at in range(start, len(entries)):
            if entries[at].for_all or entries[at].wants(request):
                return at
        return None

    @staticmethod
    def _last(verdict: Verdict, run: _Run, request: AuthRequest) -> Verdict:
        if verdict is Verdict.NEXT:
            log.error("auth(%s): Last passdb had noauthenticate field, cannot authenticate user", request.who)
            return Verdict.INTERNAL
        if run.success:
            return Verdict.OK
        return Verdict.INTERNAL if run.internal else verdict      # one that was not asked may have known better

    @staticmethod
    def _apply_rule(entry: PassdbEntry, verdict: Verdict, run: _Run, request: AuthRequest) -> bool:
        """Whether the next database is to be asked."""
        if verdict is Verdict.OK:
            rule = entry.on_success
        elif verdict is Verdict.INTERNAL:
            rule = entry.on_internal_failure
        else:
            rule = Rule.CONTINUE if verdict is Verdict.NEXT else entry.on_failure
        if rule in (Rule.RETURN_OK, Rule.CONTINUE_OK):
            run.success = True
        elif rule in (Rule.RETURN_FAIL, Rule.CONTINUE_FAIL):
            run.success = False
        if rule is Rule.CONTINUE_OK or rule is Rule.CONTINUE and verdict is Verdict.OK:
            request.no_password = True          # checked once: the others only add what they know
        return rule in (Rule.CONTINUE, Rule.CONTINUE_OK, Rule.CONTINUE_FAIL)

    # --- one database -----------------------------------------------------------------------------------------------

    async def _one(self, entry: PassdbEntry, run: _Run, request: AuthRequest) -> Verdict:
        before = {**request.fields}, {**request.userdb_fields}, request.prefetched
        user, request.failed = request.user, False
        secret = None
        try:
            try:
                verdict, secret = await self._lookup(entry, run, request)
            except _Outdated:
                request.fields, request.userdb_fields, request.prefetched = dict(before[0]), dict(before[1]), before[2]
                request.user, request.failed = user, False
                verdict, secret = await self._lookup(entry, run, request)
        except (UserDisabled, PasswordExpired) as error:
            verdict = Verdict.DISABLED if isinstance(error, UserDisabled) else Verdict.EXPIRED
            self._say(entry, request, error.detail or error.public)
        except TemporaryError as error:
            log.error("%s(%s): %s", entry.db.driver, request.who, error.detail or error.public)
            verdict = Verdict.INTERNAL
        if request.failed:
            request.failed = False
            verdict = Verdict.UNKNOWN if verdict is Verdict.OK else verdict
        if verdict in _KEPT:
            for name in _OF_ONE_LOOKUP:
                if name in request.fields:
                    del request.fields[name]
            run.secret = secret if secret is not None else run.secret
        else:
            reason = request.fields.get("reason") if entry.db.checks else None
            request.fields, request.userdb_fields, request.prefetched = before
            if reason:
                request.fields["reason"] = reason
            if verdict is Verdict.EXPIRED:
                request.fields["reason"] = "Password expired"
        return verdict

    async def _lookup(self, entry: PassdbEntry, run: _Run, request: AuthRequest) -> tuple[Verdict, bytes | None]:
        fields = PassdbFields(request, lambda text: log.error("%s(%s): %s", entry.db.driver, request.who, text),
                              lambda text: self._say(entry, request, text))
        if entry.default_fields:
            fields.template(entry.default_fields)
        if entry.db.checks and run.password is not None:
            verdict = await self._let_check(entry, request, fields, run.password)
            secret = None
        else:
            verdict, secret = await self._look_up(entry, run, request, fields)
        if entry.override_fields:
            fields.template(entry.override_fields)
        return verdict, secret

    async def _let_check(self, entry: PassdbEntry, request: AuthRequest, fields: PassdbFields,
                         password: Secret) -> Verdict:
        """PAM and the like. Who is already known is looked up only, where the database can."""
        try:
            if request.no_password:
                found = await entry.db.find(request)
            else:
                found = await self._cache.check(request, self._key(entry, request), password,
                                                lambda: entry.db.check(request, password))
        except NoLookup:
            found = Found((), "")
        except WrongPassword as error:
            self._say(entry, request, error.detail)
            if error.reason:
                request.fields["reason"] = error.reason
            return Verdict.MISMATCH
        if found is None:
            self._say_wrong(entry, request, "unknown user")
            return Verdict.UNKNOWN
        fields.take(found.fields, found.scheme)
        return Verdict.NEXT if "noauthenticate" in request.fields else Verdict.OK

    async def _look_up(self, entry: PassdbEntry, run: _Run, request: AuthRequest,
                       fields: PassdbFields) -> tuple[Verdict, bytes | None]:
        name = request.user
        key = self._key(entry, request) if entry.cache_key else None
        try:
            found = await (entry.db.find(request) if key is None else
                           self._cache.find(request, key, lambda: entry.db.find(request)))
        except NoLookup:
            self._say(entry, request, "passdb doesn't support credential lookups")
            return Verdict.SCHEME, None
        if found is None:
            if run.password is not None and not request.no_password:
                await self._waste_time(entry, request, run.password)
            self._say_wrong(entry, request, "unknown user")
            return Verdict.UNKNOWN, None
        fields.take(found.fields, found.scheme)
        if not fields.password and "nopassword" not in request.fields and (
                not request.no_password and (run.password is not None or fields.has_password)):
            self._say(entry, request, "No password returned (and no nopassword)")
            return Verdict.MISMATCH, None
        if run.password is None:
            return await self._credentials(entry, run, request, fields.password)
        verdict = await self._verified(entry, request, fields.password, run.password, name)
        if verdict is Verdict.MISMATCH and self._cache.doubt(request) and found != await self._cache.find(
                request, key, lambda: entry.db.find(request)):
            raise _Outdated
        return verdict, None

    def _key(self, entry: PassdbEntry, request: AuthRequest) -> Key | None:
        return self._cache.key(request, "passdb", self._numbers[id(entry)], entry.cache_key)

    async def _verified(self, entry: PassdbEntry, request: AuthRequest, stored: tuple[str, str] | None,
                        password: Secret, name: str) -> Verdict:
        if request.no_password:
            return Verdict.OK
        if entry.deny:
            return Verdict.MISMATCH             # no password is of interest
        if "noauthenticate" in request.fields:
            return Verdict.NEXT
        if "nopassword" in request.fields or stored is None:
            return Verdict.OK
        scheme, content = stored
        user = request.original_user or name
        try:
            if schemes.is_slow(scheme):
                self._samples[id(entry)] = stored
                good = await self._pool.run(schemes.verify, scheme, content, password.reveal(), user)
            else:
                good = schemes.verify(scheme, content, password.reveal(), user)
        except schemes.SchemeError as error:
            return self._broken(entry, request, scheme, error)
        if not good:
            self._say_wrong(entry, request, "Password mismatch")
        return Verdict.OK if good else Verdict.MISMATCH

    def _broken(self, entry: PassdbEntry, request: AuthRequest, scheme: str, error: schemes.SchemeError) -> Verdict:
        broken = "" if error.public == "unknown scheme" else f"Password data is not valid for scheme {scheme}: "
        log.error("%s(%s): %s%s", entry.db.driver, request.who, broken, error.detail)
        return Verdict.SCHEME

    async def _credentials(self, entry: PassdbEntry, run: _Run, request: AuthRequest,
                           stored: tuple[str, str] | None) -> tuple[Verdict, bytes | None]:
        """What a mechanism other than PLAIN needs."""
        if "noauthenticate" in request.fields:
            return Verdict.NEXT, None
        if not run.scheme or stored is None and run.secret is not None:
            return Verdict.OK, None
        if stored is None:
            self._say(entry, request, f"Requested {run.scheme} scheme, but we have a NULL password")
            return Verdict.SCHEME, None
        scheme, content = stored
        try:
            secret = await self._pool.run(schemes.secret_for, run.scheme, scheme, content, request.user)
        except schemes.SchemeError as error:
            return self._broken(entry, request, scheme, error), None
        if secret is None:
            self._say(entry, request, f"Requested {run.scheme} scheme, but we have only {scheme}")
            return Verdict.SCHEME, None
        return Verdict.OK, secret

    async def _waste_time(self, entry: PassdbEntry, request: AuthRequest, password: Secret) -> None:
        decoy = await entry.db.decoy(request)
        scheme, stored = ("", "") if decoy is None else schemes.split_scheme(decoy[1], decoy[0])
        if not schemes.is_slow(scheme):
            scheme, stored = self._samples.get(id(entry), ("", ""))
        if schemes.is_slow(scheme):
            try:
                await self._pool.run(schemes.verify, scheme, stored, password.reveal(), request.user)
            except schemes.SchemeError:
                pass

    def _say_wrong(self, entry: PassdbEntry, request: AuthRequest, text: str) -> None:
        self._say(entry, request, text + self._shown(request.password))

    def _say(self, entry: PassdbEntry, request: AuthRequest, text: str) -> None:
        if entry.verbose(self._verbose):
            log.info("%s(%s): %s", entry.db.driver, request.who, text)
