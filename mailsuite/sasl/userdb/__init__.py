"""User databases: uid, gid, home and extra fields of a user, whoever checked the password.

    fields = await userdb.find(request)        {"uid": "5000", "gid": "5000", "home": ...}, or None: no such user
    names = await userdb.names()               all users, where the database can tell; else []

Values are texts as they stand; names in uid and gid were made numbers. Raises TemporaryError when it could not be
asked. See: chain.py.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mailsuite.sasl.request import AuthRequest


class Userdb(Protocol):
    """One user database."""

    driver: str

    async def find(self, request: "AuthRequest") -> dict[str, str] | None: ...

    async def names(self) -> list[str]: ...
