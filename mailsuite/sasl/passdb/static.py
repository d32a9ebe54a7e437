"""passdb { driver = static }: args = password=P | nopassword=y, and more fields; the same for every user."""

from mailsuite.sasl.fields import expanded
from mailsuite.sasl.passdb import Found, LookupOnly, split_fields
from mailsuite.sasl.request import AuthRequest


class StaticPassdb(LookupOnly):
    """Every user exists."""

    driver = "static"

    def __init__(self, args: str) -> None:
        self._fields = split_fields(args)

    async def find(self, request: AuthRequest) -> Found | None:
        return Found(expanded(request, self._fields), "PLAIN")
