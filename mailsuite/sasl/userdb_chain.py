"""Several user databases in order.

    fields = await UserdbChain(...).run(request)        None: no such user; raises TemporaryError: cannot be told now
    names, complete = await chain.names()               complete: whether all databases told

Each database adds to the fields of those before it, and the first to those that the password databases brought
("userdb_..."); what one that did not know the user has set is taken back.
"""

from collections.abc import Sequence

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import access_logger
from mailsuite.sasl.cache import AuthCache, CacheRules
from mailsuite.sasl.entries import Rule, UserdbEntry
from mailsuite.sasl.fields import set_userdb_field, set_userdb_fields, to_numbers
from mailsuite.sasl.pool import HashPool
from mailsuite.sasl.request import AuthRequest

log = access_logger("auth")


class LookupFailed(TemporaryError):
    """A database said so itself (the field tempfail); public is its reason."""


class UserdbChain:
    """The userdb sections."""

    def __init__(self, entries: Sequence[UserdbEntry], pool: HashPool, *, verbose: bool = False,
                 cache: AuthCache | None = None) -> None:
        self._entries, self._pool, self._verbose = entries, pool, verbose
        self._cache = AuthCache(CacheRules()) if cache is None else cache

    async def run(self, request: AuthRequest) -> dict[str, str] | None:
        """All fields of a user; None when there is none of that name. Raises TemporaryError.

        request.userdb_fields grows on the way: later databases may ask for %{userdb:...} of earlier ones.
        """
        found = internal = False
        before_all = request.userdb_fields
        reply = request.userdb_fields = {**before_all}
        try:
            for number, entry in enumerate(self._entries):
                if number and (entry.skip == "found" and found or entry.skip == "notfound" and not found):
                    continue
                before = {**reply}
                try:
                    here = await self._one(number, entry, request, reply)
                except TemporaryError as error:
                    log.error("%s(%s): %s", entry.db.driver, request.who, error.detail or error.public)
                    internal, here, rule = True, False, entry.on_internal_failure
                else:
                    rule = entry.on_success if here else entry.on_failure
                if not here:
                    reply = request.userdb_fields = before
                if rule in (Rule.RETURN_OK, Rule.CONTINUE_OK):
                    found = True
                elif rule in (Rule.RETURN_FAIL, Rule.CONTINUE_FAIL):
                    found = False
                if rule in (Rule.RETURN, Rule.RETURN_OK, Rule.RETURN_FAIL):
                    break
        finally:
            request.userdb_fields = before_all
        if internal and not found:
            raise TemporaryError("internal error", detail="userdb lookup failed")
        if not found:
            return None
        if "tempfail" in reply:
            raise LookupFailed(reply.get("reason") or "internal error",
                               detail="" if reply.get("reason") else "a user database asks to try again later")
        return reply

    async def _one(self, number: int, entry: UserdbEntry, request: AuthRequest, reply: dict[str, str]) -> bool:
        """Whether one database knows the user; reply takes what it says."""
        def complain(text: str) -> None:
            log.error("%s(%s): %s", entry.db.driver, request.who, text)

        for name, value in entry.default_fields:
            set_userdb_field(request, reply, name, request.expand(value), complain)
        template = entry.cache_key
        key = self._cache.key(request, "userdb", number, template) if template else None
        found = await (entry.db.find(request) if key is None else
                       self._cache.find(request, key, lambda: entry.db.find(request)))
        if found is None:
            if entry.db.driver == "prefetch":
                if len(self._entries) == 1:
                    complain("passdb didn't return userdb entries" if request.passdb_success else
                             "userdb lookup not possible with only userdb prefetch")
            elif entry.verbose(self._verbose):
                log.info("%s(%s): unknown user", entry.db.driver, request.who)
            return False
        set_userdb_fields(request, reply, found, complain)
        for name, value in entry.override_fields:
            set_userdb_field(request, reply, name, request.expand(value), complain)
        if not await to_numbers(reply, self._pool, complain):
            reply["tempfail"] = ""
        return True

    async def names(self) -> tuple[list[str], bool]:
        """All users of all databases, in their order; who is in two comes twice. False: some may be missing."""
        names: list[str] = []
        complete, able = True, False
        for entry in self._entries:
            try:
                here = await entry.db.names()
            except TemporaryError as error:
                log.error("%s: %s", entry.db.driver, error.detail or error.public)
                complete, here = False, []
            able = able or here is not None
            names += here or []
        if not able:
            log.error("Trying to iterate users, but userdbs don't support it")
        return names, complete and able
