"""Password databases: who may log in, and with what.

    found = await passdb.find(request)         Found(password, scheme, fields), or None: no such user
    fields = await passdb.check(request, password)      for a database that only says yes or no (PAM)

A driver is one class in one file; `drivers.py` has the table. Raises: TemporaryError when the database could not be
asked, UserDisabled and PasswordExpired where it says so; "no" and "don't know" are never mixed up.
See: chain.py (which is asked when, and what its answer means).
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mailsuite.base.errors import PermanentError
from mailsuite.base.secret import Secret

if TYPE_CHECKING:
    from mailsuite.sasl.request import AuthRequest


class UserDisabled(PermanentError):
    """The account is locked."""


class PasswordExpired(PermanentError):
    """The password was right once."""


class WrongPassword(PermanentError):
    """Said by databases that check themselves. public is for the peer only if `show` says so."""

    def __init__(self, detail: str = "Password mismatch", *, reason: str = "") -> None:
        super().__init__("Authentication failed.", detail=detail)
        self.reason = reason


@dataclass(frozen=True)
class Found:
    """A user's entry. password None: none is needed to exist (nopassword). scheme: where it names none itself."""

    password: str | None
    scheme: str
    fields: dict[str, str] = field(default_factory=dict)


class Passdb(Protocol):
    """A database of stored passwords, or one that checks them itself (checks is True, then find is not asked)."""

    driver: str
    checks: bool

    async def find(self, request: "AuthRequest") -> Found | None: ...

    async def check(self, request: "AuthRequest", password: Secret) -> dict[str, str] | None:
        """Extra fields after a good password; None for an unknown user. Raises WrongPassword..."""
        ...

    async def decoy(self, request: "AuthRequest") -> tuple[str, str] | None:
        """(scheme, stored) as this database's users have them, so that an unknown user takes as long; or None."""
        ...


class LookupOnly:
    """What a database of stored passwords need not say itself."""

    checks = False

    async def check(self, request: "AuthRequest", password: Secret) -> dict[str, str] | None:
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
