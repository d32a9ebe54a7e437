"""passdb { driver = passwd } and { driver = shadow }: the system's users with the hashes that NSS gives."""

from mailsuite.base.errors import TemporaryError
from mailsuite.sasl import system
from mailsuite.sasl.passdb import Found, LookupOnly, PasswordExpired, UserDisabled
from mailsuite.sasl.pool import HashPool
from mailsuite.sasl.request import AuthRequest


def _usable(stored: str) -> bool:
    """A password that begins with "*" or "!" locks the account."""
    return not stored.startswith(("*", "!"))


class PasswdPassdb(LookupOnly):
    """The password field of getpwnam; on most systems it says "x" and nobody can log in."""

    driver = "passwd"
    cache_key = "%u"

    def __init__(self, args: str, pool: HashPool) -> None:
        self._pool = pool

    async def find(self, request: AuthRequest) -> Found | None:
        try:
            entry = await self._pool.run(system.passwd, request.user)
        except KeyError:
            return None
        if not _usable(entry.pw_passwd):
            raise UserDisabled("User is disabled", detail=f"invalid password field '{entry.pw_passwd[:1]}'")
        return Found((("password", entry.pw_passwd),), "CRYPT")


class ShadowPassdb(LookupOnly):
    """The password field of getspnam; needs the right to read it."""

    driver = "shadow"
    cache_key = "%u"

    def __init__(self, args: str, pool: HashPool) -> None:
        self._pool = pool

    async def find(self, request: AuthRequest) -> Found | None:
        try:
            entry = await self._pool.run(system.shadow, request.user)
        except KeyError:
            return None
        except PermissionError as error:
            raise TemporaryError("internal error", detail=f"getspnam() failed: {error.strerror}") from error
        if not _usable(entry.password):
            raise UserDisabled("User is disabled", detail=f"invalid password field '{entry.password[:1]}'")
        if entry.expired:
            raise PasswordExpired("Password expired", detail="the account has expired")
        return Found((("password", entry.password),), "CRYPT")

    async def decoy(self, request: AuthRequest) -> tuple[str, str] | None:
        return "CRYPT", "$6$rounds=5000$decoydecoydecoyd$"
