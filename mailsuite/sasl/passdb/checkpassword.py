"""passdb { driver = checkpassword }: args = PROGRAM [ARGUMENTS], %-variables allowed."""

from mailsuite.base.secret import Secret
from mailsuite.sasl.checkpassword import Checkpassword
from mailsuite.sasl.passdb import Found, WrongPassword
from mailsuite.sasl.request import AuthRequest

_SCHEME = "PLAIN"


class CheckpasswordPassdb:
    """A program that says yes or no, and may know more."""

    driver = "checkpassword"
    checks = True
    looks_up = True
    cache_key = ""

    def __init__(self, program: Checkpassword) -> None:
        self._program = program

    async def find(self, request: AuthRequest) -> Found | None:
        answer = await self._program.look_up(request, request.wanted_scheme)
        return None if answer is None else Found(answer.fields, _SCHEME)

    async def check(self, request: AuthRequest, password: Secret) -> Found | None:
        answer = await self._program.check(request, password)
        if answer is None:
            raise WrongPassword("Login failed (status=1)")
        return Found(answer.fields, _SCHEME)

    async def decoy(self, request: AuthRequest) -> tuple[str, str] | None:
        return None

    def close(self) -> None:
        self._program.close()
