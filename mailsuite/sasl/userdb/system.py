"""userdb { driver = passwd }: the system's users; userdb { driver = prefetch }: what the passdb already said."""

from mailsuite.base.errors import TemporaryError
from mailsuite.sasl import system
from mailsuite.sasl.passdb import split_fields
from mailsuite.sasl.pool import HashPool
from mailsuite.sasl.request import AuthRequest


class PasswdUserdb:
    """getpwnam. Supplementary groups come by system_groups_user. Fields in args are laid over."""

    driver = "passwd"

    def __init__(self, args: str, pool: HashPool, first_uid: int, last_uid: int) -> None:
        self._pool, self._range = pool, (first_uid, last_uid)
        self._template = [(name, value) for name, value in split_fields(args) if name != "blocking"]

    async def find(self, request: AuthRequest) -> dict[str, str] | None:
        try:
            entry = await self._pool.run(system.passwd, request.user)
        except KeyError:
            return None
        except OSError as error:
            raise TemporaryError("internal error", detail=f"getpwnam() failed: {error}") from error
        fields = {"system_groups_user": entry.pw_name, "uid": str(entry.pw_uid), "gid": str(entry.pw_gid),
                  "home": entry.pw_dir}
        return fields | {name: request.expand(value) for name, value in self._template}

    async def names(self) -> list[str]:
        return await self._pool.run(system.user_names, *self._range)


class PrefetchUserdb:
    """The "userdb_" fields of the password database; without a login before it, there is no such user here."""

    driver = "prefetch"

    async def find(self, request: AuthRequest) -> dict[str, str] | None:
        if not request.userdb_fields:
            return None
        return dict(request.userdb_fields)

    async def names(self) -> list[str]:
        return []
