"""userdb { driver = static }: args = uid=U gid=G home=TEMPLATE ... [allow_all_users=yes]

Without allow_all_users a user exists when a password database knows him; that is asked when the lookup does not follow
a login.
"""

from collections.abc import Awaitable, Callable

from mailsuite.sasl.passdb import split_fields
from mailsuite.sasl.request import AuthRequest


class StaticUserdb:
    """The same for every user, with variables."""

    driver = "static"

    def __init__(self, args: str, exists: Callable[[AuthRequest], Awaitable[bool]]) -> None:
        fields = dict(split_fields(args))
        self._all = fields.pop("allow_all_users", "no") == "yes"
        self._fields, self._exists = fields, exists

    async def find(self, request: AuthRequest) -> dict[str, str] | None:
        if not self._all and not request.passdb_success and not await self._exists(request):
            return None
        return {name: request.expand(value) for name, value in self._fields.items()}

    async def names(self) -> list[str]:
        return []
