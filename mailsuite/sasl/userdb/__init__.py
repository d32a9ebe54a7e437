"""User databases: uid, gid, home and extra fields of a user, whoever checked the password.

    fields = await userdb.find(request)        (("uid", "5000"), ("gid", "5000"), ...), or None: no such user
    names = await userdb.names()               all users; None where the database cannot tell

Values are texts as they stand, and may be kept in a cache; what they mean is in fields.py. Raises TemporaryError when
it could not be asked. See: userdb_chain.py.
"""

from typing import TYPE_CHECKING, Protocol

from mailsuite.sasl.passdb import Field

if TYPE_CHECKING:
    from mailsuite.sasl.request import AuthRequest


class Userdb(Protocol):
    """One user database. cache_key: as for a Passdb."""

    driver: str
    cache_key: str

    async def find(self, request: "AuthRequest") -> tuple[Field, ...] | None: ...

    async def names(self) -> list[str] | None: ...
