"""Password databases: who may log in, and with what.

    found = await passdb.find(request)         Found(fields, scheme), or None: no such user
    found = await passdb.check(request, password)       of a database that checks itself (PAM, LDAP by bind)

A driver is one class in one file; `../entries.py` has the table. Raises: TemporaryError when the database could not be
asked, UserDisabled and PasswordExpired where it says so; "no" and "don't know" are never mixed up.
See: chain.py (which is asked when, and what its answer means).
"""

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from mailsuite.base.errors import PermanentError
from mailsuite.base.secret import Secret

if TYPE_CHECKING:
    from mailsuite.sasl.request import AuthRequest


Field = tuple[str, str | None]           # name and value; None: NULL


class NoLookup(PermanentError):
    """This database checks passwords and cannot say anything of a user without one."""


class UserDisabled(PermanentError):
    """The account is locked."""


class PasswordExpired(PermanentError):
    """The password was right once."""


class WrongPassword(PermanentError):
    """Said by databases that check themselves. public is for the peer only if `show` says so."""

    def __init__(self, detail: str = "Password mismatch", *, reason: str = "") -> None:
        super().__init__("Authentication failed.", detail=detail)
        self.reason = reason


class Found(Struct, frozen=True):
    """A user's entry, as it may be kept in a cache.

    fields: in their order, %-variables replaced; "password" and "password_noscheme" are among them, and a value None is
    a NULL of SQL or a missing attribute. scheme: of a password that names none itself.
    """

    fields: tuple[Field, ...]
    scheme: str


class Passdb(Protocol):
    """A database of stored passwords, or one that checks them itself.

    checks: `check` is asked for a login with a password. looks_up: `find` can be asked; else it raises NoLookup.
    cache_key: a text with all %-variables that decide the answer (Dovecot's cache key), e.g. "%u%s"; "" where answers
    must not be kept, or asking is as cheap.
    """

    driver: str
    checks: bool
    looks_up: bool
    cache_key: str

    async def find(self, request: "AuthRequest") -> Found | None: ...

    async def check(self, request: "AuthRequest", password: Secret) -> Found | None:
        """What is known of the user after a good password; None for an unknown user. Raises WrongPassword..."""
        ...

    async def decoy(self, request: "AuthRequest") -> tuple[str, str] | None:
        """(scheme, stored) as this database's users have them, so that an unknown user takes as long; or None."""
        ...


class LookupOnly:
    """What a database of stored passwords need not say itself."""

    checks = False
    looks_up = True
    cache_key = ""

    async def check(self, request: "AuthRequest", password: Secret) -> Found | None:
        raise NotImplementedError

    async def decoy(self, request: "AuthRequest") -> tuple[str, str] | None:
        return None


def split_fields(text: str) -> list[tuple[str, str]]:
    """"a=b c d=e" -> [("a", "b"), ("c", ""), ("d", "e")], as args, default_fields and the like are written."""
    pairs = []
    for word in text.split():
        name, _, value = word.partition("=")
        pairs.append((name, value))
    return pairs
