"""userdb { driver = checkpassword }: args = PROGRAM [ARGUMENTS]; the program must know AUTHORIZED=1."""

from mailsuite.sasl.checkpassword import Checkpassword
from mailsuite.sasl.passdb import Field
from mailsuite.sasl.request import AuthRequest

_PREFIX = "userdb_"


class CheckpasswordUserdb:
    """What the program says with userdb_ in front."""

    driver = "checkpassword"
    cache_key = ""

    def __init__(self, program: Checkpassword) -> None:
        self._program = program

    async def find(self, request: AuthRequest) -> tuple[Field, ...] | None:
        answer = await self._program.look_up(request)
        if answer is None:
            return None
        return tuple((name.removeprefix(_PREFIX), value) for name, value in answer.fields
                     if name.startswith(_PREFIX) or name == "user")

    async def names(self) -> None:
        return None

    def close(self) -> None:
        self._program.close()
