"""userdb { driver = static }: args = uid=U gid=G home=TEMPLATE ... [allow_all_users=yes]

Without allow_all_users a user exists when a password database knows him; that is asked when the lookup does not follow
a login.
"""

from collections.abc import Awaitable, Callable

from mailsuite.sasl.fields import expanded
from mailsuite.sasl.passdb import Field, split_fields
from mailsuite.sasl.request import AuthRequest


class StaticUserdb:
    """The same for every user, with variables."""

    driver = "static"
    cache_key = ""

    def __init__(self, args: str, exists: Callable[[AuthRequest], Awaitable[bool]]) -> None:
        fields = split_fields(args)
        self._all = ("allow_all_users", "yes") in fields
        self._fields = [(name, value) for name, value in fields if name != "allow_all_users"]
        self._exists = exists

    async def find(self, request: AuthRequest) -> tuple[Field, ...] | None:
        if not self._all and not request.passdb_success and not await self._exists(request):
            return None
        return expanded(request, self._fields, prefix="")

    async def names(self) -> None:
        return None
